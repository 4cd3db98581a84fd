"""Missing, unreadable and truncated files, malformed rows and volumes that no row names are told, all at once."""

import gzip
import shutil

import numpy as np


def test_every_missing_and_unreadable_file_is_told_not_only_the_first(planted, said):
    planted.path(1, "T2").unlink()
    planted.path(4, "mask").unlink()
    content = planted.path(5, "T1").read_bytes()
    planted.path(5, "T1").write_bytes(content[: len(content) // 2])
    planted.path(6, "T2").write_bytes(b"no NIfTI at all")
    assert said(planted.found("files")) == {
        (1, "T2", "missing file"), (4, "mask", "missing file"), (5, "T1", "unreadable file"),
        (6, "T2", "unreadable file"),
    }  # fmt: skip


def test_the_other_checks_go_on_past_a_missing_file(planted, said):
    planted.path(1, "T2").unlink()
    values = planted.read(3, "T1")
    planted.write(3, "T1", np.zeros_like(values))
    assert (3, "T1", "constant") in said(planted.found("files", "contents"))


def test_a_truncated_compressed_volume_is_told(planted, said):
    path = planted.path(2, "T1")
    packed = gzip.compress(path.read_bytes())
    path.with_suffix(".nii.gz").write_bytes(packed[: len(packed) // 3])
    planted.table(T1={2: "head-0002/T1.nii.gz"})
    assert (2, "T1", "unreadable file") in said(planted.found("files"))


def test_malformed_rows_are_told_all_at_once(planted, said):
    planted.table(split={1: "training"}, intensity={2: "{broken"}, shape={3: "a b c"})
    found = planted.found("files")
    assert {(case, what) for case, _, what in said(found)} == {(n, "malformed row") for n in (1, 2, 3)}
    assert any("'training'" in f.problem for f in found)


def test_volumes_that_no_row_names_and_a_missing_recipe_are_told(planted, said):
    (planted.folder / "old").mkdir()
    shutil.copy(planted.path(0, "T1"), planted.folder / "old" / "T1.nii")
    (planted.folder / "recipe.json").unlink()
    told = said(planted.found("files"))
    assert told == {("", "", "forgotten volumes"), ("", "recipe.json", "no recipe")}
