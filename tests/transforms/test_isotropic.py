import itertools

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientation, SpatialResample
from nibabel.spaces import vox2out_vox
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medtrans.transforms import Isotropic, Isotropicd
from medtrans.transforms.regrid import edge_margin
from medtrans.transforms.training_grid import ras_grid


def grid(spacing, angles=(0, 0, 0), order=(0, 1, 2), signs=(1, 1, 1), origin=(10.0, -20.0, 30.0)):
    """An affine with rotated, permuted and flipped axes."""
    axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, order] * np.asarray(signs)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing)
    affine[:3, 3] = origin
    return affine


def scene(points):
    """A smooth, asymmetric function of millimetres ``(3, …)``."""
    x, y, z = points
    return 300 * np.sin(x / 9) * np.cos(y / 11) + 200 * np.sin(z / 10 + 0.5) + 5 * x - 3 * y + 2 * z


def points_of(affine, shape):
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), 0).reshape(3, -1)
    return (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *shape)


def scan(affine, shape):
    values = scene(points_of(affine, shape)).astype(np.float32)[None]
    return MetaTensor(torch.from_numpy(values), affine=torch.from_numpy(affine))


GRIDS = [
    (grid((1.0, 1.0, 1.0), signs=(-1, -1, 1)), (21, 18, 23)),
    (grid((2.0, 0.8, 3.1), order=(2, 0, 1), signs=(-1, 1, -1)), (15, 31, 13)),
    (grid((0.9, 1.1, 2.5), angles=(20, -15, 35)), (33, 25, 17)),
    (grid((2.2, 1.3, 1.7), angles=(-8, 12, -30), order=(1, 2, 0), signs=(1, -1, -1)), (17, 19, 27)),
]


@pytest.mark.parametrize(("affine", "shape"), GRIDS)
def test_the_new_grid_is_ras_with_the_spacing_and_shows_the_same_world(affine, shape):
    out = Isotropic((1.0, 1.0, 1.0), background=-7777.0)(scan(affine, shape))
    new = out.affine.numpy()
    np.testing.assert_array_equal(new[:3, :3], np.eye(3))
    values, truth = out[0].numpy(), scene(points_of(new, out.shape[1:]))
    index = np.linalg.solve(
        affine, np.concatenate([points_of(new, out.shape[1:]).reshape(3, -1), np.ones((1, values.size))])
    )
    inside = (index[:3] >= 0).all(0) & (index[:3] <= np.asarray(shape)[:, None] - 1).all(0)
    # the edge is carried on for one millimetre along each new axis, no further, where the axes are oblique
    edge = edge_margin(np.linalg.solve(affine, new))[:, None] + 0.5
    outside = (index[:3] < -edge - 1e-3).any(0) | (index[:3] > np.asarray(shape)[:, None] - 1 + edge + 1e-3).any(0)
    shown = (index[:3] > -edge + 1e-3).all(0) & (index[:3] < np.asarray(shape)[:, None] - 1 + edge - 1e-3).all(0)
    assert inside.sum() > 500
    # linear interpolation of a smooth function: an eighth of its curvature times the step squared, on each axis
    assert np.abs(values.ravel()[inside] - truth.ravel()[inside]).max() < 8.0
    assert (values.ravel()[outside] == -7777.0).all()
    assert (values.ravel()[shown] != -7777.0).all()


@pytest.mark.parametrize(("affine", "shape"), GRIDS)
def test_the_inverse_comes_back_onto_the_very_grid(affine, shape):
    volume, transform = scan(affine, shape), Isotropic(1.0)
    back = transform.inverse(transform(volume))
    assert back.shape == volume.shape
    assert torch.equal(back.affine, volume.affine)
    assert back.applied_operations == []
    inner = (slice(None), *(slice(2, -2),) * 3)
    assert float((back - volume)[inner].abs().max()) < 12.0  # of a range of more than 1000
    assert float((back - volume).abs().mean()) < 3.0


