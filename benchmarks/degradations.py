"""Time of every degradation with its defaults, on a slice and on a volume of a head phantom.

    python benchmarks/degradations.py

All are timed in turns in the same run, beside a complex FFT there and back of the same image: compare ratios, absolute
times depend on what else the machine does.
"""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import typer
from wall_time import seconds

import medtrans.simulate
from medtrans.progress import progress
from medtrans.simulate import HeadPhantom
from medtrans.simulate.degradation import Degradation

Step = Callable[[], object]
FIELD = 224.0  # mm, of the image, whatever its voxels
SHOWN = {"CT": ("CT",), "PET": ("PET",)}  # what a degradation is made for, by a part of its name; MR otherwise


def degradations() -> dict[str, type[Degradation]]:
    """Every one that ``medtrans.simulate`` exports, by name."""
    found = {name: getattr(medtrans.simulate, name) for name in medtrans.simulate.__all__}
    kinds = {name: one for name, one in found.items() if inspect.isclass(one) and issubclass(one, Degradation)}
    return {name: kind for name, kind in kinds.items() if not inspect.isabstract(kind)}


def modality(name: str) -> str:
    """The phantom's modality that this degradation is for."""
    return next((kind for kind in SHOWN if kind in name), "T1")


def images(size: int, slices: bool) -> tuple[dict[str, torch.Tensor], list[float]]:
    """One slice, or a cube, of each modality, and its voxel sizes."""
    spacing = FIELD / size
    names = sorted({modality(name) for name in degradations()})
    volumes = HeadPhantom(0, spacing, (size, size, 1 if slices else size)).images(names)
    shown = {name: torch.from_numpy(np.ascontiguousarray(volumes[name]))[None] for name in names}
    return {name: image[..., 0] if slices else image for name, image in shown.items()}, [spacing] * (3 - slices)


def fourier(image: torch.Tensor) -> torch.Tensor:
    """The yardstick."""
    axes = list(range(1, image.ndim))
    return torch.fft.ifftn(torch.fft.fftn(image, dim=axes), dim=axes).abs()


def table(size: int, slices: bool, repeats: int, device: torch.device) -> list[str]:
    """A row a degradation, ordered by time."""
    shown, spacing = images(size, slices)
    shown = {name: image.to(device) for name, image in shown.items()}
    steps: dict[str, Step] = {"FFT and back": lambda: fourier(shown["T1"])}
    for name, kind in degradations().items():
        one: Any = kind().set_random_state(0)
        steps[name] = partial(one, shown[modality(name)], spacing)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()  # what is prepared once: plans, projectors, fields
    for _ in progress(range(repeats), f"timing {'slices' if slices else 'volumes'}", unit="round"):
        for name, step in steps.items():
            times[name].append(seconds(step, device))
    median = {name: statistics.median(samples) for name, samples in times.items()}
    yardstick = median["FFT and back"]
    return [
        f"| {name} | {1000 * value:.3g} | {1000 * min(times[name]):.3g} | {value / yardstick:.3g} |"
        for name, value in sorted(median.items(), key=lambda item: item[1])
    ]


def main(
    slice_size: Annotated[int, typer.Option("--slice", min=8, help="Voxels of a slice's side.")] = 256,
    volume: Annotated[int, typer.Option(min=8, help="Voxels of a volume's side.")] = 128,
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 5,
    device: Annotated[str, typer.Option(help="Where the images lie, such as cuda.")] = "cpu",
) -> None:
    """Measure and print two tables."""
    place = torch.device(device)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    typer.echo(f"{name}, torch {torch.__version__}, medians of {repeats} rounds\n")
    for size, slices in ((slice_size, True), (volume, False)):
        shape = "×".join([str(size)] * (3 - slices))
        typer.echo(
            f"| {shape}, voxels of {FIELD / size:.3g} mm | ms | least | of an FFT and back |\n|---|---:|---:|---:|"
        )
        typer.echo("\n".join(table(size, slices, repeats, place)) + "\n")


if __name__ == "__main__":
    typer.run(main)
