"""What MONAI Label's own monaibundle app does with a bundle's inference.json, without MONAI Label."""

import json
import shutil

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from medtrans.engines.bundle_run import run_inference
from medtrans.errors import InputError, input_error_behind

REQUEST = {"model": "trained", "device": "cpu", "result_dtype": None}


@pytest.fixture(scope="module")
def bundle(root, phantom_heads, write_models, tmp_path_factory):
    """A trained bundle."""
    bundle = tmp_path_factory.mktemp("bundles") / "medgan"
    shutil.copytree(root / "bundles/medgan", bundle, ignore=shutil.ignore_patterns("models", "eval"))
    (bundle / "models").mkdir()
    write_models(bundle / "models", phantom_heads)
    return bundle


@pytest.fixture
def parser(bundle):
    """Its config, as MONAI Label opens it."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs/inference.json")
    parser["bundle_root"] = str(bundle)
    return parser


def refused(parser, match, **request):
    with pytest.raises(InputError, match=match):
        parser.get_parsed_content("pre_transforms")[0](REQUEST | request)


def test_a_request_becomes_the_volume_of_medtrans_translate(parser, bundle, phantom_heads, tmp_path):
    """The steps are those of monailabel.tasks.infer.basic_infer.BasicInferTask."""
    image = phantom_heads / "head-0000/T1.nii"
    data = REQUEST | {"image": str(image), "image_path": str(image), "model_filename": ["model.pt"]}
    for transform in parser.get_parsed_content("pre_transforms"):
        data = transform(data)
    network = parser.get_parsed_content("network_def").eval()
    with torch.no_grad():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    for transform in parser.get_parsed_content("post_transforms"):
        data = transform(data)
    run_inference(bundle, str(image), tmp_path)
    expected = nibabel.load(next(tmp_path.glob("*_synthetic.nii.gz")))
    assert np.array_equal(data["pred"][0].numpy(), expected.get_fdata(dtype=np.float32))
    assert np.allclose(data["pred"].affine, expected.affine)
    assert data["image_path"] == str(image)
    assert not (bundle / "eval").exists()  # nothing is written but the answer


def test_integers_are_refused(parser, phantom_heads):
    refused(parser, "no label map", image=str(phantom_heads / "head-0000/T1.nii"), result_dtype="uint8")


def test_other_weights_than_the_directions_are_refused(parser, phantom_heads):
    wanted = {"image": str(phantom_heads / "head-0000/T1.nii"), "model_filename": "other.pt"}
    refused(parser, "this direction's weights are model.pt", **wanted)


@pytest.mark.parametrize("image", ["one.nrrd", "folder", np.zeros((4, 4, 4))], ids=["nrrd", "folder", "array"])
def test_what_is_no_nifti_volume_is_refused(parser, image):
    refused(parser, "no NIfTI volume", image=image)


def test_a_volume_of_another_modality_is_refused(parser, phantom_heads, tmp_path):
    shutil.copy(phantom_heads / "head-0000/T1.nii", tmp_path / "one.nii")
    (tmp_path / "one.json").write_text(json.dumps({"Modality": "CT"}))
    refused(parser, "of modality CT", image=str(tmp_path / "one.nii"))


@pytest.mark.parametrize(("shear", "said"), [(0.1, "sheared grid"), (0.001, "sheared grid"), (0, None)])
def test_a_sheared_grid_is_refused(parser, shear, said, phantom_heads, tmp_path):
    image = nibabel.load(phantom_heads / "head-0000/T1.nii")
    turn = np.array([[0.8, -0.6, 0, 5], [0.6, 0.8, 0, -7], [0, 0, 1, 2], [0, 0, 0, 1]])
    affine = turn @ np.array([[2, 0, 0, 0], [0, 2, 3 * shear, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    path = tmp_path / "one.nii"
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), affine), path)
    if said:
        refused(parser, said, image=str(path))
    else:
        assert parser.get_parsed_content("pre_transforms")[0](REQUEST | {"image": str(path)})["source"] == [str(path)]


@pytest.mark.parametrize(
    ("side", "settings"), [("source", {"source": ["T1", "T2"]}), ("target", {"target": ["T2", "T1"]})]
)
def test_several_sources_or_targets_are_refused(bundle, parser, side, settings, write_models, phantom_heads, tmp_path):
    write_models(tmp_path, phantom_heads, **settings)
    parser["ckpt_dir"] = str(tmp_path)
    with pytest.raises(RuntimeError) as raised:
        parser.get_parsed_content("pre_transforms")
    assert f"has 2 {side} modalities" in str(input_error_behind(raised.value))


def test_weights_that_do_not_fit_are_refused_which_monai_label_would_run(parser, bundle, tmp_path):
    shutil.copytree(bundle / "models", tmp_path / "models")
    state = torch.load(tmp_path / "models/model.pt", weights_only=True)
    state.popitem()
    torch.save(state, tmp_path / "models/model.pt")
    parser["ckpt_dir"] = str(tmp_path / "models")
    with pytest.raises(RuntimeError) as raised:
        parser.get_parsed_content("pre_transforms")
    assert "does not fit the network" in str(input_error_behind(raised.value))
