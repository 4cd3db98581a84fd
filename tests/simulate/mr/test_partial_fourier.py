"""Partial Fourier: which lines are acquired, and that what is not plays no part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans.simulate.mr.kspace import to_image, to_kspace
from medtrans.simulate.mr.partial_fourier import METHODS, PartialFourier


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 90), st.floats(5 / 8, 0.99))
def test_a_fraction_of_the_lines_is_acquired_with_the_centre_and_one_whole_side(size, fraction) -> None:
    acquired = PartialFourier(size, fraction, "homodyne").acquired
    assert acquired.sum() == int(np.ceil(fraction * size))
    assert acquired[: size // 2 + 1].all()


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 61), st.floats(5 / 8, 0.99))
def test_a_line_and_its_mirror_image_count_twice_together(size, fraction) -> None:
    """Why homodyne is exact without phase: w(k) + w(-k) = 2, and 0 is needed of what was not acquired."""
    partial = PartialFourier(size, fraction, "homodyne")
    weights = np.fft.ifftshift(partial.homodyne)
    assert weights + np.roll(weights[::-1], 1) == pytest.approx(np.full(size, 2.0))
    assert np.all(partial.homodyne[~partial.acquired] == 0)
    assert np.all(partial.low[~partial.acquired] == 0)


@pytest.mark.parametrize("method", METHODS)
def test_what_was_acquired_decides_alone(method) -> None:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(1, 9, 32, dtype=torch.complex64, generator=random)
    partial = PartialFourier(32, 0.7, method)
    acquired = torch.as_tensor(np.fft.ifftshift(partial.acquired)).float()
    kspace = to_kspace(image, [2]) * acquired
    result = partial.reconstruct(kspace, [2])
    if method != "homodyne":  # it weights what it keeps
        assert torch.allclose(to_kspace(result, [2]) * acquired, kspace, atol=1e-5)
    if method == "zero-filled":
        assert torch.allclose(result, to_image(kspace, [2]))
        assert torch.all((to_kspace(result, [2]) * (1 - acquired)).abs() < 1e-5)


def test_a_constant_phase_is_no_obstacle() -> None:
    image = (1 + torch.rand(1, 20, 24, generator=torch.Generator().manual_seed(0))) * np.exp(0.7j)
    partial = PartialFourier(24, 5 / 8, "homodyne")
    kspace = to_kspace(image.to(torch.complex64), [2]) * torch.as_tensor(np.fft.ifftshift(partial.acquired)).float()
    assert torch.allclose(partial.reconstruct(kspace, [2]), image.to(torch.complex64), atol=1e-5)


def test_too_few_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="zero frequency"):
        PartialFourier(32, 0.4, "pocs")
