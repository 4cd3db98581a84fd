import pytest
import torch

from medtrans.engines.many_cases import Inference, InProcesses, device_of, translation_workers


def test_one_process_a_gpu_without_any_one_and_never_more_than_cases(monkeypatch):
    assert translation_workers(5, None) == 1
    assert translation_workers(5, 3) == 3
    assert translation_workers(2, 3) == 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert translation_workers(5, None) == 4


@pytest.mark.parametrize(
    ("worker", "devices", "expected"), [(5, 4, {"device": "cuda:1"}), (5, 1, {}), (5, 0, {}), ("tcp://a", 4, {})]
)
def test_local_workers_share_the_gpus_in_turns(worker, devices, expected):
    assert device_of(worker, devices) == expected


def test_no_case_starts_no_process():
    assert list(InProcesses(Inference.of(["inference.json"], {}), workers=2)([])) == []


def test_processes_are_handed_their_cases_and_look_for_none():
    assert Inference.of(["a.json"], {"input": "scans"}).options == '{"input": "scans", "dataset#data": []}'
