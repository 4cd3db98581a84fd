"""A bundle trained on pairs of a datastore: what comes out, what it begins with, what it leaves alone."""

import json
import shutil

import nibabel
import numpy as np
import pytest
import torch

from medtrans import InputError
from medtrans.cohorts import Cases, write_phantom_cohort
from medtrans.engines import run_inference
from medtrans.files import file_hash
from medtrans.label.training import TrainingOptions, latest_models, latest_stats, train_on_pairs

SHORT = {"num_workers": 0, "batch_size": 8, "threads": 1}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospital") / "cohort"
    write_phantom_cohort(folder, 4, ("T1", "T2"), 12.0)
    return folder


@pytest.fixture(scope="module")
def pairs(cohort, tmp_path_factory):
    """What a datastore lists: volumes of its own folder, named as patients are, and their targets among the labels."""
    studies = tmp_path_factory.mktemp("studies")
    (studies / "labels/final").mkdir(parents=True)
    found = []
    for number, case in enumerate(Cases.read(cohort)):
        image, label = studies / f"Doe_Jane_{number}.nii", studies / f"labels/final/Doe_Jane_{number}.nii"
        shutil.copy(case.volumes["T1"], image)
        shutil.copy(case.volumes["T2"], label)
        found.append({"image": str(image), "label": str(label)})
    return found


@pytest.fixture(scope="module")
def make_bundle(cohort, write_trained_bundle, tmp_path_factory):
    """``make_bundle(name)``: a bundle that is trained, but not well, and the settings that keep its training small."""

    def make(name):
        return write_trained_bundle(tmp_path_factory.mktemp("bundles"), name, cohort)

    return make


def everything_in(folder):
    return {path.relative_to(folder): file_hash(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def trained(make_bundle, pairs, small_settings, tmp_path_factory):
    """A MedGAN that began with its bundle's weights: the bundle, its files before, the folder of trainings, stats."""
    bundle, work = make_bundle("medgan"), tmp_path_factory.mktemp("work")
    before = everything_in(bundle)
    options = TrainingOptions(1, 0.25, device="cpu", settings=SHORT | small_settings(bundle), workers=1)
    return bundle, before, work, options, train_on_pairs(bundle, bundle / "models", pairs, work, options)


def test_the_stats_say_what_was_trained_on_how_many(trained):
    *_, work, _, stats = trained
    assert (stats["epochs"], stats["best_epoch"], stats["key_metric"]) == (1, 1, "psnr")
    assert (stats["training_subjects"], stats["validation_subjects"], stats["failed"]) == (3, 1, [])
    assert stats["pretrained"]
    assert np.isfinite(stats["metrics"]["psnr"])
    assert stats == latest_stats(work) == json.loads(json.dumps(stats))


def test_the_new_model_translates_beside_the_old_one(trained, pairs, tmp_path):
    bundle, before, work, _, _ = trained
    assert everything_in(bundle) == before
    source, output = nibabel.load(pairs[0]["image"]), {}
    for name, models in (("old", bundle / "models"), ("new", latest_models(work))):
        [row] = run_inference(bundle, pairs[0]["image"], tmp_path / name, (), {"ckpt_dir": str(models)})
        output[name] = nibabel.load(tmp_path / name / row["output"])
        assert output[name].shape == source.shape
        np.testing.assert_allclose(output[name].affine, source.affine, atol=1e-4)
    assert not np.array_equal(output["new"].dataobj, output["old"].dataobj)


def test_nothing_that_is_written_names_a_patient(trained):
    _, _, work, _, stats = trained
    assert "Doe" not in json.dumps(stats)
    written = [path for path in work.rglob("*") if not path.is_symlink()]
    assert len(written) > 20
    assert not [path for path in written if "Doe" in str(path.relative_to(work))]
    assert not [path for path in written if path.is_file() and b"Doe" in path.read_bytes()]


@pytest.mark.parametrize("name", ["medgan", "cyclegan", "unit"])
def test_without_learning_the_weights_are_the_bundles(name, make_bundle, pairs, small_settings, tmp_path):
    bundle = make_bundle(name)
    settings = SHORT | small_settings(bundle) | {"learning_rate": 0.0, "network_def::channels": 77}
    stats = train_on_pairs(
        bundle, bundle / "models", pairs, tmp_path, TrainingOptions(1, 0.25, settings=settings, device="cpu", workers=1)
    )
    kept = sorted(path.name for path in (bundle / "models").glob("*.pt"))
    assert kept == (["model.pt", "model_to_source.pt"] if name == "cyclegan" else ["model.pt"])
    assert stats["pretrained"]
    for file in kept:
        old, new = (
            torch.load(folder / file, weights_only=True) for folder in (bundle / "models", latest_models(tmp_path))
        )
        assert old.keys() == new.keys()
        for key in old:
            torch.testing.assert_close(new[key], old[key], rtol=0, atol=0)


def test_one_pair_is_too_few(trained, pairs, tmp_path):
    bundle, *_, options, _ = trained
    with pytest.raises(InputError, match=r"1 pairs .* two subjects or more"):
        train_on_pairs(bundle, bundle / "models", pairs[:1], tmp_path, options)
    assert latest_models(tmp_path) is None