def test_every_voxel_of_the_scan_lies_in_the_new_field_of_view():
    for affine, shape in GRIDS:
        new, size = ras_grid(affine, shape, (1.0, 1.0, 1.0))
        corners = np.array(list(itertools.product(*[(-0.5, n - 0.5) for n in shape]))).T
        index = affine[:3, :3] @ corners + affine[:3, 3:] - new[:3, 3:]
        assert (index >= -0.5 - 0.02).all()
        assert (index <= np.asarray(size)[:, None] - 0.5 + 0.02).all()


def test_a_right_grid_comes_back_bit_for_bit():
    affine = grid((1.0, 1.0, 1.0), origin=(3.3, -1.7, 8.8))
    affine[0, 0] += 1e-7  # what float32 headers do
    volume = scan(affine, (9, 10, 11))
    transform = Isotropic(1.0)
    out = transform(volume)
    assert torch.equal(out.as_tensor(), volume.as_tensor())
    np.testing.assert_array_equal(out.affine.numpy(), affine)
    assert torch.equal(transform.inverse(out).as_tensor(), volume.as_tensor())


@given(order=st.permutations(range(3)), signs=st.tuples(*[st.sampled_from([-1, 1])] * 3))
@settings(deadline=None, max_examples=24)
def test_flips_and_transpositions_are_exact_and_equal_monais(order, signs):
    affine = grid((1.0, 1.0, 1.0), order=order, signs=signs)
    volume, transform = scan(affine, (7, 8, 9)), Isotropic(1.0)
    out = transform(volume)
    expected = Orientation("RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(volume)
    assert torch.equal(out.as_tensor(), expected.as_tensor())
    np.testing.assert_allclose(out.affine.numpy(), expected.affine.numpy(), atol=1e-9)
    back = transform.inverse(out)
    assert torch.equal(back.as_tensor(), volume.as_tensor())
    assert torch.equal(back.affine, volume.affine)


def test_the_interpolation_equals_monais_and_simpleitks():
    affine, shape = GRIDS[2]
    volume = scan(affine, shape)
    out = Isotropic(1.0, background=float("-1e6"), mode="linear")(volume)
    inside = ndimage.binary_erosion(out[0].numpy() > -1e6, iterations=4)
    # without antialiasing (no step grows by much here, but 0.9 mm does a little): blur the volume for the references
    sigma = 0.5 * np.sqrt((1 / 0.9) ** 2 - 1)
    blurred = volume.clone()
    blurred[0] = torch.from_numpy(ndimage.gaussian_filter1d(volume[0].numpy(), sigma, axis=0, mode="nearest"))
    monai = SpatialResample()(blurred, dst_affine=out.affine, spatial_size=out.shape[1:])
    np.testing.assert_allclose(out[0].numpy()[inside], monai[0].numpy()[inside], atol=1e-2)

    image = SimpleITK.GetImageFromArray(blurred[0].numpy().T)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(steps)
    image.SetDirection((lps[:3, :3] / steps).ravel())
    image.SetOrigin(lps[:3, 3])
    new = np.diag([-1, -1, 1, 1]) @ out.affine.numpy()
    placed = SimpleITK.Resample(
        image,
        list(out.shape[1:]),
        SimpleITK.Transform(),
        SimpleITK.sitkLinear,
        new[:3, 3].tolist(),
        (1.0, 1.0, 1.0),
        np.diag([-1.0, -1.0, 1.0]).ravel().tolist(),
    )
    np.testing.assert_allclose(out[0].numpy()[inside], SimpleITK.GetArrayFromImage(placed).T[inside], atol=1e-2)


def test_noise_of_a_finer_scan_does_not_alias():
    affine = grid((0.4, 0.4, 1.0))
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 100, 100, 20)).astype(np.float32))
    out = Isotropic(1.0)(MetaTensor(noise, affine=torch.from_numpy(affine)))
    box = noise.reshape(1, 20, 5, 20, 5, 20).mean(dim=(2, 4))  # two-millimetre boxes, for scale
    assert 0.02 < float(box.std()) < float(out.std()) < 0.45
    nearest = Isotropic(1.0, mode="nearest")(MetaTensor(noise, affine=torch.from_numpy(affine)))
    assert float(nearest.std()) > 0.95  # labels are never smoothed
    finer = Isotropic(0.2)(MetaTensor(noise[:, :20, :20], affine=torch.from_numpy(affine)))
    assert float(finer.abs().max()) > 2.5  # nothing is smoothed where the step shrinks


