import json

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch import nn

from medtrans import InputError
from medtrans.engines import SaveVolumed, save_volume
from medtrans.transforms import Isotropicd

MODALITIES = {
    "spacing": [1.0, 1.0, 1.0],
    "size": None,
    "outside": "keep",
    "source": [
        {
            "modality": "T1",
            "unit": "",
            "background": 0.0,
            "intensity": {"_target_": "medtrans.transforms.FixedWindow", "lower": 0, "upper": 600},
            "window": [0.0, 600.0, ""],
            "kind": "MR",
            "interpolation": "linear",
            "clamp": "source",
        }
    ],
    "target": [
        {
            "modality": "CT",
            "unit": "HU",
            "background": -1024.0,
            "intensity": {"_target_": "medtrans.transforms.FixedWindow", "lower": -1024, "upper": 2000, "unit": "HU"},
            "window": [-1024.0, 2000.0, "HU"],
        }
    ],
}

# What a bundle's inference.json holds; `modalities` there comes from medtrans.cohorts.read_modalities.
INFERENCE = {
    "modalities": MODALITIES,
    "to_grid": {"_target_": "medtrans.transforms.isotropic_as_trained", "modalities": "@modalities"},
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "medtrans.transforms.ReadVolumesd", "keys": ["source"]},
            "@to_grid",
            {
                "_target_": "medtrans.transforms.FitWindowd",
                "keys": ["source"],
                "rules": "$[entry['intensity'] for entry in @modalities['source']]",
            },
            {
                "_target_": "medtrans.transforms.ClearOutsided",
                "keys": ["source"],
                "kind": "$@modalities['source'][0]['kind']",
                "background": "$[entry['background'] for entry in @modalities['source']]",
                "enabled": "$@modalities['outside'] == 'background'",
            },
            {"_target_": "medtrans.transforms.ScaleByWindowd", "keys": ["source"]},
        ],
    },
    "dataset": {"_target_": "Dataset", "data": "@items", "transform": "@preprocessing"},
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
    "inferer": {
        "_target_": "medtrans.engines.WindowInferer",
        "window": "@image_size",
        "axis": "axial",
        "batch_size": 5,
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {
                "_target_": "medtrans.transforms.RestoreByWindowd",
                "keys": ["pred"],
                "windows": "$[entry['window'] for entry in @modalities['target']]",
            },
            {
                "_target_": "Invertd",
                "keys": ["pred"],
                "transform": "@inverted",
                "orig_keys": ["source"],
                "nearest_interp": False,
            },
            {
                "_target_": "medtrans.engines.SaveVolumed",
                "keys": ["pred"],
                "output_dir": "@output_dir",
                "target": "$[entry['modality'] for entry in @modalities['target']]",
            },
        ],
    },
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "$torch.device('cpu')",
        "val_data_loader": "@dataloader",
        "prepare_batch": {"_target_": "medtrans.engines.volumes_stay", "_mode_": "callable"},
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
    },
}

SHAPE = (37, 29, 23)


def oblique(spacing=(0.7, 1.1, 1.9)):
    """Tilted, axes permuted and flipped, voxels like a matchbox."""
    axes = Rotation.from_euler("xyz", (12, -9, 17), degrees=True).as_matrix()[:, [2, 0, 1]] * np.array([-1, 1, -1])
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing)
    affine[:3, 3] = (31.0, -12.0, 5.0)
    return affine


def head(affine):
    """A smooth head in air, with a bright ball at its right front top, where flips and transpositions would lose it."""
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij")).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    centre = affine[:3, :3] @ ((np.asarray(SHAPE) - 1) / 2) + affine[:3, 3]
    x = world - centre[:, None]
    values = 200 / (1 + np.exp((np.sqrt(((x / np.array([[11], [9], [10]])) ** 2).sum(0)) - 1) * 3.5))
    ball = centre + np.array([6.0, 2.5, 3.0])
    values += 350 * np.exp(-((world - ball[:, None]) ** 2).sum(0) / (2 * 3.5**2))
    return values.reshape(SHAPE).astype(np.float32), world[:, values.argmax()]


