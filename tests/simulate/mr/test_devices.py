"""On a GPU, the same image as on the CPU."""

from __future__ import annotations

import pytest
import torch

from medtrans.simulate.degradation import Degradation
from medtrans.simulate.mr import BiasField, GibbsRinging, KSpaceSpikes, RicianNoise, UndersampledMR
from medtrans.simulate.mr.undersampling import SAMPLINGS

DEGRADATIONS: list[Degradation] = [
    BiasField(),
    GibbsRinging(),
    KSpaceSpikes(),
    RicianNoise(coils=2, g_factor=2),
    UndersampledMR(acceleration=1.5, partial_fourier=0.75, partial_fourier_method="pocs"),
    *[UndersampledMR(sampling, coils=3, combination="cg-sense", noise_percent=3) for sampling in SAMPLINGS],
]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("shape", [(2, 30, 25), (1, 18, 17, 12)])
@pytest.mark.parametrize("degradation", DEGRADATIONS, ids=lambda one: type(one).__name__)
def test_both_devices_give_the_same_image(degradation, shape) -> None:
    image = 100 + 100 * torch.rand(shape, generator=torch.Generator().manual_seed(0))
    spacing = [1.5] * (len(shape) - 1)
    here = degradation.set_random_state(0)(image, spacing)
    there = degradation(image.cuda(), spacing, randomize=False)
    assert there.device.type == "cuda"
    assert torch.allclose(there.cpu().as_tensor(), here.as_tensor(), atol=0.02)
