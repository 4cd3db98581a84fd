"""Whether the files of a case lie on one grid, that of the table and of the recipe, along right-front-up axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import nibabel
import numpy as np

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import WARNING, Finding
from medtrans.cohorts.doctor.listing import Listed, Listing
from medtrans.cohorts.volumes import world_corners

AGAIN = "Prepare the case again"


class Geometry(Check):
    """Shapes, affines, sform against qform, spacing, axes and units, as the headers state them."""

    name = "geometry"
    title = "shapes, positions, spacing and axes that disagree"
    order = 30
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "apart_mm": Threshold(0.1, "mm", "how far corners of two files of a case, or of sform and qform, may be apart"),
        "spacing_mm": Threshold(0.001, "mm", "how far a file's spacing may be from the table's and the recipe's"),
        "oblique_degrees": Threshold(0.5, "degrees", "how far axes may be turned away from right, front and up"),
    }

    def measure(self, case: CaseVolumes) -> dict[str, dict[str, Any]]:
        """File -> what its header says."""
        return {name: _header(case, name) for name in [*case.modalities, *_extra(case)]}

    def columns(self, measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | str]]:
        """Shape, spacing and axes of every file."""
        return {
            name: {
                "shape": " ".join(str(n) for n in told["shape"]),
                "spacing": " ".join(f"{step:g}" for step in np.round(told["spacing"], 5)),
                "axes": told["axes"],
            }
            for name, told in measured.items()
        }

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """Each file against the first one of its case, the table, the recipe and the convention."""
        for name, case in cohort.cases.items():
            headers = cohort.measured[name]
            for file, told in headers.items():
                yield from self._alone(name, file, told)
                yield from self._against(name, file, told, *next(iter(headers.items())))
            if headers:
                yield from self._expected(case, cohort.listing, *next(iter(headers.items())))

    def _alone(self, case: str, file: str, told: dict[str, Any]) -> Iterator[Finding]:
        where: dict[str, Any] = {"case": case, "modality": file}
        if told["axes"] != "RAS":
            problem = f"{file}: its axes grow to {told['axes']}, not RAS (right, front, up)"
            yield Finding("wrong axes", problem, AGAIN, **where, exclude=True)
        elif told["oblique"] > self.limit["oblique_degrees"]:
            problem = f"{file}: its axes are turned by {told['oblique']:.1f} degrees from right, front and up"
            yield Finding("oblique axes", problem, AGAIN, **where, value=told["oblique"],
                          limit=self.limit["oblique_degrees"], unit="degrees", exclude=True)  # fmt: skip
        if told["no position"]:
            problem = f"{file}: neither sform nor qform says where it lies"
            yield Finding("no position", problem, AGAIN, WARNING, **where)
        elif told["forms apart"] > self.limit["apart_mm"]:
            problem = f"{file}: its sform and qform are {told['forms apart']:.1f} mm apart"
            remedy = "Find out which is right; prepare the case again, which writes both alike"
            yield Finding("sform and qform differ", problem, remedy, **where, value=told["forms apart"],
                          limit=self.limit["apart_mm"], unit="mm", exclude=True)  # fmt: skip
        if told["unit"] not in ("mm", "unknown"):
            problem = f"{file}: its header counts in {told['unit']}"
            yield Finding("not in millimetres", problem, AGAIN, **where, exclude=True)

    def _against(
        self, case: str, file: str, told: dict[str, Any], first: str, its: dict[str, Any]
    ) -> Iterator[Finding]:
        """A file against the first file of its case."""
        where: dict[str, Any] = {"case": case, "modality": file, "other": first}
        if told["shape"] != its["shape"]:
            problem = f"{file} has {_by(told['shape'])} voxels, {first} {_by(its['shape'])}"
            yield Finding("shapes differ", problem, AGAIN, **where, exclude=True)
        elif (apart := float(np.linalg.norm(told["corners"] - its["corners"], axis=1).max())) > self.limit["apart_mm"]:
            problem = f"{file} lies up to {apart:.1f} mm from {first}, say their headers"
            yield Finding("positions differ", problem, AGAIN, **where, value=apart, limit=self.limit["apart_mm"],
                          unit="mm", exclude=True)  # fmt: skip

    def _expected(self, case: Listed, listing: Listing, first: str, told: dict[str, Any]) -> Iterator[Finding]:
        """The first file against its row and the recipe."""
        where: dict[str, Any] = {"case": case.name, "modality": first}
        if case.shape and told["shape"] != case.shape:
            problem = f"{first} has {_by(told['shape'])} voxels, cases.csv says {_by(case.shape)}"
            yield Finding("shape differs from the table", problem, AGAIN, **where, other="cases.csv", exclude=True)
        for source, spacing in (("cases.csv", case.spacing), ("recipe.json", listing.recipe.get("spacing"))):
            if not spacing or len(spacing) != 3:
                continue
            apart = float(np.abs(told["spacing"] - np.asarray(spacing, dtype=float)).max())
            if apart > self.limit["spacing_mm"]:
                problem = f"{first} has voxels of {_by(told['spacing'])} mm, {source} says {_by(spacing)}"
                yield Finding(f"spacing differs from {source}", problem, AGAIN, **where, other=source, value=apart,
                              limit=self.limit["spacing_mm"], unit="mm", exclude=True)  # fmt: skip
        size = listing.recipe.get("size")
        if isinstance(size, list) and len(size) == 3:
            wrong = [axis for axis in range(3) if size[axis] and size[axis] != told["shape"][axis]]
            if wrong:
                wanted = _by(["any" if n is None else n for n in size])
                problem = f"{first} has {_by(told['shape'])} voxels, the recipe asks for {wanted}"
                yield Finding("size differs from recipe.json", problem, AGAIN, WARNING, **where, other="recipe.json")


def _extra(case: CaseVolumes) -> list[str]:
    return [name for name in ("mask", "label") if name in case.images]


def _header(case: CaseVolumes, name: str) -> dict[str, Any]:
    image = case.images[name]
    shape = case.values(name).shape
    affine = np.asarray(image.affine, dtype=float)
    header = image.header
    turn = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    sform, scode = header.get_sform(coded=True)
    qform, qcode = header.get_qform(coded=True)
    apart = 0.0
    if scode and qcode and sform is not None and qform is not None:
        between = world_corners(shape, sform) - world_corners(shape, qform)
        apart = float(np.linalg.norm(between, axis=1).max())
    return {
        "shape": shape,
        "spacing": np.asarray(header.get_zooms()[:3], dtype=float),
        "axes": "".join(str(code) for code in nibabel.aff2axcodes(affine)),
        "oblique": float(np.degrees(np.arccos(np.clip(np.abs(turn).max(axis=0), 0, 1))).max()),
        "corners": world_corners(shape, affine),
        "forms apart": apart,
        "no position": not scode and not qcode,
        "unit": str(header.get_xyzt_units()[0]),
    }


def _by(numbers: Any) -> str:
    """``256 x 256 x 180``."""
    return " x ".join(n if isinstance(n, str) else f"{n:g}" for n in numbers)
