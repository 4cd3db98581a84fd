"""The projector against rays through rectangles, ellipses in closed form, scikit-image, and its own transpose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import radon

from medtrans.simulate.tomography import ParallelBeam, parallel_beam, projector

GEOMETRIES = st.fixed_dictionaries(
    {
        "shape": st.tuples(st.integers(1, 17), st.integers(1, 17)),
        "spacing": st.tuples(st.floats(0.4, 5), st.floats(0.4, 5)),
        "views": st.integers(3, 11),
        "bin_mm": st.none() | st.floats(0.3, 8),
        "subsets": st.integers(1, 3),
    }
)


def ellipse(shape, spacing, axes, middle=(0.0, 0.0), turn=0.0, fine=8):
    """An ellipse of value 1 with semi-axes and middle in mm, each pixel the mean of ``fine``² points."""
    x, y = (
        (np.arange(n * fine) - (n * fine - 1) / 2) * step / fine - at
        for n, step, at in zip(shape, spacing, middle, strict=True)
    )
    along = np.add.outer(x * np.cos(turn), y * np.sin(turn))
    across = np.add.outer(-x * np.sin(turn), y * np.cos(turn))
    inside = (along / axes[0]) ** 2 + (across / axes[1]) ** 2 <= 1
    return torch.from_numpy(inside.reshape(shape[0], fine, shape[1], fine).mean((1, 3), dtype=np.float32))


def chords(distances, angles, axes, middle, turn):
    """Lengths of lines in that ellipse (views, distances); Kak and Slaney, equation 3.5."""
    width2 = (axes[0] * np.cos(angles - turn)) ** 2 + (axes[1] * np.sin(angles - turn)) ** 2
    shift = middle[0] * np.cos(angles) + middle[1] * np.sin(angles)
    left = np.clip(width2[:, None] - (distances - shift[:, None]) ** 2, 0, None)
    return 2 * axes[0] * axes[1] * np.sqrt(left) / width2[:, None]


@settings(max_examples=40, deadline=None)
@given(geometry=GEOMETRIES, seed=st.integers(0, 99))
def test_backprojection_is_the_transpose_of_projection(geometry, seed) -> None:
    beam, source = ParallelBeam(**geometry), torch.Generator().manual_seed(seed)
    image = torch.rand(2, *beam.shape, 3, generator=source)
    sinogram = torch.rand(2, *beam.sinogram_shape, 3, generator=source)
    there = (beam.project(image) * sinogram).double().sum()
    back = (image * beam.backproject(sinogram)).double().sum()
    torch.testing.assert_close(there, back, rtol=1e-4, atol=0)


@settings(max_examples=40, deadline=None)
@given(geometry=GEOMETRIES, seed=st.integers(0, 99))
def test_every_view_holds_the_whole_content_of_the_slice(geometry, seed) -> None:
    beam = ParallelBeam(**geometry)
    image = torch.rand(1, *beam.shape, generator=torch.Generator().manual_seed(seed))
    content = image.double().sum() * beam.spacing[0] * beam.spacing[1]
    views = beam.project(image).double().sum(2)[0] * beam.bin_mm
    torch.testing.assert_close(views, content.expand_as(views), rtol=1e-4, atol=0)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 2.3)])
@pytest.mark.parametrize("bin_mm", [0.6, 1.9])
def test_a_bin_is_the_mean_of_the_rays_that_end_in_it(spacing, bin_mm) -> None:
    """One pixel: the length of each of 400 rays in a rectangle, by clipping it at the pixel's sides."""
    angles = np.array([0.0, 0.02, 0.4, np.pi / 4, 1.3, np.pi / 2, 2.8])
    beam = ParallelBeam((4, 3), spacing, angles, bin_mm)
    image = torch.zeros(1, 4, 3)
    image[0, 3, 0] = 1.0
    middle = np.array([1.5 * spacing[0], -1.0 * spacing[1]])
    rays = ((np.arange(beam.bins * 400) + 0.5) / 400 - beam.bins / 2) * bin_mm
    lengths = []
    for angle in angles:
        normal, along = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        along = np.where(np.abs(along) < 1e-12, 1e-12, along)
        start = rays[:, None] * normal - middle
        sides = np.sort(
            np.stack([(-np.array(spacing) / 2 - start) / along, (np.array(spacing) / 2 - start) / along]), 0
        )
        lengths.append(np.clip(sides[1].min(1) - sides[0].max(1), 0, None).reshape(-1, 400).mean(1))
    np.testing.assert_allclose(beam.project(image)[0], lengths, atol=0.01)


def test_an_ellipse_has_its_line_integrals_in_mm() -> None:
    shape, spacing, axes, middle, turn = (90, 70), (1.8, 2.4), (55.0, 38.0), (9.0, -14.0), 0.6
    beam = ParallelBeam(shape, spacing, 60)
    fine = ((np.arange(beam.bins * 20) + 0.5) / 20 - beam.bins / 2) * beam.bin_mm
    exact = chords(fine, beam.angles, axes, middle, turn).reshape(60, -1, 20).mean(2)
    error = beam.project(ellipse(shape, spacing, axes, middle, turn)[None])[0].numpy() - exact
    assert np.sqrt((error**2).mean()) < 0.004 * exact.max()
    inside = exact > 0.3 * exact.max()
    assert np.abs(error[inside]).max() < 0.03 * exact.max()


