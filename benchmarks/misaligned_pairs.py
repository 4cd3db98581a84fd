"""What misaligned training pairs cost, and what registration during training gives back, on phantoms.

    python benchmarks/misaligned_pairs.py RESULTS --misalignment 0 --misalignment 8 --seeds 2 --cohort 7

Targets of the training heads are deformed in the plane by known smooth random fields; the heads that judge are aligned.
Every method trains the same U-block for the same number of steps on the same batches. A run whose rows are in
RESULTS/results.csv is not trained again: an interrupted study goes on, and one folder takes several studies.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
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

from medtrans.benchmark.statistics import Interval, paired
from medtrans.cohorts import Cases, write_phantom_cohort
from medtrans.files import written_whole
from medtrans.losses import L1, Adversarial, LossTerm, Observed, Registered
from medtrans.methods import Batch, PairedTranslation
from medtrans.methods.method import Loss
from medtrans.networks import DeformationNet, PatchDiscriminator, UBlock
from medtrans.simulate.misalignment import displaced, smooth_displacement

matplotlib.use("Agg")
METHODS = ("l1", "l1 registered", "pix2pix", "pix2pix registered")
QUALITY = {"PSNR": True, "SSIM": True, "MAE": False}  # whether higher is better
JUDGES = ("validation", "test")  # nothing is chosen by a run, so both splits judge it
BATCH = ("source", "target", "mask")


@dataclass(frozen=True)
class Run:
    """One training: what decides its result.

    Attributes:
        spacing: voxel size of the phantoms in mm.
        cohort: seed of the phantoms.
        heads: how many phantoms.
        steps: batches of 8 slices.
        scale: smoothness of the deformations in mm.
        misalignment: their root mean square length in mm.
        seed: of the deformations, the networks and the order of the slices.
        method: one of ``METHODS``.
    """

    spacing: float
    cohort: int
    heads: int
    steps: int
    scale: float
    misalignment: float
    seed: int
    method: str

    @property
    def size(self) -> int:
        """Side of a slice in voxels, a multiple of 8."""
        return int(np.ceil(224 / self.spacing / 8) * 8)


KEYS = list(Run.__dataclass_fields__)
CONDITION = [key for key in KEYS if key not in ("seed", "method")]


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


def slices(
    cohort: Cases, splits: tuple[str, ...], size: int, millimetres: float = 0, scale: float = 35, seed: int = 0
) -> dict[str, Tensor]:
    """Axial slices with a tenth of body or more, ``(N, 1, size, size)``, and the ``head`` of each, ``(N,)``.

    Targets are deformed by ``field``, ``(N, 2, size, size)`` in voxels, of a root mean square of ``millimetres``.
    """
    found: dict[str, list[Tensor]] = {}
    for number, case in enumerate(cohort):
        if case.split not in splits:
            continue
        assert case.mask is not None
        mask = np.asarray(nibabel.load(case.mask).dataobj)
        images = {"mask": mask[None], "field": np.zeros((2, *mask.shape))}
        for key, modality in (("source", "T1"), ("target", "T2")):
            volume, window = np.asarray(nibabel.load(case.volumes[modality]).dataobj), case.windows[modality]
            if key == "target" and millimetres:
                field = smooth_displacement(mask.shape, case.spacing, millimetres, scale, seed * 1000 + number, (0, 1))
                volume, images["field"] = displaced(volume, field, case.spacing), field[:2] / case.spacing[0]
            images[key] = np.clip((volume - window.lower) / (window.upper - window.lower) * 2 - 1, -1, 1)[None]
        for k in np.flatnonzero(mask.mean(axis=(0, 1)) > 0.1):
            for key, image in images.items():
                plane = torch.tensor(image[:, :size, :size, k], dtype=torch.float32)
                wanted = (0, size - plane.shape[2], 0, size - plane.shape[1])
                found.setdefault(key, []).append(pad(plane, wanted, value=-1.0 if key in ("source", "target") else 0.0))
            found.setdefault("head", []).append(torch.tensor(number))
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
        logged.append(method.update([{key: data[key][chosen] for key in BATCH}], stepper))
    last = pd.DataFrame([{k: v.item() for k, v in row.items()} for row in logged[-max(1, steps // 10) :]])
    return {str(key): float(value) for key, value in last.mean().items()}


def judge(method: PairedTranslation, data: dict[str, Tensor]) -> pd.DataFrame:
    """PSNR in dB, SSIM, and MAE inside the body, on the [-1, 1] scale: means over the slices of each head."""
    with torch.no_grad():
        output = method.generator(data["source"])
    error, mask = output - data["target"], data["mask"]
    values = {
        "head": data["head"],
        "PSNR": 10 * torch.log10(4 / error.square().flatten(1).mean(1)),
        "SSIM": SSIMMetric(spatial_dims=2, data_range=2.0)(output, data["target"]).flatten(),
        "MAE": (error.abs() * mask).flatten(1).sum(1) / mask.flatten(1).sum(1),
    }
    return pd.DataFrame({key: value.numpy() for key, value in values.items()}).groupby("head").mean()


def undone(method: PairedTranslation, data: dict[str, Tensor]) -> dict[str, float]:
    """How well the registration knows the true field on training pairs: error and length in voxels, inside the body."""
    if "registered" not in method.losses.terms:
        return {}
    term = method.losses.terms["registered"]
    assert isinstance(term, Registered)
    with torch.no_grad():
        field = term.registration(method.generator(data["source"]), data["target"])
    inside = data["mask"][:, 0] > 0
    true, error = data["field"].norm(dim=1)[inside].mean(), (field - data["field"]).norm(dim=1)[inside].mean()
    return {"true_displacement": true.item(), "field_error": error.item()}


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
    pyplot.close(figure)


class Study:
    """One folder of results: what is done already, the phantoms, and the summary."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "results.csv"
        self.rows = pd.read_csv(self.path) if self.path.is_file() else pd.DataFrame(columns=KEYS)
        self._cohorts: dict[tuple, Cases] = {}

    def cohort(self, run: Run) -> Cases:
        """The phantoms of a run, written once."""
        key = (run.heads, run.spacing, run.cohort)
        if key not in self._cohorts:
            place = self.folder / f"{run.heads}-heads-{run.spacing:g}mm-cohort{run.cohort}"
            self._cohorts[key] = write_phantom_cohort(place, run.heads, ("T1", "T2"), run.spacing, run.cohort)
        return self._cohorts[key]

    def done(self, run: Run) -> bool:
        """Whether the table has it."""
        return bool(len(self.rows) and (self.rows[KEYS] == pd.Series(asdict(run))).all(axis=1).any())

    def carry_out(self, runs: list[Run]) -> None:
        """Train and judge runs of the same data; those that are done are skipped."""
        missing = [run for run in runs if not self.done(run)]
        one = runs[0]
        drawn = self.folder / f"pairs-{one.spacing:g}mm-{one.scale:g}mm-{one.misalignment:g}mm.png"
        to_draw = one.misalignment > 0 and not drawn.is_file() and {"l1", "l1 registered"} <= {r.method for r in runs}
        if not missing and not to_draw:
            return
        data = slices(self.cohort(one), ("train",), one.size, one.misalignment, one.scale, one.seed)
        held_out, trained = slices(self.cohort(one), JUDGES, one.size), {}
        for run in runs:
            if run in missing or (to_draw and run.method in ("l1", "l1 registered")):
                trained[run.method] = self._train(run, data, held_out)
        if to_draw:
            picture(drawn, trained, held_out, data, one.spacing)

    def _train(self, run: Run, data: dict[str, Tensor], held_out: dict[str, Tensor]) -> PairedTranslation:
        method, start = build(run.method, run.seed), time.process_time()
        logged = train(method, data, run.steps, run.seed)
        found = asdict(run) | {"seconds": time.process_time() - start} | undone(method, data)
        found |= {key: value for key, value in logged.items() if key.startswith("registered_")}
        rows = judge(method, held_out).reset_index().assign(**found)
        if not self.done(run):
            self.rows = pd.concat([self.rows, rows], ignore_index=True) if len(self.rows) else rows
            with written_whole(self.path) as temporary:
                self.rows.to_csv(temporary, index=False)
        quality = ", ".join(f"{name} {rows[name].mean():.4g}" for name in QUALITY)
        typer.echo(f"{', '.join(f'{k} {v}' for k, v in asdict(run).items())}: {quality}, {found['seconds']:.0f} s")
        return method


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over heads of each run, then mean and SD over the runs; the registration's field in voxels; CPU seconds."""
    kept = [*QUALITY, "seconds", *(c for c in rows if c.startswith(("registered_", "true_", "field_")))]
    runs = rows.groupby(KEYS)[kept].mean().reset_index()
    lines = []
    for key, group in runs.groupby([*CONDITION, "method"]):
        line = dict(zip([*CONDITION, "method"], key, strict=True)) | {"runs": len(group)}
        spread = group[list(QUALITY)].std()
        line |= {name: f"{group[name].mean():.4g} ± {spread[name]:.2g}" for name in QUALITY}
        others = {name: group[name].mean() for name in kept if name not in QUALITY}
        lines.append(line | {name: "" if np.isnan(value) else f"{value:.3g}" for name, value in others.items()})
    return pd.DataFrame(lines)


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """Registered minus plain, head by head: the mean over the runs of each head, and its interval over the heads."""
    lines = []
    for plain in ("l1", "pix2pix"):
        for key, group in rows.groupby(CONDITION):
            both = [
                group[group["method"] == name].set_index(["seed", "head"]) for name in (plain, f"{plain} registered")
            ]
            seeds = set(both[0].index.get_level_values(0)) & set(both[1].index.get_level_values(0))
            if not seeds:
                continue
            line = dict(zip(CONDITION, key, strict=True)) | {"method": plain, "runs": len(seeds)}
            for name, higher in QUALITY.items():
                values = [table[name].loc[sorted(seeds)] for table in both]
                base, other = ({str(k): v for k, v in one.groupby("head").mean().items()} for one in values)
                found = paired(other, base, higher)
                of_runs = (values[1] - values[0]).groupby("seed").mean()
                won = int((of_runs > 0).sum() if higher else (of_runs < 0).sum())
                line[name] = said(found.difference)
                line[f"{name} better"] = f"{found.better}/{found.subjects} heads, {won}/{len(seeds)} runs"
            lines.append(line)
    return pd.DataFrame(lines)


