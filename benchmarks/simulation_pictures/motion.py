"""Pictures of rigid head motion in MR: kinds of trajectories, severities, sequences.

python benchmarks/simulation_pictures/motion.py docs/simulation
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.data import MetaTensor
from PIL import Image

from medtrans.simulate import HeadPhantom
from medtrans.simulate.mr import SEQUENCES, MRMotion, Partitions, Slices
from medtrans.simulate.mr.trajectories import KINDS, poses_at

PARAMETERS = {"rx": "#2364aa", "ry": "#73bfb8", "rz": "#e8a33d", "tx": "#d1495b", "ty": "#8d5a97", "tz": "#3d3d3d"}
SPACING = 2.0  # mm


def show(panel: Axes, plane: torch.Tensor, brightest: float, title: str) -> None:
    """A plane (right or front, top or front), as a reader looks at it."""
    panel.imshow(plane.numpy().T, cmap="gray", origin="lower", vmin=0, vmax=brightest, interpolation="bicubic")
    panel.set_title(title, fontsize=8)
    panel.axis("off")


def draw_course(panel: Axes, parameters: dict, title: str = "") -> None:
    """The six parameters of a pose over the scan, degrees and mm in one."""
    seconds = np.linspace(0, parameters["scan_seconds"], 500)
    for course, (name, colour) in zip(poses_at(parameters["trajectory"], seconds).T, PARAMETERS.items(), strict=True):
        panel.plot(seconds, course, color=colour, lw=0.8, label=name)
    panel.tick_params(labelsize=6)
    panel.set_xlabel("s", fontsize=7, labelpad=0)
    panel.set_title(title, fontsize=8)


def middle_planes(volume: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """An axial and a sagittal plane through the brain."""
    return volume[0, :, :, int(volume.shape[3] * 0.56)], volume[0, volume.shape[1] // 2 - 6]


def kinds(head: MetaTensor, path: Path) -> None:
    """Each kind at 2 mm in an MP-RAGE: its course, an axial and a sagittal plane."""
    figure = Figure(figsize=(11, 4.8), dpi=80, layout="constrained")
    panels = figure.subplots(3, len(KINDS) + 1, height_ratios=[0.55, 1.1, 1])
    brightest = float(head.max()) * 0.8
    panels[0, 0].axis("off")
    for panel, plane in zip(panels[1:, 0], middle_planes(head), strict=True):
        show(panel, plane, brightest, "clean")
    for column, kind in zip(panels.T[1:], KINDS, strict=True):
        motion = MRMotion(severity=2, kinds=kind, sequence="mp_rage")
        motion.set_random_state(4)
        moved = motion(head)
        draw_course(column[0], motion.parameters or {}, kind)
        for panel, plane in zip(column[1:], middle_planes(moved), strict=True):
            show(panel, plane, brightest, "")
    lines, names = panels[0, 1].get_legend_handles_labels()
    panels[0, 0].legend(lines, names, fontsize=7, ncols=2, loc="center", frameon=False, title="degrees and mm")
    panels[0, 0].get_legend().get_title().set_fontsize(7)
    figure.savefig(path)


def severities(head: MetaTensor, path: Path) -> None:
    """The same walk of the head at 1, 2 and 4 mm, in slices and in 3D, and what it changed."""
    thick = head[..., ::2]
    figure = Figure(figsize=(8.4, 8.6), dpi=70, layout="constrained")
    panels = figure.subplots(4, 4)
    brightest = float(head.max()) * 0.8
    for row, image, sequence in ((0, thick, "turbo_spin_echo"), (2, head, "mp_rage")):
        clean = middle_planes(image)[0]
        for column, severity in zip(panels.T, (0, 1, 2, 4), strict=True):
            motion = MRMotion(severity=severity, kinds="walk", sequence=sequence)
            motion.set_random_state(2)
            plane = middle_planes(motion(image))[0]
            show(column[row], plane, brightest, f"{sequence}, {severity} mm")
            show(column[row + 1], (plane - clean).abs(), brightest / 2, "difference, twice as bright")
    figure.savefig(path)


def sequences(head: MetaTensor, path: Path) -> None:
    """The same movement in several sequences: one step after 30 % of the scan."""
    step = [[0.0] * 7, [0.3, *[0.0] * 6], [0.301, 2, 1, 5, 1.5, -2, 1], [1.0, 2, 1, 5, 1.5, -2, 1]]
    choices: dict[str, tuple[Slices | Partitions, torch.Tensor]] = {
        "turbo spin echo, slices": (SEQUENCES["turbo_spin_echo"], head[..., ::2]),
        "spin echo, slices": (SEQUENCES["spin_echo"], head[..., ::2]),
        "MP-RAGE, lines linear": (SEQUENCES["mp_rage"], head),
        "MP-RAGE, lines centric": (Partitions(order="centric"), head),
    }
    figure = Figure(figsize=(10, 2.9), dpi=85, layout="constrained")
    panels = figure.subplots(1, len(choices) + 1)
    brightest = float(head.max()) * 0.8
    show(panels[0], middle_planes(head)[0], brightest, "clean")
    with TemporaryDirectory() as folder:
        table = Path(folder) / "step.csv"
        table.write_text("\n".join(["fraction,rx,ry,rz,tx,ty,tz", *(",".join(map(str, row)) for row in step)]))
        for panel, (title, (sequence, image)) in zip(panels[1:], choices.items(), strict=True):
            moved = MRMotion(table=table, sequence=sequence)(image)
            show(panel, middle_planes(moved)[0], brightest, title)
    figure.savefig(path)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for the pictures.")],
    spacing: Annotated[float, typer.Option(help="Voxel size of the phantom in mm.")] = SPACING,
) -> None:
    """Draw them all."""
    folder.mkdir(parents=True, exist_ok=True)
    phantom = HeadPhantom(0, spacing=spacing)
    volume = torch.from_numpy(phantom.images(["T1"])["T1"])[None]
    head = MetaTensor(volume, affine=torch.from_numpy(phantom.affine))
    for draw in (sequences, severities, kinds):
        path = folder / f"mr-motion-{draw.__name__}.png"
        draw(head, path)
        picture = Image.open(path).convert("RGB")
        picture = picture.quantize(128) if draw is kinds else picture.convert("L").quantize(64)
        picture.save(path, optimize=True)


if __name__ == "__main__":
    typer.run(main)
