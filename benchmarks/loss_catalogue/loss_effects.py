"""What a loss changed: properties of outputs, head by head, and differences from plain pix2pix with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import MultiScaleSSIMMetric
from torch import Tensor

from medtrans.benchmark.statistics import Interval, paired
from medtrans.losses.sharpness import LocalSharpness
from medtrans.metrics.psnr import PSNR
from medtrans.metrics.ssim import SSIM

Head = Mapping[str, Tensor]  # source, target, mask: (slices of one head, 1, X, Y)
FINE = 0.5  # share of the Nyquist frequency from which detail is fine


def _inside(value: Tensor, head: Head) -> float:
    """Mean over the body."""
    return value[head["mask"] > 0].mean().item()


def _spectra(found: Tensor, head: Head) -> tuple[Tensor, Tensor, Tensor]:
    """k-space of output and target, and where detail is fine."""
    axes = [torch.fft.fftfreq(n, 0.5) for n in found.shape[2:]]
    fine = torch.linalg.vector_norm(torch.stack(torch.meshgrid(*axes, indexing="ij")), dim=0) >= FINE
    return torch.fft.fft2(found), torch.fft.fft2(head["target"]), fine.expand(found.shape)


def _k_space_error(found: Tensor, head: Head) -> float:
    ours, true, _ = _spectra(found, head)
    return ((ours - true).abs().mean() / true.abs().mean()).item()


def _fine_k_space_error(found: Tensor, head: Head) -> float:
    ours, true, fine = _spectra(found, head)
    return ((ours - true)[fine].abs().mean() / true[fine].abs().mean()).item()


def _largest_k_space_errors(found: Tensor, head: Head) -> float:
    """The mean of the hundredth that is largest, over the target's mean."""
    ours, true, _ = _spectra(found, head)
    error = (ours - true).abs().flatten(1)
    return (error.topk(error.shape[1] // 100 + 1, dim=1).values.mean() / true.abs().mean()).item()


def _fine_power(found: Tensor, head: Head) -> float:
    ours, true, fine = _spectra(found, head)
    return (ours[fine].abs().square().mean() / true[fine].abs().square().mean()).sqrt().item()


def _sharpness(found: Tensor, head: Head) -> float:
    steep = LocalSharpness()
    inside = head["mask"][..., 4:-4, 4:-4] > 0
    return (steep(found)[0][inside].mean() / steep(head["target"])[0][inside].mean()).item()


def _variation(found: Tensor, head: Head) -> float:
    ours, true = (sum(torch.diff(image, dim=axis).abs().mean() for axis in (2, 3)) for image in (found, head["target"]))
    return float(ours / true)


def _histogram(found: Tensor, head: Head) -> float:
    """Earth mover's distance between the intensities in the body."""
    ours, true = (image[head["mask"] > 0].sort().values for image in (found, head["target"]))
    return (ours - true).abs().mean().item()


def _bright_error(found: Tensor, head: Head) -> float:
    bright = (head["target"] > 0) & (head["mask"] > 0)
    return (found - head["target"])[bright].abs().mean().item()


def _multi_scale(found: Tensor, head: Head) -> float:
    size, scales = min(found.shape[2:]), 3
    kernel = min(7, (size - 1) // 2 ** (scales - 1))  # smaller images than a study's are for trying out
    metric = MultiScaleSSIMMetric(
        2, data_range=2.0, kernel_type="uniform", kernel_size=kernel, weights=(0.0448, 0.2856, 0.3001)
    )
    return metric(found, head["target"]).mean().item()


def _library(metric: PSNR | SSIM) -> Callable[[Tensor, Head], float]:
    def measured(found: Tensor, head: Head) -> float:
        return metric(found, head["target"], data_range=(-1.0, 1.0), mask=head["mask"]).nanmean().item()

    return measured


PROPERTIES: dict[str, Callable[[Tensor, Head], float]] = {
    "PSNR": _library(PSNR()),
    "SSIM": _library(SSIM()),
    "MS-SSIM": _multi_scale,
    "MAE": lambda found, head: _inside((found - head["target"]).abs(), head),
    "RMSE": lambda found, head: _inside((found - head["target"]).square(), head) ** 0.5,
    "MAE of bright voxels": _bright_error,
    "sharpness": _sharpness,
    "variation": _variation,
    "fine power": _fine_power,
    "k-space error": _k_space_error,
    "k-space error, fine": _fine_k_space_error,
    "k-space error, largest": _largest_k_space_errors,
    "histogram distance": _histogram,
    "distance to source": lambda found, head: _inside((found - head["source"]).abs(), head),
}


def dice(found: Tensor, head: Head, segmenter: torch.nn.Module, tissues: int) -> float:
    """Mean Dice, over the tissues there are, of what a segmentation network sees in output and target."""
    ours, true = (segmenter(image).argmax(1, keepdim=True) for image in (found, head["target"]))
    inside, values = head["mask"] > 0, []
    for tissue in range(tissues):
        one, other = (ours == tissue) & inside, (true == tissue) & inside
        if other.any():
            values.append((2 * (one & other).sum() / (one.sum() + other.sum())).item())
    return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True)
class Change:
    """What a loss did to one property.

    Attributes:
        plain: mean of plain pix2pix, trained on in the same order.
        difference: mean difference from it, head by head, with its interval over heads.
        nudge: what runs of plain pix2pix differ by whose only difference is a hundredth of L1's weight.
        order: what runs of plain pix2pix differ by that saw the slices in another order.
    """

    plain: float
    difference: Interval
    nudge: float
    order: float

    @property
    def visible(self) -> str:
        """Whether the whole interval is beyond both kinds of chance, beyond a nudge's only, or neither."""
        low, high = self.difference.low, self.difference.high
        least = min(abs(low), abs(high)) if low * high > 0 else 0.0
        return "yes" if least > max(self.nudge, self.order) else "in this order" if least > self.nudge else "no"


def change(
    with_loss: Mapping[str, float],
    plain: Mapping[str, float],
    nudged: Sequence[Mapping[str, float]],
    reordered: Sequence[Mapping[str, float]],
) -> Change:
    """Compare a property, given by head, of a run with a loss, plain pix2pix, and its controls."""

    def gap(controls: Sequence[Mapping[str, float]]) -> float:
        means = [float(np.nanmean([*run.values()])) for run in (plain, *controls)]
        return max(means) - min(means)

    mean = float(np.nanmean([*plain.values()]))
    return Change(mean, paired(with_loss, plain, True).difference, gap(nudged), gap(reordered))
