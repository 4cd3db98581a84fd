"""Studies of a real DICOMweb server: listed, fetched, translated as their files are, sent back as derived series."""

import json

import nibabel
import numpy as np
import pytest


@pytest.fixture(scope="module")
def pacs(start_orthanc, write_mr_series, tmp_path_factory):
    """A PACS with one MR series, the folder of its files, and its UIDs."""
    from dicomweb_client import DICOMwebClient
    from pydicom import dcmread

    orthanc = start_orthanc()
    folder = tmp_path_factory.mktemp("export") / "series"
    write_mr_series(folder, (12, 40, 36))
    images = [dcmread(path) for path in sorted(folder.iterdir())]
    DICOMwebClient(orthanc.url).store_instances(images)
    return orthanc.url, folder, str(images[0].StudyInstanceUID), str(images[0].SeriesInstanceUID)


@pytest.fixture(scope="module")
def remote(start, pacs):
    """A server of its studies."""
    return start(pacs[0])


@pytest.fixture(scope="module")
def expected(translated, pacs):
    return nibabel.load(translated("medgan", pacs[1]))


def test_its_series_are_the_studies(remote, pacs):
    assert set(remote.ask("GET", "/datastore/?output=all").json()["objects"]) == {pacs[3]}
    assert remote.ask("GET", "/info/").json()["datastore"]["total"] == 1


def test_a_series_is_translated_to_the_voxels_of_medtrans_translate_on_its_files(remote, pacs, expected, tmp_path):
    got = nibabel.load(remote.volume("medgan", tmp_path / "a.nii.gz", params={"image": pacs[3]}))
    assert np.array_equal(got.get_fdata(), expected.get_fdata())
    assert np.array_equal(got.affine, expected.affine)


def test_the_synthetic_volume_is_sent_back_as_a_derived_series(remote, pacs, expected, tmp_path):
    from dicomweb_client import DICOMwebClient

    from medtrans.scans import convert_export

    asked = {"params": {"image": pacs[3], "output": "json"}, "data": {"params": json.dumps({"push": True})}}
    answer = remote.ask("POST", "/infer/medgan", **asked)
    assert answer.status_code == 200, answer.text
    told = answer.json()["dicom"]
    assert told["StudyInstanceUID"] == pacs[2]
    assert told["images"] == 12
    back = DICOMwebClient(pacs[0]).retrieve_series(pacs[2], told["SeriesInstanceUID"])
    assert {tuple(image.ImageType[:2]) for image in back} == {("DERIVED", "SECONDARY")}
    assert "SYNTHETIC" in back[0].SeriesDescription.upper()
    for number, image in enumerate(back):
        image.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    table = convert_export(tmp_path, tmp_path / "out")
    image = nibabel.load(tmp_path / "out" / table[table["status"] == "converted"].iloc[0]["path"])
    assert np.allclose(image.affine, expected.affine, atol=1e-4)
    half_a_step = float(back[0].RescaleSlope) / 2
    assert np.abs(image.get_fdata() - expected.get_fdata()).max() <= 1.01 * half_a_step


@pytest.mark.parametrize("image", ["1.2.3.4", "../x", "/etc/passwd", "one"])
def test_what_the_server_does_not_have_is_told(remote, image):
    assert remote.ask("POST", "/infer/medgan", params={"image": image}).status_code == 404


def test_targets_stay_in_the_cache(remote, pacs, expected, tmp_path):
    from dicomweb_client import DICOMwebClient

    before = len(DICOMwebClient(pacs[0]).search_for_series())
    nibabel.save(expected, tmp_path / "t.nii.gz")
    with (tmp_path / "t.nii.gz").open("rb") as file:
        kept = remote.ask("PUT", "/datastore/label", params={"image": pacs[3], "tag": "final"}, files={"label": file})
    assert kept.status_code == 200, kept.text
    assert len(remote.ask("GET", "/datastore/?output=train").json()) == 1
    assert len(DICOMwebClient(pacs[0]).search_for_series()) == before


def test_push_needs_a_dicomweb_server(server):
    answer = server.ask("POST", "/infer/medgan", params={"image": "one"}, data={"params": '{"push": true}'})
    assert answer.status_code == 400
    assert "DICOMweb" in answer.json()["detail"]


def test_a_password_opens_the_server_and_stands_in_no_log(start, start_orthanc):
    locked = start_orthanc(AuthenticationEnabled=True, RegisteredUsers={"reader": "open-sesame"})
    options = ("--dicomweb-user", "reader")
    server = start(locked.url, *options, environment={"MEDTRANS_DICOMWEB_PASSWORD": "open-sesame"})
    assert server.ask("GET", "/info/").json()["datastore"]["total"] == 0
    assert "open-sesame" not in server.log.read_text()
