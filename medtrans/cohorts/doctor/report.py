"""The diagnosis as one HTML file: figures, findings by check, pictures of the worst cases, the exclusion list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medtrans.cohorts.doctor.check import Check
from medtrans.cohorts.doctor.findings import SEVERITIES, Finding
from medtrans.cohorts.doctor.listing import Listing
from medtrans.files import written_whole
from medtrans.html_pictures import data_uri

SHOWN = 200  # findings a check in the page; all of them are in check.csv


def write_report(
    path: Path,
    listing: Listing,
    findings: Sequence[Finding],
    checks: Sequence[Check],
    pictures: Mapping[str, Path],
    excluded: Mapping[str, str],
) -> Path:
    """Write the page; it needs nothing beside it.

    Args:
        path: the HTML file.
        listing: the data set.
        findings: the most severe first.
        checks: those that were done.
        pictures: case -> PNG, the worst first.
        excluded: case -> reason.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    sections = []
    for check in checks:
        own = [finding for finding in findings if finding.check == check.name]
        sections.append(
            {"check": check, "findings": own[:SHOWN], "more": max(0, len(own) - SHOWN), "limits": _limits(check)}
        )
    page = environment.get_template("report.html.j2").render(
        root=listing.root.name,
        cases=len(listing.cases),
        left_out=len(listing.left_out),
        modalities=", ".join(listing.modalities),
        counts={severity: sum(f.severity == severity for f in findings) for severity in SEVERITIES},
        sections=sections,
        pictures=[
            {"case": case, "address": data_uri(png), "findings": [f for f in findings if f.case == case]}
            for case, png in pictures.items()
        ],
        excluded=excluded,
    )
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _limits(check: Check) -> list[str]:
    """``similar = 0.87: least correlation …`` for each threshold."""
    told = []
    for name, threshold in check.thresholds.items():
        unit = f" {threshold.unit}" if threshold.unit else ""
        told.append(f"{check.name}#{name}={check.limit[name]:g}{unit}: {threshold.meaning}")
    return told
