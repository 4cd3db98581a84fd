"""The shortcut's noise against the difference of reconstructions of the same coincidences, which it never makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medtrans.simulate import LowCountPET

DRAWS = 60  # channels of one image


def head_like(size: tuple[int, int], spacing: tuple[float, float], fine: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """An ellipse of 2.6 with a ring of 8 and a hole of 0.4 in it, in a wall of bone; activity, and µ in 1/cm."""
    x, y = ((np.arange(n * fine) - (n * fine - 1) / 2) * step / fine for n, step in zip(size, spacing, strict=True))
    at = np.hypot(*np.meshgrid(x / 66, y / 84, indexing="ij"))
    hole = np.hypot(*np.meshgrid(x, y, indexing="ij")) < 16
    activity = np.where(at < 1, np.where(at > 0.7, 8.0, 2.6), 0.0) * ~hole + 0.4 * hole
    attenuation = np.where(at < 1.15, np.where(at > 1.05, 0.13, 0.096), 0.0)
    means = (part.reshape(size[0], fine, size[1], fine).mean((1, 3)) for part in (activity, attenuation))
    one, other = (torch.from_numpy(part).float()[None] for part in means)
    return one, other


def both(
    size=(52, 60), spacing=(3.5, 3.5), attenuated=True, **given
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Activity, and the noise of the simulation and of the shortcut, ``(draws, X, Y)``."""
    activity, attenuation = head_like(size, spacing)
    image = activity.expand(DRAWS, -1, -1)
    beside = {"attenuation": attenuation} if attenuated else {}
    settings = {"prompts": 1e6, **given}
    scan = LowCountPET(**settings).set_random_state(0)
    low = scan(image, spacing, **beside)
    full = scan.full_count(image, scan.parameters, spacing, **beside)
    known = full.as_tensor().mean(0, keepdim=True).expand(DRAWS, -1, -1)  # as a full-count image, without its noise
    quick = LowCountPET(domain="image", **settings).set_random_state(1)(known, spacing, **beside)
    return activity[0], (low - full).as_tensor(), (quick - known).as_tensor()


@pytest.mark.parametrize(
    "case",
    [
        {"algorithm": "fbp"},
        {"algorithm": "fbp", "fraction": 0.05, "post_filter_mm": 0, "spacing": (3.0, 4.0)},
        {"algorithm": "osem"},
        {"algorithm": "osem", "attenuated": False, "scatter_fraction": 0, "randoms_fraction": 0.05},
        {"algorithm": "osem", "iterations": 2, "post_filter_mm": 6},
        {"algorithm": "osem", "iterations": 8, "fraction": 0.5, "size": (66, 76), "spacing": (2.8, 2.8)},
    ],
    ids=str,
)
def test_the_noise_is_as_strong_as_that_of_the_simulation_tissue_by_tissue(case) -> None:
    """No constant is fitted: strength follows from counts, geometry, algorithm and filter."""
    activity, simulated, quick = both(**case)
    for low, high, tolerance in ((7.5, 8.5, 0.12), (2.3, 3.0, 0.2), (0.3, 0.5, 0.36)):
        tissue = (activity > low) & (activity < high)
        ratio = float((quick[:, tissue].var(0).mean() / simulated[:, tissue].var(0).mean()).sqrt())
        assert ratio == pytest.approx(1, abs=0.06 if case["algorithm"] == "fbp" else tolerance)


@pytest.mark.parametrize("algorithm", ["fbp", "osem"])
def test_the_noise_is_correlated_as_that_of_the_simulation(algorithm) -> None:
    _, simulated, quick = both(algorithm=algorithm)
    ours, theirs = _autocorrelation(quick), _autocorrelation(simulated)
    assert theirs[1] > 0.3
    np.testing.assert_allclose(ours[:6], theirs[:6], atol=0.06)


def _autocorrelation(noise: torch.Tensor) -> np.ndarray:
    """Along both axes together, at steps of one voxel, in the middle."""
    patch = noise[:, 12:40, 12:48].double()
    patch = patch - patch.mean(0)
    along = [
        [float((patch[:, : patch.shape[1] - k] * patch[:, k:]).mean()) for k in range(8)],
        [float((patch[:, :, : patch.shape[2] - k] * patch[:, :, k:]).mean()) for k in range(8)],
    ]
    mean = np.mean(along, axis=0)
    return mean / mean[0]


def scanned(**given) -> torch.Tensor:
    activity, attenuation = head_like((30, 34), (6.0, 6.0))
    settings = {"prompts": 1e6, "domain": "image", "algorithm": "fbp", **given}
    scan = LowCountPET(**settings).set_random_state(2)
    return scan(activity.expand(40, -1, -1), (6.0, 6.0), attenuation=attenuation).as_tensor() - activity


def test_noise_grows_with_what_is_missing_and_falls_with_the_counts() -> None:
    noise = scanned(fraction=0.5)
    torch.testing.assert_close(scanned(fraction=0.1), 3 * noise, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(scanned(fraction=0.5, prompts=4e6), noise / 2, rtol=1e-3, atol=1e-4)


def test_the_mean_stays() -> None:
    activity = head_like((30, 34), (6.0, 6.0))[0][0]
    noise = scanned(algorithm="osem", fraction=0.5)
    error = noise.std(0) / np.sqrt(len(noise))
    assert float((noise.mean(0)[activity > 2] / error[activity > 2]).abs().mean()) == pytest.approx(0.8, abs=0.25)


def test_the_whole_is_the_image_itself() -> None:
    assert not scanned(fraction=1.0).any()


def test_the_filter_correlates_slices() -> None:
    activity = head_like((30, 34), (6.0, 6.0))[0][..., None].expand(-1, -1, -1, 40)
    scan = LowCountPET(domain="image", algorithm="fbp", prompts=1e6, post_filter_mm=18).set_random_state(0)
    noise = (scan(activity, (6.0, 6.0, 6.0)) - activity)[0, 10:20, 12:22, 5:35].as_tensor()
    variance = (18 / np.sqrt(8 * np.log(2)) / 6) ** 2  # in slices²; a filtered white line has exp(-k² / 4 variance)
    next_slice = float((noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean())
    assert next_slice == pytest.approx(np.exp(-1 / (4 * variance)), abs=0.06)


def test_without_activity_there_is_no_noise() -> None:
    assert not LowCountPET(domain="image")(torch.zeros(1, 20, 20, 2), (3, 3, 3)).any()
