import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from medtrans import InputError
from medtrans.scans import Conversion, convert_export, read_series
from medtrans.scans.formats.imagefiles import contrast_of

AFFINE = np.array([[-0.9, 0.1, 0, 40], [0.1, 0.9, 0, -30], [0, 0, 2.0, 7], [0, 0, 0, 1]])
DATA = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)


def nifti(data=DATA, affine=AFFINE, sform=1, qform=1):
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    return image


def only(path):
    [volume] = read_series(path)
    return volume


@pytest.mark.parametrize("name", ["t1.nii", "t1.nii.gz", "scan-without-a-suffix"])
def test_nifti_is_taken_over_in_ras(tmp_path, name):
    nib.save(nifti(), tmp_path / "t1.nii.gz" if name.endswith("gz") else tmp_path / "t1.nii")
    if "without" in name:
        (tmp_path / "t1.nii").rename(tmp_path / name)
    volume = only(tmp_path)
    reference = nib.as_closest_canonical(nifti())
    np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-6)
    np.testing.assert_array_equal(volume.array, reference.get_fdata())
    assert volume.metadata["modality"] == ("" if "without" in name else "MR")


def test_sform_comes_first_and_disagreement_is_told(tmp_path):
    image = nifti()
    moved = AFFINE.copy()
    moved[0, 3] += 126
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "x.nii")
    volume = only(tmp_path)
    np.testing.assert_allclose(volume.affine, nib.as_closest_canonical(nifti()).affine, atol=1e-6)
    assert volume.metadata["warnings"] == ["qform and sform are up to 126.0 mm apart; the sform is used"]


def test_qform_alone_is_used(tmp_path):
    nib.save(nifti(sform=0, affine=np.diag([2, 3, 4, 1])), tmp_path / "x.nii")
    assert only(tmp_path).spacing == pytest.approx((2, 3, 4))


def test_metres_become_millimetres(tmp_path):
    image = nifti(affine=np.diag([0.002, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "x.nii")
    assert only(tmp_path).spacing == pytest.approx((2, 2, 3))


@pytest.mark.parametrize("problem", ["no orientation", "nan affine", "nan voxel", "colour", "truncated", "5d"])
def test_bad_nifti_is_refused(tmp_path, problem):
    path = tmp_path / "x.nii.gz"
    image = nifti()
    if problem == "no orientation":
        image = nifti(sform=0, qform=0)
    elif problem == "nan affine":
        image.header["srow_x"] = np.nan
        image = nib.Nifti1Image(DATA, None, image.header)
    elif problem == "nan voxel":
        image = nifti(np.where(DATA > 2, np.nan, DATA))
    elif problem == "colour":
        image = nifti(np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    elif problem == "5d":
        image = nifti(np.zeros((3, 3, 3, 2, 3), np.float32))
    nib.save(image, path)
    if problem == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    words = {"no orientation": "neither sform nor qform", "nan affine": "singular or not finite", "nan voxel": "NaN",
             "colour": "colours", "truncated": "damaged", "5d": "shape"}  # fmt: skip
    with pytest.raises(InputError, match=words[problem]):
        read_series(tmp_path)
    assert list(convert_export(tmp_path, tmp_path / "out").status) == ["failed"]


@pytest.mark.parametrize("name", ["x.mha", "x.nrrd", "x.mhd"])
def test_metaimage_and_nrrd_lie_where_simpleitk_puts_them(tmp_path, name):
    image = SimpleITK.GetImageFromArray(DATA.transpose(2, 1, 0))
    image.SetDirection([0, 0, 1, 1, 0, 0, 0, 1, 0])
    image.SetSpacing([0.5, 1.5, 2.5])
    image.SetOrigin([-3, 14, 15])
    SimpleITK.WriteImage(image, str(tmp_path / name))
    volume = only(tmp_path)
    voxel = (1, 2, 3)
    lps = np.array(image.TransformIndexToPhysicalPoint(voxel))
    found = np.linalg.inv(volume.affine) @ [*(lps * [-1, -1, 1]), 1]
    index = tuple(np.rint(found[:3]).astype(int))
    np.testing.assert_allclose(found[:3], index, atol=1e-6)
    assert volume.array[index] == DATA[voxel]
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")


def test_nrrd_without_space_is_refused(tmp_path):
    header = "NRRD0004\ntype: float\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nendian: little\n\n"
    (tmp_path / "x.nrrd").write_bytes(header.encode() + bytes(32))
    with pytest.raises(InputError, match="states no space"):
        read_series(tmp_path)


def test_four_dimensional_nifti_stays_four_dimensional(tmp_path):
    data = np.random.default_rng(1).normal(size=(3, 4, 5, 6)).astype(np.float32)
    nib.save(nifti(data), tmp_path / "bold.nii.gz")
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.array, nib.as_closest_canonical(nifti(data)).get_fdata())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sub-01_T1w.nii.gz", ("MR", "T1")), ("Doe_Jane_CT.nii", ("CT", "")), ("scan.nii", ("", "")),
     ("IXI002-Guys-0828-T2.nii.gz", ("MR", "T2")), ("Ptolemy.nii", ("", "")), ("pt_001.nii", ("", ""))],
)  # fmt: skip
def test_contrast_is_taken_from_whole_words_of_the_name(tmp_path, name, expected):
    assert contrast_of(tmp_path / name) == expected


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_two_file_nifti_is_one_volume_of_two_files(tmp_path, kind):
    nib.save(kind(DATA, AFFINE), tmp_path / "T1.img")
    table = convert_export(tmp_path, tmp_path / "out")
    assert list(table.status) == ["converted"]
    assert list(table.files) == [2]
    image = nib.load(tmp_path / "out" / table.path[0])
    reference = nib.as_closest_canonical(nib.Nifti1Image(DATA, AFFINE))
    np.testing.assert_allclose(image.affine, reference.affine, atol=1e-5)
    np.testing.assert_array_equal(image.get_fdata(), reference.get_fdata())


