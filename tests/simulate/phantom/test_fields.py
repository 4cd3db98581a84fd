"""Random fields have the smoothness they promise, and are interpolated linearly."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from medtrans.simulate.phantom.fields import Field, along_axes, band_pass_cube, covering, smooth_field, stream


def test_streams_are_independent_and_repeatable():
    draw = lambda seed, purpose: stream(seed, purpose).standard_normal(4).tolist()  # noqa: E731
    assert draw(1, "skull") == draw(1, "skull")
    assert draw(1, "skull") != draw(2, "skull")
    assert draw(1, "skull") != draw(1, "brain")


def test_along_axes_is_a_product_along_each_axis():
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(3, 4, 5, generator=generator)
    matrices = [torch.randn(n, m, generator=generator) for n, m in ((6, 3), (2, 4), (7, 5))]
    expected = torch.einsum("abc,xa,yb,zc->xyz", volume, *matrices)
    torch.testing.assert_close(along_axes(volume, matrices), expected, rtol=1e-5, atol=1e-5)


def test_interpolation_is_trilinear_and_constant_outside():
    axes = covering((7.0, 9.0, 5.0), 2.0)
    values = torch.randn([axis.count for axis in axes], generator=torch.Generator().manual_seed(1))
    field = Field(axes, values)
    grid = [torch.linspace(-half, half, n) for half, n in ((8, 11), (12, 7), (5.5, 4))]
    reference = RegularGridInterpolator([axis.nodes.numpy() for axis in axes], values.numpy())
    clipped = [np.clip(along, axis.nodes[0], axis.nodes[-1]) for along, axis in zip(grid, axes, strict=True)]
    expected = reference(np.stack(np.meshgrid(*clipped, indexing="ij"), -1))
    np.testing.assert_allclose(field.at(grid).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("sigma", "step"), [(6.0, 3.0), (9.0, 4.0)])
def test_smooth_field_has_unit_variance_and_the_kernels_correlation(sigma, step):
    values = smooth_field(sigma, stream(5, "test"), step).values.numpy()
    assert values.mean() == pytest.approx(0, abs=1e-3)
    assert values.std() == pytest.approx(1, abs=1e-3)
    shift = round(sigma / step)
    correlation = (values * np.roll(values, shift, axis=1)).mean()
    assert correlation == pytest.approx(np.exp(-((shift * step) ** 2) / (4 * sigma**2)), abs=0.12)


def test_band_pass_noise_has_its_wavelength():
    noise = band_pass_cube(64, wavelength=8.0, rng=stream(0, "test"))
    power = np.abs(np.fft.fftn(noise)) ** 2
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(64)] * 3, indexing="ij")))
    assert (power * frequency).sum() / power.sum() == pytest.approx(1 / 8, rel=0.1)