def run(tmp_path, network, image_size, affine, **changes):
    values, ball = head(affine)
    image = nibabel.Nifti1Image(values, affine)
    image.header["descrip"], image.header["db_name"] = b"Jane Doe 1970", b"Doe^Jane"
    nibabel.save(image, tmp_path / "scan.nii.gz")
    parser = ConfigParser(json.loads(json.dumps(INFERENCE)))
    parser.update(
        {
            "items": [{"case": "s01", "source": [str(tmp_path / "scan.nii.gz")]}],
            "image_size": image_size,
            "network": network,
            "output_dir": str(tmp_path / "out"),
            "inverted": "@to_grid",
            **changes,
        }
    )
    evaluator = parser.get_parsed_content("evaluator")
    evaluator.run()
    return values, ball, nibabel.load(tmp_path / "out" / "s01_CT_synthetic.nii.gz"), evaluator


def expected_hu(values):
    """What the identity makes of a T1: the share of its window, in the window of CT."""
    return values / 600 * (2000 + 1024) - 1024


@pytest.mark.parametrize(
    ("image_size", "changes"),
    [
        ([64, 64], {}),
        ([64, 64], {"inverted": "@preprocessing"}),  # Invertd of everything turns back the grid, not the intensity
        ([24, 24], {}),
        ([24, 24, 24], {}),
        ([64, 64], {"modalities#source#0#interpolation": "cubic"}),
        ([40, 40], {"modalities#size": [40, 40, None]}),
    ],
)
def test_the_identity_ends_on_the_sources_grid_in_the_targets_unit(tmp_path, image_size, changes):
    affine = oblique()
    values, ball, written, _ = run(tmp_path, nn.Identity(), image_size, affine, **changes)
    assert written.shape == SHAPE
    np.testing.assert_allclose(written.affine, affine, atol=1e-5)
    found, wanted = written.get_fdata(), expected_hu(values)
    inner = (slice(1, -1),) * 3
    assert np.abs(found - wanted)[inner].max() < 0.05 * (wanted.max() - wanted.min())
    assert np.abs(found - wanted).mean() < 0.002 * (wanted.max() - wanted.min())
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.999
    peak = written.affine @ [*np.unravel_index(found.argmax(), SHAPE), 1]
    assert np.linalg.norm(peak[:3] - ball) < 2.0


@pytest.mark.parametrize("flip", [0, 1, 2])
def test_a_flipped_world_would_be_noticed(tmp_path, flip):
    """The same chain around a network that mirrors or transposes its slices ends far from the landmark."""

    class Mirror(nn.Module):
        def forward(self, x):
            return x.flip(flip + 2) if flip < 2 else x.transpose(2, 3)

    values, ball, written, _ = run(tmp_path, Mirror(), [64, 64], oblique())
    peak = written.affine @ [*np.unravel_index(written.get_fdata().argmax(), SHAPE), 1]
    assert np.linalg.norm(peak[:3] - ball) > 2.5
    assert np.abs(written.get_fdata() - expected_hu(values)).mean() > 30  # a tenth of that without the mirror


def test_the_network_sees_ras_slices_of_the_training_spacing(tmp_path):
    seen = []

    class Seeing(nn.Module):
        def forward(self, x):
            seen.append(x.clone())
            return x

    affine = oblique()
    _, ball, _, _ = run(tmp_path, Seeing(), [64, 64], affine)
    stack = torch.cat(seen)[:, 0]  # axial slices, (Z, X, Y)
    z, x, y = np.unravel_index(int(stack.argmax()), stack.shape)
    corners = np.array([[i, j, k, 1] for i in (-0.5, 36.5) for j in (-0.5, 28.5) for k in (-0.5, 22.5)]).T
    box = affine[:3] @ corners
    centre = (box.min(1) + box.max(1)) / 2
    # the slice is padded about its centre, so the landmark lies as far from the middle of the window as from the centre
    offset = ball - centre
    assert abs(x - 31.5 - offset[0]) < 1.5
    assert abs(y - 31.5 - offset[1]) < 1.5
    assert abs(z - (len(stack) - 1) / 2 - offset[2]) < 1.5


def test_the_header_is_new_and_says_nothing_of_the_patient(tmp_path):
    _, _, written, _ = run(tmp_path, nn.Identity(), [64, 64], oblique())
    header = written.header
    assert written.get_data_dtype() == np.float32
    assert header.get_xyzt_units()[0] == "mm"
    assert int(header["sform_code"]) == int(header["qform_code"]) == 1
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
    assert b"Doe" not in header.binaryblock
    assert bytes(header["descrip"]).rstrip(b"\0") == b"synthetic CT"
    assert not header.extensions


