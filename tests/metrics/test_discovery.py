"""Metrics are found by being there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from medtrans import InputError, metrics


def test_every_metric_of_the_papers_is_there_and_reported_by_default():
    by_default = {metric.name for metric in metrics.create()}
    assert {"ssim", "psnr", "mse_255", "vif", "uqi", "lpips", "mae", "nmi", "mi", "z_psnr", "z_mae"} <= by_default


def test_every_metric_says_what_it_is():
    for name, metric in metrics.available().items():
        assert metric.name == name
        assert metric.title
        assert metric.definition.endswith(".")
        assert getattr(metrics, metric.__name__) is metric


def test_a_new_file_is_a_new_metric(tmp_path, monkeypatch):
    (tmp_path / "bias.py").write_text(
        "from medtrans.metrics.base import MapMetric\n"
        "class Bias(MapMetric):\n"
        "    name, title, definition, unit, higher_is_better = 'bias', 'Bias', 'Mean difference.', 'target', False\n"
        "    def quality_map(self, prediction, reference, width):\n"
        "        return prediction - reference\n"
    )
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(tmp_path)])
    try:
        assert "bias" in metrics.available()
        assert metrics.create(["bias"])[0].title == "Bias"
    finally:
        sys.modules.pop("medtrans.metrics.bias", None)


def test_an_unknown_metric_is_refused_with_the_list_of_known_ones():
    with pytest.raises(InputError, match=r"ssmi.*Choose from ssim"):
        metrics.create(["ssmi"])


def test_settings_reach_the_constructor():
    assert metrics.create(["lpips"], {"lpips": {"trunk": "squeeze"}})[0].trunk == "squeeze"


def test_importing_the_metrics_stays_light():
    code = (
        "import sys, medtrans.metrics; "
        "print([m for m in ('itk', 'SimpleITK', 'pydicom', 'pandas', 'lpips', 'torchvision') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
