"""What the command leaves behind: tables, pictures, exclusion list, exit code; and how thresholds are set."""

import hashlib
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from medtrans.cli import app
from medtrans.cohorts import Cases
from medtrans.cohorts.doctor import examine
from medtrans.cohorts.doctor.checks import available, create
from medtrans.cohorts.doctor.settings import read_settings
from medtrans.cohorts.exclusion import excluded_cases, write_excluded
from medtrans.errors import InputError

QUICK = [f"--set={name}=false" for name in ("alignment", "duplicates", "orientation")]


def check(*words):
    return CliRunner().invoke(app, ["check", *map(str, words), "--workers", "1"])


def test_the_exit_code_tells_errors_from_warnings_from_nothing(planted):
    silent = ["--set", "cut_off=false", *QUICK, "--pictures", "0"]
    assert check(planted.folder, *silent, "--strict").exit_code == 0
    planted.write(1, "T1", planted.read(1, "T1") * 8)  # a warning
    assert check(planted.folder, *silent).exit_code == 0
    assert check(planted.folder, *silent, "--strict").exit_code == 1
    planted.path(2, "T2").unlink()  # an error
    result = check(planted.folder, *silent)
    assert result.exit_code == 1
    assert "error: head-0002: T2: the file does not exist" in result.output
    assert "1 error" in result.output


def test_what_cannot_start_is_told_in_one_line(planted, tmp_path):
    for words, message in (
        ((tmp_path / "nowhere",), "is not a data set"),
        ((planted.folder, "--set", "alinment#error_mm=4"), "there is no check 'alinment'"),
        ((planted.folder, "--set", "alignment#eror_mm=4"), "has no threshold 'eror_mm'"),
        ((planted.folder, "--set", "alignment#error_mm=much"), "is not a number"),
        ((planted.folder, "--output", planted.path(0, "T1")), "cannot be written"),
    ):
        error = check(*words).exception
        assert isinstance(error, InputError), words
        assert message in str(error)


def test_tables_report_and_pictures_of_the_worst_cases_are_written(planted, tmp_path):
    values = planted.read(3, "T1")
    planted.write(3, "T1", np.zeros_like(values))
    planted.write(5, "T2", planted.read(5, "T2")[:, :, 1:])
    planted.path(7, "T1").write_bytes(b"")
    out = tmp_path / "out"
    result = check(planted.folder, "--output", out, *QUICK)
    table = pd.read_csv(out / "check.csv", keep_default_na=False)
    assert list(table["severity"]) == sorted(table["severity"], key=["error", "warning", "note"].index)
    errors = table[table["severity"] == "error"]
    assert {"head-0003", "head-0005", "head-0007"} == set(errors["case"])
    assert (errors["remedy"] != "").all()
    assert {path.stem for path in (out / "pictures").glob("*.png")} >= {"head-0003", "head-0005", "head-0007"}
    assert matplotlib.image.imread(out / "pictures" / "head-0005.png").std() > 0
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(list((out / "pictures").glob("*.png")))
    assert "T1: every voxel is 0" in page
    measured = pd.read_csv(out / "measurements.csv", keep_default_na=False)
    assert len(measured[measured["modality"] == "T2"]) == 9
    row = measured[(measured["case"] == "head-0000") & (measured["modality"] == "T1")].iloc[0]
    inside = planted.read(0, "T1")[planted.read(0, "mask") > 0]
    assert float(row["median"]) == pytest.approx(np.median(inside), rel=1e-3)
    assert "report.html" in result.output


def test_the_data_set_itself_is_not_changed(planted):
    def state():
        files = [path for path in planted.folder.rglob("*") if path.is_file() and "check" not in path.parts]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = state()
    assert check(planted.folder, *QUICK).exit_code == 0
    assert state() == before