def test_a_sheared_grid_works_too():
    affine = grid((1.0, 1.0, 3.0))
    affine[1, 2] = 0.8  # a tilted gantry
    volume, transform = scan(affine, (20, 22, 14)), Isotropic(1.0)
    out = transform(volume)
    truth = scene(points_of(out.affine.numpy(), out.shape[1:]))
    assert np.abs(out[0].numpy() - truth)[4:-4, 14:-14, 4:-4].max() < 8.0
    back = transform.inverse(out)
    assert torch.equal(back.affine, volume.affine)
    assert float((back - volume)[:, 2:-2, 2:-2, 2:-2].abs().max()) < 12.0


def test_one_slice_is_a_volume_too():
    volume, transform = scan(grid((0.8, 0.8, 5.0)), (30, 32, 1)), Isotropic(1.0)
    out = transform(volume)
    assert out.shape == (1, 24, 26, 5)
    back = transform.inverse(out)
    assert back.shape == volume.shape
    assert float((back - volume)[:, 2:-2, 2:-2].abs().max()) < 12.0


def test_channels_have_their_own_background():
    affine, shape = GRIDS[2]
    both = MetaTensor(torch.cat([scan(affine, shape).as_tensor()] * 2), affine=torch.from_numpy(affine))
    out = Isotropic(1.0, background=[0.5, -1024.0])(both)
    assert (out[0, 0, 0, 0], out[1, 0, 0, 0]) == (0.5, -1024.0)
    item = Isotropicd(
        ["source", "mask"],
        background={"source": [0.5, -1024.0], "mask": 0},
        mode={"source": "linear", "mask": "nearest"},
    )({"source": both, "mask": MetaTensor(torch.ones(1, *shape), affine=both.affine)})
    assert torch.equal(item["source"].as_tensor(), out.as_tensor())
    assert set(item["mask"].unique().tolist()) == {0.0, 1.0}


def test_predictions_with_other_channels_go_back_by_monais_invertd():
    affine, shape = GRIDS[3]
    step = Isotropicd("source", spacing=1.0)
    item = Compose([step])({"source": scan(affine, shape)})
    item["pred"] = MetaTensor(torch.cat([item["source"].as_tensor(), -item["source"].as_tensor()]))
    back = Invertd("pred", step, orig_keys="source", nearest_interp=False)(item)["pred"]
    assert back.shape == (2, *shape)
    assert torch.equal(back.affine.double(), torch.from_numpy(affine))
    expected = step.inverse(item)["source"]
    torch.testing.assert_close(back[0].as_tensor(), expected[0].as_tensor())
    torch.testing.assert_close(back[1].as_tensor(), -expected[0].as_tensor())
    labels = MetaTensor((item["source"].as_tensor() > 0).float())
    nearest = Invertd("pred", step, orig_keys="source", nearest_interp=True)(item | {"pred": labels})["pred"]
    assert set(nearest.unique().tolist()) == {0.0, 1.0}


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="positive"):
        Isotropic(0.0)
    with pytest.raises(ValueError, match="interpolation"):
        Isotropic(1.0, mode="spline")
    with pytest.raises(TypeError, match="affine"):
        Isotropic(1.0)(torch.zeros(1, 2, 2, 2))


def test_reading_the_grid_agrees_with_nibabel():
    for affine, shape in GRIDS[:2]:
        new, size = ras_grid(affine, shape, (1.0, 1.0, 1.0))
        space = vox2out_vox((shape, affine), (1.0, 1.0, 1.0))
        # nibabel covers voxel centres, ours the field of view: ours is at most one voxel longer
        assert (np.abs(np.asarray(size) - np.asarray(space[0])) <= np.ceil(np.abs(affine[:3, :3]).max())).all()
        assert (new[:3, 3] <= space[1][:3, 3] + 1e-6).all()
