"""SSIM and multi-scale SSIM as losses equal MONAI's, scikit-image's and what an evaluation reports."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import SSIMLoss
from monai.metrics.regression import compute_ms_ssim
from skimage.metrics import structural_similarity

from medtrans import InputError, metrics
from medtrans.losses import SSIM, MultiScaleSSIM, Observed
from medtrans.metrics.ssim import SCALE_WEIGHTS


@pytest.mark.parametrize("shape", [(2, 1, 24, 20), (2, 3, 16, 31), (1, 2, 12, 13, 14)])
def test_ssim_is_monais_loss(shape, pair):
    candidate, target = pair(shape, torch.float32)
    monai = SSIMLoss(len(shape) - 2, data_range=2.0)
    torch.testing.assert_close(
        SSIM()(candidate, target), monai(candidate.image + 1, target.image + 1), rtol=1e-4, atol=1e-6
    )


def test_ssim_is_that_of_scikit_image(pair):
    candidate, target = pair((1, 1, 40, 30))
    _, quality = structural_similarity(
        candidate.image[0, 0].numpy() + 1, target.image[0, 0].numpy() + 1, data_range=2.0, full=True,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    quality = quality[5:-5, 5:-5]
    assert SSIM()(candidate, target).item() == pytest.approx(1 - quality.mean(), rel=1e-9)
    inside = target.mask[0, 0, 5:-5, 5:-5].numpy() > 0
    assert SSIM(masked=True)(candidate, target).item() == pytest.approx(1 - quality[inside].mean(), rel=1e-9)


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(11, 40), st.integers(11, 40), st.integers(0, 99), st.booleans())
def test_ssim_is_what_an_evaluation_reports(pair, channels, height, width, seed, masked):
    candidate, target = pair((2, channels, height, width), seed=seed)
    if masked:
        target.mask[:] = 1
        target.mask[..., : width // 3] = 0
    reported = metrics.SSIM()(
        candidate.image, target.image, data_range=(-1, 1), mask=target.mask if masked else None
    ).mean()
    torch.testing.assert_close(SSIM(masked=masked)(candidate, target), 1 - reported)


@pytest.mark.parametrize("shape", [(2, 1, 176, 180), (1, 2, 190, 176)])
def test_multi_scale_of_five_scales_is_what_an_evaluation_reports(shape, pair):
    candidate, target = smooth(*pair(shape))
    reported = metrics.MultiScaleSSIM()(candidate.image, target.image, data_range=(-1, 1)).mean()
    torch.testing.assert_close(MultiScaleSSIM()(candidate, target), 1 - reported)


@pytest.mark.parametrize("dims", [2, 3])
def test_multi_scale_of_fewer_scales_is_monais(dims, pair):
    shape = (2, 1, *{2: (64, 48), 3: (48, 44, 44)}[dims])
    candidate, target = smooth(*pair(shape, torch.float32))
    weights = np.array(SCALE_WEIGHTS[:3]) / sum(SCALE_WEIGHTS[:3])
    expected = compute_ms_ssim(candidate.image + 1, target.image + 1, dims, data_range=2.0, weights=tuple(weights))
    found = MultiScaleSSIM(scales=3)(candidate, target).item()
    assert found == pytest.approx(1 - expected.mean().item(), rel=1e-3)  # MONAI's 3D convolution: 1e-4


def test_one_scale_is_ssim(pair):
    candidate, target = smooth(*pair((2, 1, 20, 20)))
    torch.testing.assert_close(MultiScaleSSIM(scales=1)(candidate, target), SSIM()(candidate, target))


def test_a_mask_of_everything_changes_nothing(pair):
    candidate, target = smooth(*pair((2, 2, 48, 46)))
    target.mask = torch.ones_like(target.mask)
    for plain, masked in ((SSIM(), SSIM(masked=True)), (MultiScaleSSIM(scales=3), MultiScaleSSIM(1.0, True, 3))):
        torch.testing.assert_close(plain(candidate, target), masked(candidate, target))


@pytest.mark.parametrize("term", [SSIM(), SSIM(masked=True), MultiScaleSSIM(scales=2)])
def test_identical_images_cost_nothing(term, pair):
    _, target = pair((2, 2, 30, 30))
    assert term(Observed(target.image.clone()), target).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("term", [SSIM(masked=True), MultiScaleSSIM(masked=True, scales=2)])
def test_an_image_without_body_costs_nothing(term, pair):
    candidate, target = pair((1, 1, 30, 30))
    target.mask = torch.zeros_like(target.mask)
    assert term(candidate, target).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("term", [SSIM(), SSIM(masked=True), MultiScaleSSIM(scales=2)])
def test_gradient(term, pair, gradient_is_right):
    assert gradient_is_right(term, *smooth(*pair((2, 2, 23, 22))), fast=True)


def test_autocast_does_not_touch_the_variances(pair):
    candidate, target = smooth(*pair((1, 1, 32, 32), torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = SSIM()(candidate, target).item()
    assert inside == SSIM()(candidate, target).item()


def test_too_small_images_and_wrong_scales_are_refused(pair):
    with pytest.raises(ValueError, match="SSIM needs at least 11 voxels"):
        SSIM()(*pair((1, 1, 10, 30)))
    with pytest.raises(ValueError, match="MultiScaleSSIM needs at least 44 voxels"):
        MultiScaleSSIM(scales=3)(*pair((1, 1, 43, 60)))
    with pytest.raises(InputError, match="Use 1 to 5"):
        MultiScaleSSIM(scales=6)


def smooth(candidate, target):
    """Images that resemble each other, so that no similarity is negative."""
    near = 0.7 * target.image + 0.3 * candidate.image
    return Observed(near, candidate.source, candidate.mask), target
