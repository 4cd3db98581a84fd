"""Pictures of resolution loss: a phantom through thick slices and blunt point-spread functions, and the profiles.

python benchmarks/simulation_pictures/resolution.py FOLDER
"""

from __future__ import annotations

from pathlib import Path

import folder_of_pictures
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from medtrans.simulate import HeadPhantom, LowResolution
from medtrans.simulate.resolution import PROFILES, sliced, truncated

COLUMNS = {
    "1 mm": None,
    "5 mm slices, linear": LowResolution(thickness=5, psf=0),
    "5 mm slices, cubic": LowResolution(thickness=5, psf=0, interpolation="cubic"),
    "3 mm slices, 3 mm gap": LowResolution(thickness=3, gap=3, psf=0),
    "PSF of 3 mm": LowResolution(thickness=0, psf=3),
    "k-space of 3 mm voxels": LowResolution(thickness=0, psf=0, k_space=3),
}


def draw_heads(folder: Path) -> None:
    """A coronal slice of a phantom's T1, and what each setting leaves of it."""
    head = HeadPhantom(seed=7, shape=(192, 13, 192), lesion=True, noise=False)
    volume = head.images(["T1"])["T1"][None]
    figure = Figure(figsize=(12, 4.4), dpi=75, layout="constrained")
    panels = figure.subplots(2, len(COLUMNS))
    for (title, low), panel in zip(COLUMNS.items(), panels.T, strict=True):
        seen = volume if low is None else low(volume, head.spacing).numpy()
        whole = seen[0, :, 6].T
        for axes, image in zip(panel, (whole[20:180, 16:176], whole[60:124, 64:128]), strict=True):
            axes.imshow(image, cmap="gray", origin="lower", vmin=0, vmax=np.percentile(volume, 99.5))
            axes.axis("off")
        panel[0].set_title(title, fontsize=10)
    path = folder / "resolution-heads.png"
    figure.savefig(path)
    Image.open(path).convert("L").save(path, optimize=True)


def draw_profiles(folder: Path) -> None:
    """The slice profiles of 5 mm, and the two in-plane point-spread functions of 3 mm."""
    step, number = 0.05, 401
    x = (np.arange(number) - number // 2) * step
    figure = Figure(figsize=(9, 2.8), dpi=80, layout="constrained")
    slices, plane = figure.subplots(1, 2)
    for profile in PROFILES:
        slices.plot(x, sliced(number, step, 5.0, number * step, profile)[0] / step, label=profile)
    slices.set_title("slice profiles of 5 mm, by mm", fontsize=10)
    gaussian = sliced(number, step, 3.0, number * step, "gaussian")[0]
    plane.plot(x, gaussian / gaussian.max(), label="PSF of 3 mm")
    sinc = truncated(4 * number + 1, step, 3.0)[2 * number][2 * number - number // 2 :][:number]
    plane.plot(x, sinc / sinc.max(), label="k-space of 3 mm voxels")
    plane.set_title("in plane, by their peaks", fontsize=10)
    for axes in (slices, plane):
        axes.set_xlabel("mm", fontsize=9)
        axes.legend(fontsize=8, frameon=False)
        axes.axhline(0, color="0.7", linewidth=0.6)
    figure.savefig(folder / "resolution-profiles.png")


if __name__ == "__main__":
    folder_of_pictures.run(draw_heads, draw_profiles)
