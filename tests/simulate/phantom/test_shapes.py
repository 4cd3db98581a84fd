"""Signed distances are distances, and bounds hold their bodies."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans.simulate.phantom.shapes import Capsule, Ellipsoid, above, smooth_max, smooth_min

millimetres = st.floats(-40, 40, allow_nan=False, width=32)
points = st.tuples(millimetres, millimetres, millimetres)
radius = st.floats(2, 20, allow_nan=False, width=32)


def cloud(seed: int = 0, n: int = 4000, extent: float = 60.0) -> SimpleNamespace:
    x, y, z = (torch.rand(3, n, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * extent
    return SimpleNamespace(x=x, y=y, z=z, abs_x=x.abs())


def as_array(place) -> np.ndarray:
    return torch.stack([place.x, place.y, place.z], -1).double().numpy()


@settings(max_examples=30, deadline=None)
@given(start=points, end=points, thickness=radius)
def test_capsule_is_the_distance_to_a_segment(start, end, thickness):
    place = cloud()
    if np.linalg.norm(np.subtract(end, start)) < 1:
        return
    along = np.linspace(start, end, 801)
    expected = np.min(np.linalg.norm(as_array(place)[::40, None] - along[None], axis=-1), axis=1) - thickness
    np.testing.assert_allclose(Capsule(start, end, thickness).distance(place)[::40].numpy(), expected, atol=0.02)


@settings(max_examples=30, deadline=None)
@given(centre=points, thickness=radius)
def test_ellipsoid_of_equal_radii_is_a_sphere(centre, thickness):
    place = cloud()
    expected = np.linalg.norm(as_array(place) - centre, axis=-1) - thickness
    np.testing.assert_allclose(Ellipsoid(centre, (thickness,) * 3).distance(place).numpy(), expected, atol=2e-3)


def test_ellipsoid_is_negative_inside_and_has_slope_one_on_its_surface():
    body = Ellipsoid((3, -4, 5), (30, 20, 12))
    place = cloud()
    level = (((as_array(place) - body.centre) / body.radii) ** 2).sum(-1)
    assert np.array_equal(body.distance(place).numpy() < 0, level < 1)
    direction = np.random.default_rng(0).standard_normal((200, 3))
    on_surface = direction / np.linalg.norm(direction / body.radii, axis=1, keepdims=True)
    normal = on_surface / np.square(body.radii)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    moved = torch.from_numpy(on_surface + 0.5 * normal + body.centre).float().T
    place = SimpleNamespace(x=moved[0], y=moved[1], z=moved[2], abs_x=moved[0].abs())
    assert body.distance(place).numpy() == pytest.approx(0.5, abs=0.02)


def test_paired_bodies_are_on_both_sides():
    place = cloud()
    mirrored = SimpleNamespace(x=-place.x, y=place.y, z=place.z, abs_x=place.abs_x)
    for body in (Ellipsoid((30, 0, 0), (9, 5, 7), paired=True), Capsule((20, 0, 0), (30, 9, 9), 5, paired=True)):
        assert torch.equal(body.distance(place), body.distance(mirrored))
        assert body.bounds()[0][0] == -body.bounds()[1][0]


BODIES = [
    Ellipsoid((10, -5, 8), (20, 12, 9)),
    Ellipsoid((30, 0, 0), (9, 5, 7), paired=True),
    Capsule((-10, 0, 5), (25, 20, -12), 4, 9),
    (Ellipsoid((10, 0, 0), (9, 9, 9)) | Capsule((0, 0, 0), (0, 30, 0), 5)).blended(4.0),
    Ellipsoid((0, 0, 0), (25, 25, 25)) - Ellipsoid((0, 0, 10), (9, 9, 9)),
    Ellipsoid((0, 0, 0), (25, 20, 15)) & above(3.0),
    Ellipsoid((5, 5, 5), (10, 9, 8)).grown(4.0),
    Capsule((0, 0, 0), (0, 30, 0), 9).grown(-3.0),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_nothing_of_a_body_lies_outside_its_bounds(body):
    place = cloud(seed=2, n=60_000)
    inside = body.distance(place).numpy() < 0
    assert inside.sum() > 50
    lower, upper = body.bounds()
    fillet = getattr(body, "blend", 0.0) / 4 + 0.5  # a fillet, and the first-order distance, may reach a little further
    where = as_array(place)[inside]
    assert (where >= np.array(lower) - fillet).all()
    assert (where <= np.array(upper) + fillet).all()


def test_combinations_are_set_operations():
    place = cloud(3)
    a, b = Ellipsoid((0, 0, 0), (20, 20, 20)), Ellipsoid((15, 0, 0), (20, 20, 20))
    in_a, in_b = a.distance(place) < 0, b.distance(place) < 0
    assert torch.equal((a | b).distance(place) < 0, in_a | in_b)
    assert torch.equal((a & b).distance(place) < 0, in_a & in_b)
    assert torch.equal((a - b).distance(place) < 0, in_a & ~in_b)


def test_smooth_minimum_only_adds_near_the_seam():
    a, b = torch.linspace(-20, 20, 401), torch.zeros(401)
    smooth = smooth_min(a, b, 6.0)
    assert (smooth <= torch.minimum(a, b) + 1e-5).all()
    far = (a - b).abs() > 6
    torch.testing.assert_close(smooth[far], torch.minimum(a, b)[far], atol=1e-5, rtol=0)
    torch.testing.assert_close(smooth_max(a, b, 6.0), -smooth_min(-a, -b, 6.0))
