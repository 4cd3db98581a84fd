"""What every check is: a name, thresholds, something measured on each case, and a judgement over the cohort."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.findings import Finding
from medtrans.cohorts.doctor.listing import Listed, Listing
from medtrans.errors import InputError


class Threshold(NamedTuple):
    """A number that can be changed with ``--set check#name=value``."""

    default: float
    unit: str
    meaning: str


@dataclass(frozen=True)
class Cohort:
    """What a check judges.

    Args:
        listing: the table, as far as it can be read, and the recipe.
        measured: case -> what the check's :meth:`Check.measure` returned, in the order of the table; cases that could
            not be measured are not there.
    """

    listing: Listing
    measured: Mapping[str, Any]

    @property
    def cases(self) -> dict[str, Listed]:
        """The measured cases by name."""
        return {case.name: case for case in self.listing.cases if case.name in self.measured}


class Check(ABC):
    """One check. A new one is one new file in ``checks/``: the class attributes, :meth:`measure` and :meth:`judge`.

    Attributes:
        name: in tables and in ``--set``.
        title: what it looks for, in a few words.
        order: its place in tables.
        thresholds: name -> :class:`Threshold`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    order: ClassVar[int] = 100
    thresholds: ClassVar[Mapping[str, Threshold]] = {}

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.limit = {name: threshold.default for name, threshold in self.thresholds.items()}
        for name, value in (settings or {}).items():
            where = f"--set {self.name}#{name}={value}"
            if name not in self.thresholds:
                known = ", ".join(self.thresholds) or "no thresholds"
                raise InputError(where, f"{self.name} has no threshold {name!r}", f"It has {known}")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(where, "is not a number", f"Default: {self.thresholds[name].default:g}")
            self.limit[name] = float(value)

    def measure(self, case: CaseVolumes) -> Any:
        """Whatever :meth:`judge` needs of one case, small and picklable; runs in a worker. None: nothing to judge."""
        return None

    @abstractmethod
    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """The findings over all cases; runs once, after every case was measured."""

    def columns(self, measured: Any) -> dict[str, dict[str, float | str]]:
        """Modality (``""``: the case as a whole) -> column -> value, for the table of measurements."""
        return {}
