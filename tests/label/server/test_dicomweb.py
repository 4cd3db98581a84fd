"""Studies of a real DICOMweb server: listed, fetched, translated as their files are, sent back as derived series."""

import json
import os
import threading

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


# --- the datastore itself, without a server


@pytest.fixture
def store(tmp_path):
    """``store(url, **options)``: the studies of a DICOMweb server."""
    pytest.importorskip("monailabel", reason="MONAI Label has an environment of its own: make label")
    from medtrans.label.dicomweb import DicomWebStudies

    return lambda url, modalities=("MR",), **options: DicomWebStudies(url, modalities, tmp_path / "cache", **options)


@pytest.fixture
def sent(orthanc, write_mr_series, tmp_path):
    """``sent(slices, **tags)``: images of a series, the first so many of eight stored there; gives all of them."""
    from dicomweb_client import DICOMwebClient
    from pydicom import dcmread

    def send(slices=8, **tags):
        folder = tmp_path / f"series{len(list(tmp_path.iterdir()))}"
        write_mr_series(folder, (8, 12, 10), **tags)
        images = [dcmread(path) for path in sorted(folder.iterdir())]
        DICOMwebClient(orthanc.url).store_instances(images[:slices])
        return images

    return send


def depth(path):
    return nibabel.load(path).shape[2]


def test_a_series_that_grew_is_fetched_again(orthanc, sent, store):
    from dicomweb_client import DICOMwebClient

    images = sent(slices=5)
    uid = str(images[0].SeriesInstanceUID)
    studies = store(orthanc.url)
    path = studies.get_image_uri(uid)
    assert depth(path) == 5
    before = os.stat(path).st_mtime_ns
    assert os.stat(studies.get_image_uri(uid)).st_mtime_ns == before  # nothing new there, nothing fetched
    DICOMwebClient(orthanc.url).store_instances(images[5:])
    assert depth(studies.get_image_uri(uid)) == 8
    assert len(list(studies.series_folder(uid).iterdir())) == 8


def test_a_series_that_is_gone_is_not_served_any_more(orthanc, sent, store):
    from monailabel.interfaces.exception import ImageNotFoundException

    uid = str(sent()[0].SeriesInstanceUID)
    studies = store(orthanc.url)
    volume = studies.get_image_uri(uid)
    orthanc.empty()
    for ask in (studies.get_image_uri, studies.series_folder):
        with pytest.raises(ImageNotFoundException):
            ask(uid)
    assert not os.path.exists(volume)


def test_a_series_is_fetched_once_however_many_ask(orthanc, sent, store, monkeypatch):
    from medtrans.label import dicomweb

    uid = str(sent()[0].SeriesInstanceUID)
    first, second = store(orthanc.url), store(orthanc.url)  # as the process of a batch has one of its own
    fetched, outcomes = [], []
    fetch = dicomweb.fetch_series
    monkeypatch.setattr(dicomweb, "fetch_series", lambda *words: (fetched.append(1), fetch(*words)))

    def ask(studies):
        try:
            outcomes.append(depth(studies.get_image_uri(uid)))
        except Exception as error:
            outcomes.append(error)

    askers = [threading.Thread(target=ask, args=(studies,)) for studies in (first, second, first)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert outcomes == [8, 8, 8]
    assert len(fetched) == 1


def test_derived_series_of_ours_are_not_listed_but_can_be_asked_for(orthanc, sent, store):
    plain = str(sent()[0].SeriesInstanceUID)
    description = {"SeriesDescription": "SYNTHETIC T2, NOT FOR DIAGNOSIS (MedGAN)", "Manufacturer": "medtrans"}
    ours = str(sent(seed=1, ImageType=["DERIVED", "SECONDARY"], **description)[0].SeriesInstanceUID)
    scanners = str(sent(seed=2, SeriesDescription="SYNTHETIC T2 MAGiC")[0].SeriesInstanceUID)
    studies = store(orthanc.url)
    assert set(studies.list_images()) == set(studies.get_unlabeled_images()) == {plain, scanners}
    assert set(studies.json()["objects"]) == {plain, scanners}
    assert studies.status()["total"] == 2
    assert depth(studies.get_image_uri(ours)) == 8


def test_the_server_is_asked_now_and_then(orthanc, sent, store, monkeypatch):
    from medtrans.label import asked

    sent()
    studies, questions, search = store(orthanc.url, ("MR", "CT")), [], asked.search_series
    monkeypatch.setattr(asked, "search_series", lambda *words: questions.append(1) or search(*words))
    for _ in range(3):
        assert studies.status()["total"] == len(studies.list_images()) == 1
    assert len(questions) == 2  # one for each modality
    monkeypatch.setattr(asked, "FRESH", 0)
    sent(seed=1)
    assert len(studies.list_images()) == 2


def test_a_server_that_is_down_leaves_the_rest_alone(store, monkeypatch, orthanc, sent, caplog):
    from medtrans.errors import InputError
    from medtrans.label import asked

    sent()
    studies = store(orthanc.url)
    assert studies.status()["total"] == 1

    def down(*_):
        questions.append(1)
        raise InputError("the server", "cannot be reached", "Check it")

    questions = []
    monkeypatch.setattr(asked, "search_series", down)
    monkeypatch.setattr(asked, "FRESH", -1)
    assert studies.status() == {"total": 1, "completed": 0, "label_tags": {}}
    monkeypatch.setattr(asked, "FRESH", 30)
    for _ in range(5):
        assert studies.status()["total"] == 1
    assert len(questions) == 1
    assert "cannot be reached" in caplog.text
    for ask in (studies.list_images, studies.json, studies.get_unlabeled_images):
        with pytest.raises(InputError, match="cannot be reached"):
            ask()
    assert store("http://127.0.0.1:1/none").status()["total"] == 0


def test_pet_comes_in_the_unit_that_is_chosen(store, monkeypatch, tmp_path):
    from medtrans.errors import InputError
    from medtrans.label import dicomweb

    class HereError(Exception):
        pass

    def told(folder, output, conversion):
        raise HereError(conversion.pet_unit)

    monkeypatch.setattr(dicomweb, "convert_export", told)
    for unit in ("suv", "bqml"):
        studies = store("http://127.0.0.1:1/none", pet_unit=unit)
        with pytest.raises(HereError, match=unit):
            studies._convert(tmp_path, studies.folder / "1.2.nii.gz")
    assert (
        store("http://127.0.0.1:1/none").folder != studies.folder
    )  # volumes in one unit are never taken for the other
    with pytest.raises(InputError, match="pet"):
        store("http://127.0.0.1:1/none", pet_unit="counts")