def test_header_without_its_voxels_fails(tmp_path):
    nib.save(nib.Nifti1Pair(DATA, AFFINE), tmp_path / "T1.img")
    (tmp_path / "T1.img").unlink()
    [row] = convert_export(tmp_path, tmp_path / "out").itertuples()
    assert (row.status, row.files) == ("failed", 1)
    assert ".img file is missing" in row.reason


def test_analyze_is_refused_for_it_does_not_know_its_left(tmp_path):
    nib.save(nib.AnalyzeImage(DATA, np.diag([-2, 2, 2, 1])), tmp_path / "T1.img")
    for dry_run in (True, False):
        [row] = convert_export(tmp_path, tmp_path / "out", dry_run=dry_run).itertuples()
        assert (row.status, row.files) == ("would fail" if dry_run else "failed", 2)
        assert "which side is left" in row.reason


@pytest.mark.parametrize(("side", "first"), [("radiological", 1), ("neurological", -1)])
def test_analyze_is_taken_for_what_the_user_says(tmp_path, side, first):
    image = nib.Spm99AnalyzeImage(DATA, None)
    image.header.set_zooms((2, 3, 4))
    image.header["origin"][:3] = (2, 1, 3)  # the voxel at 0 mm, counted from 1
    nib.save(image, tmp_path / "T1.img")
    [row] = convert_export(tmp_path, tmp_path / "out", Conversion(analyze=side)).itertuples()
    assert (row.status, row.files) == ("converted", 2)
    assert f"taken for {side}" in row.reason
    found = nib.load(tmp_path / "out" / row.path)
    truth = np.flip(DATA, 0) if first > 0 else DATA  # radiological: the first voxel lies to the right
    np.testing.assert_array_equal(found.get_fdata(), truth)
    at_zero = np.linalg.inv(found.affine) @ [0, 0, 0, 1]
    x = DATA.shape[0] - 2 if first > 0 else 1
    np.testing.assert_allclose(at_zero[:3], [x, 0, 2], atol=1e-5)
    np.testing.assert_allclose(np.diag(found.affine)[:3], [2, 3, 4])


def test_analyze_that_spm_moved_is_refused(tmp_path):
    nib.save(nib.Spm99AnalyzeImage(DATA, np.diag([-2, 2, 2, 1])), tmp_path / "T1.img")
    assert (tmp_path / "T1.mat").exists()
    table = convert_export(tmp_path, tmp_path / "out", Conversion(analyze="radiological"))
    assert table.reason.str.contains("an SPM .mat file beside it").sum() == 1


@pytest.mark.parametrize("part", ["T1.hdr", "T1.img"])
def test_damaged_analyze_is_refused(tmp_path, part):
    nib.save(nib.Spm99AnalyzeImage(DATA, np.diag([2, 2, 2, 1])), tmp_path / "T1.img")
    (tmp_path / "T1.mat").unlink(missing_ok=True)
    path = tmp_path / part
    path.write_bytes(path.read_bytes()[:100] if part == "T1.img" else path.read_bytes()[:70] + bytes(278))
    table = convert_export(tmp_path, tmp_path / "out", Conversion(analyze="radiological"))
    assert "converted" not in set(table.status)


@pytest.mark.parametrize("name", ["x.mhd", "x.nhdr"])
def test_header_with_detached_voxels_counts_both_files(tmp_path, name):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(DATA), str(tmp_path / name))
    assert len(list(tmp_path.iterdir())) == 2
    table = convert_export(tmp_path, tmp_path / "out")
    assert list(zip(table.status, table.files, strict=True)) == [("converted", 2)]
    voxels = next(path for path in tmp_path.iterdir() if path.suffix in (".raw", ".zraw", ".gz"))
    before = voxels.read_bytes()
    voxels.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    again = convert_export(tmp_path, tmp_path / "out")
    assert "kept" not in again.reason[0]


