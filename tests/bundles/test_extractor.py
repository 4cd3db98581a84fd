"""A BiGAN pre-trained by its bundle is the feature extractor of Cycle-MedGAN's, from the first step to the volume."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import run

from medtrans.engines import run_inference
from medtrans.errors import input_error_behind
from medtrans.networks import BiGANFeatures

BUNDLES = Path(__file__).parents[2] / "bundles"
BIGAN, CYCLE_MEDGAN = BUNDLES / "bigan", BUNDLES / "cycle_medgan"
SHORT = {"image_size": [16, 16], "batch_size": 4, "max_epochs": 2, "num_workers": 0, "checkpoint_every": 1}


@pytest.fixture(scope="module")
def extractor(tiny_dataset, tmp_path_factory, small_settings):
    """The file that a tiny BiGAN leaves, trained on CT by the function behind the command line."""
    folder = tmp_path_factory.mktemp("bigan")
    run(
        "training",
        config_file=str(BIGAN / "configs/train.json"),
        logging_file=False,
        dataset_dir=str(tiny_dataset),
        ckpt_dir=str(folder / "models"),
        output_dir=str(folder / "eval"),
        **SHORT | small_settings(BIGAN),
    )
    return folder / "models/discriminator.pt"


@pytest.fixture(scope="module")
def begin(training_workflow, tiny_dataset, small_settings):
    def workflow(folder, **settings):
        chosen = SHORT | small_settings(CYCLE_MEDGAN) | {"train::trainer::epoch_length": 3} | settings
        return training_workflow([CYCLE_MEDGAN / "configs/train.json"], tiny_dataset, folder, **chosen)

    return workflow


@pytest.fixture(scope="module")
def trained(begin, extractor, tmp_path_factory):
    """The models folder of Cycle-MedGAN after two epochs with it."""
    folder = tmp_path_factory.mktemp("cycle_medgan")
    begin(folder, **{"features::weights": str(extractor)}).run()
    return folder / "models"


def test_the_file_is_the_discriminator_of_the_best_reconstruction(extractor):
    saved = torch.load(extractor.with_name("checkpoint.pt"), weights_only=True)
    state = torch.load(extractor, weights_only=True)
    assert state.keys() == saved["network_discriminator"].keys()
    assert any(key.startswith("image_branch.") for key in state)
    recorded = json.loads(extractor.with_name("modalities.json").read_text())
    assert [entry["modality"] for entry in recorded["source"]] == ["CT"]


def test_cycle_medgan_compares_cycles_with_what_it_sees(begin, extractor, tmp_path):
    flow = begin(tmp_path, **{"features::weights": str(extractor)})
    method = flow.parser.get_parsed_content("method")
    batch = next(iter(flow.parser.get_parsed_content("train::dataloader")))
    there, back = method.eval().generators["target"], method.generators["source"]
    features = BiGANFeatures(extractor)
    with torch.no_grad():
        cycled = features(back(there(batch["source"])))
        pairs = list(zip(cycled, features(batch["source"]), strict=True))
        candidate = method.candidates(batch)["target"]
        values = {name: term(candidate, candidate) for name, term in method.losses.terms.items() if "cycle_" in name}
    perceptual = sum((a - b).abs().mean() for a, b in pairs)
    gram = lambda f: torch.einsum("bmhw,bnhw->bmn", f, f) / f[0].numel()  # noqa: E731
    style = sum(((gram(a) - gram(b)) ** 2).sum((1, 2)).mean() / (4 * a.shape[1] ** 2) for a, b in pairs)
    torch.testing.assert_close(values["cycle_perceptual"], perceptual)
    torch.testing.assert_close(values["cycle_style"], style, rtol=1e-4, atol=0)
    assert perceptual > 0
    assert style > 0


def test_a_run_killed_on_the_way_ends_with_the_same_bits(begin, extractor, trained, tmp_path):
    def kill(_):
        raise RuntimeError("killed")

    flow = begin(tmp_path, **{"features::weights": str(extractor)})
    flow.parser.get_parsed_content("train::trainer").add_event_handler(Events.ITERATION_COMPLETED(once=5), kill)
    with pytest.raises(RuntimeError):
        flow.run()
    begin(tmp_path, **{"features::weights": str(extractor)}).run()
    for name in ("model.pt", "model_to_source.pt", "checkpoint.pt"):
        whole, broken = (torch.load(folder / name, weights_only=True) for folder in (trained, tmp_path / "models"))
        for part in (key for key in whole if name != "checkpoint.pt" or key.startswith(("network_", "pool_"))):
            torch.testing.assert_close(broken[part], whole[part], rtol=0, atol=0, msg=f"{name}: {part} differs")


def test_the_extractor_is_no_part_of_what_is_trained(trained):
    saved = torch.load(trained / "checkpoint.pt", weights_only=True)
    assert {name.removeprefix("network_") for name in saved if name.startswith("network_")} == {
        "generator_to_target",
        "generator_to_source",
        "discriminator_of_target",
        "discriminator_of_source",
    }


def test_both_directions_translate(trained, tiny_dataset, tmp_path):
    for direction, modality in (("source_to_target", "T2"), ("target_to_source", "T1")):
        options = {"ckpt_dir": str(trained), "direction": direction}
        (row,) = run_inference(CYCLE_MEDGAN, tiny_dataset, tmp_path / direction, (), options)
        assert modality in row["output"]
        assert np.isfinite(nib.load(tmp_path / direction / row["output"]).get_fdata()).all()


class Malicious:
    """What a pickle can do to who opens it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def refused(begin, folder, **settings):
    """The one line that a training with these settings ends with, before its first step."""
    with pytest.raises(RuntimeError) as caught:
        begin(folder, **settings)
    assert not (folder / "models").exists() or not any((folder / "models").iterdir())
    return str(input_error_behind(caught.value))


def test_an_absent_or_foreign_extractor_is_one_clear_error(begin, trained, tmp_path):
    said = refused(begin, tmp_path / "a", **{"features::weights": str(tmp_path / "absent.pt")})
    assert "absent.pt: BiGAN weights are not there. Pre-train the bigan bundle" in said
    said = refused(begin, tmp_path / "b", **{"features::weights": str(trained / "model.pt")})
    assert "model.pt: is not the state of a BiGAN's discriminator" in said
    assert "\n" not in said


def test_code_in_an_extractors_file_is_not_run(begin, tmp_path):
    torch.save({"image_branch.0.0.weight": Malicious(tmp_path / "touched")}, tmp_path / "evil.pt")
    said = refused(begin, tmp_path, **{"features::weights": str(tmp_path / "evil.pt")})
    assert "evil.pt: holds code" in said
    assert not (tmp_path / "touched").exists()


def test_by_default_the_extractor_is_that_of_the_bundle_beside(begin, training_workflow, tiny_dataset, tmp_path):
    config = json.loads((CYCLE_MEDGAN / "configs/train.json").read_text())
    (tmp_path / "cycle_medgan/configs").mkdir(parents=True)
    (tmp_path / "cycle_medgan/configs/train.json").write_text(json.dumps(config))
    with pytest.raises(RuntimeError) as caught:
        training_workflow([tmp_path / "cycle_medgan/configs/train.json"], tiny_dataset, tmp_path, **SHORT)
    assert str(tmp_path / "bigan/models/discriminator.pt") in str(input_error_behind(caught.value))
