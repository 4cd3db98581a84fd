"""Damage scanner files in thousands of ways and hold what comes out against an independent reading of the same bytes.

    python tests/scans/fuzzing --files 10000 --seed 0

A case is a small series with one damaged file. Whatever is read from it must be refused, or agree plane by plane with
pydicom (DICOM), nibabel or SimpleITK reading the damaged file: every pixel at the place in the patient that its own
header states, with its value. A worker that dies or takes too long is a failure as well, and so is an exception that is
no `InputError`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from healthy import dicom_bases, image_bases
from judging import Worker


def run(files: int, seed: int, only: str | None = None) -> tuple[Counter[str], list[str]]:
    """Judge ``files`` damaged files; the tally of verdicts and a line for each failure."""
    tally: Counter[str] = Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        bases = [*dicom_bases(Path(folder, "dicom")), *image_bases(Path(folder, "images"))]
        bases = [base for base in bases if only in (None, base.name)]
        worker = Worker(bases)
        start = told = time.monotonic()
        number = done = 0
        while done < files:
            base, case = number % len(bases), f"{seed}-{number}"
            verdict = worker.judge(base, case)
            number += 1
            if verdict == "not made":
                continue
            done += 1
            tally[verdict.split(":")[0]] += 1
            if ":" in verdict:
                failures.append(f"{bases[base].name} {case}: {verdict}")
                print(failures[-1], flush=True)
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"{done} of {files}, {done / (told - start):.0f}/s: {dict(tally)}", file=sys.stderr, flush=True)
        worker.stop()
    return tally, failures


def main() -> int:
    """Run from the command line; exit code 1 when anything but refusals and right volumes came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind of series, such as mosaic")
    arguments = parser.parse_args()
    start = time.monotonic()
    tally, failures = run(arguments.files, arguments.seed, arguments.only)
    told = ", ".join(f"{count} {verdict}" for verdict, count in tally.most_common())
    print(f"{sum(tally.values())} damaged files in {time.monotonic() - start:.0f} s: {told}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
