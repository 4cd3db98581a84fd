"""What a client gets: the voxels of medtrans translate, float, on the source's grid, in the target's unit."""

import email
import email.policy
import json
import time

import nibabel
import numpy as np
import pytest
import SimpleITK

NOTICE = "SYNTHETIC, NOT FOR DIAGNOSIS"


@pytest.fixture(scope="module")
def reference(translated, studies):
    return nibabel.load(translated("medgan", studies / "one.nii.gz"))


def same(path, reference):
    image = nibabel.load(path)
    assert image.get_data_dtype() == np.float32
    assert np.array_equal(image.get_fdata(), reference.get_fdata())
    assert np.array_equal(image.affine, reference.affine)
    assert len(np.unique(image.get_fdata())) > 256  # no label map


def test_info_lists_every_direction_with_source_target_and_unit(server):
    info = server.ask("GET", "/info/").json()
    told = {name: (model["source"], model["target"]) for name, model in info["models"].items()}
    there, back = ("T1", "T2"), ("T2", "T1")
    assert told == {"medgan": there, "arrived": there, "cyclegan": there, "cyclegan_to_source": back}
    assert set(info["trainers"]) == {"medgan", "cyclegan", "arrived"}
    assert all(model["labels"] == [] and model["notice"] == NOTICE for model in info["models"].values())
    assert all(model["source_units"] == [""] for model in info["models"].values())  # MR has no unit
    assert info["datastore"]["total"] == 3


@pytest.fixture
def of_suv(tiny_bundles):
    """The MedGAN bundle, its source for once in SUV."""
    path = tiny_bundles / "bundles/medgan/models/modalities.json"
    before = path.read_text()
    recorded = json.loads(before)
    recorded["source"][0]["unit"] = "SUV"
    path.write_text(json.dumps(recorded))
    yield
    path.write_text(before)


def test_an_image_in_another_unit_is_refused_where_the_client_says_it(server, of_suv):
    assert server.ask("GET", "/info/").json()["models"]["medgan"]["source_units"] == ["SUV"]
    for unit, status in (("Bq/ml", 400), ("SUVbw", 200), ("", 200)):
        asked = {"params": {"image": "one"}, "data": {"params": json.dumps({"source_unit": unit})}}
        answer = server.ask("POST", "/infer/medgan?output=json", **asked)
        assert answer.status_code == status, answer.text
        if status == 400:
            assert "is in Bq/ml, but the model translates T1 in SUV" in answer.json()["detail"]


def test_a_study_is_translated_to_the_voxels_of_medtrans_translate(server, reference, tmp_path):
    same(server.volume("medgan", tmp_path / "a.nii.gz", params={"image": "one"}), reference)


def test_a_bundle_that_came_packed_gives_the_same_voxels(server, reference, tmp_path):
    same(server.volume("arrived", tmp_path / "a.nii.gz", params={"image": "one"}), reference)


def test_an_uploaded_volume_is_translated_to_the_same_voxels(server, studies, reference, tmp_path):
    with (studies / "one.nii.gz").open("rb") as file:
        same(server.volume("medgan", tmp_path / "a.nii.gz", files={"file": file}), reference)


def test_an_uploaded_nrrd_is_translated_to_the_same_voxels(server, studies, reference, tmp_path):
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(studies / "one.nii.gz")), str(tmp_path / "in.nrrd"))
    with (tmp_path / "in.nrrd").open("rb") as file:
        got = nibabel.load(server.volume("medgan", tmp_path / "a.nii.gz", files={"file": file}))
    assert np.allclose(got.get_fdata(), reference.get_fdata(), atol=1e-3)
    assert np.allclose(got.affine, reference.affine, atol=1e-5)


def test_a_study_in_a_sub_folder_has_its_path_as_name(server, studies, translated, tmp_path):
    expected = nibabel.load(translated("medgan", studies / "ward/three.nii.gz"))
    same(server.volume("medgan", tmp_path / "a.nii.gz", params={"image": "ward/three"}), expected)


