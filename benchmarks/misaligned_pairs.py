"""What misaligned training pairs cost, and what registration during training gives back, on phantoms.

    python benchmarks/misaligned_pairs.py RESULTS --misalignment 0 --misalignment 8 --seeds 2

Targets of the training heads are deformed in the plane by known smooth random fields; the test heads are aligned. Every
method trains the same U-block for the same number of steps on the same batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import matplotlib
import nibabel
import numpy as np
import pandas as pd
import torch
import typer
from monai.metrics import SSIMMetric
from torch import Tensor
from torch.nn.functional import pad

from medtrans.cohorts import Cases, write_phantom_cohort
from medtrans.losses import L1, Adversarial, LossTerm, Observed, Registered
from medtrans.methods import Batch, PairedTranslation
from medtrans.methods.method import Loss
from medtrans.networks import DeformationNet, PatchDiscriminator, UBlock
from medtrans.simulate.misalignment import displaced, smooth_displacement

matplotlib.use("Agg")
METHODS = ("l1", "l1 registered", "pix2pix", "pix2pix registered")
SCALE = 35.0  # mm, smoothness of the deformations


class PlainSteps:
    """One optimiser step in float32, all that the comparison needs of an engine."""

    def __init__(self, method: PairedTranslation) -> None:
        self.method = method

    def optimize(self, name: str, loss: Loss, parts: list[Batch]) -> dict[str, Tensor]:
        """As :class:`medtrans.methods.Stepper` says, for one part."""
        self.method.optimizers[name].zero_grad()
        total, values = loss(parts[0])
        total.backward()
        self.method.optimizers[name].step()
        return {"total": total.detach()} | {key: value.detach() for key, value in values.items()}


def slices(cohort: Cases, split: str, millimetres: float, seed: int, size: int) -> dict[str, Tensor]:
    """Axial slices with a tenth of body or more, ``(N, 1, size, size)``; targets deformed by ``millimetres``."""
    found: dict[str, list[Tensor]] = {"source": [], "target": [], "mask": []}
    for number, case in enumerate(cohort):
        if case.split != split:
            continue
        assert case.mask is not None
        mask = np.asarray(nibabel.load(case.mask).dataobj)
        images = {"mask": mask}
        for key, modality in (("source", "T1"), ("target", "T2")):
            volume, window = np.asarray(nibabel.load(case.volumes[modality]).dataobj), case.windows[modality]
            if key == "target" and millimetres:
                field = smooth_displacement(mask.shape, case.spacing, millimetres, SCALE, seed * 1000 + number, (0, 1))
                volume = displaced(volume, field, case.spacing)
            images[key] = np.clip((volume - window.lower) / (window.upper - window.lower) * 2 - 1, -1, 1)
        for k in np.flatnonzero(mask.mean(axis=(0, 1)) > 0.1):
            for key, image in images.items():
                plane = torch.tensor(image[:size, :size, k], dtype=torch.float32)
                wanted = (0, size - plane.shape[1], 0, size - plane.shape[0])
                found[key].append(pad(plane, wanted, value=0.0 if key == "mask" else -1.0)[None])
    return {key: torch.stack(planes) for key, planes in found.items()}


def build(name: str, seed: int) -> PairedTranslation:
    """The method of that name, with networks drawn from ``seed``."""
    torch.manual_seed(seed)
    generator, discriminator = UBlock(2, 1, 1, (24, 48, 96)), PatchDiscriminator(2, 2, channels=32)
    groups: list[dict[str, Any]] = [{"params": list(generator.parameters())}]
    losses: dict[str, LossTerm] = {"l1": L1(100.0)}
    if "registered" in name:
        registration = DeformationNet(2)
        groups.append({"params": list(registration.parameters()), "lr": 2e-3, "betas": (0.9, 0.999)})
        losses = {"l1": L1(25.0), "registered": Registered(L1(), registration, 100.0)}
    optimizers = {"generator": torch.optim.Adam(groups, 1e-3, (0.5, 0.999))}
    if "pix2pix" not in name:
        return PairedTranslation(generator, losses, optimizers, generator_steps=1)
    optimizers["discriminator"] = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    return PairedTranslation(generator, {"adversarial": Adversarial(), **losses}, optimizers, discriminator, 1)


def train(method: PairedTranslation, data: dict[str, Tensor], steps: int, seed: int) -> dict[str, float]:
    """Train with rates that fall linearly over the second half; what was logged, averaged over the last tenth."""
    random, stepper, logged = np.random.default_rng(seed), PlainSteps(method), []
    start = {name: [group["lr"] for group in o.param_groups] for name, o in method.optimizers.items()}
    for step in range(steps):
        for name, optimizer in method.optimizers.items():
            for group, rate in zip(optimizer.param_groups, start[name], strict=True):
                group["lr"] = rate * min(1.0, 2 * (1 - step / steps))
        chosen = random.choice(len(data["source"]), 8, replace=False)
        logged.append(method.update([{key: images[chosen] for key, images in data.items()}], stepper))
    last = pd.DataFrame([{k: v.item() for k, v in row.items()} for row in logged[-max(1, steps // 10) :]])
    return {str(key): float(value) for key, value in last.mean().items()}


def judge(method: PairedTranslation, data: dict[str, Tensor]) -> dict[str, float]:
    """PSNR in dB and SSIM of slices, MAE inside the body; on the [-1, 1] scale."""
    with torch.no_grad():
        output = method.generator(data["source"])
    error, mask = output - data["target"], data["mask"]
    psnr = 10 * torch.log10(4 / error.square().flatten(1).mean(1))
    mae = (error.abs() * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)
    ssim = SSIMMetric(spatial_dims=2, data_range=2.0)(output, data["target"])
    return {"PSNR": psnr.mean().item(), "SSIM": ssim.mean().item(), "MAE": mae.mean().item()}


def picture(path: Path, methods: dict[str, PairedTranslation], test: dict, train_data: dict, spacing: float) -> None:
    """Source, plain and registered output and truth of a test slice; below, a deformed training pair and its field."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(10, 5.4))
    one, other = (int(data["mask"].flatten(1).sum(1).argmax()) for data in (test, train_data))
    pair = slice(other, other + 1)
    with torch.no_grad():
        source = test["source"][one : one + 1]
        outputs = [methods[name].generator(source) for name in ("l1", "l1 registered")]
        made = methods["l1 registered"].generator(train_data["source"][pair])
        registered = methods["l1 registered"].losses.terms["registered"]
        assert isinstance(registered, Registered)
        field = registered.registration(made, train_data["target"][pair])[0]
        moved = registered._moved(Observed(made), Observed(train_data["target"][pair]), True).image
    shown = [source, *outputs, test["target"][one : one + 1], made, moved, train_data["target"][pair]]
    titles = ["source (test)", "plain L1", "L1, registered", "target", "output (training)", "registered", "its target"]
    for axis, image, title in zip(axes.flat, shown, titles, strict=False):
        axis.imshow(image[0, 0].T, cmap="gray", origin="lower", vmin=-1, vmax=1)
        axis.set_title(title)
    last = axes.flat[-1]
    length = last.imshow(field.norm(dim=0).T * spacing, origin="lower", cmap="viridis")
    figure.colorbar(length, ax=last, shrink=0.8)
    last.set_title("displacement, mm")
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main(
    output: Annotated[Path, typer.Argument(help="Folder for the phantoms, the table and the picture.")],
    misalignment: Annotated[list[float] | None, typer.Option(help="RMS displacement in mm; repeatable.")] = None,
    method: Annotated[list[str] | None, typer.Option(help=f"Any of {', '.join(METHODS)}; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each.")] = 3,
    steps: Annotated[int, typer.Option(help="Batches of 8 slices.")] = 1000,
    heads: Annotated[int, typer.Option(help="Phantoms.")] = 40,
    spacing: Annotated[float, typer.Option(help="Voxel size in mm.")] = 7.0,
) -> None:
    """Train, judge, and write results.csv, summary.md and misaligned-pairs.png."""
    torch.set_num_threads(1)
    cohort = write_phantom_cohort(output / "phantoms", heads, ("T1", "T2"), spacing)
    size = int(np.ceil(224 / spacing / 8) * 8)
    test, rows = slices(cohort, "test", 0, 0, size), []
    levels = misalignment or [0.0, 2.0, 4.0, 8.0]
    for millimetres in levels:
        for seed in range(seeds):
            data, trained = slices(cohort, "train", millimetres, seed, size), {}
            for name in method or METHODS:
                trained[name] = build(name, seed)
                logged = train(trained[name], data, steps, seed)
                row = {"misalignment": millimetres, "method": name, "seed": seed, **judge(trained[name], test)}
                rows.append(row | {k: v for k, v in logged.items() if k.startswith("registered_")})
                typer.echo(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in rows[-1].items()))
                pd.DataFrame(rows).to_csv(output / "results.csv", index=False)
        if {"l1", "l1 registered"} <= set(trained) and millimetres == max(levels):
            picture(output / "misaligned-pairs.png", trained, test, data, spacing)
    table = pd.DataFrame(rows).drop(columns="seed").groupby(["misalignment", "method"], sort=False).agg(["mean", "std"])
    table.columns = [" ".join(column) for column in table.columns.to_list()]
    lines = [" | ".join(["misalignment mm", "method", *table.columns]), " | ".join(["---"] * (2 + table.shape[1]))]
    for values in table.reset_index().itertuples(index=False):
        lines.append(" | ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values))
    (output / "summary.md").write_text("\n".join(f"| {line} |" for line in lines) + "\n", encoding="utf-8")
    typer.echo((output / "summary.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
