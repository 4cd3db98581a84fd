"""Where `medtrans translate --dicom` finds the source series, and what it says of cases that failed."""

import nibabel as nib
import numpy as np
import pytest

from medtrans.errors import CasesFailedError, InputError
from medtrans.scans.derived.translated import export_translated, source_export


@pytest.mark.parametrize("layout", ["scan.nii.gz", "case1/T1.nii", "series.csv", "cases.csv"])
def test_volumes_need_the_export_named(layout, tmp_path):
    path = tmp_path / "in" / layout
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    for source in [tmp_path / "in", *([path] if ".nii" in path.name else [])]:
        with pytest.raises(InputError, match="Name them with --like"):
            source_export(str(source), None)
        assert source_export(str(source), tmp_path) == tmp_path


def test_several_files_need_the_export_named():
    with pytest.raises(InputError, match="Name them with --like"):
        source_export("T1.nii,T2.nii", None)


def test_an_export_is_its_own_source(make_series):
    series = make_series().write_all()
    assert source_export(str(series.folder), None) == series.folder


def test_an_export_that_is_not_there_is_refused_before_the_work(tmp_path):
    with pytest.raises(InputError, match=r"absent.*does not exist"):
        source_export("T1.nii", tmp_path / "absent")


def test_what_was_translated_is_written_and_what_was_not_is_told(make_series, tmp_path):
    series = make_series().write_all()
    image = nib.Nifti1Image(np.zeros((6, 8, 5), np.float32), series.affine)
    nib.save(image, tmp_path / "a_T2_synthetic.nii.gz")
    (tmp_path / "a_T2_synthetic.json").write_text('{"Modality": "MR", "synthesis": {"algorithm": "x", "target": "T2"}}')
    rows = [
        {"case": "a", "status": "ok", "output": "a_T2_synthetic.nii.gz"},
        {"case": "b", "status": "failed", "output": "", "reason": "b is broken"},
    ]
    with pytest.raises(CasesFailedError, match="1 of 2 cases failed, the first: b is broken"):
        export_translated(rows, tmp_path, series.folder)
    assert len(list((tmp_path / "dicom/a_T2_synthetic").iterdir())) == 5
    export_translated(rows[:1], tmp_path, series.folder)
