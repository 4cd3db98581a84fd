"""Derived series in a real PACS: sent, found in the source's study, read as viewers do, and read back."""

import csv
import subprocess
import sys

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from scipy.spatial.transform import Rotation

from medtrans.errors import CasesFailedError, InputError
from medtrans.scans import convert_export
from medtrans.scans.dicomweb import Access, fetch_series, search_series, send_series
from medtrans.scans.dicomweb.connection import PASSWORD, connect

OBLIQUE = tuple(Rotation.from_euler("zyx", (20, -35, 50), degrees=True).as_matrix()[:2].ravel())
KEPT = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "ImageType",
        "SeriesDescription", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
        "RescaleSlope", "RescaleIntercept", "InstanceNumber", "Units", "SourceImageSequence", "PatientID")  # fmt: skip
TILTED = {"orientation": OBLIQUE, "spacing": (0.8, 1.3), "origin": (-40, 30, 12.5)}
PET = {
    "Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["DECY", "ATTN"],
    "SeriesDate": "20240301", "SeriesTime": "100000", "AcquisitionDate": "20240301", "AcquisitionTime": "100000",
    "PatientWeight": "70", "RescaleSlope": "0.5", "RescaleIntercept": "0",
}  # fmt: skip


def dose():
    drug = pydicom.Dataset()
    drug.RadiopharmaceuticalStartTime, drug.RadionuclideTotalDose = "090000", "370000000"
    drug.RadionuclideHalfLife = "6586.2"
    return [drug]


KINDS = {
    "CT on classic MR": {"modality": "CT", "unit": "HU"},
    "CT on oblique enhanced MR": {"modality": "CT", "unit": "HU", "enhanced": True, **TILTED},
    "MR with a slope on oblique CT": {"modality": "MR", "unit": "", "gain": 0.37, "Modality": "CT", **TILTED},
    "MR on enhanced MR": {"modality": "MR", "unit": "", "enhanced": True},
    "PET in SUV, a slope each slice": {"modality": "PT", "unit": "SUV", "gain": 1.7, **PET},
}


