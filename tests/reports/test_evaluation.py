"""From NIfTI files to the report."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from skimage.metrics import structural_similarity
from typer.testing import CliRunner

from medtrans import InputError, metrics
from medtrans.cli import app
from medtrans.reports.evaluation import evaluate
from medtrans.reports.html import worst_first
from medtrans.reports.tables import number
from medtrans.transforms import Window

FEW = ["ssim", "psnr", "mae", "nmi"]


class Page(HTMLParser):
    """The cells of every table, the sources of images, the ids and the links of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.cells, self.images, self.ids, self.links = "", [], [], set(), []
        self._in_cell = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.add(found.get("id"))
        if tag == "img":
            self.images.append(found["src"])
        if tag == "a":
            self.links.append(found["href"])
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
            self._in_cell = 1

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = 0

    def handle_data(self, data):
        self.text += data
        if self._in_cell:
            self.cells[-1][-1] += data.strip() + " "


def of(table: pd.DataFrame, **wanted) -> pd.Series:
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_a_data_set_is_evaluated_per_slice_and_volume_beside_its_source(study, tmp_path):
    result = evaluate(
        study.predictions,
        study.cases(),
        tmp_path / "report",
        target="CT",
        source="MR",
        metrics=metrics.create([*FEW, "vif", "uqi", "mse_255", "z_psnr", "z_mae", "mi"]),
    )
    assert result.failed == {}
    table = pd.read_csv(tmp_path / "report" / "metrics.csv")
    assert len(table) == len(study.names) * 2 * 2 * 2
    assert not table[["ssim", "psnr", "mae", "nmi", "vif", "uqi", "mi"]].isna().any().any()
    row = of(table, case="head-1", level="volume", region="whole", image="synthetic")
    prediction, reference = (
        np.clip(np.asarray(nibabel.load(path).dataobj, dtype=float), -1000, 1500)
        for path in (study.predictions / "head-1_CT_synthetic.nii.gz", study.references / "head-1.nii.gz")
    )
    _, full = structural_similarity(
        reference + 1000, prediction + 1000, data_range=2500, gaussian_weights=True, use_sample_covariance=False,
        full=True,
    )  # fmt: skip
    assert row["ssim"] == pytest.approx(full[5:-5, 5:-5, 5:-5].mean(), abs=1e-6)
    assert (row["unit"], row["lower"], row["upper"], row["subject"]) == ("HU", -1000, 1500, "subject-head-1")
    maes = [of(table, case=case, level="volume", region="mask", image="synthetic")["mae"] for case in study.names]
    assert np.argsort(maes).tolist() == [2, 0, 1]  # as the study was made
    slices = pd.read_csv(tmp_path / "report" / "slices.csv")
    mean = slices[(slices["case"] == "head-2") & (slices["region"] == "mask") & (slices["image"] == "source")]
    chosen = of(table, case="head-2", level="slice", region="mask", image="source")
    assert (chosen["psnr"], chosen["slices"]) == (pytest.approx(mean["psnr"].mean()), len(mean))
    summary = pd.read_csv(tmp_path / "report" / "summary.csv")
    shown = of(summary, level="volume", region="mask", image="synthetic", metric="mae")
    assert (shown["mean"], shown["sd"], shown["cases"]) == (
        pytest.approx(np.mean(maes)),
        pytest.approx(np.std(maes, ddof=1)),
        3,
    )
    text = (tmp_path / "report" / "summary.md").read_text()
    assert "[-1000, 1500] HU" in text
    assert "mapped linearly" in text
    assert result.text == text


def test_the_page_shows_the_numbers_of_the_tables_and_every_picture_worst_case_first(study, tmp_path):
    output = tmp_path / "report"
    result = evaluate(study.predictions, study.cases(), output, target="CT", source="MR", metrics=metrics.create(FEW))
    page = Page(output / "report.html")
    table = result.cases[(result.cases["level"] == "volume") & (result.cases["region"] == "mask")]
    listed = [row for row in page.cells if row and row[0].split()[0] in study.names]
    assert [row[0].split()[0] for row in listed] == ["head-12", "head-1", "head-2"]
    assert [row[0].split()[0] for row in listed] == worst_first(table, metrics.create(FEW))
    for cells in listed:
        case = cells[0].split()[0]
        for name, cell in zip(FEW, cells[1:], strict=True):
            synthetic, source = (number(of(table, case=case, image=image)[name]) for image in ("synthetic", "source"))
            assert cell.split() == [synthetic, source]
    summary = {row[0].strip(): row[1].strip() for row in page.cells if row[0].strip() in ("SSIM ↑", "MAE [HU] ↓")}
    mae = of(result.summary, level="volume", region="whole", image="synthetic", metric="mae")
    assert summary["MAE [HU] ↓"].startswith(number(mae["mean"]))
    assert len(page.images) == 3
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.images)
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= page.ids
    assert not [link for link in page.links if not link.startswith("#")]
    assert "http" not in "".join(page.images + page.links)
    assert (output / "pictures" / "head-1.png").is_file()
    assert "<svg" in (output / "report.html").read_text()


def test_failing_cases_are_recorded_with_their_reason_and_the_others_go_on(study, tmp_path):
    (study.predictions / "head-1_CT_synthetic.nii.gz").unlink()

    def spoil(values):
        values[0] = np.nan
        return values

    study.change(study.predictions / "head-12_CT_synthetic.nii.gz", spoil)
    result = evaluate(
        study.predictions, study.cases(), tmp_path / "report", target="CT", metrics=metrics.create(["mae"])
    )
    assert set(result.failed) == {"head-1", "head-12"}
    failed = pd.read_csv(tmp_path / "report" / "failed.csv").set_index("case")["reason"]
    assert "no prediction" in failed["head-1"]
    assert "non-finite" in failed["head-12"]
    assert set(result.cases["case"]) == {"head-2"}
    page = Page(tmp_path / "report" / "report.html")
    assert "non-finite" in page.text
    assert "Untranslated source" not in [cell for row in page.cells for cell in row]


