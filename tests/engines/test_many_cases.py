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


class Translator:
    """What is asked of an evaluator: its model's file, and its settings."""

    def __init__(self, model):
        self.model, self.settings = model, ["fp32", {"overlap": 0.25}]


@pytest.fixture
def inference(tmp_path):
    """``inference(model, **settings)``: what a worker is told of a model with these weights."""
    (tmp_path / "inference.json").write_text("{}")

    def told(weights, **settings):
        (tmp_path / "model.pt").write_bytes(weights)
        translator = Translator(tmp_path / "model.pt")
        translator.settings[1].update(settings)
        return Inference.of([str(tmp_path / "inference.json")], {"input": "scans"}, translator)

    return told


def test_no_case_starts_no_process(inference):
    assert list(InProcesses(inference(b"weights"), workers=2)([])) == []


def test_processes_are_handed_their_cases_and_look_for_none(inference):
    assert inference(b"weights").options == '{"input": "scans", "dataset#data": []}'


def test_a_process_that_outlives_the_run_knows_a_model_trained_anew_from_the_one_it_has(inference):
    assert inference(b"weights") == inference(b"weights")
    assert inference(b"weights") != inference(b"others")
    assert inference(b"weights") != inference(b"weights", overlap=0.5)