def test_the_other_direction_is_the_other_generator(server, studies, translated, tmp_path):
    there = nibabel.load(translated("cyclegan", studies / "two.nii"))
    back = nibabel.load(translated("cyclegan", studies / "two.nii", direction="target_to_source"))
    same(server.volume("cyclegan", tmp_path / "a.nii.gz", params={"image": "two"}), there)
    same(server.volume("cyclegan_to_source", tmp_path / "b.nii.gz", params={"image": "two"}), back)
    assert not np.array_equal(there.get_fdata(), back.get_fdata())


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_other_file_types_hold_the_same_float_volume(server, reference, ending, tmp_path):
    options = {"params": {"image": "one"}, "data": {"params": json.dumps({"result_extension": ending})}}
    path = server.volume("medgan", tmp_path / f"a{ending}", **options)
    image = SimpleITK.ReadImage(str(path))
    assert image.GetPixelID() == SimpleITK.sitkFloat32
    assert np.array_equal(SimpleITK.GetArrayFromImage(image).T, reference.get_fdata().astype(np.float32))
    affine = np.diag([-1, -1, 1, 1]) @ reference.affine
    assert np.allclose(image.GetOrigin(), affine[:3, 3], atol=1e-4)
    assert np.allclose(image.GetSpacing(), nibabel.affines.voxel_sizes(affine), atol=1e-4)


def test_the_answer_says_what_it_is(server):
    answer = server.ask("POST", "/infer/medgan?output=all", params={"image": "one"})
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    params, image = message.iter_parts()
    told = json.loads(params.get_content())
    assert (told["target"], told["notice"], told["model"]) == ("T2", NOTICE, "MedGAN")
    assert len(told["model_sha256"]) == 64
    assert image.get_filename().endswith(".nii.gz")


def test_a_client_may_set_the_overlap(server, studies, translated, reference, tmp_path):
    expected = nibabel.load(translated("medgan", studies / "one.nii.gz", overlap=0.6))
    asked = {"params": {"image": "one"}, "data": {"params": json.dumps({"overlap": 0.6})}}
    same(server.volume("medgan", tmp_path / "a.nii.gz", **asked), expected)
    assert not np.array_equal(
        expected.get_fdata(), nibabel.load(translated("medgan", studies / "one.nii.gz")).get_fdata()
    )


def test_integers_are_refused_as_a_stock_client_asks_for_them(server):
    asked = {"params": json.dumps({"result_extension": ".nrrd", "result_dtype": "uint8"})}
    answer = server.ask("POST", "/infer/medgan", params={"image": "one"}, data=asked)
    assert answer.status_code == 400
    assert "no label map" in answer.json()["detail"]


def test_new_weights_are_used_without_a_restart(server, tiny_bundles, studies, translated, tmp_path):
    import torch

    path = tiny_bundles / "bundles/medgan/models/model.pt"
    before = torch.load(path, weights_only=True)
    try:
        torch.save({key: value * 0.5 for key, value in before.items()}, path)
        expected = nibabel.load(translated("medgan", studies / "one.nii.gz"))
        same(server.volume("medgan", tmp_path / "a.nii.gz", params={"image": "one"}), expected)
    finally:
        torch.save(before, path)


def test_a_batch_keeps_every_volume_with_its_study(server, reference, studies):
    started = server.ask("POST", "/batch/infer/medgan?images=unlabeled", json={"save_label": True, "device": "cpu"})
    assert started.status_code == 200, started.text
    for _ in range(600):
        task = server.ask("GET", "/batch/infer").json()
        if task["status"] not in ("SUBMITTED", "RUNNING"):
            break
        time.sleep(0.3)
    assert task["status"] == "DONE", task
    same(studies / "labels/original/one.nii.gz", reference)
    assert (studies / "labels/original/ward/three.nii.gz").is_file()


def test_a_refused_volume_is_told_in_one_line_without_the_servers_folders(server, studies):
    import nibabel as nib

    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), np.eye(4)), studies / "broken.nii.gz")
    try:
        for _ in range(50):  # the server sees new files by itself
            answer = server.ask("POST", "/infer/medgan", params={"image": "broken"})
            if answer.status_code != 404:
                break
            time.sleep(0.1)
        assert answer.status_code == 400
        assert "broken.nii.gz" in answer.json()["detail"]
        assert str(studies) not in answer.text
    finally:
        (studies / "broken.nii.gz").unlink()


def test_what_is_asked_wrongly_is_told(server):
    assert server.ask("POST", "/infer/medgan", params={"image": "nobody"}).status_code == 404
    assert server.ask("POST", "/infer/nothing", params={"image": "one"}).status_code == 400
    assert server.ask("POST", "/infer/medgan").status_code == 400
    for wrong in ({"result_dtype": "foo"}, {"channels": 5}, {"channels": "one"}, {"result_extension": ".exe"}, []):
        answer = server.ask("POST", "/infer/medgan", params={"image": "one"}, data={"params": json.dumps(wrong)})
        assert answer.status_code == 400, wrong
    answer = server.ask("POST", "/infer/medgan", params={"image": "one"}, data={"params": '{"target": "CT"}'})
    assert "T2" in answer.json()["detail"]
