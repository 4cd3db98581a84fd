import zipfile

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from medtrans import InputError
from medtrans.scans import convert_export
from medtrans.simulate.phantom import HeadPhantom
from medtrans.simulate.scanner_export import write_scanner_export

SPACING = 8.0
FAULTS = {"CT bone": "evenly spaced", "CT tilted": "sheared by 12.00 degrees", "CT repeat": "pixel data"}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Output folder and table, patients by their number in the export."""
    folder = tmp_path_factory.mktemp("scanner")
    write_scanner_export(folder / "export", 4, SPACING)
    return folder, convert_export(folder / "export", folder / "out", keep_identifiers=True)


def volume(converted, number, description):
    folder, table = converted
    rows = table[(table.patient == f"P{4711 + 37 * number}") & (table.description == description)]
    assert list(rows.status) == ["converted"]
    return nib.load(folder / "out" / rows.path.item())


@pytest.mark.parametrize("number", range(4))
def test_converted_volumes_are_the_phantoms(converted, number):
    fine, thick = HeadPhantom(number, SPACING), HeadPhantom(number, (SPACING, SPACING, 2 * SPACING))
    for description, head, modality, tolerance in (
        ("T1 mprage sag", fine, "T1", 0.5),
        ("T2 tse ax", thick, "T2", 0.5),
        ("PET FDG AC", thick, "PET", 1e-3),
    ):
        image, truth = volume(converted, number, description), head.images([modality])[modality]
        np.testing.assert_allclose(image.affine, head.affine, atol=1e-4)
        np.testing.assert_allclose(image.get_fdata(), truth.clip(0), atol=tolerance)


def test_ct_is_in_hounsfield_units_with_air_outside_the_scan_circle(converted):
    head = HeadPhantom(0, (SPACING, SPACING, 2 * SPACING))
    found, truth = volume(converted, 0, "CT attenuation").get_fdata(), head.images(["CT"])["CT"]
    assert (found[0, 0] == -1024).all()
    middle = (slice(6, -6), slice(6, -6))
    np.testing.assert_allclose(found[middle], truth[middle], atol=0.51)


def test_a_tilted_series_shows_the_same_head_at_the_same_places(converted):
    number = 2
    straight, tilted = (volume(converted, number, name) for name in ("CT attenuation", "CT tilted"))
    index = np.indices(tilted.shape).reshape(3, -1)
    world = nib.affines.apply_affine(tilted.affine, index.T)
    at = nib.affines.apply_affine(np.linalg.inv(straight.affine), world).T
    inside = ((at > 2) & (at < np.array(straight.shape)[:, None] - 3)).all(axis=0)
    values = map_coordinates(straight.get_fdata(), at[:, inside], order=1)
    scanned = map_coordinates((straight.get_fdata() == -1024).astype(float), at[:, inside], order=1) == 0
    np.testing.assert_allclose(tilted.get_fdata().reshape(-1)[inside][scanned], values[scanned], atol=1)
    assert scanned.sum() > 1000


def test_every_fault_and_bystander_is_in_the_table(converted):
    folder, table = converted
    with zipfile.ZipFile(folder / "export" / "CD0001.ZIP") as archive:
        zipped = len(archive.namelist())
    loose = sum(path.is_file() for path in (folder / "export").rglob("*")) - 1  # the archive counts by what it holds
    assert table.files.sum() == loose + zipped
    assert table.files[table.patient == "P4748"].sum() == zipped
    told = table.set_index("description").reason
    for description, reason in FAULTS.items():
        assert reason in told[description]
    twice = table[(table.description == "T2 tse ax") & (table.patient == "P4711")]
    assert twice.files.item() == twice.slices.item() + 3
    skipped = set(table.description[table.status == "skipped"])
    assert {"3-plane localizer", "topogram", "screenshot", "dose report"} <= skipped


def test_an_export_is_not_mixed_into_other_files(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(InputError, match="is not empty"):
        write_scanner_export(tmp_path, 1, SPACING)
