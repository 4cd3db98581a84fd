"""Volumes laid over the planes of a series: the same grid in any order of axes, or a refusal in millimetres."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medtrans.errors import InputError
from medtrans.scans import Conversion, read_series
from medtrans.scans.derived.grid import cut, off_grid, resample
from medtrans.scans.derived.sources import source_series
from medtrans.scans.export.finding import found_scans

AXES = Rotation.from_euler("zyx", (12, -25, 40), degrees=True).as_matrix()


@pytest.fixture
def source_of(make_series):
    """``source_of(planes=None, **options)``: the only source among the written planes of a series."""

    def make(planes=None, **options):
        series = make_series(**options)
        for k in range(len(series.pixels)) if planes is None else planes:
            series.write(k)
        with found_scans(series.folder) as files:
            (source,), refused = source_series(files)
        assert refused == []
        return series, source

    return make


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(3)), st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_any_order_of_axes_gives_the_planes(source_of, order, signs):
    series, source = source_of(orientation=AXES[:2].ravel(), spacing=(0.7, 1.2), origin=(5, -60, 33))
    turn = np.column_stack([order, signs])
    array = series.pixels.transpose(2, 1, 0).astype(np.float32)
    affine = series.affine @ nib.orientations.inv_ornt_aff(turn, array.shape)
    planes = cut(nib.orientations.apply_orientation(array, turn), affine, source, "x")
    np.testing.assert_array_equal(planes.values, series.pixels)
    assert not planes.resampled


@pytest.mark.parametrize("by", [0.5, -3.0])
def test_a_shifted_volume_is_refused_with_the_distance(source_of, by):
    series, source = source_of(spacing=(4.0, 4.0), step=7.0)
    affine = series.affine.copy()
    affine[0, 3] += by
    with pytest.raises(InputError, match=rf"up to {abs(by):.2f} mm away.*--resample"):
        cut(series.pixels.transpose(2, 1, 0), affine, source, "x")


@pytest.mark.parametrize("part", [np.s_[1:], np.s_[:, 1:], np.s_[..., :-1]])
def test_a_cropped_volume_is_refused(source_of, part):
    series, source = source_of()
    assert "voxels, the series 6 x 8 x 5" in off_grid(
        series.pixels.transpose(2, 1, 0)[part].shape, series.affine, source
    )


def test_a_turned_volume_is_refused(source_of):
    series, source = source_of(shape=(5, 6, 6))
    affine = series.affine.copy()
    affine[:3, :3] = affine[:3, :3] @ Rotation.from_euler("z", 2, degrees=True).as_matrix()
    assert off_grid((6, 6, 5), affine, source).startswith("voxels are up to 0.2")


def test_a_tilted_gantry_keeps_its_planes(source_of):
    series, source = source_of(step=(0, 1.2, 4))
    (volume,) = read_series(series.folder)
    assert volume.metadata["geometry"]["sheared"]
    planes = cut(volume.array, volume.affine, source, "x")
    np.testing.assert_array_equal(planes.values, series.pixels)


@pytest.mark.parametrize(("gaps", "kept"), [("resample", [0, 1, 2, 3, 6, 7]), ("largest-run", [0, 1, 2, 3])])
def test_of_a_series_with_a_gap_the_planes_that_were_measured_come_back(source_of, gaps, kept):
    series, source = source_of([0, 1, 2, 3, 6, 7], shape=(8, 8, 6))
    (volume,) = read_series(series.folder, Conversion(gaps=gaps))
    planes = cut(volume.array, volume.affine, source, "x")
    np.testing.assert_array_equal(planes.values, series.pixels[kept])
    assert [frame.tags["InstanceNumber"] for frame in planes.frames] == [k + 1 for k in kept]


def test_resampling_puts_every_value_where_it_belongs(source_of):
    """Values grow linearly in space, which linear interpolation keeps: compared at the planes' own positions."""
    series, source = source_of(orientation=AXES[:2].ravel(), spacing=(1.7, 2.1), step=3.0)
    corner = nib.affines.apply_affine(series.affine, np.array([0, 0, 0]))
    affine = np.diag([1.3, 1.1, 0.9, 1.0])
    affine[:3, 3] = corner - 25
    shape = (40, 46, 56)
    ramp = np.array([2.0, -3.0, 5.0])
    at = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    planes = resample((at @ ramp).astype(np.float32), affine, source, -1024.0, "x")
    assert planes.resampled
    index = np.moveaxis(np.indices((6, 8, 5)), 0, -1)
    expected = (nib.affines.apply_affine(series.affine, index) @ ramp).transpose(2, 1, 0)
    assert planes.outside == 0
    np.testing.assert_allclose(planes.values, expected, atol=1e-3)


def test_outside_of_the_volume_is_background_and_planes_wholly_outside_are_left_out(source_of):
    series, source = source_of()
    array = np.full((6, 8, 5), 7, np.float32)
    affine = series.affine.copy()
    affine[2, 3] += 2 * 2.0  # two slices up
    affine[0, 3] -= 3.0  # three columns on
    planes = resample(array, affine, source, -1024.0, "x")
    np.testing.assert_array_equal(planes.values[0, :, :3], -1024)
    np.testing.assert_array_equal(planes.values[0, :, 3:], 7)
    assert [frame.tags["InstanceNumber"] for frame in planes.frames] == [3, 4, 5]
    assert planes.outside == pytest.approx(0.5)


def test_a_volume_of_another_place_is_refused_even_when_interpolated(source_of):
    series, source = source_of()
    affine = series.affine.copy()
    affine[2, 3] += 500
    with pytest.raises(InputError, match="do not overlap"):
        resample(np.zeros((6, 8, 5), np.float32), affine, source, 0.0, "x")
