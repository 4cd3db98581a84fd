"""Tags that contradict one another within one even stack: no voxel out of place, no volume split without a word."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.scans import read_series

SLICES = 9
# Which slices are given another value, and which one of several.
WHERE = {
    "the upper ones": lambda k: int(k > 4),
    "every second": lambda k: k % 2,
    "the last": lambda k: int(k == SLICES - 1),
    "one inside": lambda k: int(k == 3),
    "each another": lambda k: k,
}
TAGS = {
    "FrameOfReferenceUID": lambda n: f"1.2.{n}",
    "no FrameOfReferenceUID": lambda n: {"FrameOfReferenceUID": None} if n else {},
    "StudyInstanceUID": lambda n: f"1.9.{n}",
    "AcquisitionNumber": lambda n: n + 1,
    "AcquisitionTime": lambda n: f"12{n:02}00",
    "InstanceNumber": lambda n: 90 - n,
    "EchoTime": lambda n: 5.0 + 3 * n,
    "KVP": lambda n: 80 + 20 * n,
    "ConvolutionKernel": lambda n: f"B{n}0f",
    "SliceThickness": lambda n: 2.0 + 2 * n,
    "SeriesDescription": lambda n: f"scan {n}",
    "ImageType": lambda n: ["ORIGINAL", "PRIMARY", "M" if n else "P"],
    "RescaleType": lambda n: ("HU", "US", "Z_EFF")[n % 3],
    "PixelSpacing": lambda n: [1 + 0.01 * n] * 2,
    "ImageOrientationPatient": lambda n: [f"{v:.8f}" for v in (np.cos(0.02 * n), 0, np.sin(0.02 * n), 0, 1, 0)],
}
MODALITY = {"CT": {"RescaleSlope": 1, "RescaleIntercept": 0}, "MR": {}}
CONTRADICTIONS = st.lists(st.tuples(st.sampled_from(sorted(TAGS)), st.sampled_from(sorted(WHERE))), max_size=3)


def contradicting(contradictions, k):
    tags = {}
    for name, where in contradictions:
        value = TAGS[name](WHERE[where](k))
        tags |= value if isinstance(value, dict) else {name: value}
    return tags


def planes_in_place(volume, series):
    """How many of the slices ``volume`` shows where their headers put them; every plane of it must be one."""
    shown = 0
    for m in range(volume.array.shape[2]):
        plane = volume.array[:, :, m]
        [k] = [k for k in range(SLICES) if np.array_equal(plane, series.pixels[k].T[::-1, ::-1])]
        middle = volume.affine @ [volume.array.shape[0] - 1, volume.array.shape[1] - 1, m, 1]  # the first pixel, RAS
        np.testing.assert_allclose(middle[:3], [0, 0, 2.0 * k], atol=0.1)
        shown += 1
    return shown


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(modality=st.sampled_from(sorted(MODALITY)), contradictions=CONTRADICTIONS)
@example("CT", [("FrameOfReferenceUID", "the upper ones"), ("StudyInstanceUID", "every second")])
@example("MR", [("ImageType", "every second"), ("RescaleType", "the last")])
def test_no_contradiction_of_tags_moves_a_voxel_or_splits_a_stack_without_a_word(make_series, modality, contradictions):
    with tempfile.TemporaryDirectory() as folder:
        series = make_series(shape=(SLICES, 16, 12), Modality=modality, **MODALITY[modality])
        series.folder = Path(folder)
        for k in range(SLICES):
            series.write(k, **contradicting(contradictions, k))
        try:
            volumes = read_series(series.folder)
        except InputError:
            return
        shown = [planes_in_place(volume, series) for volume in volumes]
        assert sum(shown) <= SLICES
        for volume, count in zip(volumes, shown, strict=True):
            assert count == SLICES or volume.metadata["warnings"]
