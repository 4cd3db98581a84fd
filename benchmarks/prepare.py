"""Time of the resampling in ``medtrans prepare`` against SimpleITK's own, and of whole cases with 1 and 2 workers.

    python benchmarks/prepare.py --repeats 5 --cases 4

Resampling: the same array, grid, order and threads, in turns in one run, from and to a numpy array. Ours is the whole
step (bounds, anti-aliasing where the grid is coarser), SimpleITK's its ResampleImageFilter, with its Gaussian before it
in the last pair. Compare ratios: absolute times depend on what else the machine does.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import nibabel
import numpy as np
import SimpleITK
import typer
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medtrans.cohorts import prepare
from medtrans.transforms.regrid import antialias_sigma, regrid

INTERPOLATORS = {"linear": SimpleITK.sitkLinear, "cubic": SimpleITK.sitkBSpline}


def head(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Smooth noise in an ellipsoid, float32, 0 to about 1000: something to register and to find a body in."""
    noise = ndimage.zoom(np.random.default_rng(seed).normal(size=[max(n // 8, 2) for n in shape]), 1, order=1)
    zoom = [n / small for n, small in zip(shape, noise.shape, strict=True)]
    fine = ndimage.zoom(noise, zoom, order=1)
    axes = np.meshgrid(*[np.linspace(-1.3, 1.3, n) for n in shape], indexing="ij", sparse=True)
    inside = sum(axis**2 for axis in axes) < 1
    return (inside * np.clip(500 + 150 * fine, 50, None)).astype(np.float32)


def placed(linear: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The affine with these axes whose grid is centred on the origin."""
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def by_simpleitk(
    values: np.ndarray,
    affine: np.ndarray,
    new_affine: np.ndarray,
    new_shape: tuple[int, ...],
    interpolation: str,
    threads: int,
    smooth: bool,
) -> np.ndarray:
    """What a user of SimpleITK writes; the array's axes run backwards in it, so the affine is turned."""
    to_old = np.linalg.solve(affine, new_affine)
    image = SimpleITK.GetImageFromArray(values)
    if smooth:
        sigma = antialias_sigma(to_old, np.linalg.norm(new_affine[:3, :3], axis=0))[::-1]
        image = SimpleITK.DiscreteGaussian(image, [float(s**2) for s in sigma], useImageSpacing=False)
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(to_old[2::-1, 2::-1].ravel().tolist())
    transform.SetTranslation(to_old[:3, 3][::-1].tolist())
    resample = SimpleITK.ResampleImageFilter()
    resample.SetSize([int(n) for n in reversed(new_shape)])
    resample.SetTransform(transform)
    resample.SetInterpolator(INTERPOLATORS[interpolation])
    resample.SetNumberOfThreads(threads)
    return SimpleITK.GetArrayFromImage(resample.Execute(image))


def in_turns(ways: dict[str, Callable[[], np.ndarray]], repeats: int) -> dict[str, float]:
    """Median seconds of each way, run in turns after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def compare_resampling(shape: tuple[int, ...], repeats: int, threads: int) -> None:
    """Print a row for each geometry and order."""
    head_affine = placed(np.diag([0.9375, 0.9375, 1.2]), shape)
    turn = Rotation.from_euler("xyz", [6, -9, 12], degrees=True).as_matrix()
    fine = (2 * shape[0], 2 * shape[1], max(shape[2] // 2, 4))  # a CT: 0.47 mm in plane, 2.4 mm slices
    geometries = {
        "along the axes": (head(shape), head_affine, False),
        "oblique": (head(shape), placed(turn * [0.9375, 0.9375, 1.2], shape), False),
        "along the axes, finer in plane": (head(fine), placed(np.diag([0.46875, 0.46875, 2.4]), fine), True),
    }
    extent = np.array(shape) * [0.9375, 0.9375, 1.2]
    new_shape = tuple(int(n) for n in extent)
    new = placed(np.eye(3), new_shape)
    print(f"{shape} voxels to {new_shape} at 1 mm, {threads} thread(s), median of {repeats}")
    for name, (values, affine, smooth) in geometries.items():
        for order in INTERPOLATORS:
            case: dict[str, Any] = {"affine": affine, "new_affine": new, "new_shape": new_shape, "interpolation": order}
            ours = partial(regrid, values, **case, bounds=(0.0, None), threads=threads, carry_edge=False)
            peer = partial(by_simpleitk, values, **case, threads=threads, smooth=smooth)
            taken = in_turns({"medtrans": ours, "SimpleITK": peer}, repeats)
            ratio = taken["medtrans"] / taken["SimpleITK"]
            print(f"  {order:6} {name:32} {taken['medtrans']:7.3f} s  {taken['SimpleITK']:7.3f} s  ratio {ratio:.2f}")


def whole_cases(shape: tuple[int, ...], cases: int, workers: list[int]) -> None:
    """Print cases an hour of T1 and T2 along the axes by the default recipe."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for subject in range(cases):
            for number, name in enumerate(("T1", "T2")):
                values = head(shape, subject) * (1 + 0.1 * number)
                affine = placed(np.diag([0.9375, 0.9375, 1.2 - 0.05 * number]), shape)
                (folder / f"in/s{subject}").mkdir(parents=True, exist_ok=True)
                nibabel.save(nibabel.Nifti1Image(values, affine), folder / f"in/s{subject}/{name}.nii.gz")
        modalities = {name: {"kind": "MR", "file": f"{{subject}}/{name}.nii.gz"} for name in ("T1", "T2")}
        (folder / "recipe.json").write_text(json.dumps({"modalities": modalities, "reference": "T1"}))
        for count in workers:
            start = time.perf_counter()
            table = prepare(folder / "recipe.json", folder / "in", folder / f"out{count}", workers=count)
            taken = time.perf_counter() - start
            assert (table["status"] == "ok").all(), table["reason"].tolist()
            ends = sorted(path.stat().st_mtime for path in folder.glob(f"out{count}/*/case.json"))
            steady = 3600 * (cases - count) / (ends[-1] - ends[count - 1]) if cases > count else float("nan")
            print(f"  {count} worker(s): {steady:.0f} cases/h once started, {taken:.1f} s for {cases} from the start")


def main(
    shape: Annotated[str, typer.Option(help="Voxels of the head.")] = "256,256,180",
    repeats: Annotated[int, typer.Option(min=1, help="Runs a median is taken of.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Of both ways of resampling.")] = 1,
    cases: Annotated[int, typer.Option(min=0, help="Whole cases to prepare; 0 for none.")] = 4,
) -> None:
    """Time resampling and whole cases."""
    size = tuple(int(n) for n in shape.split(","))
    compare_resampling(size, repeats, threads)
    if cases:
        print("whole cases, T1 and T2, read to written:")
        whole_cases(size, cases, [1, 2])


if __name__ == "__main__":
    typer.run(main)