def test_voxels_outside_the_folder_are_not_followed(tmp_path):
    (tmp_path / "in").mkdir()
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(DATA), str(tmp_path / "in" / "x.mhd"))
    header, raw = tmp_path / "in" / "x.mhd", tmp_path / "in" / "x.raw"
    raw.rename(tmp_path / "secret.raw")
    header.write_text(header.read_text().replace("x.raw", "../secret.raw"))
    [row] = convert_export(tmp_path / "in", tmp_path / "out").itertuples()
    assert (row.status, row.files) == ("failed", 1)


SPACES = {
    "right-anterior-superior": (1, 1, 1), "RAS": (1, 1, 1), "left-anterior-superior": (-1, 1, 1),
    "LPS": (-1, -1, 1), "left-posterior-superior": (-1, -1, 1),
}  # fmt: skip


@pytest.mark.parametrize("space", SPACES)
def test_nrrd_lies_where_its_space_says(tmp_path, space):
    header = (
        f"NRRD0004\ntype: float\ndimension: 3\nspace: {space}\nsizes: 5 6 7\nencoding: raw\nendian: little\n"
        "space directions: (0,1.5,0) (-0.5,0,0) (0,0,2.5)\nspace origin: (10,20,30)\n\n"
    )
    (tmp_path / "x.nrrd").write_bytes(header.encode() + DATA.astype("<f4").tobytes(order="F"))
    volume = only(tmp_path)
    own = np.array([[0, -0.5, 0, 10], [1.5, 0, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    reference = nib.as_closest_canonical(nib.Nifti1Image(DATA, np.diag([*SPACES[space], 1]) @ own))
    np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-6)
    np.testing.assert_array_equal(volume.array, reference.get_fdata())


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed", "elsewhere"])
def test_nrrd_in_no_patients_space_is_refused(tmp_path, space):
    header = (
        f"NRRD0004\ntype: float\ndimension: 3\nspace: {space}\nsizes: 2 2 2\nencoding: raw\nendian: little\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
    )
    (tmp_path / "x.nrrd").write_bytes(header.encode() + bytes(32))
    with pytest.raises(InputError, match="not that of a patient"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    "names",
    ["x%d.raw 1 99999999999999", "x%d.raw 1 9 0", "%s%s%s.raw 1 2", "x\0.raw", "LIST", "..", "%d.raw " + "9" * 5000],
)  # fmt: skip
def test_headers_that_name_nonsense_fail_at_once(tmp_path, names):
    (tmp_path / "x.mhd").write_bytes(
        f"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT\nElementDataFile = {names}\n".encode()
    )
    for layout in ("plain", "bids"):
        for dry_run, status in ((True, "would fail"), (False, "failed")):
            [row] = convert_export(tmp_path / "x.mhd", tmp_path / layout, layout=layout, dry_run=dry_run).itertuples()
            assert row.status == status


@pytest.mark.parametrize("name", ["x.nii", "x.mha", "x.nrrd"])
def test_a_header_that_describes_more_than_its_file_holds_takes_no_memory(tmp_path, name):
    path = tmp_path / name
    if name == "x.nii":
        nib.save(nifti(), path)
        content = bytearray(path.read_bytes())
        content[40:48] = np.array([3, 30000, 30000, 30000], "<i2").tobytes()
        path.write_bytes(content)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(DATA), str(path))
        path.write_bytes(path.read_bytes().replace(b"7 6 5", b"30000 30000 30000"))
    for dry_run in (True, False):
        [row] = convert_export(tmp_path, tmp_path / "out", dry_run=dry_run).itertuples()
        assert "30000x30000x30000 voxels, which it cannot hold" in row.reason


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("NDims = 3", "NDims =-3"), ("NDims = 3", "NDims = 9"), ("NDims = 3", "NDims 3"),
        ("NDims = 3", "NDims = 3\nNDims = 2"), ("DimSize = 7 6 5", "DimSize = 7 6"),
        ("DimSize = 7 6 5", "DimSize = 7 -6 5"), ("Offset = 0 0 0", "Offset = 0 0"),
        ("Offset = 0 0 0", "Offset = 0 nan 0"), ("TransformMatrix = 1 0 0", "TransformMatrix = x 0 0"),
    ],
)  # fmt: skip
def test_a_damaged_metaimage_header_is_refused_before_metaio_dies_of_it(tmp_path, line, instead):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(DATA), str(tmp_path / "x.mhd"))
    text = (tmp_path / "x.mhd").read_text()
    assert line in text
    (tmp_path / "x.mhd").write_text(text.replace(line, instead))
    [row] = convert_export(tmp_path, tmp_path / "out").itertuples()
    assert row.status == "failed"
    assert "MetaImage header is damaged" in row.reason