def test_suggested_cases_are_left_out_once_a_person_says_so(planted):
    planted.path(2, "T2").unlink()
    with pytest.raises(InputError, match="does not exist"):
        Cases.read(planted.folder)
    result = check(planted.folder, *QUICK, "--pictures", "0", "--apply")
    assert result.exit_code == 1
    assert len(Cases.read(planted.folder)) == 8
    again = check(planted.folder, *QUICK, "--pictures", "0")
    assert again.exit_code == 0
    assert "8 cases checked, 1 left out already" in again.output
    assert "the file does not exist" in excluded_cases(planted.folder / "check")["head-0002"]  # still suggested
    (planted.folder / "exclude.csv").unlink()
    with pytest.raises(InputError, match="does not exist"):
        Cases.read(planted.folder)


def test_an_exclusion_list_is_a_table_of_cases_or_refused(tmp_path):
    reasons = {"a": "flipped; empty", "b, c": 'said "no"'}
    write_excluded(tmp_path / "exclude.csv", reasons)
    assert excluded_cases(tmp_path) == reasons
    (tmp_path / "exclude.csv").write_text("name\na\n")
    with pytest.raises(InputError, match="lacks the column case"):
        excluded_cases(tmp_path)
    (tmp_path / "exclude.csv").write_text("case\na\n")
    assert excluded_cases(tmp_path) == {"a": ""}


def test_the_same_comes_out_with_several_workers(planted, tmp_path):
    planted.write(4, "T2", np.flip(planted.read(4, "T2"), 0))
    one = examine(planted.folder, tmp_path / "one", workers=1, pictures=0)
    two = examine(planted.folder, tmp_path / "two", workers=2, pictures=0)
    assert one.findings == two.findings
    assert any(f.what == "flipped left-right" for f in one.findings)
    names = ("check.csv", "measurements.csv", "exclude.csv")
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in names)


def test_a_check_that_breaks_on_a_case_is_told_and_the_others_go_on(planted, monkeypatch):
    contents = available()["contents"]
    measure = contents.measure

    def broken(self, case):
        if case.listed.name == "head-0003":
            raise RuntimeError("no way")
        return measure(self, case)

    monkeypatch.setattr(contents, "measure", broken)
    planted.write(5, "T1", np.zeros_like(planted.read(5, "T1")))
    found = planted.found("contents")
    assert {(f.case, f.what, f.severity) for f in found} == {
        ("head-0003", "not checked", "warning"), ("head-0005", "constant", "error")
    }  # fmt: skip
    assert "no way" in next(f.problem for f in found if f.what == "not checked")


def test_thresholds_come_from_a_file_and_from_the_command_line_over_it(tmp_path):
    file = tmp_path / "limits.json"
    file.write_text(json.dumps({"alignment": {"error_mm": 4, "flip": 0.1}, "coverage": False}))
    checks = {c.name: c for c in create(read_settings(file, ["alignment#error_mm=7", "outliers#z=9"]))}
    assert checks["alignment"].limit["error_mm"] == 7
    assert checks["alignment"].limit["flip"] == 0.1
    assert checks["outliers"].limit["z"] == 9
    assert "coverage" not in checks
    file.write_text("[1]")
    with pytest.raises(InputError, match="no JSON object"):
        read_settings(file, [])


def test_a_threshold_decides_what_is_found(planted):
    body = planted.read(2, "mask") > 0
    values = planted.read(2, "T1")
    planted.write(2, "T1", np.minimum(values, np.percentile(values[body], 90)))
    assert planted.found("clipping", clipping__plateau=0.2) == ()
    assert [f.limit for f in planted.found("clipping", clipping__plateau=0.05)] == [0.05]


def test_every_check_has_a_file_a_title_and_distinct_order():
    checks = available()
    assert len(checks) >= 12
    assert len({check.order for check in checks.values()}) == len(checks)
    assert all(check.title and check.__module__.endswith(name) for name, check in checks.items())


def test_the_page_lists_every_threshold_with_its_default():
    page = (Path(__file__).parents[3] / "docs" / "data-doctor.md").read_text(encoding="utf-8")
    for check in available().values():
        assert f"| `{check.name}` | {check.title} |" in page
        for name, threshold in check.thresholds.items():
            assert f"`{check.name}#{name}={threshold.default:g}`" in page, f"{check.name}#{name}"
