"""Severity against improvement: what is judged is the task that was trained, and every head has its own draws."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from medtrans.cohorts import write_phantom_cohort
from medtrans.cohorts.tasks import Task


@pytest.fixture(scope="module")
def severity(script):
    return script("severity")


def gains(images):
    """Of each slice: degraded over clean, where neither is cut off."""
    clean, degraded = (images[key] + 1 for key in ("target", "source"))
    shown = (clean > 0.1) & (degraded < 1.99)
    return [float((d[s] / c[s]).median()) for d, c, s in zip(degraded, clean, shown, strict=True)]


def test_heads_whose_names_are_equally_long_have_their_own_draws(severity, louder_task, tmp_path):
    write_phantom_cohort(tmp_path, 2, ["T1"], 12.0, seed=1, lesions=True)
    first, second = (gains(images) for _, images in severity.heads_at(tmp_path, Task.read(louder_task), [32, 32]))
    assert len(set(first)) == len(first) > 4
    assert all(1.4 < gain < 3.1 for gain in (*first, *second))
    assert min(abs(one - other) for one, other in zip(first, second, strict=False)) > 1e-3


def test_a_setting_of_the_training_that_the_task_has_is_judged_too(severity, louder_task, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(severity, "train", lambda folder, task, chosen: trained.append(chosen) or torch.nn.Identity())
    settings = ["target=T2", "gain=[1,2]", "max_epochs=1"]
    severity.main(tmp_path, Path(louder_task), "gain", "1.5,1", settings, heads=1, modality="T2", spacing=8.0)
    assert trained == [{"target": "T2", "gain": [1, 2], "max_epochs": 1}]
    rows = pd.read_csv(tmp_path / "results.csv").set_index("value")
    assert rows.loc[1.0, "psnr degraded"] > rows.loc[1.5, "psnr degraded"]
    assert (rows["psnr degraded"] == rows["psnr restored"]).all()
