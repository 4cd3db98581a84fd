"""Pictures of low-count PET: a phantom at falling counts, and the noise of the simulation beside the shortcut's.

python benchmarks/simulation_pictures/pet.py FOLDER
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_of_pictures
import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from PIL import Image

from medtrans.simulate import HeadPhantom, LowCountPET
from medtrans.transforms import AttenuationMap

FRACTIONS = (0.25, 0.1, 0.05)
DRAWS = 80
LEVELS = (0.5, 0.25, 0.1, 0.05, 0.025)


def seeded(seed: int, fraction: float, **settings: Any) -> LowCountPET:
    """A scan with its own random state."""
    scan = LowCountPET(fraction, **settings)
    scan.set_random_state(seed)
    return scan


def a_head() -> tuple[torch.Tensor, torch.Tensor, tuple[float, ...]]:
    """Activity in SUV and CT in HU of some slices, and the voxel size in mm."""
    head = HeadPhantom(seed=7, spacing=2.5, shape=(80, 96, 11), lesion=True, noise=False)
    images = head.images(["PET", "CT"])
    return torch.from_numpy(images["PET"])[None], torch.from_numpy(images["CT"])[None], head.spacing


def draw_counts(folder: Path) -> None:
    """One slice at each count, with the shortcut below."""
    pet, ct, spacing = a_head()
    low = {fraction: seeded(0, fraction)(pet, spacing, ct=ct) for fraction in FRACTIONS}
    parameters = low[0.25].meta["degradations"][-1]["parameters"]
    full = LowCountPET().full_count(pet, parameters, spacing, ct=ct)
    quick = {fraction: seeded(1, fraction, domain="image")(full, spacing, ct=ct) for fraction in FRACTIONS}
    filtered = seeded(0, 0.25, algorithm="fbp")(pet, spacing, ct=ct)
    rows = [
        {"activity": pet, "100 %, OSEM": full, **{f"{fraction:.0%}, OSEM": low[fraction] for fraction in FRACTIONS}},
        {
            "µ at 511 keV": AttenuationMap()(ct) / 0.15 * 9,
            "25 %, FBP": filtered,
            **{f"{fraction:.0%}, shortcut": quick[fraction] for fraction in FRACTIONS},
        },
    ]
    figure = Figure(figsize=(11, 5.6), dpi=75, layout="constrained")
    for panels, row in zip(figure.subplots(2, 5), rows, strict=True):
        for axes, (title, image) in zip(panels, row.items(), strict=True):
            axes.imshow(np.asarray(image)[0, :, :, 5].T, cmap="gray_r", origin="lower", vmin=0, vmax=9)
            axes.set_title(title, fontsize=11)
            axes.axis("off")
    path = folder / "pet-counts.png"
    figure.savefig(path)
    Image.open(path).convert("L").save(path, optimize=True)


def images_of(algorithm: str, fraction: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The middle slice (X, Y), and draws: full and low count, and the shortcut's noise."""
    pet, ct, spacing = a_head()
    image, beside = pet[..., 5].expand(DRAWS, -1, -1), ct[..., 5]
    scan = seeded(0, fraction, algorithm=algorithm)
    low = scan(image, spacing[:2], ct=beside)
    assert scan.parameters is not None
    full = scan.full_count(image, scan.parameters, spacing[:2], ct=beside)
    quick = seeded(1, fraction, algorithm=algorithm, domain="image")
    noise = quick(image, spacing[:2], ct=beside) - image
    return pet[0, ..., 5], full.as_tensor(), low.as_tensor(), noise.as_tensor()


def spectrum(noise: torch.Tensor, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Noise power by frequency (1/mm), the mean over directions, of the middle of the head."""
    patch = noise[:, 22:58, 26:62]
    side = patch.shape[1]
    power = torch.fft.fft2(patch - patch.mean(0)).abs().square().mean(0).double() * (step / side) ** 2
    at = torch.fft.fftfreq(side, step)
    ring = (torch.hypot(at[:, None], at) * side * step).round().long().ravel()
    mean = torch.bincount(ring, power.ravel()) / torch.bincount(ring)
    return np.arange(side // 2) / (side * step), mean[: side // 2].numpy()


def correlation(noise: torch.Tensor) -> np.ndarray:
    """Of voxels some steps apart along x and y, in the middle of the head."""
    patch = (noise - noise.mean(0))[:, 22:58, 26:62]
    along_x = [float((patch[:, : 36 - k] * patch[:, k:]).mean()) for k in range(7)]
    along_y = [float((patch[..., : 36 - k] * patch[..., k:]).mean()) for k in range(7)]
    return np.add(along_x, along_y) / (along_x[0] + along_y[0])


def draw_noise(folder: Path) -> None:
    """Strength by counts and by tissue, correlation and spectrum."""
    figure = Figure(figsize=(12, 3.1), dpi=75, layout="constrained")
    by_count, correlated, power = figure.subplots(1, 3)
    for algorithm, colour in (("osem", "#2364aa"), ("fbp", "#d1495b")):
        activity, full, low, quick = images_of(algorithm, 0.25)
        simulated = low - full
        for tissue, brain in (("grey matter", activity > 6), ("white matter", (activity > 2.4) & (activity < 3.2))):
            ratio = (quick[:, brain].var(0).mean() / simulated[:, brain].var(0).mean()).sqrt()
            typer.echo(f"{algorithm}, {tissue}: shortcut / simulation {ratio:.3f}")
        brain = activity > 2
        spread = []
        for fraction in LEVELS:
            spread.append(float(images_of(algorithm, fraction)[2][:, brain].var(0).mean().sqrt()))
        slope = np.polyfit(np.log(LEVELS), np.log(spread), 1)[0]
        typer.echo(f"{algorithm}: SD falls with counts to the power {slope:.3f}")
        by_count.loglog(np.array(LEVELS) * 100, spread, "o", color=colour, label=algorithm.upper())
        by_count.loglog(
            np.array(LEVELS) * 100, spread[0] * (np.array(LEVELS) / LEVELS[0]) ** -0.5, color=colour, lw=0.8
        )
        for noise, style, name in ((simulated, "o", "simulation"), (quick, "-", "shortcut")):
            correlated.plot(
                np.arange(7) * 2.5, correlation(noise), style, color=colour, label=f"{algorithm.upper()}, {name}"
            )
            power.plot(*spectrum(noise, 2.5), style, color=colour)
    for axes, title, below in (
        (by_count, "SD of the noise, SUV; lines: counts$^{-1/2}$", "counts kept, %"),
        (correlated, "correlation of voxels", "distance, mm"),
        (power, "noise power, SUV² mm²", "1/mm"),
    ):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(below, fontsize=9)
    by_count.set_xticks([100 * level for level in LEVELS], [f"{100 * level:g}" for level in LEVELS])
    by_count.set_xticks([], minor=True)
    by_count.legend(fontsize=8, frameon=False)
    correlated.legend(fontsize=8, frameon=False)
    figure.savefig(folder / "pet-noise.png")


if __name__ == "__main__":
    folder_of_pictures.run(draw_counts, draw_noise)
