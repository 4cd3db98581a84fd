"""Budgets as configs, and the hash that changes with whatever decides a run's result and with nothing else."""

import json
import os
from dataclasses import replace

import pytest

from medtrans import InputError
from medtrans.benchmark.conditions import Budget, Conditions, dataset_key, merged_config, phantom_dataset, run_key
from medtrans.benchmark.study import Row


@pytest.mark.parametrize(
    "given",
    [{}, {"epochs": 3, "steps": 4}, {"epochs": 0}, {"steps": -1}, {"minutes": 0.0}, {"epochs": 1, "minutes": 2.0}],
)
def test_a_budget_is_one_number_above_nothing(given):
    with pytest.raises(InputError, match="the budget"):
        Budget(**given)


def test_a_budget_says_what_it_is():
    assert [str(b) for b in (Budget(epochs=1), Budget(steps=30), Budget(minutes=0.5))] == [
        "1 epoch",
        "30 steps",
        "0.5 minutes",
    ]


def test_a_budget_is_an_overlay_of_the_bundle():
    assert Budget(epochs=7).overlay()["max_epochs"] == 7
    steps = Budget(steps=30).overlay()
    assert steps["max_epochs"] == "$-(-30 // len(@train::dataloader))"  # as many epochs as 30 batches begin
    assert steps["+train::handlers"][1]["steps"] == 30
    assert Budget(minutes=2).overlay()["+train::handlers"][1]["minutes"] == 2


def test_configs_are_merged_in_order_common_ones_before_the_rows_own(bundle, tmp_path):
    folder = bundle()
    own = tmp_path / "own.json"
    own.write_text('{"rate": 0.7}')
    shared = Conditions(tmp_path, Budget(steps=1), overlays=("quick.json",), settings={"used#0": 1, "max_epochs": 2})
    row = Row("row", folder, (own,), {"max_epochs": 9})
    files = shared.files(row)
    assert [file.name for file in files] == ["train.json", "quick.json", "own.json"]
    config = merged_config(files, shared.values(row, 3))
    assert (config["rate"], config["max_epochs"], config["used"], config["seed"]) == (0.7, 9, [1], 3)


def test_misspelt_settings_are_refused_before_anything_runs(bundle, conditions):
    with pytest.raises(InputError, match="Did you mean 'rate'"):
        conditions.check(Row("row", bundle(), settings={"ratte": 1}))


def test_the_key_changes_with_what_decides_the_result(bundle, conditions):
    row = Row("row", bundle())
    key = run_key(conditions, row, 0, "data")
    others = {
        "seed": run_key(conditions, row, 1, "data"),
        "data": run_key(conditions, row, 0, "other"),
        "budget": run_key(replace(conditions, budget=Budget(steps=5)), row, 0, "data"),
        "setting": run_key(conditions, replace(row, settings={"rate": 0.3}), 0, "data"),
        "overlay": run_key(replace(conditions, overlays=("quick.json",)), row, 0, "data"),
        "modality": run_key(replace(conditions, target="PD"), row, 0, "data"),
    }
    assert len({key, *others.values()}) == 1 + len(others)
    (row.bundle / "configs" / "inference.json").write_text('{"overlap": 0.5}')
    assert run_key(conditions, row, 0, "data") != key


def test_the_key_does_not_change_with_names_metrics_or_where_the_bundle_lies(bundle, conditions, tmp_path):
    row = Row("row", bundle("toy"))
    key = run_key(conditions, row, 0, "data")
    assert run_key(replace(conditions, metrics=("psnr",)), replace(row, name="other"), 0, "data") == key
    assert run_key(conditions, Row("row", bundle("copied")), 0, "data") == key
    written = replace(row, settings={"rate": 0.1})  # as it is anyway
    assert run_key(conditions, written, 0, "data") == key


def test_the_data_sets_key_changes_with_its_tables_and_volumes(heads, tmp_path):
    import shutil

    copy = shutil.copytree(heads, tmp_path / "set")
    key = dataset_key(copy)
    assert dataset_key(copy) == key == dataset_key(heads)
    volume = next(copy.rglob("T2.nii*"))
    stat = volume.stat()
    os.utime(volume, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    assert dataset_key(copy) != key
    os.utime(volume, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert dataset_key(copy) == key
    (copy / "exclude.csv").write_text("case,reason\nhead-0000,moved\n")
    assert dataset_key(copy) != key


def test_the_cohort_of_phantoms_is_the_bundles_with_more_heads(bundle, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        "medtrans.benchmark.conditions.default_phantom_dataset", lambda *words: asked.append(words) or tmp_path
    )
    folder = bundle(phantom={"subjects": 3, "spacing": 2.5}, source=["T1", "PD"])
    (folder / "configs" / "coarse.json").write_text(json.dumps({"phantom": {"spacing": 5.0}}))
    phantom_dataset(Row("row", folder), (), None, None)
    phantom_dataset(Row("row", folder), ("coarse.json",), "PET", "CT")
    assert asked == [(40, 2.5, ["T1", "PD", "T2"], 0), (40, 5.0, ["PET", "CT"], 0)]
