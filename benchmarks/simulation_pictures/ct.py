"""Pictures of worse CT: a phantom at low doses, with sparse views, rings and metal; and noise beside its theory.

python benchmarks/simulation_pictures/ct.py FOLDER
"""

from __future__ import annotations

from pathlib import Path

import folder_of_pictures
import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from PIL import Image

from medtrans.simulate import HeadPhantom, LowDoseCT, MetalArtefactCT, RingArtefactCT, SparseViewCT
from medtrans.simulate.degradation import Degradation
from medtrans.simulate.tomography import WINDOWS
from medtrans.simulate.tomography.ct import WATER

BRAIN, WIDE = (-30, 100), (-300, 600)
DOSES: dict[str, Degradation | None] = {
    "300 mAs (given)": None,
    "75 mAs": LowDoseCT(mas=75),
    "15 mAs": LowDoseCT(mas=15),
    "15 mAs, Shepp-Logan": LowDoseCT(mas=15, window="shepp-logan"),
}
ARTEFACTS: dict[str, Degradation] = {
    "60 views": SparseViewCT(kept=60),
    "120° of 180°": SparseViewCT(kept=360, arc=120),
    "4 channels off by 2 %": RingArtefactCT(channels=4, gain=2, radius=(10, 70)),
    "2 implants of steel": MetalArtefactCT("steel", implants=2, radius=3),
}
SIZE, STEP, VIEWS, I0 = 75, 2.0, 90, 2e5  # of the water cylinder


def seeded(degradation: Degradation, seed: int) -> Degradation:
    """The degradation, from a seed on."""
    degradation.set_random_state(seed)
    return degradation


def draw_heads(folder: Path) -> None:
    """An axial slice of a phantom's CT: doses in a brain window, artefacts in a wide one."""
    head = HeadPhantom(seed=7, shape=(192, 224, 64), noise=False, lesion=True)
    ct = head.images(["CT"])["CT"][None, ..., 40:43]
    figure = Figure(figsize=(11, 6.6), dpi=75, layout="constrained")
    panels = figure.subplots(2, 4)
    for row, choices, window in ((panels[0], DOSES, BRAIN), (panels[1], ARTEFACTS, WIDE)):
        for axes, (title, degradation) in zip(row, choices.items(), strict=True):
            seen = ct if degradation is None else seeded(degradation, 3)(ct, head.spacing).numpy()
            axes.imshow(seen[0, 12:180, 8:216, 1].T, cmap="gray", origin="lower", vmin=window[0], vmax=window[1])
            axes.set_title(title, fontsize=10)
            axes.axis("off")
    path = folder / "ct-heads.png"
    figure.savefig(path)
    Image.open(path).convert("L").quantize(48).save(path, optimize=True)


def water(diameter: float, slices: int) -> np.ndarray:
    """A cylinder of water in air, ``(1, X, Y, slices)``."""
    axis = (np.arange(SIZE) - SIZE // 2) * STEP
    inside = np.hypot(axis[:, None], axis[None]) < diameter / 2
    return np.repeat(np.where(inside, 0, -1000)[None, ..., None], slices, axis=-1).astype(np.float32)


def added_noise(mas: float, window: str = "ramp", diameter: float = 140, slices: int = 32) -> np.ndarray:
    """What a low dose adds in the middle of a water cylinder, ``(32, 32, slices)`` in HU."""
    scan = water(diameter, slices)
    low = seeded(LowDoseCT(mas, photons_per_ray=I0, electronic=0, views=VIEWS, window=window), 0)
    change = low(scan, (STEP, STEP, 1.0)).numpy()[0] - scan[0]
    return change[SIZE // 2 - 16 : SIZE // 2 + 16, SIZE // 2 - 16 : SIZE // 2 + 16]


def variance(window: str) -> float:
    """Of a voxel in the middle in HU², where the line integral of every ray has variance 1."""
    f = np.linspace(-6 / STEP, 6 / STEP, 12001)
    wrapped = np.abs((f + 0.5 / STEP) % (1 / STEP) - 0.5 / STEP)
    ramp = wrapped * WINDOWS[window](torch.from_numpy(2 * STEP * wrapped)).numpy()
    angles = np.arange(VIEWS)[:, None] * np.pi / VIEWS
    seen = np.sinc(f * STEP) * np.sinc(f * STEP * np.cos(angles)) * np.sinc(f * STEP * np.sin(angles))
    return float((np.pi / VIEWS * 1000 / WATER) ** 2 * STEP * ((ramp * seen) ** 2).sum() * (f[1] - f[0]))


def draw_noise(folder: Path) -> None:
    """SD against dose, and the power spectrum, points beside lines of theory."""
    figure = Figure(figsize=(9, 2.9), dpi=80, layout="constrained")
    spread, texture = figure.subplots(1, 2)
    doses = [10, 20, 40, 80, 160]
    for number, diameter in enumerate((100, 140)):
        found = [added_noise(mas, "hann", diameter)[9:23, 9:23].std() for mas in doses]
        lines = np.exp(WATER * diameter) / I0 * (300 / np.array(doses) - 1)
        spread.loglog(doses, np.sqrt(lines * variance("hann")), color=f"C{number}", label=f"theory, {diameter} mm")
        spread.loglog(doses, found, "o", color=f"C{number}")
        typer.echo(f"{diameter} mm: SD over theory {np.round(found / np.sqrt(lines * variance('hann')), 3)}")
    spread.set_xlabel("mAs of 300", fontsize=9)
    spread.set_title("SD added in the middle of water, HU", fontsize=10)
    f = np.fft.fftfreq(32, STEP)
    radial = np.hypot(f[:, None], f[None])
    seen = np.sinc(radial * STEP) * np.sinc(f[:, None] * STEP) * np.sinc(f[None] * STEP)
    rings = [(radial > low) & (radial <= low + 0.02) for low in np.arange(0.01, 0.24, 0.02)]
    middles = [radial[ring].mean() for ring in rings]
    for number, window in enumerate(("ramp", "hann")):
        patch = added_noise(30, window)
        power = (np.abs(np.fft.fft2(patch, axes=(0, 1))) ** 2).mean(-1) * STEP**2 / 32**2
        shape = radial * (WINDOWS[window](torch.from_numpy((2 * STEP * radial).clip(max=1))).numpy() * seen) ** 2
        scale = np.pi / VIEWS * STEP * np.exp(WATER * 140) / I0 * 9 * (1000 / WATER) ** 2
        texture.plot(middles, [power[ring].mean() for ring in rings], "o", color=f"C{number}")
        texture.plot(middles, [scale * shape[ring].mean() for ring in rings], color=f"C{number}", label=window)
    texture.set_xlabel("1/mm", fontsize=9)
    texture.set_title("noise power at 30 mAs, HU² mm²", fontsize=10)
    for axes in (spread, texture):
        axes.legend(fontsize=8, frameon=False)
    figure.savefig(folder / "ct-noise.png")


if __name__ == "__main__":
    folder_of_pictures.run(draw_noise, draw_heads)
