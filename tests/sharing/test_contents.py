"""What of a bundle may travel: no path that tells of people and places."""

import pytest

from medtrans import InputError
from medtrans.sharing.contents import refuse_private_paths
from medtrans.sharing.packing import Packing, pack


@pytest.mark.parametrize(
    "text",
    [
        "see /home/anna/scans",
        "dataset_dir=/home/anna/scans",
        '{"key": "/mnt/anna/x"}',
        "root:/scratch/anna/x",
        "file:///home/anna/x",
        "/gpfs/projects/anna",
        "~/scans",
        "C:\\\\scans\\\\anna",
        "in D:\\scans",
    ],
)
def test_paths_of_machines_are_refused_wherever_they_stand_in_a_text(text):
    with pytest.raises(InputError, match=r"README\.md: names a path of this machine"):
        refuse_private_paths(text, "README.md")


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/data/anna",
        "T1/T2 and PET/CT",
        "and/or",
        "runs/data/model.pt",
        "1/2",
        "$@bundle_root + '/models/x'",
    ],
)
def test_addresses_and_relative_paths_are_not(text):
    refuse_private_paths(text, "README.md")


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "C:"])
def test_a_name_that_is_no_folders_name_is_refused(name, tmp_path, write_trained_bundle):
    from medtrans.cohorts import write_phantom_cohort

    write_phantom_cohort(tmp_path / "set", 3, ["T1", "T2"], 12.0)
    with pytest.raises(InputError, match="is no plain name of a folder"):
        pack(write_trained_bundle(tmp_path, "simple", tmp_path / "set"), tmp_path, Packing(name=name))