def said(found: Interval) -> str:
    """``+0.31 [0.2, 0.4]``."""
    return f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"


def markdown(table: pd.DataFrame) -> str:
    """The table, without the columns of a run's setting that are the same in all of it."""
    same = [key for key in CONDITION if len(table) > 1 and table[key].nunique() == 1]
    shown = table.drop(columns=same)
    lines = [list(map(str, shown)), ["---"] * shown.shape[1], *shown.astype(str).to_numpy().tolist()]
    constant = ", ".join(f"{key} {table[key].iloc[0]:g}" for key in same)
    return "\n".join([constant, "", *(f"| {' | '.join(line)} |" for line in lines)])


def conditions(first: Run, scales: list[float], levels: list[float], seeds: int, names: list[str]) -> Iterator:
    """The runs that share their data, in the order in which they are trained."""
    for scale, seed, millimetres in product(scales, range(1, seeds + 1), levels):
        of_data = replace(first, scale=scale, seed=seed, misalignment=millimetres)
        yield [replace(of_data, method=name) for name in names]


def main(
    output: Annotated[Path, typer.Argument(help="Folder for the phantoms, the tables and the pictures.")],
    misalignment: Annotated[list[float] | None, typer.Option(help="RMS displacement in mm; repeatable.")] = None,
    scale: Annotated[list[float] | None, typer.Option(help="Smoothness of the fields in mm; repeatable.")] = None,
    method: Annotated[list[str] | None, typer.Option(help=f"Any of {', '.join(METHODS)}; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each.")] = 3,
    steps: Annotated[int, typer.Option(help="Batches of 8 slices.")] = 1000,
    heads: Annotated[int, typer.Option(help="Phantoms.")] = 40,
    cohort: Annotated[int, typer.Option(help="Seed of the phantoms; 0 is where the defaults were chosen.")] = 0,
    spacing: Annotated[float, typer.Option(help="Voxel size in mm.")] = 7.0,
) -> None:
    """Train, judge, and write results.csv (a row a run and head), summary.md and a picture of each kind of field."""
    torch.set_num_threads(1)
    study, first = Study(output), Run(spacing, cohort, heads, steps, 0.0, 0.0, 0, "")
    for runs in conditions(
        first, scale or [35.0], misalignment or [0.0, 2.0, 4.0, 8.0], seeds, list(method or METHODS)
    ):
        study.carry_out(runs)
    text = f"{markdown(means(study.rows))}\n\nRegistered minus plain\n\n{markdown(differences(study.rows))}\n"
    (output / "summary.md").write_text(text, encoding="utf-8")
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
