import json

import pytest

from medtrans import engines
from medtrans.cohorts import write_phantom_cohort
from medtrans.errors import CasesFailedError, input_error_behind


class Batch:
    """What run_inference sees of an evaluator: rows, and an error at the end when cases failed."""

    def __init__(self, statuses):
        self.rows = {str(number): {"status": status} for number, status in enumerate(statuses)}
        self.items, self.model_hash = [], "0" * 64  # nothing to say beside any volume

    def run(self):
        if any(row["status"] == "failed" for row in self.rows.values()):
            raise CasesFailedError("translated.csv", "cases failed, the first: a.nii: is in Bq/ml", "Mend them")


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """A bundle whose evaluator is a :class:`Batch` of the statuses in the override ``statuses``."""
    monkeypatch.setattr(engines, "Batch", Batch, raising=False)
    config = {
        "imports": ["$import medtrans"],
        "input": "",
        "output_dir": "",
        "statuses": [],
        "modalities": {"target": []},
        "evaluator": "$medtrans.engines.Batch(@statuses)",
        "initialize": [],
        "run": ["$@evaluator.run()"],
    }
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/metadata.json").write_text("{}")
    (tmp_path / "configs/inference.json").write_text(json.dumps(config))
    return tmp_path


def run(bundle, statuses, **options):
    rows = engines.run_inference(bundle, "in", bundle / "out", overrides={"statuses": statuses}, **options)
    return [row["status"] for row in rows]


@pytest.mark.parametrize("good", ["ok", "kept"])
def test_what_follows_goes_on_with_the_cases_that_are_there(good, bundle, caplog):
    assert run(bundle, ["failed", good], stop=False) == ["failed", good]
    assert "is in Bq/ml" in caplog.text
    with pytest.raises(RuntimeError) as told:  # MONAI's, of the expression that failed
        run(bundle, ["failed", good])
    assert isinstance(input_error_behind(told.value), CasesFailedError)


def test_the_cause_is_told_when_no_case_is_there_for_what_follows(bundle):
    with pytest.raises(CasesFailedError, match="is in Bq/ml"):
        run(bundle, ["failed", "failed"], stop=False)


def test_without_settings_the_models_are_those_in_the_bundles_folder(tmp_path, write_trained_bundle, monkeypatch):
    write_phantom_cohort(tmp_path / "set", 3, ["T1", "T2"], 12.0)
    write_trained_bundle(tmp_path, "simple", tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    (row,) = engines.run_inference("simple", "set", "out")
    assert (row["status"], (tmp_path / "out" / row["output"]).is_file()) == ("ok", True)
