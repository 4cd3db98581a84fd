"""A task on all of a data set, written once: the degraded modality beside the clean one."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import os
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.data import MetaTensor

from medtrans.cohorts.case_picture import case_picture
from medtrans.cohorts.cases import Case, Cases
from medtrans.cohorts.epochs import seed_of
from medtrans.cohorts.modalities import _recipe
from medtrans.cohorts.nifti import write_nifti
from medtrans.cohorts.tasks import Task, image_of
from medtrans.errors import InputError
from medtrans.files import check_writable, remove_abandoned, written_whole
from medtrans.jobs import local_workers, reason, run_jobs
from medtrans.progress import progress
from medtrans.transforms.fit_window import FitWindowd
from medtrans.transforms.mapped_nifti import MappedNifti
from medtrans.transforms.read_slices import ReadVolumes
from medtrans.transforms.window import Window

logger = logging.getLogger(__name__)
FORMAT = 2
SECTION = "simulated"  # of recipe.json and of the sidecars
Record = dict[str, Any]
PIECE = 1 << 16  # bytes
CARRIED = ("kind", "unit", "intensity", "background", "interpolation", "clamp", "threshold", "not_finite")


@dataclass(frozen=True)
class _Job:
    """What a worker needs for one case.

    Args:
        case: the clean one.
        task: what becomes of it.
        rule: configuration of the clean modality's intensity rule.
        root: the new data set.
        seed: of the run.
        draws: how many degraded volumes.
        device: where the degradation is computed.
    """

    case: Case
    task: Task
    rule: Mapping[str, Any]
    root: Path
    seed: int
    draws: int
    device: str


def simulate_dataset(
    task: Task,
    dataset_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    seed: int = 0,
    draws: int = 1,
    workers: int | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """Write the data set again with the task's degraded modality beside the clean one.

    Whole volumes are degraded. ``output_dir`` then is a data set of its own (``cases.csv``, ``recipe.json``, all
    volumes of every case) with ``<case>/<degraded>.nii``, its parameters in ``<case>/<degraded>.json``,
    ``qa/<case>.png``, and ``simulate.csv`` with every case, good or failed. What an earlier run finished is kept as
    long as task, seed and clean volume are the same. What is drawn depends on seed, case name and draw alone.

    Args:
        task: see :class:`medtrans.cohorts.tasks.Task`.
        dataset_dir: data set with the clean modality.
        output_dir: new, empty, or of an earlier run of the same settings; more draws may be asked for, and the clean
            data set may have more cases than before.
        seed: another one, other draws.
        draws: degraded volumes a case; from the second on they are cases ``<case>_draw2``, … of the same subject.
        workers: local processes, see :func:`medtrans.jobs.local_workers`.
        device: where to compute, such as ``"cuda"``.

    Returns:
        What ``simulate.csv`` says: case, subject, split, status (``ok`` or ``failed``), reason, kept, seconds, and the
        parameters that are plain values.

    Raises:
        InputError: the run cannot start.
    """
    if seed < 0 or draws < 1:
        raise InputError(f"seed {seed}, draws {draws}", "are out of range", "Use a seed from 0 and a draw or more")
    cases, root = Cases.read(dataset_dir), Path(output_dir).expanduser().resolve()
    if root.is_relative_to(cases.root) or cases.root.is_relative_to(root):
        raise InputError(root, "is or holds the clean data set, or lies in it", "Choose a folder of its own")
    _check_names(cases, draws)
    recipe = _new_recipe(cases, task, seed)
    check_writable(root)
    _claim(root, recipe)
    rule = recipe["modalities"][task.degraded]["intensity"]
    jobs = [_Job(case, task, rule, root, seed, draws, device) for case in cases]
    results = run_jobs(_simulated, jobs, local_workers(len(jobs), workers))
    found: dict[str, list[Record] | Exception] = {}
    for job, result in progress(results, f"simulating {task.name}", total=len(jobs)):
        found[job.case.name] = result
        if isinstance(result, Exception):
            logger.warning("%s: %s", job.case.name, reason(result))
    return _write(root, cases, task, found)


def simulation_summary(table: pd.DataFrame, output_dir: str | os.PathLike[str]) -> str:
    """What a run did, in a few lines; the first failures with their reasons."""
    failed, kept = table[table["status"] == "failed"], int(table["kept"].sum())
    good = len(table) - len(failed)
    lines = [
        f"{good} of {len(table)} cases simulated in {output_dir}" + f", {kept} of them kept from before" * (kept > 0)
    ]
    lines += [f"failed: {row['case']}: {row['reason']}" for row in failed.head(10).to_dict("records")]
    more = [f"all failures: {Path(output_dir) / 'simulate.csv'}"] if len(failed) > 10 else []
    return "\n".join([*lines, *more])


def _check_names(cases: Cases, draws: int) -> None:
    """Refuse draws that would be called as other cases are: the data set itself holds draws already."""
    names = Counter(_row_name(case, draw) for case in cases for draw in range(1, draws + 1))
    (name, count), *_ = names.most_common(1) or [("", 0)]
    if count > 1:
        problem = f"has a case {name} already, as a further draw would be called"
        raise InputError(cases.root, problem, "Use --draws 1, or simulate the clean set")


def _new_recipe(cases: Cases, task: Task, seed: int) -> dict[str, Any]:
    """The clean data set's recipe with the new modality, and what it was made by."""
    recipe = _recipe(cases.root / "recipe.json")
    if task.source not in cases.modalities or task.source not in recipe["modalities"]:
        known = ", ".join(cases.modalities) or "no modality at all"
        remedy = f"It has {known}: choose one with --set target=…"
        raise InputError(cases.root, f"has no modality {task.source!r}, which {task.name} degrades", remedy)
    for name in set(task.makes) & set(cases.modalities):
        remedy = "Choose another name with --set source_name=… or target_name=…"
        raise InputError(cases.root, f"has a modality {name!r} already", remedy)
    clean = recipe["modalities"][task.source]
    if "intensity" not in clean or "background" not in clean:
        problem = f"states no intensity rule or no background for {task.source!r}"
        raise InputError(cases.root / "recipe.json", problem, "Prepare the data set again")
    new = {name: {key: clean[key] for key in CARRIED if key in clean} for name in task.makes}
    made = {"format": FORMAT, "task": task.name, "seed": seed, "config": task.record}
    made |= {"phantom": recipe.pop("phantom")} if "phantom" in recipe else {}  # the new folder is no phantom cohort
    made |= {"before": recipe.pop(SECTION)} if SECTION in recipe else {}  # how the data set had been made
    made["cases"] = {case.name: _identity(case, task.source) for case in cases}
    return {**recipe, "modalities": {**recipe["modalities"], **new}, SECTION: made}


