"""Registration in training beats plain L1 on misaligned pairs, costs nothing on aligned ones, does not translate."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from medtrans.benchmark.statistics import interval
from medtrans.cohorts import write_phantom_cohort
from medtrans.losses import L1, Registered
from medtrans.losses.deformation import warped
from medtrans.methods import PairedTranslation
from medtrans.networks import DeformationNet

SIZE, STEPS = 32, 700


@pytest.fixture(scope="module")
def benchmark(script):
    return script("misaligned_pairs")


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Not the cohort on which the defaults were chosen."""
    return write_phantom_cohort(tmp_path_factory.mktemp("heads"), 40, ("T1", "T2"), 7.0, seed=3)


@pytest.fixture(scope="module")
def small(benchmark, tmp_path_factory):
    """A study of two runs of tiny phantoms, done."""
    study = benchmark.Study(tmp_path_factory.mktemp("study"))
    run = benchmark.Run(12.0, 0, 4, 2, 35.0, 8.0, 1, "l1")
    study.carry_out([run, replace(run, method="l1 registered")])
    return study, run


def test_a_run_in_the_table_is_kept_and_not_trained_again(benchmark, small, monkeypatch):
    study, run = small
    before = study.path.read_text()
    trained = []
    monkeypatch.setattr(benchmark, "train", lambda *arguments: trained.append(arguments) or {})
    again = benchmark.Study(study.folder)
    again.carry_out([run, replace(run, method="l1 registered")])
    assert trained == []
    again.carry_out([run, replace(run, method="pix2pix")])
    assert len(trained) == 1
    assert again.path.read_text().startswith(before)


def test_the_table_has_a_row_for_each_head_that_did_not_train(small):
    study, run = small
    held_out = [number for number, case in enumerate(study.cohort(run)) if case.split != "train"]
    rows = study.rows[study.rows["method"] == "l1"]
    assert sorted(rows["head"]) == held_out
    assert rows[["PSNR", "SSIM", "MAE"]].notna().all(axis=None)


def test_the_field_a_pair_carries_is_the_one_that_deformed_its_target(benchmark, small):
    """Warping the aligned targets by it gives the deformed ones, but for interpolation of these large voxels."""
    study, run = small
    aligned, deformed = (benchmark.slices(study.cohort(run), ("train",), run.size, mm, 35, 1) for mm in (0, 8))
    assert aligned["field"].abs().max() == 0
    left, right, back = (warped(aligned["target"], sign * deformed["field"]) for sign in (0, 1, -1))
    error = [(image - deformed["target"]).abs().mean() for image in (left, right, back)]
    assert error[1] < 0.4 * error[0]
    assert error[2] > error[0]


def test_differences_are_paired_by_head_with_an_interval_over_heads(benchmark):
    run = benchmark.Run(7.0, 0, 40, 10, 35.0, 8.0, 1, "l1")
    random, rows = np.random.default_rng(0), []
    for seed in (1, 2):
        for head in range(9):
            base = random.normal(20, 3)
            for name, more in (("l1", 0.0), ("l1 registered", 0.5 + 0.1 * random.normal())):
                quality = {"PSNR": base + more, "SSIM": 0.5, "MAE": 0.2 - 0.1 * more}
                rows.append(vars(replace(run, seed=seed, method=name)) | {"head": head} | quality)
    table = pd.DataFrame(rows)
    (found,) = benchmark.differences(table).to_dict("records")
    wide = table.pivot_table(index=["seed", "head"], columns="method", values="PSNR")
    expected = interval((wide["l1 registered"] - wide["l1"]).groupby("head").mean())
    assert found["PSNR"] == benchmark.said(expected)
    assert found["PSNR better"] == found["MAE better"] == "9/9 heads, 2/2 runs"
    assert found["SSIM better"] == "0/9 heads, 0/2 runs"


@pytest.fixture(scope="module")
def trained(benchmark, heads):
    """millimetres -> the pairs, plain and registered training on them, and what the latter logged; each once."""

    @cache
    def at(millimetres):
        data = benchmark.slices(heads, ("train",), SIZE, millimetres)
        methods = {name: benchmark.build(name, 0) for name in ("l1", "l1 registered")}
        logged = [benchmark.train(method, data, STEPS, 0) for method in methods.values()]
        return data, *methods.values(), logged[1]

    return at


@pytest.fixture(scope="module")
def judged(benchmark, heads, trained):
    """millimetres -> what plain and registered training reach on aligned heads."""
    held_out = benchmark.slices(heads, benchmark.JUDGES, SIZE)
    return lambda millimetres: [benchmark.judge(method, held_out).mean() for method in trained(millimetres)[1:3]]


def absolute_error(image, target):
    return (image - target).abs().mean().item()


@pytest.mark.slow
def test_registered_training_beats_plain_training_on_misaligned_pairs(judged):
    plain, registered = judged(8.0)
    assert registered["PSNR"] > plain["PSNR"] + 0.1
    assert registered["SSIM"] > plain["SSIM"] + 0.01
    assert registered["MAE"] < plain["MAE"]


@pytest.mark.slow
def test_the_registration_finds_a_part_of_the_true_displacement(benchmark, trained):
    data, _, registered, logged = trained(8.0)
    assert logged["registered_displacement"] > 0.2  # voxels
    assert logged["registered_folding"] < 0.001
    known = benchmark.undone(registered, data)
    assert known["field_error"] < 0.9 * known["true_displacement"]


@pytest.mark.slow
def test_registered_training_costs_nothing_on_aligned_pairs(judged, trained):
    plain, registered = judged(0.0)
    assert registered["PSNR"] > plain["PSNR"] - 0.3
    assert registered["SSIM"] > plain["SSIM"] - 0.015
    assert trained(0.0)[3]["registered_displacement"] < 0.2


@pytest.mark.slow
def test_the_registration_leaves_the_translation_to_the_generator(trained):
    """On aligned pairs, where there is nothing to register, it takes next to nothing off the error of either."""
    data, _, method, _ = trained(0.0)
    registration, target = method.losses.terms["registered"].registration, data["target"]
    with torch.no_grad():
        output = method.generator(data["source"])
        error = {"source": absolute_error(data["source"], target), "output": absolute_error(output, target)}
        for name, image in (("source", data["source"]), ("output", output)):
            error[f"moved {name}"] = absolute_error(warped(image, registration(image, target)), target)
    translated = error["source"] - error["output"]
    assert translated > 0.4 * error["source"]
    assert error["source"] - error["moved source"] < 0.1 * translated
    assert error["output"] - error["moved output"] < 0.1 * translated


class Untranslated(nn.Module):
    """A generator that returns its source."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, source):
        return source + 0 * self.nothing


@pytest.mark.slow
def test_a_registration_alone_cannot_translate(benchmark, trained):
    """Trained with nothing but the source to move, it takes off a part of the error, far from what translation does."""
    data, plain, *_ = trained(0.0)
    registration, generator = DeformationNet(2), Untranslated()
    groups = [{"params": [*generator.parameters(), *registration.parameters()], "lr": 2e-3}]
    losses = {"registered": Registered(L1(), registration, 100.0)}
    optimizers = {"generator": torch.optim.Adam(groups, betas=(0.9, 0.999))}
    benchmark.train(PairedTranslation(generator, losses, optimizers, generator_steps=1), data, STEPS, 0)
    with torch.no_grad():
        moved = warped(data["source"], registration(data["source"], data["target"]))
        errors = [absolute_error(image, data["target"]) for image in (data["source"], moved)]
        translated = errors[0] - absolute_error(plain.generator(data["source"]), data["target"])
    assert errors[0] - errors[1] < 0.5 * translated
