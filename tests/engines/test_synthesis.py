"""What stands beside a synthetic volume: what made it, and from which images."""

import json

import pytest

from medtrans.engines.synthesis import Method, dicom_modality, record, sidecar_of, sources_of

METHOD = Method("MedGAN", "0.1.0", "ab" * 32)


def write(path, **fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields))


def test_what_is_written_names_method_weights_and_source(tmp_path):
    write(tmp_path / "in/scan.json", images="0123", frame_of_reference="fe")
    out = tmp_path / "scan_CT_synthetic.nii.gz"
    record([out], [{"modality": "CT", "unit": "HU"}], sources_of(str(tmp_path / "in/scan.nii.gz")), METHOD)
    fields = json.loads((tmp_path / "scan_CT_synthetic.json").read_text())
    assert (fields["Modality"], fields["unit"], fields["frame_of_reference"]) == ("CT", "HU", "fe")
    assert fields["synthesis"] == {
        "target": "CT", "algorithm": "MedGAN", "version": "0.1.0", "model_sha256": "ab" * 32, "images": "0123",
    }  # fmt: skip


def test_a_volume_made_from_a_synthetic_one_comes_from_the_same_images(tmp_path):
    write(tmp_path / "a.json", synthesis={"images": "0123"}, frame_of_reference="fe")
    assert sources_of([str(tmp_path / "a.nii")]).images == ("0123",)


@pytest.mark.parametrize(("moved", "images"), [(False, "of T2"), (True, "of T1")])
def test_a_prepared_volume_comes_from_the_images_whose_place_it_has(moved, images, tmp_path):
    """One that registration moved lies where the other modality was scanned."""
    eye = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    away = [[1, 0, 0, 7], *eye[1:]] if moved else eye
    sources = {"T1": {"rigid": eye, "images": "of T1"}, "T2": {"rigid": away, "images": "of T2"}}
    write(tmp_path / "case/case.json", sources=sources)
    assert sources_of([str(tmp_path / "case/T2.nii")]).images == (images,)


def test_nothing_is_claimed_where_nothing_is_recorded(tmp_path):
    (tmp_path / "a.json").write_text("not JSON")
    assert sources_of([str(tmp_path / "a.nii.gz")]).images == ()
    record([tmp_path / "b.nii.gz"], [{"modality": "T2"}], sources_of([str(tmp_path / "a.nii.gz")]), METHOD)
    assert "images" not in json.loads((tmp_path / "b.json").read_text())["synthesis"]


def test_the_method_is_the_bundles(tmp_path):
    assert Method.of(tmp_path / "mine", "ff") == Method("mine", "", "ff")
    write(tmp_path / "mine/configs/metadata.json", name="CycleGAN", version="1.2")
    assert Method.of(tmp_path / "mine", "ff") == Method("CycleGAN", "1.2", "ff")


@pytest.mark.parametrize(
    ("target", "modality"),
    [
        ({"kind": "PET", "unit": "SUV"}, "PT"),
        ({"kind": "MR", "unit": ""}, "MR"),
        ({"unit": "HU"}, "CT"),
        ({"unit": "SUV"}, "PT"),
        ({"unit": "Bq/ml"}, "PT"),
        ({"unit": "ms"}, "MR"),
    ],
)
def test_modality_by_kind_else_by_unit(target, modality):
    assert dicom_modality({"modality": "x"} | target) == modality


@pytest.mark.parametrize("name", ["a.b.nii", "a.b.nii.gz", "a.b.NII.GZ"])
def test_sidecar_name(name, tmp_path):
    assert sidecar_of(tmp_path / name) == tmp_path / "a.b.json"
