"""The transforms: energy, inverse, noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans.simulate.mr.kspace import complex_noise, to_image, to_kspace


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 17), min_size=2, max_size=3), st.integers(0, 9))
def test_energy_is_the_same_on_both_sides_and_the_inverse_is_one(sizes, seed) -> None:
    """Parseval's theorem, and numpy's transform."""
    image = torch.randn(2, *sizes, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
    axes = tuple(range(1, len(sizes) + 1))
    kspace = to_kspace(image, axes)
    assert float(kspace.abs().square().sum()) == pytest.approx(float(image.abs().square().sum()), rel=1e-5)
    assert np.allclose(kspace.numpy(), np.fft.fftn(image.numpy(), axes=axes, norm="ortho"), atol=1e-5)
    assert torch.allclose(to_image(kspace, axes), image, atol=1e-5)


def test_complex_noise_has_variance_1_in_either_part_and_no_correlation() -> None:
    noise = complex_noise((200, 300), torch.Generator().manual_seed(0), torch.device("cpu")).numpy()
    assert noise.real.var() == pytest.approx(1, rel=0.02)
    assert noise.imag.var() == pytest.approx(1, rel=0.02)
    assert abs((noise.real * noise.imag).mean()) < 0.02
