"""Clients are told names, not where things lie on the server."""

import logging

import pytest

from medtrans import InputError
from medtrans.label.told import logged_without_folders, refusal, without_folders


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("/srv/models/checkpoint.pt: cannot be resumed. Delete it.", "checkpoint.pt: cannot be resumed. Delete it."),
        ("look into /srv/models/ and /data, then", "look into models and data, then"),
        ("'/srv/a.nii.gz' is torn", "'a.nii.gz' is torn"),
        ("T1/T2 in kBq/ml, see https://example.org/a/b", "T1/T2 in kBq/ml, see https://example.org/a/b"),
        ("data_prep/t1_t2.json and ./a/b are relative", "data_prep/t1_t2.json and ./a/b are relative"),
    ],
)
def test_absolute_paths_lose_their_folders(reason, told):
    assert without_folders(reason) == told


def test_known_folders_may_have_spaces():
    places = ["/srv/my work", "/srv/my work/training @home"]
    assert (
        without_folders("/srv/my work/training @home/ab12/x.pt is torn", places) == "training @home/ab12/x.pt is torn"
    )
    error = InputError("/srv/of Jane Doe/a b.json", "is not readable", "Write it again")
    assert refusal(error) == "a b.json: is not readable. Write it again."
    assert refusal(InputError("overlap 5", "is too much", "Use 0.5")) == "overlap 5: is too much. Use 0.5."


def test_what_is_logged_is_told_likewise_and_only_meanwhile(caplog):
    logger = logging.getLogger("medtrans.engines.checkpoints")
    with caplog.at_level(logging.INFO), logged_without_folders(["/srv/my work"]):
        logger.info("resuming from %s: epoch %d", "/srv/my work/checkpoint.pt", 3)
    logger.warning("%s", "/srv/checkpoint.pt")
    assert caplog.messages == ["resuming from my work/checkpoint.pt: epoch 3", "/srv/checkpoint.pt"]
