"""How much a task's model improves degraded phantoms, by severity, and what it does to a lesion's contrast.

    python benchmarks/severity.py RESULTS --task tasks/mr_motion.json --setting severity --values 0.5,1,2,4,6

The quick MedGAN is trained on phantoms, with the degradation drawn on the fly; then other heads, each with a lesion,
are degraded at each value of the setting, and restored. What is done is kept in RESULTS: a run that was killed goes on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import pandas as pd
import torch
import typer
from monai.bundle import ConfigWorkflow
from monai.transforms import Compose, ResizeWithPadOrCropd
from torch import Tensor

from medtrans.cohorts import EpochDataset, slice_items, write_phantom_cohort
from medtrans.cohorts.recipe_file import override
from medtrans.cohorts.tasks import Task, settings_of
from medtrans.files import written_whole
from medtrans.metrics import create
from medtrans.simulate import LABELS
from medtrans.transforms import ReadSlicesd, ScaleByWindowd

matplotlib.use("Agg")
ROOT = Path(__file__).parents[1]
LESION, AROUND = ("lesion core", "lesion rim"), ("white matter", "grey matter", "deep grey matter")
STAGES = ("degraded", "restored")
Images = dict[str, Tensor]


def train(folder: Path, task: Path, settings: dict[str, Any]) -> torch.nn.Module:
    """The quick MedGAN of the task, trained, or as an earlier run left it; in evaluation mode."""
    configs = ROOT / "bundles/medgan/configs"
    files = [str(configs / name) for name in ("train.json", "quick.json")] + [str(task.resolve())]
    outputs = {"ckpt_dir": str(folder / "models"), "output_dir": str(folder / "eval")}
    flow = ConfigWorkflow(config_file=files, workflow_type="train", logging_file=False, **outputs, **settings)
    flow.initialize()
    flow.run()
    network = flow.parser.get_parsed_content("network")
    network.load_state_dict(torch.load(folder / "models/model.pt", weights_only=True))
    return network.cpu().eval()


def heads_at(cohort: Path, task: Task, size: list[int]) -> Iterator[tuple[str, Images]]:
    """Each head's slices ``(N, 1, *size)``: ``source``, ``target`` in [-1, 1], ``mask``, ``label``."""
    items = slice_items(cohort, task.source, task.source, "all", "axial", 0.1, label=True, companions=task.companions)
    images = ["source", "target"]
    chain = Compose([
        ReadSlicesd([*images, "mask"], optional=["label", *task.companions]), *task.chain.transforms,
        ScaleByWindowd(images), ResizeWithPadOrCropd(images, size, value=-1),
        ResizeWithPadOrCropd(["mask", "label"], size, value=0),
    ])  # fmt: skip
    for case in dict.fromkeys(item["case"] for item in items):
        read = EpochDataset([item for item in items if item["case"] == case], chain, seed=zlib.crc32(case.encode()))
        loaded = [read[index] for index in range(len(read))]
        yield case, {key: torch.stack([item[key] for item in loaded]) for key in (*images, "mask", "label")}


def judged(images: Images, network: torch.nn.Module) -> tuple[dict[str, Any], Tensor]:
    """PSNR and SSIM inside the body before and after, the lesion's contrast in each image; and the restored slices."""
    with torch.no_grad():
        restored = torch.cat([network(part) for part in images["source"].split(16)])
    stages = dict(zip(STAGES, (images["source"], restored), strict=True))
    row: dict[str, Any] = {}
    for metric in create(["psnr", "ssim"]):
        for stage, image in stages.items():
            stacks = (part[:, 0][None, None] if metric.name == "psnr" else part for part in (image, images["target"]))
            mask = images["mask"][:, 0][None, None] if metric.name == "psnr" else images["mask"]
            values = metric(*stacks, data_range=(-1.0, 1.0), mask=mask)
            row[f"{metric.name} {stage}"] = float(values.nanmean())
    for stage, image in {"reference": images["target"], **stages}.items():
        row[f"contrast {stage}"] = contrast(image, images["label"])
    return row, restored


def contrast(image: Tensor, label: Tensor) -> float:
    """Mean in the lesion less mean of the brain in the slices that show it, in widths of the window."""
    inside, around = (torch.isin(label, torch.tensor([LABELS[name] for name in names])) for names in (LESION, AROUND))
    shown = inside.flatten(1).any(1)
    return float(image[shown][inside[shown]].mean() - image[shown][around[shown]].mean()) / 2


