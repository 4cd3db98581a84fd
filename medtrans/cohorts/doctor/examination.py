"""The run of all checks: each case measured in parallel, then judged together, findings written and told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort
from medtrans.cohorts.doctor.checks import create
from medtrans.cohorts.doctor.findings import COLUMNS, ERROR, SEVERITIES, WARNING, Finding
from medtrans.cohorts.doctor.listing import Listed, Listing, read_listing
from medtrans.cohorts.doctor.pictures import draw_worst
from medtrans.cohorts.doctor.report import write_report
from medtrans.cohorts.exclusion import FILE, write_excluded
from medtrans.files import check_writable, written_whole
from medtrans.jobs import reason, run_jobs
from medtrans.progress import progress


@dataclass(frozen=True)
class Diagnosis:
    """What came out.

    Args:
        listing: the data set.
        output: where the tables and the report lie.
        findings: the most severe first.
        measurements: a row a case and modality (empty modality: the case as a whole).
        excluded: case -> reason: what is left out already, and what the errors suggest to leave out.
    """

    listing: Listing
    output: Path
    findings: tuple[Finding, ...]
    measurements: pd.DataFrame
    excluded: Mapping[str, str]

    def count(self, severity: str) -> int:
        """How many findings are that severe."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """1 when there is an error, 0 otherwise."""
        return int(self.count(ERROR) > 0)

    def apply(self) -> Path:
        """Write the exclusion list into the data set, so that every command leaves those cases out."""
        return write_excluded(self.listing.root / FILE, self.excluded)

    def summary(self, most: int = 12) -> str:
        """What was found, in a few lines."""
        lines = []
        for finding in self.findings[:most]:
            where = f"{finding.case}: " if finding.case else ""
            lines.append(f"{finding.severity}: {where}{finding.problem}. {finding.remedy}. [{finding.check}]")
        if len(self.findings) > most:
            lines.append(f"… and {len(self.findings) - most} more")
        cases = len(self.listing.cases)
        told = ", ".join(f"{self.count(s)} {s}{'s' * (self.count(s) != 1)}" for s in SEVERITIES)
        out = f", {len(self.listing.left_out)} left out already" if self.listing.left_out else ""
        lines.append(f"{cases} case{'s' * (cases != 1)} checked{out}: {told}; see {self.output / 'report.html'}")
        new = len(set(self.excluded) - set(self.listing.left_out))
        if new:
            lines.append(f"{new} case{'s' * (new != 1)} suggested to be left out: {self.output / FILE}")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Job:
    """One case for a worker."""

    listed: Listed
    reference: str
    kinds: Mapping[str, str]
    backgrounds: Mapping[str, float]
    checks: Sequence[Check]


def examine(
    dataset: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    pictures: int = 12,
) -> Diagnosis:
    """Run every check on a prepared data set; nothing in it is changed.

    Args:
        dataset: folder with ``cases.csv``.
        output: folder of ``check.csv``, ``measurements.csv``, ``exclude.csv``, ``report.html`` and ``pictures/``; by
            default ``check`` in the data set.
        settings: thresholds, see :func:`medtrans.cohorts.doctor.checks.create`.
        workers: local processes, see :func:`medtrans.jobs.local_workers`.
        pictures: of how many of the worst cases.

    Raises:
        InputError: the check cannot start: no data set, a misspelt threshold, nowhere to write.
    """
    checks = create(settings)
    listing = read_listing(dataset)
    folder = Path(output).resolve() if output is not None else listing.root / "check"
    check_writable(folder)
    measured, findings = _measure(listing, checks, workers)
    for check in checks:
        cohort = Cohort(listing, measured[check.name])
        findings += [replace(finding, check=check.name) for finding in check.judge(cohort)]
    findings.sort(key=lambda finding: finding.rank)
    excluded = dict(listing.left_out) | _suggested(findings)
    diagnosis = Diagnosis(listing, folder, tuple(findings), _table(listing, checks, measured), excluded)
    _write(diagnosis, checks, pictures)
    return diagnosis


def _measure(
    listing: Listing, checks: Sequence[Check], workers: int | None
) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    """Check -> case -> what it measured; findings for what could not be measured."""
    modalities = listing.modalities
    reference = str(listing.recipe.get("reference") or (modalities[0] if modalities else ""))
    kinds = {name: listing.kind(name) for name in modalities}
    backgrounds = {name: float(listing.entry(name).get("background") or 0.0) for name in modalities}
    jobs = [_Job(case, reference, kinds, backgrounds, checks) for case in listing.cases]
    results: dict[str, Any] = {}
    findings: list[Finding] = []
    for job, result in progress(run_jobs(_examined, jobs, workers), "checking", total=len(jobs)):
        if isinstance(result, Exception):
            findings.append(_failed(job.listed.name, "", reason(result)))
        else:
            results[job.listed.name], failures = result
            findings += [_failed(job.listed.name, check, why) for check, why in failures.items()]
    order = [case.name for case in listing.cases if case.name in results]  # as in the table, whoever finished first
    measured = {
        check.name: {name: results[name][check.name] for name in order if results[name].get(check.name) is not None}
        for check in checks
    }
    return measured, findings


def _examined(job: _Job) -> tuple[dict[str, Any], dict[str, str]]:
    """What every check measured on one case, and why it could not."""
    case = CaseVolumes(job.listed, job.kinds, job.backgrounds, job.reference)
    found: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for check in job.checks:
        try:
            found[check.name] = check.measure(case)
        except Exception as error:  # a case that breaks one check is still worth the others
            failures[check.name] = reason(error)
    return found, failures


def _failed(case: str, check: str, why: str) -> Finding:
    """A check that could not be done is an answer, too."""
    remedy = "Look at the case; mend what else is said about it first"
    return Finding("not checked", f"could not be checked ({why})", remedy, WARNING, case=case, check=check)


def _suggested(findings: Sequence[Finding]) -> dict[str, str]:
    """Case -> why leaving it out is suggested: its errors that leaving it out would remedy."""
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        if finding.case and finding.exclude and finding.severity == ERROR:
            reasons.setdefault(finding.case, []).append(finding.problem)
    return {case: "; ".join(dict.fromkeys(told)) for case, told in reasons.items()}


def _table(listing: Listing, checks: Sequence[Check], measured: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The measurements: a row a case and modality."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for case in listing.cases:
        for check in checks:
            if case.name in measured[check.name]:
                for modality, columns in check.columns(measured[check.name][case.name]).items():
                    keys = {"case": case.name, "subject": case.subject, "split": case.split, "modality": modality}
                    row = rows.setdefault((case.name, modality), keys)
                    row |= columns
    table = pd.DataFrame(list(rows.values()), columns=None if rows else ["case", "subject", "split", "modality"])
    return table.sort_values(["case", "modality"], kind="stable").reset_index(drop=True)


def _write(diagnosis: Diagnosis, checks: Sequence[Check], pictures: int) -> None:
    output = diagnosis.output
    table = pd.DataFrame([finding.row() for finding in diagnosis.findings], columns=list(COLUMNS))
    with written_whole(output / "check.csv") as temporary:
        table.to_csv(temporary, index=False)
    with written_whole(output / "measurements.csv") as temporary:
        diagnosis.measurements.to_csv(temporary, index=False, float_format="%.5g")
    write_excluded(output / FILE, diagnosis.excluded)
    drawn = draw_worst(diagnosis.listing, diagnosis.findings, output / "pictures", pictures)
    write_report(output / "report.html", diagnosis.listing, diagnosis.findings, checks, drawn, diagnosis.excluded)
