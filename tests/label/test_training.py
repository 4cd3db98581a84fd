"""A bundle trained on pairs of a datastore: what comes out, what it begins with, what it leaves alone."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from filelock import FileLock

from medtrans import InputError
from medtrans.cohorts import prepare
from medtrans.engines import TranslationTrainer, run_inference
from medtrans.files import file_hash
from medtrans.label.pairs import paired_cases
from medtrans.label.training import TrainingOptions, _Training, latest_models, latest_stats, train_on_pairs

SHORT = {"num_workers": 0, "batch_size": 8, "threads": 1, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def make_bundle(phantom_heads, write_trained_bundle, tmp_path_factory):
    """``make_bundle(name)``: a bundle with what training leaves, its weights random."""

    def make(name, **settings):
        return write_trained_bundle(tmp_path_factory.mktemp("bundles @home"), name, phantom_heads, **settings)

    return make


@pytest.fixture(scope="module")
def small(small_settings):
    """``small(bundle, …)``: one epoch of the bundle made small, with settings of its own."""

    def options(bundle, val_split=0.25, recipe=None, pretrained=True, **settings):
        chosen = SHORT | small_settings(bundle) | settings
        return TrainingOptions(1, val_split, pretrained, "cpu", recipe, settings=chosen, workers=1)

    return options


def everything_in(folder):
    return {path.relative_to(folder): file_hash(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_equal_weights(one, other):
    one, other = (torch.load(path, weights_only=True) for path in (one, other))
    assert one.keys() == other.keys()
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=0, atol=0)


@pytest.fixture(scope="module")
def trained(make_bundle, pairs, small, tmp_path_factory):
    """A MedGAN that began with its bundle's weights: the bundle, its files before, the folder of trainings, stats."""
    bundle, work = make_bundle("medgan"), tmp_path_factory.mktemp("work")
    before = everything_in(bundle)
    return bundle, before, work, train_on_pairs(bundle, bundle / "models", pairs, work, small(bundle))


def test_the_stats_say_what_was_trained_on_how_many(trained):
    *_, work, stats = trained
    assert (stats["epochs"], stats["best_epoch"], stats["key_metric"]) == (1, 1, "psnr")
    assert (stats["training_subjects"], stats["validation_subjects"], stats["failed"]) == (3, 1, [])
    assert stats["pretrained"]
    assert stats["metrics"].keys() == stats["metrics_before"].keys()
    assert stats["metrics"]["psnr"] != stats["metrics_before"]["psnr"]
    assert stats == latest_stats(work) == json.loads(json.dumps(stats))


def test_the_new_model_translates_beside_the_old_one(trained, pairs, tmp_path):
    bundle, before, work, _ = trained
    assert everything_in(bundle) == before
    source, output = nibabel.load(pairs[0]["image"]), {}
    for name, models in (("old", bundle / "models"), ("new", latest_models(work))):
        [row] = run_inference(bundle, pairs[0]["image"], tmp_path / name, (), {"ckpt_dir": str(models)})
        output[name] = nibabel.load(tmp_path / name / row["output"])
        assert output[name].shape == source.shape
        np.testing.assert_allclose(output[name].affine, source.affine, atol=1e-4)
    assert not np.array_equal(output["new"].dataobj, output["old"].dataobj)


def test_nothing_that_is_written_names_a_patient(trained):
    *_, work, stats = trained
    assert "Doe" not in json.dumps(stats)
    written = [path for path in work.rglob("*") if not path.is_symlink()]
    assert len(written) > 20
    assert not [path for path in written if "Doe" in str(path.relative_to(work))]
    assert not [path for path in written if path.is_file() and b"Doe" in path.read_bytes()]