def test_nothing_to_evaluate_is_an_error_and_writes_no_report(study, tmp_path):
    for path in study.predictions.iterdir():
        study.change(path, lambda values: values[1:])
    with pytest.raises(InputError, match="no case that could be evaluated"):
        evaluate(study.predictions, study.cases(), tmp_path / "report", target="CT", metrics=metrics.create(["mae"]))
    assert not (tmp_path / "report" / "metrics.csv").exists()


def test_ambiguous_names_stop_the_run_before_it_starts(study, tmp_path):
    study.save(study.predictions / "head-1_CT_again.nii.gz", np.zeros((4, 4, 4)))
    with pytest.raises(InputError, match="both fit the case head-1"):
        evaluate(study.predictions, study.cases(), tmp_path / "report", target="CT")


def test_an_identical_volume_is_infinite_and_the_summary_says_so(study, tmp_path):
    perfect = nibabel.load(study.references / "head-2.nii.gz")
    study.save(study.predictions / "head-2_CT_synthetic.nii.gz", np.asarray(perfect.dataobj))
    result = evaluate(
        study.predictions, study.references, tmp_path / "report", data_range=(-1000, 1500), unit="HU",
        metrics=metrics.create(["psnr"]),
    )  # fmt: skip
    row = of(result.summary, level="volume", region="whole", image="synthetic", metric="psnr")
    assert (row["cases"], row["infinite"]) == (2, 1)
    assert np.isfinite(row["mean"])
    assert "1 infinite left out" in result.text
    assert of(result.cases, case="head-2", level="volume")["psnr"] == np.inf


def test_lpips_without_weights_is_reported_as_missing_and_the_rest_goes_on(study, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    chosen = metrics.create(["mae", "lpips"])
    result = evaluate(study.predictions, study.cases(), tmp_path / "report", target="CT", metrics=chosen)
    assert "lpips" not in result.cases
    assert "LPIPS is not available" in result.text
    assert "alexnet-owt-7be5be79.pth" in Page(tmp_path / "report" / "report.html").text


def test_lpips_with_a_trunk_is_a_column_like_any_other(study, tmp_path):
    chosen = metrics.create(["lpips"], {"lpips": {"random": 0, "trunk": "squeeze"}})
    result = evaluate(study.predictions, study.cases(), tmp_path / "report", target="CT", metrics=chosen)
    values = [of(result.cases, case=case, level="slice", region="mask")["lpips"] for case in study.names]
    assert np.argsort(values).tolist() == [2, 0, 1]


@pytest.mark.slow
def test_several_processes_give_the_same_tables(study, tmp_path):
    tables = [
        evaluate(
            study.predictions, study.cases(), tmp_path / str(workers), target="CT", source="MR",
            metrics=metrics.create(["ssim", "mae"]), workers=workers,
        ).cases
        for workers in (1, 2)
    ]  # fmt: skip
    pd.testing.assert_frame_equal(*tables)


def test_the_command_prints_the_table_and_fails_when_a_case_fails(study, tmp_path):
    study.cases().write()
    options = ["--output", str(tmp_path / "report"), "--metrics", "mae,psnr"]
    arguments = ["evaluate", str(study.predictions), str(study.root), "--target", "CT", "--source", "MR", *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "| MAE [HU] ↓" in result.output
    assert "Untranslated source" in result.output
    (study.predictions / "head-2_CT_synthetic.nii.gz").unlink()
    assert CliRunner().invoke(app, arguments).exit_code == 1


def test_the_command_takes_folders_with_masks_and_refuses_them_without_a_range(study, tmp_path):
    arguments = [
        "evaluate", str(study.predictions), str(study.references), "--output", str(tmp_path / "report"),
        "--metrics", "mae", "--unit", "HU", "--mask-dir", str(study.masks), "--source-dir", str(study.sources),
    ]  # fmt: skip
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, InputError)
    assert "--data-range" in str(refused.exception)
    done = CliRunner().invoke(app, [*arguments, "--data-range", "-1000", "1500", "--source-range", "0", "400"])
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "report" / "metrics.csv")
    assert set(table["region"]) == {"mask", "whole"}
    assert set(table["image"]) == {"synthetic", "source"}


def test_windows_that_differ_from_case_to_case_are_stated(study, tmp_path):
    cases = list(study.cases())
    cases[1].windows["CT"] = Window(-1000.0, 2000.0, "HU")
    result = evaluate(study.predictions, cases, tmp_path / "report", target="CT", metrics=metrics.create(["psnr"]))
    assert "each case's own window: lower end -1000, upper end 1500 to 2000 HU" in result.text
    assert sorted(result.cases["upper"].unique()) == [1500, 2000]


def test_cases_are_ranked_by_ssim_or_else_by_the_first_metric_in_its_own_direction():
    table = pd.DataFrame({"case": ["a", "b", "c"], "image": "synthetic", "mae": [9.0, np.nan, 3.0], "ssim": [3, 1, 2]})
    assert worst_first(table, metrics.create(["mae"])) == ["b", "a", "c"]
    assert worst_first(table, metrics.create(["mae", "ssim"])) == ["b", "c", "a"]
