"""Pairs as a MONAI Label datastore lists them."""

import shutil
from pathlib import Path

import pytest

from medtrans.cohorts import Cases, write_phantom_cohort


@pytest.fixture(scope="session")
def root():
    """The repository's root."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def phantom_heads(tmp_path_factory):
    """A data set of four coarse heads."""
    folder = tmp_path_factory.mktemp("hospital") / "heads"
    write_phantom_cohort(folder, 4, ("T1", "T2"), 12.0)
    return folder


@pytest.fixture(scope="session")
def pairs(phantom_heads, tmp_path_factory):
    """Volumes in a folder of their own, named as patients are, and their targets among the labels."""
    studies = tmp_path_factory.mktemp("studies")
    (studies / "labels/final").mkdir(parents=True)
    found = []
    for number, case in enumerate(Cases.read(phantom_heads)):
        image, label = studies / f"Doe_Jane_{number}.nii", studies / f"labels/final/Doe_Jane_{number}.nii"
        shutil.copy(case.volumes["T1"], image)
        shutil.copy(case.volumes["T2"], label)
        found.append({"image": str(image), "label": str(label)})
    return found