def test_scikit_image_sees_the_same_projections() -> None:
    x = np.arange(61) - 30.0
    image = np.exp(-np.add.outer((x - 6) ** 2, (x + 9) ** 2) / 60) + 0.5 * np.exp(
        -np.add.outer((x + 8) ** 2, (x - 3) ** 2) / 30
    )
    image[np.add.outer(x**2, x**2) > 30**2] = 0
    beam = ParallelBeam((61, 61), (1, 1), 24, bins=61)
    theirs = radon(image.T[::-1], theta=np.degrees(beam.angles), circle=True)  # rows go down, columns right
    ours = beam.project(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(ours, theirs.T, atol=0.005 * theirs.max())


def test_subsets_together_are_all_views() -> None:
    image = torch.rand(1, 9, 12, 2, generator=torch.Generator().manual_seed(1))
    whole, dealt = ParallelBeam((9, 12), (1, 2), 7), ParallelBeam((9, 12), (1, 2), 7, subsets=3)
    sinogram = whole.project(image)
    torch.testing.assert_close(dealt.project(image), sinogram)
    torch.testing.assert_close(dealt.project(image, 1), sinogram[:, 1::3])
    torch.testing.assert_close(dealt.backproject(sinogram), whole.backproject(sinogram))
    parts = sum(dealt.backproject(sinogram[:, k::3], k) for k in range(3))
    torch.testing.assert_close(parts, whole.backproject(sinogram))


def test_a_volume_is_its_slices() -> None:
    volume = torch.rand(2, 8, 5, 3, generator=torch.Generator().manual_seed(2))
    beam = ParallelBeam((8, 5), (1, 1), 6)
    for at in range(3):
        torch.testing.assert_close(beam.project(volume)[..., at], beam.project(volume[..., at]))


def test_a_short_detector_sees_what_it_covers() -> None:
    image = torch.rand(1, 10, 10, generator=torch.Generator().manual_seed(3))
    long, short = (ParallelBeam((10, 10), (1, 1), 8, bins=bins) for bins in (16, 6))
    torch.testing.assert_close(short.project(image), long.project(image)[:, :, 5:11])


def test_gradients_are_the_transpose() -> None:
    beam = ParallelBeam((6, 7), (1, 1), 5)
    image = torch.rand(1, 6, 7, requires_grad=True)
    target = torch.rand(1, *beam.sinogram_shape)
    (beam.project(image) * target).sum().backward()
    torch.testing.assert_close(image.grad, beam.backproject(target))
    sinogram = torch.rand(1, *beam.sinogram_shape, requires_grad=True)
    (beam.backproject(sinogram) * image.detach()).sum().backward()
    torch.testing.assert_close(sinogram.grad, beam.project(image.detach()))


def test_matrices_too_large_to_keep_are_made_again(monkeypatch) -> None:
    image = torch.rand(1, 6, 7)
    kept = ParallelBeam((6, 7), (1, 1), 5)
    monkeypatch.setattr(projector, "KEPT_BYTES", 0)
    fresh = ParallelBeam((6, 7), (1, 1), 5)
    assert kept.matrices()[0] is kept.matrices()[0]
    assert fresh.matrices()[0] is not fresh.matrices()[0]
    assert torch.equal(kept.project(image), fresh.project(image))


def test_the_same_geometry_is_made_once() -> None:
    assert parallel_beam((6, 7), (1.0, 1.0), 5) is parallel_beam((6, 7), (1.0, 1.0), 5)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"shape": (5,)}, "2 sizes"),
        ({"spacing": (1, 0)}, "above 0"),
        ({"views": 2, "subsets": 3}, "at least as many views"),
        ({"bin_mm": -1.0}, "wider than 0"),
    ],
)
def test_a_geometry_that_is_none_is_refused(wrong, says) -> None:
    with pytest.raises(ValueError, match=says):
        ParallelBeam(**{"shape": (5, 5), "spacing": (1, 1), "views": 4, **wrong})


def test_images_of_another_size_are_refused() -> None:
    beam = ParallelBeam((5, 6), (1, 1), 4)
    with pytest.raises(ValueError, match=r"slices of \(5, 6\)"):
        beam.project(torch.zeros(1, 6, 5))
    with pytest.raises(ValueError, match="sinograms of"):
        beam.backproject(torch.zeros(1, 5, 6))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same() -> None:
    image = torch.rand(1, 20, 15, 4)
    host, device = (ParallelBeam((20, 15), (1, 2), 12, subsets=2, device=where) for where in ("cpu", "cuda"))
    sinogram = host.project(image)
    torch.testing.assert_close(device.project(image.cuda()).cpu(), sinogram)
    torch.testing.assert_close(device.backproject(sinogram.cuda()).cpu(), host.backproject(sinogram))