def picture(path: Path, shown: list[tuple[str, Images, Tensor]], name: str) -> None:
    """The slice with most lesion of one head: degraded, restored, clean, what is left of the error; a row a value."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.9 * len(shown)), dpi=60, layout="constrained")
    axes = figure.subplots(len(shown), 4, squeeze=False)
    for row, (value, images, restored) in zip(axes, shown, strict=True):
        lesion = torch.isin(images["label"], torch.tensor([LABELS[part] for part in LESION]))
        number = int(lesion.flatten(1).sum(1).argmax())
        clean = images["target"][number, 0]
        upper = float(clean.quantile(0.995))
        columns = {"degraded": images["source"][number, 0], "restored": restored[number, 0], "reference": clean}
        for panel, (title, image) in zip(row, columns.items(), strict=False):
            panel.imshow(image.T, cmap="gray", vmin=-1, vmax=upper, origin="lower")
            panel.contour(lesion[number, 0].T, levels=[0.5], colors="tab:orange", linewidths=0.5)
            panel.set_title(title, fontsize=8)
        span = (upper + 1) / 4
        row[3].imshow((restored[number, 0] - clean).T, cmap="coolwarm", vmin=-span, vmax=span, origin="lower")
        row[3].set_title("restored − reference", fontsize=8)
        row[0].set_ylabel(f"{name} {value}", fontsize=8)
    for panel in axes.flat:
        panel.set_xticks([])
        panel.set_yticks([])
    with written_whole(path) as temporary:
        figure.savefig(temporary)


def summary(rows: pd.DataFrame, name: str) -> str:
    """A table in Markdown: means over heads; contrasts as the share of the reference's that fits all best."""
    lines = [f"| {name} | PSNR, dB | restored | SSIM | restored | contrast left | restored |", "|---:|" + "---:|" * 6]
    for value, part in rows.groupby("value", sort=False):
        clean = part["contrast reference"]
        left = [(part[f"contrast {stage}"] * clean).sum() / (clean**2).sum() for stage in STAGES]
        cells = [f"{part[f'{metric} {stage}'].mean():.{2 if metric == 'psnr' else 3}f}"
                 for metric in ("psnr", "ssim") for stage in STAGES]  # fmt: skip
        lines.append(f"| {value} | {' | '.join([*cells, *(f'{share:.2f}' for share in left)])} |")
    return "\n".join(lines)


def main(
    results: Annotated[Path, typer.Argument(help="Folder of the model, results.csv and the picture.")],
    task: Annotated[Path, typer.Option(help="The task's file.")] = ROOT / "tasks/mr_motion.json",
    setting: Annotated[str, typer.Option(help="Id in it whose values are compared.")] = "severity",
    values: Annotated[str, typer.Option(help="With commas.")] = "0.5,1,2,3,4,6",
    settings: Annotated[list[str] | None, typer.Option("--set", help="id=value of the training; repeatable.")] = None,
    heads: Annotated[int, typer.Option(min=1, help="That are judged; none was trained on.")] = 6,
    modality: Annotated[str, typer.Option(help="Of the heads, with companions, with commas.")] = "T1",
    spacing: Annotated[float, typer.Option(help="Voxel size of the heads in mm.")] = 3.5,
) -> None:
    """Train, degrade, restore, judge; print the table."""
    chosen = dict(override(text) for text in settings or [])
    network = train(results, task, chosen)
    size, kept = chosen.get("image_size", [64, 64]), settings_of(task, chosen)
    cohort = results / "heads"
    write_phantom_cohort(cohort, heads, modality.split(","), spacing, seed=1, lesions=True)
    file, shown = results / "results.csv", []
    done = pd.read_csv(file, dtype={"value": str}) if file.is_file() else pd.DataFrame({"value": [], "head": []})
    for value in values.split(","):
        rows = []
        for head, images in heads_at(cohort, Task.read(task, kept | {setting: float(value)}), size):
            row, restored = judged(images, network)
            rows.append({"value": value, "head": head, **row})
            if len(rows) == 1:
                shown.append((value, images, restored))
            if value in set(done["value"]):
                break  # an earlier run has judged the others
        else:
            done = pd.concat([done, pd.DataFrame(rows)], ignore_index=True)
            with written_whole(file) as temporary:
                done.to_csv(temporary, index=False)
    picture(results / f"{task.stem}.png", shown[:: max(1, len(shown) // 3)][:3], setting)
    typer.echo(summary(done, setting))


if __name__ == "__main__":
    typer.run(main)
