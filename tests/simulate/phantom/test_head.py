"""Heads are reproducible, different from each other, co-registered, and look like heads to each modality."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy import ndimage

from medtrans.errors import InputError
from medtrans.simulate import LABELS, MODALITIES, HeadPhantom, Lesion
from medtrans.simulate.phantom.images import Contrast

COARSE = 3.5


@lru_cache(maxsize=8)
def head(seed: int = 0, spacing: float = COARSE, lesion: bool | Lesion | None = None, noise: bool = True):
    return HeadPhantom(seed, spacing, lesion=lesion, noise=noise).images()


def pure(images, tissue: str, erosion: int = 1) -> np.ndarray:
    """Voxels well within a tissue."""
    return ndimage.binary_erosion(images["label"] == LABELS[tissue], iterations=erosion)


def centre(selected: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """World coordinates of the centre of mass."""
    return (affine @ [*np.argwhere(selected).mean(0), 1])[:3]


def test_output_has_the_promised_names_types_and_shape():
    images = head()
    assert set(images) == {*MODALITIES, "label", "mask", "lesion"}
    for name, volume in images.items():
        assert volume.shape == (55, 64, 55)
        assert volume.dtype == (np.float32 if name in MODALITIES else np.uint8)
        assert np.isfinite(volume).all()
    assert images["label"].max() < len(LABELS)
    assert set(np.unique(images["mask"])) == {0, 1}


def test_same_seed_is_bit_identical_whatever_the_threads():
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            again = HeadPhantom(0, COARSE).images()
            assert torch.get_num_threads() == threads
            for name, volume in head().items():
                assert np.array_equal(volume, again[name]), name
    finally:
        torch.set_num_threads(before)


def test_a_modality_does_not_depend_on_the_others():
    alone = HeadPhantom(0, COARSE).images(["PET"])
    assert set(alone) == {"PET", "label", "mask", "lesion"}
    assert np.array_equal(alone["PET"], head()["PET"])


def test_other_seeds_are_other_heads():
    labels = [head(seed)["label"] for seed in (0, 1, 2)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert 0.1 < (labels[a] != labels[b]).mean() < 0.6
    volumes = [(head(seed)["mask"] > 0).sum() for seed in (0, 1, 2)]
    assert len(set(volumes)) == 3


def test_anatomy_has_human_proportions():
    images = head(1, 2.0, False, False)
    litre = {name: (images["label"] == label).sum() * 8e-6 for name, label in LABELS.items()}
    brain = sum(
        litre[n] for n in ("grey matter", "white matter", "deep grey matter", "cerebellar grey matter", "brainstem")
    )
    assert 0.9 < brain < 1.7
    assert 0.4 < litre["grey matter"] / brain < 0.75
    assert 0.1 < litre["cerebrospinal fluid"] < 0.5
    assert 0.3 < litre["cortical bone"] + litre["bone marrow"] < 1.0
    assert 0.005 < litre["vitreous body"] < 0.02  # two eyes of 6.5 ml


def test_every_tissue_shows_up():
    present = set(np.unique(head(1, 2.0, False, False)["label"]))
    missing = {name for name, label in LABELS.items() if label not in present}
    assert missing <= {"lesion core", "lesion rim", "oedema"}


@pytest.mark.parametrize("modality", ["T1", "T2", "PD", "FLAIR"])
def test_mr_contrast_follows_the_signal_equations(modality):
    images, contrast = head(1, 2.0, False, False), Contrast(1)
    shown, expected = {}, {}
    for tissue in ("white matter", "cerebrospinal fluid", "grey matter", "muscle", "vitreous body"):
        shown[tissue] = np.median(images[modality][pure(images, tissue, 2 if tissue == "muscle" else 1)])
        expected[tissue] = contrast.protocol.value(modality, contrast.tissues[tissue])
    for tissue, value in expected.items():  # coil shading is a few per cent, partial volume what little erosion leaves
        assert shown[tissue] == pytest.approx(value, rel=0.25, abs=15), tissue


def test_ct_numbers_are_those_of_the_tissues():
    images = head(1, 2.0, False)
    air = ndimage.binary_erosion(images["mask"] == 0, iterations=2)
    assert images["CT"][air].mean() == pytest.approx(-1000, abs=2)
    for tissue in ("white matter", "grey matter", "deep grey matter"):
        assert 20 < images["CT"][pure(images, tissue)].mean() < 60
    assert np.median(images["CT"][pure(images, "bone marrow")]) > 300
    assert np.percentile(images["CT"][images["label"] == LABELS["cortical bone"]], 75) > 900
    assert images["CT"].min() >= -1024
    assert images["CT"].max() <= 3071


def test_skull_is_a_closed_shell_of_human_thickness_where_t1_is_dark():
    phantom = HeadPhantom(4, 1.0, shape=(192, 224, 9), lesion=False, noise=False)
    images = phantom.images(["T1", "CT"])
    bone = images["CT"][:, :, 4] > 300
    for angle in np.deg2rad(
        np.arange(110, 260, 10)
    ):  # behind the ears and over the temples, away from face and sinuses
        steps = np.arange(30, 110, 0.5)
        x = np.clip(np.round(95.5 + steps * np.sin(angle)), 0, 191).astype(int)
        y = np.clip(np.round(111.5 + steps * np.cos(angle)), 0, 223).astype(int)
        thickness = bone[x, y].sum() * 0.5
        assert 2.0 <= thickness <= 16.0, np.rad2deg(angle)
    cortical = images["CT"][:, :, 4] > 1100
    white = images["T1"][images["label"] == LABELS["white matter"]]
    assert np.median(images["T1"][:, :, 4][cortical]) < 0.35 * np.median(white)


def test_modalities_are_co_registered():
    images = head(1, 2.0, False, False)
    mask = images["mask"] > 0
    thresholds = {"T1": 60, "PD": 120, "CT": -500}
    for modality, threshold in thresholds.items():
        body = ndimage.binary_fill_holes(ndimage.binary_closing(images[modality] > threshold, iterations=3))
        overlap = 2 * (body & mask).sum() / (body.sum() + mask.sum())
        assert overlap > 0.97, modality
    bright_fluid, dark_fluid = images["T2"] > 450, images["FLAIR"] < 150
    fluid = pure(images, "cerebrospinal fluid", 1)
    assert bright_fluid[fluid].mean() > 0.95
    assert dark_fluid[fluid].mean() > 0.95


def test_pet_shows_grey_matter_and_loses_small_things():
    images = head(1, 2.0, False, False)
    grey, white = images["PET"][pure(images, "deep grey matter")], images["PET"][pure(images, "white matter", 2)]
    assert grey.mean() > 1.7 * white.mean()
    uptake = {}
    for radius in (5.0, 14.0):
        spot = Lesion((27.0, -8.0, 34.0), (radius,) * 3, roughness=0.0)
        phantom = HeadPhantom(1, 2.0, lesion=spot, noise=False)
        images = phantom.images(["PET"])
        rim = images["label"] == LABELS["lesion rim"]
        uptake[radius] = images["PET"][rim].max() / phantom.contrast.tissues["lesion rim"].suv
    assert uptake[5.0] < 0.75
    assert uptake[5.0] < uptake[14.0] < 1.1


def test_lesion_can_be_had_or_not():
    without, with_one = head(3, COARSE, False), head(3, COARSE, True)
    assert without["lesion"].sum() == 0
    assert with_one["lesion"].sum() > 10
    core = with_one["label"] == LABELS["lesion core"]
    assert np.array_equal(with_one["lesion"] > 0, core | (with_one["label"] == LABELS["lesion rim"]))
    changed = without["label"] != with_one["label"]
    assert changed[with_one["lesion"] > 0].mean() > 0.9
    around = ndimage.binary_dilation(with_one["lesion"] > 0, iterations=6)
    assert not changed[~around].any()
    assert with_one["FLAIR"][core].mean() != pytest.approx(without["FLAIR"][core].mean(), rel=0.05)


@pytest.mark.parametrize("tissue", ["vitreous body", "deep grey matter", "cerebellar grey matter", "white matter"])
def test_landmarks_are_at_the_same_place_at_every_spacing(tissue):
    places = []
    for spacing in (2.0, COARSE):
        affine = HeadPhantom(1, spacing).affine
        places.append(centre(head(1, spacing, False, False)["label"] == LABELS[tissue], affine))
    np.testing.assert_allclose(places[0], places[1], atol=1.2)


def test_images_are_in_ras_order():
    images, affine = head(1, 2.0, False, False), HeadPhantom(1, 2.0).affine
    eyes = centre(images["label"] == LABELS["vitreous body"], affine)
    cerebellum = centre(images["label"] == LABELS["cerebellar grey matter"], affine)
    assert eyes[1] > 40 > -20 > cerebellum[1]  # eyes in front
    brain = centre(images["label"] == LABELS["white matter"], affine)
    assert brain[2] > cerebellum[2] + 20  # cerebrum on top
    spot = Lesion((30.0, 0.0, 30.0), (10.0,) * 3)
    phantom = HeadPhantom(1, COARSE, lesion=spot)
    assert centre(phantom.images(["CT"])["lesion"] > 0, phantom.affine)[0] > 15  # positive x is the right


def test_coarse_voxels_are_the_mean_of_finer_ones():
    fine = HeadPhantom(1, 2.0, shape=(96, 112, 96), lesion=False, noise=False).images(["CT"])["CT"]
    coarse = HeadPhantom(1, 4.0, shape=(48, 56, 48), lesion=False, noise=False).images(["CT"])["CT"]
    means = torch.nn.functional.avg_pool3d(torch.from_numpy(fine)[None], 2)[0].numpy()
    difference = np.abs(coarse - means)
    assert np.median(difference) < 5
    assert np.corrcoef(coarse.ravel(), means.ravel())[0, 1] > 0.99


def test_any_shape_and_anisotropic_voxels():
    images = HeadPhantom(0, (2.0, 2.0, 6.0), shape=(90, 110, 20)).images(["T1"])
    assert images["T1"].shape == (90, 110, 20)
    assert images["mask"].mean() > 0.2


def test_unknown_modality_and_negative_seed_are_refused():
    with pytest.raises(InputError, match="US"):
        HeadPhantom(0, 8.0).images(["T1", "US"])
    with pytest.raises(InputError, match="negative"):
        HeadPhantom(-1)
