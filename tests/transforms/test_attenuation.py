import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor

from medtrans.transforms import AttenuationMap, AttenuationMapd

VOLTAGES = (80, 100, 110, 120, 130, 140)
PUBLISHED_BREAKS = dict(zip(VOLTAGES, (50, 52, 43, 47, 37, 30), strict=True))  # HU, Carney et al. 2006


def at(hounsfield, kvp=120):
    return float(AttenuationMap(kvp)(np.array([[float(hounsfield)]]))[0, 0])


def burger(hounsfield):
    """Burger et al. 2002: mixtures of water and cortical bone, at 511 keV and at the CT's effective 80 keV."""
    water, bone, water_ct, bone_ct = 0.096, 0.172, 0.184, 0.428  # 1/cm
    if hounsfield <= 0:
        return water * (hounsfield + 1000) / 1000
    return water + hounsfield * water_ct * (bone - water) / (1000 * (bone_ct - water_ct))


@pytest.mark.parametrize("kvp", VOLTAGES)
def test_air_and_water_have_their_published_attenuation_at_511_kev(kvp):
    """NIST XCOM: water 0.0969 cm2/g at 500 keV, 0.0960 1/cm at 511 keV; air 1e-4 1/cm."""
    assert at(-1000, kvp) == pytest.approx(0.0, abs=1.1e-4)
    assert at(0, kvp) == pytest.approx(0.0960, abs=1e-4)
    assert at(-3024, kvp) == 0.0


def test_cortical_bone_meets_the_published_value():
    """ICRU cortical bone, 1.92 g/cm3: 0.172 1/cm at 511 keV (NIST XCOM); 1326 HU at an effective 80 keV."""
    assert at(1326, 120) == pytest.approx(0.172, rel=0.05)
    assert at(1326, 140) == pytest.approx(0.172, rel=0.02)


@given(hounsfield=st.floats(-1000, 2000))
def test_the_two_published_methods_agree_within_six_percent(hounsfield):
    assert at(hounsfield) == pytest.approx(burger(hounsfield), rel=0.06, abs=2e-4)


@pytest.mark.parametrize("kvp", VOLTAGES)
def test_the_lines_meet_at_the_published_break_point(kvp):
    values = AttenuationMap(kvp)(np.arange(0.0, 100.0)[None])[0]
    bend = np.diff(values, 2)
    assert abs(int(np.argmin(bend)) + 1 - PUBLISHED_BREAKS[kvp]) <= 1
    assert (np.diff(values) > 0).all()


def test_the_same_bone_attenuates_x_rays_of_a_lower_voltage_more_so_its_hounsfield_counts_less():
    assert [at(1000, kvp) for kvp in VOLTAGES] == sorted(at(1000, kvp) for kvp in VOLTAGES)


@given(hounsfield=st.floats(-1000, 4000), kvp=st.sampled_from(VOLTAGES))
def test_it_inverts(hounsfield, kvp):
    there = AttenuationMap(kvp)
    assert there.inverse(there(np.array([[hounsfield]])))[0, 0] == pytest.approx(hounsfield, abs=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, MetaTensor])
def test_arrays_keep_their_type_and_dictionaries_their_other_entries(kind):
    image = kind(np.linspace(-1024, 3071, 24, dtype=np.float32).reshape(1, 2, 3, 4))
    item = {"source": image, "case": "a"}
    done = AttenuationMapd("source", kvp=140)(item)
    assert type(done["source"]) is type(image)
    assert done["source"].dtype == image.dtype
    assert done["case"] == "a"
    expected = [at(value, 140) for value in np.asarray(image).ravel()]
    np.testing.assert_allclose(np.asarray(done["source"]).ravel(), expected, atol=1e-6)
    back = AttenuationMapd("source", kvp=140).inverse(done)
    np.testing.assert_allclose(np.asarray(back["source"]), np.maximum(np.asarray(image), -1000), atol=1e-2)


def test_a_voltage_without_a_published_line_is_refused():
    with pytest.raises(ValueError, match="80, 100, 110, 120, 130, 140 kV, got 90"):
        AttenuationMap(90)