def test_ct_and_pet_come_in_their_own_channels_and_files(tmp_path):
    item = {"case": "a", "pred": MetaTensor(torch.rand(2, 3, 4, 5), affine=torch.eye(4))}
    after = SaveVolumed("pred", tmp_path / "new" / "folder", ["CT", "PET"])(item)
    assert [path.name for path in after["pred_paths"]] == ["a_CT_synthetic.nii.gz", "a_PET_synthetic.nii.gz"]
    for i, path in enumerate(after["pred_paths"]):
        np.testing.assert_array_equal(nibabel.load(path).get_fdata(), item["pred"][i].numpy())
    with pytest.raises(ValueError, match="2 channel"):
        SaveVolumed("pred", tmp_path, "CT")(item)


def test_a_sheared_grid_keeps_its_sform_and_no_false_qform(tmp_path):
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[1, 2] = 0.8
    path = save_volume(np.zeros((3, 4, 5), np.float32), affine, tmp_path / "a.nii")
    np.testing.assert_allclose(nibabel.load(path).affine, affine)
    assert int(nibabel.load(path).header["qform_code"]) == 0


def test_nothing_half_or_wrong_is_written(tmp_path):
    bad = MetaTensor(torch.full((1, 2, 2, 2), float("nan")), affine=torch.eye(4))
    with pytest.raises(InputError, match="not finite"):
        SaveVolumed("pred", tmp_path, "CT")({"case": "a", "pred": bad})
    with pytest.raises(TypeError, match="no affine"):
        SaveVolumed("pred", tmp_path, "CT")({"case": "a", "pred": torch.zeros(1, 2, 2, 2)})
    with pytest.raises(InputError, match="cannot be a file name"):
        SaveVolumed("pred", tmp_path, "CT")({"case": "../a", "pred": MetaTensor(torch.zeros(1, 2, 2, 2))})
    assert list(tmp_path.iterdir()) == []


def test_the_resampling_step_is_shared_by_both_ends():
    parser = ConfigParser(json.loads(json.dumps(INFERENCE)))
    parser.update(
        {"items": [], "network": nn.Identity(), "output_dir": ".", "inverted": "@to_grid", "image_size": [8, 8]}
    )
    preprocessing, postprocessing = (parser.get_parsed_content(k) for k in ("preprocessing", "postprocessing"))
    assert isinstance(postprocessing.transforms[1].transform, Isotropicd)
    assert preprocessing.transforms[1] is postprocessing.transforms[1].transform


def test_a_small_body_in_a_wide_field_of_view_fills_the_one_window_it_was_trained_in(tmp_path):
    """As brain PET: a window beside the body would show an instance norm something that it never saw in training."""
    seen = []

    class Seeing(nn.Module):
        def forward(self, x):
            seen.append(x.clone())
            return x

    affine = np.diag([-2.0, -2.0, 2.0, 1.0])  # 200 mm wide, LPS
    affine[:3, 3] = (100, 100, -20)
    x = np.stack(np.meshgrid(*[np.arange(n) for n in (100, 100, 20)], indexing="ij"))
    inside = (
        (x - np.array([30, 62, 10])[:, None, None, None]) ** 2 / np.array([14, 12, 9])[:, None, None, None] ** 2
    ).sum(0) < 1
    values = np.where(inside, 250 + 50 * np.sin(x[0] / 5) * np.cos(x[1] / 4 + x[2] / 6), 0).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "wide.nii")
    parser = ConfigParser(json.loads(json.dumps(INFERENCE)))
    items = [{"case": "wide", "source": [str(tmp_path / "wide.nii")]}]
    settings = {"items": items, "image_size": [64, 64], "modalities#size": [64, 64, None], "network": Seeing()}
    parser.update(settings | {"output_dir": str(tmp_path), "inverted": "@to_grid"})
    parser.get_parsed_content("evaluator").run()
    stack = torch.cat(seen)
    assert len(stack) == 40  # one window for each axial slice of one millimetre
    body = (stack[:, 0] > -0.5).nonzero().float()
    middle = (body.amin(0) + body.amax(0)) / 2
    assert float((middle[1:] - 31.5).abs().max()) <= 1.5
    written = nibabel.load(tmp_path / "wide_CT_synthetic.nii.gz")
    np.testing.assert_allclose(written.affine, affine)
    found = written.get_fdata()
    assert found[~inside & (np.abs(x[0] - 30) > 40)].max() <= -1023.99  # outside the window: background of CT
    deep = ndimage.binary_erosion(inside, iterations=2)
    assert np.abs(found - expected_hu(values))[deep].max() < 40