def rows_of(folder):
    with (folder / "pushed.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def images_in(folder):
    return {image.SOPInstanceUID: image for image in map(pydicom.dcmread, folder.rglob("*.dcm"))}


def volume_in(folder, out):
    """Voxels and affine of the only volume that `medtrans convert` finds."""
    (row,) = convert_export(folder, out, workers=1).itertuples()
    image = nib.load(out / row.path)
    return image.get_fdata(), image.affine


@pytest.mark.parametrize("kind", KINDS)
def test_a_derived_series_lies_beside_its_source_and_comes_back_as_it_was(kind, derived, orthanc, tmp_path):
    options = KINDS[kind] | ({"RadiopharmaceuticalInformationSequence": dose()} if "PET" in kind else {})
    folder = derived(**options)
    scans = [pydicom.dcmread(path) for path in (tmp_path / "export").rglob("*") if path.is_file()]
    connect(orthanc.url).store_instances(scans)
    (row,) = send_series(folder, orthanc.url)
    assert (row["status"], row["instances"]) == ("ok", "5")

    found = {
        one.SeriesInstanceUID: one
        for one in search_series(orthanc.url, {"StudyInstanceUID": scans[0].StudyInstanceUID})
    }
    assert found.keys() == {scans[0].SeriesInstanceUID, row["series"]}
    ours = found[row["series"]]
    assert ours.SeriesDescription.startswith("SYNTHETIC")
    assert (ours.Modality, ours.NumberOfSeriesRelatedInstances) == (options["modality"], 5)

    fetch_series(orthanc.url, scans[0].StudyInstanceUID, row["series"], tmp_path / "back")
    sent, back = images_in(folder), images_in(tmp_path / "back")
    assert back.keys() == sent.keys()
    for uid, image in back.items():
        np.testing.assert_array_equal(image.pixel_array, sent[uid].pixel_array)
        assert {keyword: image.get(keyword) for keyword in KEPT} == {
            keyword: sent[uid].get(keyword) for keyword in KEPT
        }
        assert image == sent[uid]  # and everything else

    image = nib.load(next((tmp_path / "nifti").rglob("*.nii.gz")))
    nifti, affine = image.get_fdata(), image.affine
    voxels, place = volume_in(tmp_path / "back", tmp_path / "converted")
    np.testing.assert_allclose(place, affine, atol=1e-5)
    slope = max(float(image.get("RescaleSlope", 1)) for image in sent.values())
    within = slope / 2 + 1e-6 * np.abs(nifti).max() if options.get("gain") else 0
    assert np.abs(voxels - nifti).max() <= within
    assert np.ptp(nifti) > 100 * slope


def test_viewers_get_headers_and_pixels_of_each_image(derived, orthanc):
    """As web viewers ask: metadata of the series, then frames one by one."""
    folder = derived(**TILTED)
    (row,) = send_series(folder, orthanc.url)
    sent = images_in(folder)
    study = next(iter(sent.values())).StudyInstanceUID
    client = connect(orthanc.url)
    told = [
        pydicom.Dataset.from_json(one, lambda *place: None)
        for one in client.retrieve_series_metadata(study, row["series"])
    ]
    assert {one.SOPInstanceUID for one in told} == sent.keys()
    for one in told:
        image = sent[one.SOPInstanceUID]
        assert one.ImageType == image.ImageType
        np.testing.assert_allclose(one.ImagePositionPatient, image.ImagePositionPatient)
        assert (one.RescaleSlope, one.RescaleIntercept) == (image.RescaleSlope, image.RescaleIntercept)
        kinds = (("application/octet-stream", "1.2.840.10008.1.2.1"),)
        (pixels,) = client.retrieve_instance_frames(study, row["series"], one.SOPInstanceUID, [1], kinds)
        assert pixels == image.PixelData


def test_it_keeps_files_as_they_were_written_and_a_second_run_sends_nothing(derived, orthanc, monkeypatch):
    folder = derived(2)
    send_series(folder, orthanc.url)
    assert set(orthanc.file_bytes()) == {path.read_bytes() for path in folder.rglob("*.dcm")}
    monkeypatch.setattr("dicomweb_client.DICOMwebClient.store_instances", None)  # a call would be an error
    assert [row["status"] for row in send_series(folder, orthanc.url)] == ["kept", "kept"]
    assert len(orthanc.file_bytes()) == 10


KILLED = """
import os, signal, sys
from medtrans.scans.dicomweb import send_series, sending
sending.REQUEST, store, calls = 1, sending._store, []
def killed(*arguments):
    if len(calls) == 7:  # images
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(1)
    return store(*arguments)
sending._store = killed
send_series(sys.argv[1], sys.argv[2])
"""


def test_a_run_that_was_killed_goes_on_where_it_was(derived, orthanc, monkeypatch):
    folder = derived(2)
    done = subprocess.run([sys.executable, "-c", KILLED, folder, orthanc.url], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert len(orthanc.file_bytes()) == 7
    sent, real = [], DICOMwebClient.store_instances
    monkeypatch.setattr(DICOMwebClient, "store_instances", lambda own, images: sent.extend(images) or real(own, images))
    assert [row["status"] for row in send_series(folder, orthanc.url)] == ["kept", "ok"]
    assert len(sent) == 3
    assert len(orthanc.file_bytes()) == 10


def test_users_that_it_knows_are_let_in_and_others_not(derived, start_orthanc, monkeypatch):
    server = start_orthanc(users={"alice": "höchst geheim"})
    folder = derived()
    monkeypatch.setenv(PASSWORD, "guessed")
    for access in (Access(), Access(user="alice"), Access(user="bob")):
        with pytest.raises(InputError, match=r"lets nobody in without the right credentials \(HTTP 401\)"):
            send_series(folder, server.url, access)
    monkeypatch.setenv(PASSWORD, "höchst geheim")
    assert [row["status"] for row in send_series(folder, server.url, Access(user="alice"))] == ["ok"]
    assert len(search_series(server.url, access=Access(user="alice"))) == 1


def test_scans_of_the_scanner_are_not_sent(derived, orthanc, tmp_path):
    derived()
    with pytest.raises(InputError, match="not of a derived series of medtrans"):
        send_series(tmp_path / "export", orthanc.url)
    assert orthanc.file_bytes() == []


@pytest.mark.parametrize("path", ["", "/nothing"])
def test_an_address_that_is_not_the_root_of_dicomweb_is_told(path, derived, orthanc):
    with pytest.raises(InputError, match="has no DICOMweb service there"):
        send_series(derived(), orthanc.rest + path)


def test_images_that_a_filter_drops_in_silence_are_found_out(derived, start_orthanc, tmp_path):
    """Orthanc says of these, too, that it stored them."""
    script = tmp_path / "filter.lua"
    script.write_text("function ReceivedInstanceFilter(dicom) return dicom.InstanceNumber ~= '3' end")
    server = start_orthanc(LuaScripts=[str(script)])
    folder = derived()
    with pytest.raises(CasesFailedError, match="took 1 image and does not list"):
        send_series(folder, server.url)
    assert len(server.file_bytes()) == 4
    assert rows_of(folder)[0]["instances"] == "4"
