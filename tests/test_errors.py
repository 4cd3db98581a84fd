"""The error users see survives causes, processes and torch's data loader."""

import pickle

import pytest
import torch

from medtrans.errors import CasesFailedError, InputError, input_error_behind


class Broken(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise InputError("scan.nii", "has values that are not finite", "Mend it")


def test_one_line_names_subject_problem_and_remedy():
    assert str(InputError("a.nii", "is empty.", "Delete it.")) == "a.nii: is empty. Delete it."


def test_it_crosses_process_boundaries():
    error = pickle.loads(pickle.dumps(CasesFailedError("t.csv", "one failed", "See it")))
    assert isinstance(error, CasesFailedError)
    assert str(error) == "t.csv: one failed. See it."


def test_it_is_found_behind_the_errors_raised_from_it():
    outer, middle = RuntimeError("failed to instantiate"), ValueError()
    middle.__cause__, outer.__context__ = InputError("a", "b", "c"), middle
    assert str(input_error_behind(outer)) == "a: b. c."
    assert input_error_behind(ValueError()) is None


@pytest.mark.parametrize("workers", [0, 1])
def test_it_comes_out_of_data_loader_workers_in_one_line(workers):
    with pytest.raises(InputError) as caught:
        next(iter(torch.utils.data.DataLoader(Broken(), num_workers=workers)))
    assert str(caught.value) == "scan.nii: has values that are not finite. Mend it."
