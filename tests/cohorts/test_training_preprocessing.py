"""The preprocessing that bundles configure, of our readers and MONAI's stock transforms, from a JSON-like config."""

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader
from monai.transforms import ResizeWithPadOrCrop

from medtrans.cohorts import Case, Cases, EpochDataset, EpochSampler, slice_items
from medtrans.transforms import ReadSlicesd, ScaleByWindowd, Window

WINDOW = Window(-1024, 2000, "HU")
CONFIG = {
    "image_size": [16, 16],
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "medtrans.transforms.ReadSlicesd"},
            {"_target_": "medtrans.transforms.ScaleByWindowd", "keys": ["source", "target"]},
            {
                "_target_": "ResizeWithPadOrCropd",
                "keys": ["source", "target"],
                "spatial_size": "@image_size",
                "mode": "constant",
                "value": -1,
            },
            {"_target_": "ResizeWithPadOrCropd", "keys": ["mask"], "spatial_size": "@image_size", "value": 0},
            {"_target_": "RandFlipd", "keys": ["source", "target", "mask"], "prob": 0.5, "spatial_axis": 0},
            {
                "_target_": "RandAffined",
                "keys": ["source", "target", "mask"],
                "prob": 1.0,
                "rotate_range": 0.4,
                "translate_range": [2, 2],
                "scale_range": 0.1,
                "mode": ["bilinear", "bilinear", "nearest"],
                "padding_mode": "border",
            },
            {"_target_": "SelectItemsd", "keys": ["source", "target", "mask", "case", "index"]},
        ],
    },
}


def preprocessing(steps=None):
    parser = ConfigParser(CONFIG)
    transform = parser.get_parsed_content("preprocessing")
    transform.transforms = tuple(list(transform.transforms)[:steps])
    return transform


@pytest.fixture
def items(tmp_path):
    """Source and target are the same noise, and the mask is where it is positive; the second case has no mask."""
    generator, cases = np.random.default_rng(0), []
    for name, shape in (("a", (12, 21, 3)), ("b", (19, 9, 4))):
        values = np.kron(
            generator.uniform(-1024, 2000, [-(-n // 3) for n in shape[:2]] + [shape[2]]), np.ones((3, 3, 1))
        )
        values = values[: shape[0], : shape[1]].astype(np.float32)
        for kind, content in (("S", values), ("T", values), ("mask", (values > 488).astype(np.uint8))):
            nibabel.save(nibabel.Nifti1Image(content, np.eye(4)), tmp_path / f"{name}_{kind}.nii")
        volumes = {kind: tmp_path / f"{name}_{kind}.nii" for kind in "ST"}
        mask = tmp_path / f"{name}_mask.nii" if name == "a" else None
        cases.append(Case(name, name, "train", volumes, {"S": WINDOW, "T": WINDOW}, mask))
    Cases(tmp_path, tuple(cases)).write()
    return slice_items(tmp_path, "S", "T", minimum_foreground=0.0)


def test_padding_is_background_about_the_centre(items):
    item = preprocessing(4)(items[0])
    assert item["source"].shape == item["mask"].shape == (1, 16, 16)
    small = ScaleByWindowd()(ReadSlicesd()(items[0]))
    expected = np.pad(small["source"].numpy()[:, :, 2:18], ((0, 0), (2, 2), (0, 0)), constant_values=-1)
    np.testing.assert_array_equal(item["source"].numpy(), expected)  # 12 -> 16 padded, 21 -> 16 cropped
    assert (item["source"][:, [0, 1, 14, 15]] == -1).all()
    assert (item["mask"][:, [0, 1, 14, 15]] == 0).all()


def test_augmentation_is_the_same_for_source_target_and_mask(items):
    data = EpochDataset(items, preprocessing(), seed=1)
    plain = preprocessing(4)(items[0])["source"].as_tensor()
    changed = 0
    for epoch in range(6):
        item = data[epoch, 0]
        assert torch.equal(item["source"], item["target"])
        assert set(item["mask"].unique().tolist()) <= {0.0, 1.0}
        # but for its edges, where the two interpolations differ, the mask still says where the noise is positive
        agreement = ((item["source"] > 0) == (item["mask"] > 0)).float().mean()
        assert agreement > 0.85
        changed += not torch.allclose(item["source"], plain)
    assert changed == 6


def test_batches_are_plain_tensors_with_and_without_masks(items):
    data = EpochDataset(items, preprocessing())
    sampler = EpochSampler(data, seed=0)
    for collate in ({}, {"collate_fn": torch.utils.data.default_collate}):
        seen = 0
        for batch in DataLoader(data, batch_size=len(items), sampler=sampler, num_workers=0, **collate):
            assert set(batch) == {"source", "target", "mask", "case", "index"}
            for key in ("source", "target", "mask"):
                assert type(batch[key]) is torch.Tensor
                assert batch[key].shape == (len(items), 1, 16, 16)
                assert batch[key].dtype == torch.float32
            assert sorted(batch["case"]) == ["a"] * 3 + ["b"] * 4
            assert batch["index"].dtype == torch.int64
            assert batch["source"].min() >= -1
            assert batch["source"].max() <= 1
            seen += 1
        assert seen == 1


def test_items_collate_even_when_their_windows_stay(items):
    transform = preprocessing(-1)
    batch = next(iter(DataLoader(EpochDataset(items, transform), batch_size=3)))
    assert batch["windows"]["target"][0][0].tolist() == [-1024.0] * 3


def test_the_crop_of_training_is_where_the_inferer_pads():
    """ResizeWithPadOrCrop pads (n // 2, n - n // 2), as sliding windows do (see tests/engines/test_inferers.py)."""
    padded = ResizeWithPadOrCrop((8, 8), value=-1)(torch.zeros(1, 5, 4))
    assert padded.sum() == -64 + 20
    assert (padded[:, 1:6, 2:6] == 0).all()