@pytest.mark.parametrize(
    ("name", "files"),
    [("regression", ["model.pt"]), ("cyclegan", ["model.pt", "model_to_source.pt"]), ("unit", ["model.pt"])],
)
def test_without_learning_the_weights_are_the_bundles(name, files, make_bundle, pairs, small, tmp_path):
    bundle = make_bundle(name)
    options = small(bundle, learning_rate=0.0, **{"network_def::channels": 77})  # not the recorded network's
    stats = train_on_pairs(bundle, bundle / "models", pairs, tmp_path, options)
    assert stats["pretrained"]
    assert stats["metrics"] == stats["metrics_before"]
    assert sorted(path.name for path in (bundle / "models").glob("*.pt")) == files
    for file in files:
        assert_equal_weights(bundle / "models" / file, latest_models(tmp_path) / file)


def test_a_bundle_of_volumes_goes_on_as_one(make_bundle, pairs, small, tmp_path):
    bundle = make_bundle("regression", spatial_dims=3)
    options = small(bundle, patches=1, batch_size=1, learning_rate=0.0)
    train_on_pairs(bundle, bundle / "models", pairs[:2], tmp_path, options)
    assert_equal_weights(bundle / "models/model.pt", latest_models(tmp_path) / "model.pt")


def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(trained, pairs, small, monkeypatch, tmp_path):
    bundle, _, _, stats = trained
    iteration = TranslationTrainer._iteration

    def killed_in_the_fourth(trainer, engine, batch):
        if engine.state.iteration == 4:
            raise KeyboardInterrupt
        return iteration(trainer, engine, batch)

    monkeypatch.setattr(TranslationTrainer, "_iteration", killed_in_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        train_on_pairs(bundle, bundle / "models", pairs, tmp_path, small(bundle))
    assert latest_models(tmp_path) is None
    seen = []

    def counted(trainer, engine, batch):
        seen.append(engine.state.iteration)
        return iteration(trainer, engine, batch)

    monkeypatch.setattr(TranslationTrainer, "_iteration", counted)
    train_on_pairs(bundle, bundle / "models", pairs[::-1], tmp_path, small(bundle))  # in another order, the same pairs
    assert seen == list(range(3, 7))
    assert_equal_weights(latest_models(tmp_path) / "model.pt", stats["model"])


def test_a_pair_that_failed_in_passing_before_a_kill_makes_another_training(
    make_bundle, pairs, small, monkeypatch, tmp_path
):
    bundle, lost = make_bundle("regression"), paired_cases(pairs)[2].name
    module = sys.modules[prepare.__module__]
    prepare_case, iteration = module.prepare_case, TranslationTrainer._iteration

    def without_memory(job):
        if job.candidate.name == lost:
            raise MemoryError("just now")
        return prepare_case(job)

    def killed_in_the_fourth(trainer, engine, batch):
        if engine.state.iteration == 4:
            raise KeyboardInterrupt
        return iteration(trainer, engine, batch)

    with monkeypatch.context() as patch:
        patch.setattr(module, "prepare_case", without_memory)
        patch.setattr(TranslationTrainer, "_iteration", killed_in_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            train_on_pairs(bundle, bundle / "models", pairs, tmp_path / "work", small(bundle))
    [begun] = tmp_path.glob("work/*/models-*/checkpoint.pt")
    seen = []

    def counted(trainer, engine, batch):
        seen.append(engine.state.iteration)
        return iteration(trainer, engine, batch)

    monkeypatch.setattr(TranslationTrainer, "_iteration", counted)
    stats = train_on_pairs(bundle, bundle / "models", pairs, tmp_path / "work", small(bundle))
    assert (stats["training_subjects"], stats["validation_subjects"], stats["failed"]) == (3, 1, [])
    assert seen == list(range(1, len(seen) + 1))  # from the beginning
    assert latest_models(tmp_path / "work") == Path(stats["models"]) != begun.parent
    assert begun.parents[1] == Path(stats["models"]).parent


def test_other_pairs_are_another_training_that_need_not_be_prepared_anew(trained, pairs, small):
    bundle, _, work, stats = trained
    again = train_on_pairs(bundle, bundle / "models", pairs, work, small(bundle))
    assert again | {"seconds": 0} == stats | {"seconds": 0}
    fewer = train_on_pairs(bundle, bundle / "models", pairs[:2], work, small(bundle))
    assert fewer["models"] != stats["models"]
    assert (fewer["training_subjects"], fewer["validation_subjects"]) == (1, 1)
    assert latest_models(work) == (work / fewer["models"])
    table = (latest_models(work).parent / "data_set/prepare.csv").read_text()
    assert table.count(",True,") == 2  # kept


def test_a_bad_pair_is_told_and_the_others_train(trained, pairs, small, tmp_path):
    bundle, *_ = trained
    torn = tmp_path / "torn.nii.gz"
    torn.write_bytes(b"\x1f\x8b torn")
    bad = [{"image": pairs[2]["image"], "label": str(torn)}, {"image": str(tmp_path / "a.dcm"), "label": str(torn)}]
    stats = train_on_pairs(bundle, bundle / "models", [*pairs[:2], *bad], tmp_path / "work", small(bundle))
    assert (stats["training_subjects"], stats["validation_subjects"]) == (1, 1)
    reasons = sorted(row["reason"] for row in stats["failed"])
    assert len(reasons) == 2
    assert "cannot be read" in reasons[0]
    assert reasons[1] == "the source is no NIfTI, NRRD or MetaImage volume"


def test_without_pretrained_it_begins_anew(trained, pairs, small, tmp_path):
    bundle, *_ = trained
    options = small(bundle, pretrained=False, learning_rate=0.0)
    stats = train_on_pairs(bundle, bundle / "models", pairs[:2], tmp_path, options)
    assert not stats["pretrained"]
    assert stats["metrics_before"] is None
    with pytest.raises(AssertionError):
        assert_equal_weights(bundle / "models/model.pt", stats["model"])
    assert json.loads((latest_models(tmp_path) / "modalities.json").read_text())["settings"]["image_size"] == [16, 16]


def test_a_bundle_of_volumes_begins_anew_with_patches_of_its_size(make_bundle, pairs, tmp_path):
    bundle = make_bundle("regression", spatial_dims=3)
    options = TrainingOptions(1, pretrained=False)
    planned = _Training.planned(bundle, bundle / "models", paired_cases(pairs), tmp_path, options)
    assert planned.settings["image_size"] == [16, 16, 16]  # not the 128 of three_d.json
    (tmp_path / "larger.json").write_text('{"image_size": [32, 32, 32]}')
    options = replace(options, overlays=[tmp_path / "larger.json"])
    planned = _Training.planned(bundle, bundle / "models", paired_cases(pairs), tmp_path, options)
    assert "image_size" not in planned.settings


def test_what_the_weights_do_not_allow_is_told(make_bundle, pairs, small, tmp_path, caplog):
    bundle, overlay = make_bundle("regression"), tmp_path / "overlay.json"
    chosen = {"image_size": [32, 32], "axis": "axial", "network_def::channels": [2, 2, 2], "seed": 5}
    overlay.write_text(json.dumps(chosen | {"network_def::in_channels": "@in_channels"}))
    options = replace(small(bundle), overlays=[overlay], settings=SHORT)
    stats = train_on_pairs(bundle, bundle / "models", pairs[:2], tmp_path / "work", options)
    network = json.loads((bundle / "models/modalities.json").read_text())["settings"]["network"]
    assert stats["overruled"] == {
        "image_size": {"chosen": [32, 32], "taken": [16, 16]},
        "network_def::channels": {"chosen": [2, 2, 2], "taken": network["channels"]},
    }
    assert "image_size [32, 32] is not taken, the weights need [16, 16]: to choose it" in caplog.text
    anew = _Training.planned(
        bundle, bundle / "models", paired_cases(pairs), tmp_path, replace(options, pretrained=False)
    )
    assert anew.overruled == {}
    assert anew.settings.keys().isdisjoint({"image_size", "network_def"})


def test_weights_of_slices_do_not_become_those_of_volumes(trained, pairs, small, tmp_path):
    bundle, *_ = trained
    options = replace(small(bundle), overlays=["three_d.json"])
    with pytest.raises(InputError, match=r"spatial_dims: is 3, .* of 2 dimensions.* pretrained false"):
        train_on_pairs(bundle, bundle / "models", pairs, tmp_path, options)


def test_an_overlay_chooses_source_and_target_of_a_recipe(trained, pairs, root, tmp_path):
    bundle, *_ = trained
    overlay = tmp_path / "overlay.json"
    overlay.write_text('{"source": "PD"}')
    options = TrainingOptions(1, pretrained=False, recipe=root / "data_prep/ixi.json", overlays=[overlay])
    with pytest.raises(InputError, match=r"chosen source 'PD'.*Say both.*--config"):
        train_on_pairs(bundle, bundle / "models", pairs, tmp_path / "work", options)
    overlay.write_text('{"source": "PD", "target": "T1"}')
    planned = _Training.planned(bundle, bundle / "models", paired_cases(pairs), tmp_path, options)
    assert (planned.settings["source"], planned.settings["target"]) == ("PD", "T1")
    with pytest.raises(InputError, match=r"setting source: is 'PD', the trained bundle's is 'T1'"):
        train_on_pairs(bundle, bundle / "models", pairs, tmp_path / "work", replace(options, recipe=None))


def test_an_untrained_bundle_needs_a_recipe(trained, pairs, small, phantom_heads, root, tmp_path):
    bundle, *_ = trained
    nothing = tmp_path / "models"
    with pytest.raises(InputError, match="--recipe"):
        train_on_pairs(bundle, nothing, pairs, tmp_path / "work", small(bundle))
    recipe = json.loads((root / "data_prep/t1_t2.json").read_text())
    coarse = recipe | {"spacing": [12, 12, 12], "size": [16, 16, None]}
    (tmp_path / "coarse.json").write_text(json.dumps(coarse))
    options = replace(small(bundle, recipe=str(tmp_path / "coarse.json"), image_size=[16, 16]), overlays=["quick.json"])
    stats = train_on_pairs(bundle, nothing, pairs[:2], tmp_path / "work", options)
    assert not stats["pretrained"]
    run = torch.load(latest_models(tmp_path / "work") / "checkpoint.pt", weights_only=True)["run"]
    assert run["identity"]["precision"] == "auto"  # the overlay's
    contract = json.loads((latest_models(tmp_path / "work") / "modalities.json").read_text())
    assert [contract[side][0]["modality"] for side in ("source", "target")] == ["T1", "T2"]
    assert contract["spacing"] == [12, 12, 12]


def test_one_pair_is_too_few(trained, pairs, small, tmp_path):
    bundle, *_ = trained
    with pytest.raises(InputError, match=r"hold 1 pairs .* two subjects"):
        train_on_pairs(bundle, bundle / "models", pairs[:1], tmp_path, small(bundle))
    assert latest_models(tmp_path) is None


def test_a_misspelt_setting_is_refused_before_anything_is_prepared(trained, pairs, small, tmp_path):
    bundle, *_ = trained
    with pytest.raises(InputError, match="learning_rate"):
        train_on_pairs(bundle, bundle / "models", pairs, tmp_path, small(bundle, learning_rat=1))
    assert not list(tmp_path.iterdir())


def test_another_process_that_trains_there_is_not_disturbed(trained, pairs, small):
    bundle, _, work, stats = trained
    before = everything_in(work)
    with FileLock(Path(stats["models"]).parent / ".lock"), pytest.raises(InputError, match="another process"):
        train_on_pairs(bundle, bundle / "models", pairs, work, small(bundle))
    assert everything_in(work) == before


def test_what_a_bundle_from_elsewhere_calls_a_network_is_not_run(trained, pairs, small, tmp_path):
    bundle, *_ = trained
    models = shutil.copytree(bundle / "models", tmp_path / "models")
    contract = json.loads((models / "modalities.json").read_text())
    contract["settings"]["network"] = {"_target_": "os.mkdir", "path": str(tmp_path / "run")}
    (models / "modalities.json").write_text(json.dumps(contract))
    with pytest.raises(InputError, match=r"os\.mkdir"):
        train_on_pairs(bundle, models, pairs, tmp_path / "work", small(bundle))
    assert not (tmp_path / "run").exists()