def _claim(root: Path, recipe: Mapping[str, Any]) -> None:
    """Write recipe.json into an empty folder; refuse a folder that holds anything but an earlier part of this."""
    path, remedy = root / "recipe.json", "Choose another folder, or delete this one"
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8")).get(SECTION)
        except (OSError, ValueError, AttributeError):
            before = None
        if not isinstance(before, dict):
            raise InputError(root, "holds another data set, not a simulated one", remedy)
        if problem := _difference(before, recipe[SECTION]):
            raise InputError(root, f"holds a simulation of other {problem}", remedy)
    elif root.is_dir() and any(not entry.name.startswith(".") for entry in root.iterdir()):
        raise InputError(root, "is not empty, and holds no simulated data set", remedy)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")


def _difference(before: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What a run before this one had that makes it another; empty where this one may go on with it."""
    keys = dict.fromkeys(key for part in (new, before) for key in part if key != "cases")
    if differing := [key for key in keys if before.get(key) != new.get(key)]:
        plain = [key for key in differing if not isinstance(new.get(key, before.get(key)), dict)]
        told = "; ".join(f"{key} {before.get(key)} instead of {new.get(key)}" for key in plain)
        return f"settings ({told or _differing(before, new) or ', '.join(differing)})"
    missing = [name for name in before["cases"] if name not in new["cases"]]
    same = [name for name, identity in before["cases"].items() if new["cases"].get(name) == identity]
    if missing:
        return f"cases ({', '.join(missing[:5])} {'…, ' * (len(missing) > 5)}not in the clean data set)"
    return "" if same else "cases (of the same names)"


def _identity(case: Case, modality: str) -> str:
    """Of the subject and of some voxels from the middle of its clean volume, whatever the times of the files."""
    digest = hashlib.sha256(case.subject.encode())
    if modality in case.volumes:
        with case.volumes[modality].open("rb") as file:
            file.seek(max(0, (file.seek(0, os.SEEK_END) - PIECE) // 2))
            digest.update(file.read(PIECE))
    return digest.hexdigest()[:16]


def _differing(before: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The ids of two tasks' configs that differ."""
    configs = [part.get("config") or {} for part in (before, new)]
    keys = dict.fromkeys(key for config in configs for key in config)
    return ", ".join(key for key in keys if configs[0].get(key) != configs[1].get(key))


def _simulated(job: _Job) -> list[Record]:
    """The draws of one case, those that an earlier run finished among them; a record each."""
    folder = job.root / job.case.name
    remove_abandoned(folder)
    if job.task.source not in job.case.volumes:
        raise InputError(f"case {job.case.name}", f"has no {job.task.source}", "Complete it, or leave it out")
    marks = [_fingerprint(job, draw) for draw in range(1, job.draws + 1)]
    records = [_finished(job, draw, mark) for draw, mark in enumerate(marks, 1)]
    if not all(records):
        with _no_copies_of_failures(job, records):
            clean, beside = _read(job)
            for path, copy in _copies(job.case, job.root):
                with written_whole(copy) as temporary:
                    shutil.copyfile(path, temporary)
            for draw, (mark, record) in enumerate(zip(marks, records, strict=True), 1):
                records[draw - 1] = record or _one_draw(job, draw, mark, clean, beside)
    return [record for record in records if record]


@contextlib.contextmanager
def _no_copies_of_failures(job: _Job, records: list[Record | None]) -> Iterator[None]:
    """Where a case fails before any of its draws is finished, its copied volumes are removed: they may be the cause.

    With them go draws that an earlier run made of other volumes under its name.
    """
    try:
        yield
    except Exception:
        if not any(records):
            for path in _drawn(job):
                path.unlink(missing_ok=True)
            for _, copy in _copies(job.case, job.root):
                copy.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                (job.root / job.case.name).rmdir()
        raise


def _drawn(job: _Job) -> Iterator[Path]:
    """All files of the case's draws, however many an earlier run asked for; first those that mark one as finished."""
    for draw in itertools.count(1):
        volumes = [_path(job.root, job.case, name, draw) for name in job.task.makes]
        files = [*(path.with_suffix(".json") for path in volumes), *volumes]
        if draw > job.draws and not any(path.is_file() for path in files):
            return
        yield from (*files, job.root / "qa" / f"{_row_name(job.case, draw)}.png")


def _one_draw(job: _Job, draw: int, mark: str, clean: MetaTensor, beside: Mapping[str, MetaTensor]) -> Record:
    """Degrade, scale, draw the picture, and write; last of all the sidecar that marks the draw as finished."""
    start, seed = time.perf_counter(), seed_of(job.seed, zlib.crc32(job.case.name.encode()), draw)
    try:
        made = job.task.degrade(clean, seed, beside, _unit(job))
    except ValueError as error:
        problem = f"cannot be degraded: {error}"
        raise InputError(f"case {job.case.name}", problem, "Look at it, or leave it out") from error
    images = {name: np.asarray(one.image[0].cpu(), dtype=np.float32) for name, one in made.items()}
    windows = {name: _window(job, name, one.image) for name, one in made.items()}
    _draw_picture(job, _row_name(job.case, draw), clean, images, windows)
    for name in reversed(job.task.makes):
        path = _path(job.root, job.case, name, draw)
        write_nifti(path, images[name], clean.affine.numpy())
        told = {"task": job.task.name, "from": job.task.source, "draw": draw, "seed": seed}
        record = {
            "unit": windows[name].unit,
            SECTION: {**told, "degradations": made[name].degradations},
            "windows": {name: window.record() for name, window in windows.items()},
            "fingerprint": mark,
        }
        with written_whole(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record | {"kept": False, "seconds": round(time.perf_counter() - start, 2)}


def _unit(job: _Job) -> str:
    """Of the clean volume, as the data set says it."""
    window = job.case.windows.get(job.task.source)
    return window.unit if window else ""


def _window(job: _Job, name: str, image: torch.Tensor) -> Window:
    """As a new scan of that kind would get it."""
    item = FitWindowd("source", [job.rule])({"case": f"{job.case.name}, {name}", "source": image.cpu()})
    return Window(*item["windows"]["source"][0])


def _draw_picture(
    job: _Job, name: str, clean: MetaTensor, made: Mapping[str, np.ndarray], windows: Mapping[str, Window]
) -> None:
    """Clean, what was made of it, and the difference of degraded and reference, in three planes."""
    task = job.task
    volumes = {task.source: np.asarray(clean[0].cpu()), **made}
    volumes["difference"] = made[task.degraded] - volumes[task.reference]
    window = windows[task.degraded]
    width = (window.upper - window.lower) / 4
    shown = {task.source: job.case.windows[task.source], **windows, "difference": Window(-width, width, window.unit)}
    mask = np.ones(clean.shape[1:]) if job.case.mask is None else MappedNifti.open(job.case.mask).volume()
    spacing = [float(step) for step in clean.pixdim]
    case_picture(job.root / "qa" / f"{name}.png", volumes, shown, mask, spacing, f"{name} ({job.case.split})")


def _read(job: _Job) -> tuple[MetaTensor, dict[str, MetaTensor]]:
    """The clean volume and the companions that the case has, checked to lie on its grid, on the job's device."""
    names = [job.task.source, *(name for name in job.task.companions if name in job.case.volumes)]
    channels = ReadVolumes()([job.case.volumes[name] for name in names])
    images = [image_of(channel.numpy(), channels.affine.numpy(), job.device) for channel in channels.as_tensor()]
    return images[0], dict(zip(names[1:], images[1:], strict=True))


def _copies(case: Case, root: Path) -> list[tuple[Path, Path]]:
    """Every file of the case, and where its copy goes."""
    maps = {"mask": case.mask, "label": case.label}
    files = {**case.volumes, **{name: path for name, path in maps.items() if path}}
    return [(path, _copy(root, case, name, path)) for name, path in files.items()]


def _copy(root: Path, case: Case, name: str, path: Path) -> Path:
    return root / case.name / f"{name}{'.nii.gz' if path.name.lower().endswith('.gz') else '.nii'}"


def _row_name(case: Case, draw: int) -> str:
    return case.name if draw == 1 else f"{case.name}_draw{draw}"


def _path(root: Path, case: Case, name: str, draw: int) -> Path:
    """Of a volume that was made; its sidecar has the same name."""
    return root / case.name / f"{name}{'' if draw == 1 else f'_draw{draw}'}.nii"


def _fingerprint(job: _Job, draw: int) -> str:
    """Changes with the task, the seed and the files that the case is made from."""
    stamps = {path.name: [(state := path.stat()).st_size, state.st_mtime_ns] for path, _ in _copies(job.case, job.root)}
    content = [FORMAT, job.task.record, job.rule, job.seed, job.case.name, draw, stamps]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _finished(job: _Job, draw: int, mark: str) -> Record | None:
    """The record of a draw that an earlier run finished with the same fingerprint."""
    paths = [_path(job.root, job.case, name, draw) for name in job.task.makes]
    try:
        record = json.loads(paths[0].with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(record, dict) and record.get("fingerprint") == mark
    return record | {"kept": True} if same and all(path.is_file() for path in paths) else None


def _write(root: Path, cases: Cases, task: Task, found: Mapping[str, list[Record] | Exception]) -> pd.DataFrame:
    """``simulate.csv``, then ``cases.csv``; an old one does not survive a run without a good case."""
    rows, good = [], []
    for case in cases:
        result = found[case.name]
        who = {"subject": case.subject, "split": case.split}
        if isinstance(result, Exception):
            rows.append({"case": case.name, **who, "status": "failed", "reason": reason(result), "kept": False})
            continue
        for draw, record in enumerate(result, 1):
            name = _row_name(case, draw)
            told = {"status": "ok", "reason": "", "kept": record["kept"], "seconds": record.get("seconds", 0.0)}
            rows.append({"case": name, **who, **told, **_plain_parameters(record[SECTION]["degradations"])})
            good.append(_row(root, case, draw, name, record["windows"]))
    table = pd.DataFrame(rows)
    with written_whole(root / "simulate.csv") as temporary:
        table.to_csv(temporary, index=False)
    if good:
        Cases(root, tuple(good)).write()
    else:
        (root / "cases.csv").unlink(missing_ok=True)
    return table


def _row(root: Path, case: Case, draw: int, name: str, windows: Mapping[str, Mapping[str, Any]]) -> Case:
    """The row of ``cases.csv``: draws of one case share its clean volumes."""
    volumes = {modality: _copy(root, case, modality, path) for modality, path in case.volumes.items()}
    return replace(
        case,
        name=name,
        volumes=volumes | {modality: _path(root, case, modality, draw) for modality in windows},
        windows={**case.windows, **{modality: Window(**window) for modality, window in windows.items()}},
        mask=case.mask and _copy(root, case, "mask", case.mask),
        label=case.label and _copy(root, case, "label", case.label),
    )


def _plain_parameters(degradations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Column -> value of every parameter that is a single one; the second step of a kind is ``<kind>2``."""
    columns: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for one in degradations:
        kind = one["degradation"]
        seen[kind] += 1
        step = kind if seen[kind] == 1 else f"{kind}{seen[kind]}"
        values = {name: value for name, value in one["parameters"].items() if isinstance(value, int | float | str)}
        columns |= {f"{step}.{name}": value for name, value in values.items()}
    return columns
