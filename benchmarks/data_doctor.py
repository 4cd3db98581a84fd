"""How often `medtrans check` tells planted faults, how often it is wrong, and how long a case takes.

    medtrans phantom PHANTOMS --subjects 16 --modalities T1,T2,CT,PET --spacing 4 --seed 20
    python benchmarks/data_doctor.py PHANTOMS

Every fault is planted in memory into the second modality of a pair; the data set is not changed.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Cohort
from medtrans.cohorts.doctor.checks.alignment import Alignment
from medtrans.cohorts.doctor.fingerprint import detail, similarity_when_aligned, thumbnail
from medtrans.cohorts.doctor.listing import Listing, read_listing
from medtrans.cohorts.doctor.pair_search import PairFit, fit_pair

PAIRS = (("T1", "T2"), ("T1", "CT"), ("CT", "PET"))


def opened(listing: Listing, index: int, changed: dict[str, np.ndarray] | None = None) -> CaseVolumes:
    """A case with some of its arrays (``body``: its mask) replaced."""
    case = listing.cases[index]
    backgrounds = {name: float(listing.entry(name).get("background") or 0) for name in case.files}
    volumes = CaseVolumes(case, {m: listing.kind(m) for m in case.files}, backgrounds, next(iter(case.files)))
    for name, values in (changed or {}).items():
        key = "body" if name == "body" else ("values", name)
        volumes._made.pop(key, None)
        volumes.once(key, lambda values=values: np.ascontiguousarray(values))  # type: ignore[misc]
    return volumes


def moved(values: np.ndarray, spacing: float, motion: Rotation, shift: np.ndarray) -> np.ndarray:
    """Turned about its middle and shifted (mm); what comes in from outside is the least value."""
    turn = motion.as_matrix()
    middle = (np.array(values.shape) - 1) / 2
    offset = middle - turn @ middle - turn @ shift / spacing
    return ndimage.affine_transform(values, turn, offset, order=1, cval=float(values.min()))


def verdict(check: Alignment, listing: Listing, fit: PairFit, pair: tuple[str, str]) -> str:
    """What the check says of one fit."""
    name = listing.cases[0].name
    found = list(check.judge(Cohort(listing, {name: {pair[1]: (pair[0], fit)}})))
    return found[0].what if found else "nothing"


def tell(title: str, counts: Counter[str]) -> None:
    total = sum(counts.values())
    told = ", ".join(f"{what} {count}" for what, count in counts.most_common())
    typer.echo(f"{title:44s} {total:4d}: {told}")


def flips_and_motions(listing: Listing, check: Alignment, heads: int) -> None:
    """Clean pairs, flipped pairs, and pairs displaced by a random motion of known size."""
    generator = np.random.default_rng(0)
    for pair in PAIRS:
        clean, flipped, motions = Counter[str](), Counter[str](), dict[float, Counter[str]]()
        ratios: list[float] = []
        errors: list[float] = []
        for index in range(heads):
            case = opened(listing, index)
            values, spacing = case.values(pair[1]), float(case.spacing[0])
            fit = fit_pair(case, *pair)
            clean[verdict(check, listing, fit, pair)] += 1
            ratios.append(math.log(fit.mirrored[(0,)] / fit.best))
            mirrored = opened(listing, index, {pair[1]: np.flip(values, 0)})
            flipped[verdict(check, listing, fit_pair(mirrored, *pair), pair)] += 1
            for length in (2.0, 4.0, 6.0, 10.0):
                axis, way = generator.normal(size=(2, 3))
                turn = Rotation.from_rotvec(math.radians(length) * axis / np.linalg.norm(axis))
                shift = way * (length / np.linalg.norm(way))
                other = opened(listing, index, {pair[1]: moved(values, spacing, turn, shift)})
                found = fit_pair(other, *pair)
                motions.setdefault(length, Counter())[verdict(check, listing, found, pair)] += 1
                middle = (np.array(values.shape) - 1) / 2
                body = (np.argwhere(case.body)[::50] - middle) * spacing
                truth = np.linalg.norm(turn.apply(body) + shift - body, axis=1).mean()
                errors.append(found.displacement - float(truth))
        name = " and ".join(pair)
        tell(f"{name}, as made", clean)
        typer.echo(f"{'':8s}log ratio mirrored / as is: {min(ratios):.2f} to {max(ratios):.2f}")
        tell(f"{name}, second flipped left-right", flipped)
        for length, counts in motions.items():
            tell(f"{name}, moved by {length:g} mm and {length:g} degrees", counts)
        typer.echo(f"{'':8s}error of the displacement: median {np.median(np.abs(errors)):.1f} mm")


def symmetric_heads(listing: Listing, check: Alignment, heads: int) -> None:
    """Heads made symmetric, with noise and one lesion on the right: how large must it be for a verdict?"""
    generator = np.random.default_rng(1)
    for radius in (0, 6, 10, 15, 20):
        right, wrong = Counter[str](), Counter[str]()
        for index in range(heads):
            case = opened(listing, index)
            body = case.body | np.flip(case.body, 0)
            made: dict[str, np.ndarray] = {"body": body}
            offset = np.array([30, generator.uniform(-30, 20), generator.uniform(10, 30)])
            centre = (np.argwhere(body) * case.spacing).mean(axis=0) + offset
            places = np.indices(body.shape).transpose(1, 2, 3, 0) * case.spacing
            lesion = np.linalg.norm(places - centre, axis=-1) < radius
            for modality, level in (("T1", 30), ("T2", 90)):
                values = case.values(modality)
                symmetric = (values + np.flip(values, 0)) / 2
                noise = generator.normal(0, 0.03 * np.percentile(symmetric[body], 99), values.shape)
                seen = np.where(lesion, np.percentile(symmetric[body], level), symmetric)
                made[modality] = (seen + noise).astype(np.float32)
            right[verdict(check, listing, fit_pair(opened(listing, index, made), "T1", "T2"), ("T1", "T2"))] += 1
            made["T2"] = np.flip(made["T2"], 0)
            wrong[verdict(check, listing, fit_pair(opened(listing, index, made), "T1", "T2"), ("T1", "T2"))] += 1
        tell(f"symmetric heads, lesion of {2 * radius} mm, as made", right)
        tell(f"symmetric heads, lesion of {2 * radius} mm, flipped", wrong)


def duplicates(listing: Listing, heads: int) -> None:
    """Similarity of one head moved by 5 mm and 6 degrees with noise, and the closest pair of different heads."""
    generator = np.random.default_rng(2)
    for modality in ("T1", "T2", "CT", "PET"):
        thumbnails, same = [], []
        for index in range(heads):
            case = opened(listing, index)
            values, spacing = case.values(modality), float(case.spacing[0])
            thumbnails.append(thumbnail(case, modality))
            axis = generator.normal(size=3)
            turn = Rotation.from_rotvec(math.radians(6) * axis / np.linalg.norm(axis))
            shift = np.array([3.0, 4.0, 0.0])
            noise = generator.normal(0, 0.05 * values.std(), values.shape)
            changed = {
                modality: (moved(values, spacing, turn, shift) + noise).astype(np.float32),
                "body": moved(case.body.astype(np.float32), spacing, turn, shift) > 0.5,
            }
            same.append(similarity_when_aligned(thumbnails[-1], thumbnail(opened(listing, index, changed), modality)))
        rows = detail(np.stack(thumbnails))
        near = sorted(pairs(rows @ rows.T), reverse=True)[: 2 * heads]
        others = [similarity_when_aligned(thumbnails[i], thumbnails[j]) for _, i, j in near]
        typer.echo(
            f"{modality + ', one head twice: least similarity':44s} {min(same):.3f}; "
            f"two heads: greatest {max(others):.3f} (limit 0.87)"
        )


def pairs(similarity: np.ndarray) -> Iterator[tuple[float, int, int]]:
    for i, j in zip(*np.triu_indices(len(similarity), 1), strict=True):
        yield float(similarity[i, j]), int(i), int(j)


def seconds_a_case(folder: Path) -> None:
    """One case of two modalities with 256 x 256 x 180 voxels of 1 mm, every check, one process, reading included."""
    from medtrans.cohorts.doctor import examine

    start, busy = time.perf_counter(), time.process_time()
    examine(folder, folder.parent / "check-of-one", workers=1, pictures=0)
    typer.echo(f"{folder}: {time.perf_counter() - start:.1f} s ({time.process_time() - busy:.1f} s of processor)")


def main(
    dataset: Annotated[Path, typer.Argument(help="Phantoms with T1, T2, CT and PET.")],
    heads: Annotated[int, typer.Option(help="How many of its heads.")] = 16,
    timed: Annotated[Path | None, typer.Option(help="Another data set, of which the check is timed.")] = None,
) -> None:
    """Print one line a planted fault."""
    listing, check = read_listing(dataset), Alignment()
    heads = min(heads, len(listing.cases))
    flips_and_motions(listing, check, heads)
    symmetric_heads(listing, check, heads)
    duplicates(listing, heads)
    if timed is not None:
        seconds_a_case(timed)


if __name__ == "__main__":
    typer.run(main)
