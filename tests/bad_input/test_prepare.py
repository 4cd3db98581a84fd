"""Bad input to ``medtrans prepare``."""

import json
import shutil

import numpy as np


def test_empty_folder(kit, refused):
    (kit.folder / "empty").mkdir()
    refused(kit.prepare(kit.folder / "empty"), "empty", "holds nothing that the recipe asks for", "medtrans convert")


def test_recipe_that_is_not_there(kit, refused):
    refused(
        kit.prepare(kit.scans(("T1", "T2"), nested=True), recipe=kit.folder / "no.json"),
        "no.json",
        "does not exist",
        "data_prep",
    )


def test_folder_in_place_of_a_recipe(kit, refused):
    (kit.folder / "recipes").mkdir()
    refused(
        kit.prepare(kit.scans(("T1", "T2"), nested=True), recipe=kit.folder / "recipes"),
        "recipes",
        "is no file",
        "data_prep",
    )


def test_broken_recipe(kit, refused):
    (kit.folder / "broken.json").write_text('{"modalities": ')
    refused(
        kit.prepare(kit.scans(("T1", "T2"), nested=True), recipe=kit.folder / "broken.json"),
        "broken.json",
        "not a readable config",
        "Mend",
    )


def test_misspelt_key_in_the_recipe(kit, refused):
    (kit.folder / "mine.json").write_text(json.dumps(json.loads(kit.recipe.read_text()) | {"spacin": 1}))
    refused(
        kit.prepare(kit.scans(("T1", "T2"), nested=True), recipe=kit.folder / "mine.json"),
        "mine.json",
        "spacin",
        "Did you mean spacing",
    )


def test_misspelt_set_option(kit, refused):
    refused(
        kit.prepare(kit.scans(("T1", "T2"), nested=True), "--set", "registration#rigit=true"),
        "registration",
        "rigit",
        "rigid",
    )


def test_set_option_without_a_value(kit, refused):
    refused(kit.prepare(kit.scans(("T1", "T2"), nested=True), "--set", "seed"), "--set seed", "key=value")


def test_output_is_a_file(kit, refused):
    (kit.folder / "out").write_text("a file")
    refused(kit.prepare(kit.scans(("T1", "T2"), nested=True)), "out", "cannot be written", "Choose a folder")


def test_truncated_nan_and_colour_volumes_a_modality_missing(kit, partly_done):
    scans = kit.scans(("T1", "T2"), (0, 1, 2, 3), nested=True)
    shutil.copytree(scans / "s3", scans / "s4")
    kit.cut(scans / "s1/T2.nii.gz")
    kit.spoil(scans / "s2/T1.nii.gz", kit.with_nan)
    (scans / "s3/T2.nii.gz").unlink()
    kit.as_colours(scans / "s4/T2.nii.gz")
    partly_done(
        kit.prepare(scans),
        "s1/T2.nii.gz",
        "cannot be read",
        "Convert it again",
        "s2/T1.nii.gz",
        "NaN",
        "not_finite",
        "no T2",
        "colours",
        good=3,
    )


def test_different_subjects_in_a_pair(kit, partly_done):
    scans = kit.scans(("T1", "T2"), (0, 1), nested=True)
    for modality, patient in (("T1", "anna"), ("T2", "otto")):
        (scans / "s1" / f"{modality}.json").write_text(json.dumps({"patient": patient}))
    partly_done(kit.prepare(scans), "s1", "different subjects", good=3)


def test_one_subject_under_two_names(kit, partly_done):
    scans = kit.scans(("T1", "T2"), (0,), nested=True)
    shutil.copytree(scans / "s0", scans / "s1")
    partly_done(kit.prepare(scans), "s1", "voxel by voxel", "give both one name", good=3)


def test_a_constant_volume(kit, partly_done):
    scans = kit.scans(("T1", "T2"), (0, 1), nested=True)
    kit.spoil(scans / "s1/T1.nii.gz", np.zeros_like)
    partly_done(kit.prepare(scans), "s1/T1.nii.gz", "constant", "Leave it out", good=3)
