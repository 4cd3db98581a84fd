"""Pictures of shading, ringing, spikes and noise of MR: heads, and curves beside their closed forms.

python benchmarks/simulation_pictures/mr_artefacts.py FOLDER
"""

from __future__ import annotations

from pathlib import Path

import folder_of_pictures
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy.special import sici
from scipy.stats import rice

from medtrans.simulate import BiasField, GibbsRinging, HeadPhantom, KSpaceSpikes, RicianNoise
from medtrans.simulate.degradation import Degradation

HEADS: dict[str, list[Degradation]] = {
    "phantom, 1.5 mm": [],
    "shading 50 %": [BiasField(50.0, 80.0)],
    "acquired at 4 mm": [GibbsRinging(4.0)],
    "one spike, 15 %": [KSpaceSpikes(1, 15.0)],
    "SNR 10": [RicianNoise(snr=10.0)],
    "SNR 10, g-factor to 3": [RicianNoise(snr=10.0, g_factor=3.0)],
    "all of them": [BiasField(50.0, 80.0), GibbsRinging(3.0), KSpaceSpikes(1, 8.0), RicianNoise(snr=15.0)],
}


def draw_heads(folder: Path) -> None:
    """A T1 slice, and what each makes of it."""
    phantom = HeadPhantom(seed=7, spacing=1.5, shape=(128, 144, 9), noise=False)
    image = torch.as_tensor(phantom.images(["T1"])["T1"])[None, ..., 4]
    figure = Figure(figsize=(2 * len(HEADS), 2.6), dpi=72, layout="constrained")
    for axes, (title, steps) in zip(figure.subplots(1, len(HEADS)), HEADS.items(), strict=True):
        seen = image
        for step in steps:
            step.set_random_state(4)
            seen = step(seen, (1.5, 1.5)).as_tensor()
        axes.imshow(seen[0].T, cmap="gray", origin="lower", vmin=0, vmax=np.percentile(image, 99.5))
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    path = folder / "mr-artefacts-heads.png"
    figure.savefig(path)
    Image.open(path).convert("L").save(path, optimize=True)


def draw_curves(folder: Path) -> None:
    """An edge beside the sine integral, and noise beside Rice's density."""
    figure = Figure(figsize=(9, 2.9), dpi=80, layout="constrained")
    edge, noise = figure.subplots(1, 2)
    line = torch.full((1, 1, 1024), 100.0)
    line[..., 256:768] = 200
    acquired = 16.0
    ringing = GibbsRinging(acquired, axes=[1])(line, (1, 1)).as_tensor()[0, 0]
    place = torch.arange(1024) - 255.5
    near = place.abs() < 6 * acquired
    edge.plot(place[near] / acquired, ringing[near], label="simulated")
    theory = 150 + 100 / np.pi * sici(np.pi * place[near].numpy() / acquired)[0]
    edge.plot(place[near] / acquired, theory, "k:", label="sine integral")
    edge.set_xlabel("acquired voxels from an edge of 100 to 200", fontsize=9)
    for ratio in (0, 1, 3, 6):
        image = torch.zeros(1, 200, 200)
        image[:, 100:] = 100 * ratio
        noise_of_1 = RicianNoise(100.0, signal=100)
        noise_of_1.set_random_state(0)
        noisy = noise_of_1(image, (1, 1)).as_tensor()[:, 101:] / 100
        drawn, edges = np.histogram(noisy, 60, density=True)
        noise.plot((edges[1:] + edges[:-1]) / 2, drawn, label=f"SNR {ratio}")
        noise.plot(edges, rice(ratio).pdf(edges), ":", color="k")
    noise.set_xlabel("magnitude / σ; dotted: Rice's density", fontsize=9)
    for axes in (edge, noise):
        axes.legend(fontsize=8, frameon=False)
    figure.savefig(folder / "mr-artefacts-theory.png")


if __name__ == "__main__":
    folder_of_pictures.run(draw_heads, draw_curves)
