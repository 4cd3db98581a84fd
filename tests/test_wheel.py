"""The built wheel holds the package and nothing else, and a copied bundle runs with it."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, unpacked by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True)
    (wheel,) = folder.glob("medtrans-*.whl")
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(folder / "site"),
        str(wheel),
    ]
    subprocess.run(words, check=True, capture_output=True)
    return wheel, folder / "site"


def test_the_wheel_holds_the_package_with_its_templates_and_nothing_else(installed):
    wheel, _ = installed
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"medtrans", next(top for top in tops if top.endswith(".dist-info"))}
    assert "medtrans/py.typed" in names
    assert any(name.endswith("report.html.j2") for name in names)
    assert any("licenses/LICENSE" in name for name in names)


def test_a_copied_bundle_trains_and_translates_with_the_installed_wheel(installed, tmp_path):
    _, site = installed
    bundle = shutil.copytree(
        ROOT / "bundles/medgan", tmp_path / "medgan", ignore=shutil.ignore_patterns("models", "eval")
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "MEDTRANS_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }

    def python(*words):
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    assert str(site) in python("-c", "import medtrans; print(medtrans.__file__)")
    tiny = {
        "phantom": '{"subjects":3,"spacing":12.0,"modalities":["T1","T2"]}',
        "image_size": "[16,16]",
        "network_def::blocks": "2",
        "network_def::channels": "[4,4]",
        "losses::style::weight": "0",
        "losses::content::weight": "0",
        "max_epochs": "1",
        "num_workers": "0",
    }
    overrides = [word for key, value in tiny.items() for word in (f"--{key}", value)]
    python("-m", "monai.bundle", "run", "training", "--config_file", "medgan/train.json", *overrides)
    data_set = json.loads((bundle / "models/modalities.json").read_text())["settings"]["dataset_dir"]
    assert data_set.startswith(str(tmp_path / "cache")), "without dataset_dir the phantom cohort is made and cached"
    python("-m", "medtrans.cli", "translate", "medgan", data_set, "synthetic")
    assert list((tmp_path / "synthetic").glob("*_T2_synthetic.nii.gz"))
