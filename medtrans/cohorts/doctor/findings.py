"""What the doctor reports: one finding, with its number, the limit it passed, the cases and what to do."""

from __future__ import annotations

from dataclasses import dataclass

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
COLUMNS = (
    "severity", "check", "case", "modality", "other", "what", "value", "limit", "unit", "problem", "remedy", "exclude"
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, doubtful, or could not be told.

    Args:
        what: a short name for it, the same wherever it is found; ``"flipped left-right"``.
        problem: a sentence for people, without the case's name.
        remedy: what to do about it.
        severity: ``"error"`` (do not train on it), ``"warning"`` (look at it) or ``"note"`` (no verdict possible).
        case: the case, empty for the data set as a whole.
        modality: the modality, the file or the column, empty for the whole case.
        other: the case, modality or file that it was compared with.
        value: what was measured.
        limit: the threshold that it passed.
        unit: of both.
        exclude: whether leaving the case out is a remedy.
        check: name of the check; filled in by the run.
    """

    what: str
    problem: str
    remedy: str
    severity: str = ERROR
    case: str = ""
    modality: str = ""
    other: str = ""
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    exclude: bool = False
    check: str = ""

    def row(self) -> dict[str, object]:
        """The finding's line in ``check.csv``, numbers with four digits."""
        values = {column: getattr(self, column) for column in COLUMNS}
        for column in ("value", "limit"):
            number = values[column]
            values[column] = "" if number is None else f"{number:.4g}"
        return values | {"exclude": "yes" if self.exclude else ""}

    @property
    def rank(self) -> tuple[int, str, str]:
        """Sorts the most severe first."""
        return SEVERITIES.index(self.severity), self.check, self.case
