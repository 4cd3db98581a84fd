"""What all tests of bad input need: sound input to spoil, and what every command promises where input is bad.

The promise is one clear error with file and remedy, the rest done, and nothing half-written.
"""

import csv
import gzip
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medtrans.cohorts import write_phantom_cohort

ROOT = Path(__file__).parents[2]
TABLES = ("series.csv", "prepare.csv", "simulate.csv", "translated.csv", "exported.csv", "failed.csv")


@dataclass(frozen=True)
class Kit:
    """A sound data set and model, and the folder of one test."""

    phantoms: Path
    models: Path
    folder: Path
    mr_series: object
    bundle = ROOT / "bundles/medgan"
    recipe = ROOT / "data_prep/t1_t2.json"

    def scans(self, modalities=("T1",), cases=(0, 1, 2), nested=False, into="in"):
        """Sound NIfTI scans in ``into``: ``<case>.nii.gz``, or ``<case>/<modality>.nii.gz``."""
        for number in cases:
            for modality in modalities:
                image = nib.load(self.phantoms / f"head-{number:04d}" / f"{modality}.nii")
                path = self.folder / into / (f"s{number}/{modality}.nii.gz" if nested else f"s{number}.nii.gz")
                path.parent.mkdir(parents=True, exist_ok=True)
                nib.save(image, path)
        return self.folder / into

    def data_set(self):
        """A copy of the data set, to be spoilt."""
        return Path(shutil.copytree(self.phantoms, self.folder / "set"))

    def model(self):
        """A copy of the models folder, to be spoilt."""
        return Path(shutil.copytree(self.models, self.folder / "models"))

    def translate(self, source, *more, models=None, out="out"):
        words = ["translate", self.bundle, source, self.folder / out, "--set", f"ckpt_dir={models or self.models}"]
        return [*words, *more]

    def prepare(self, source, *more, recipe=None, out="out"):
        quick = ["spacing=[12,12,12]", "size=[null,null,null]", "registration#rigid=false"]
        options = [word for setting in quick for word in ("--set", setting)]
        words = ["prepare", recipe or self.recipe, "--input", source, "--output", self.folder / out, "--workers", "1"]
        return [*words, *options, *more]

    def evaluate(self, predictions, references, *more):
        return ["evaluate", predictions, references, "--output", self.folder / "out", "--metrics", "mae", *more]

    def predictions(self, cases=(0, 1, 2, 3)):
        """Predictions for the data set's cases."""
        for number in cases:
            path = self.folder / "pred" / f"head-{number:04d}_T2_synthetic.nii.gz"
            path.parent.mkdir(exist_ok=True)
            nib.save(nib.load(self.phantoms / f"head-{number:04d}" / "T1.nii"), path)
        return self.folder / "pred"

    @staticmethod
    def cut(path, share=0.6):
        """Only the beginning of a file; of a compressed one, of what it holds too."""
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    @staticmethod
    def spoil(path, change):
        """The volume changed by ``change(values)``."""
        image = nib.load(path)
        values = change(np.asarray(image.dataobj, dtype=np.float32).copy())
        nib.save(nib.Nifti1Image(values, image.affine), path)

    @staticmethod
    def with_nan(values):
        values[3, 3, 3] = np.nan
        return values

    @staticmethod
    def as_colours(path):
        image = nib.load(path)
        colours = np.zeros(image.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
        nib.save(nib.Nifti1Image(colours, image.affine), path)

    @staticmethod
    def written(folder):
        """Every file of a command's output."""
        return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


@pytest.fixture(scope="session")
def sound(tmp_path_factory, write_models):
    """A phantom data set and a model of it."""
    folder = tmp_path_factory.mktemp("sound")
    logging.disable(logging.INFO)
    write_phantom_cohort(folder / "phantoms", subjects=4, modalities=("T1", "T2"), spacing=12)
    logging.disable(logging.NOTSET)
    return folder / "phantoms", write_models(folder / "models", folder / "phantoms")


@pytest.fixture
def kit(sound, tmp_path, write_mr_series):
    return Kit(*sound, tmp_path, write_mr_series)


@pytest.fixture
def refused(kit, run_medtrans):
    """Run a command that cannot start: exit code 2, and one line that holds all words given."""

    def check(words, *says):
        before = set(kit.written(kit.folder))
        code, last = run_medtrans(*words)
        assert code == 2, last
        assert last.lower().startswith("error: "), last
        assert "\n" not in last
        assert_told(says, last)
        assert not volumes_since(before, kit, words)

    return check


@pytest.fixture
def partly_done(kit, run_medtrans):
    """Run a command of which some cases fail: exit code 1, a table holds all words given, ``good`` volumes written."""

    def check(words, *says, good=0):
        before = set(kit.written(kit.folder))
        code, last = run_medtrans(*words)
        assert code == 1, last
        tables = [path for path in kit.written(kit.folder / "out") if path.name in TABLES]
        assert tables, "no table says what failed"
        assert_told(says, last + "".join(path.read_text() for path in tables))
        found = volumes_since(before, kit, words)
        assert len(found) == good, found
        assert words[0] != "evaluate" or (kit.folder / "out/report.html").is_file()

    return check


def assert_told(says, told):
    for word in says:
        assert word in told, f"{word!r} is not in: {told}"


def volumes_since(before, kit, words):
    """The volumes a command wrote; every file it wrote is whole and in its place."""
    fresh = set(kit.written(kit.folder)) - before
    for path in fresh:
        assert_whole(path)
        assert path.is_relative_to(kit.folder / "out"), f"{path} is no place for output"
    volumes = [path for path in fresh if path.name.endswith((".nii", ".nii.gz"))]
    return [path for path in volumes if words[0] != "translate" or "synthetic" in path.name]


def assert_whole(path):
    """A file reads to its end."""
    assert not path.name.startswith(".partial"), path
    if path.name.endswith((".nii", ".nii.gz")):
        assert np.isfinite(nib.load(path).get_fdata()).all()
    elif path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            assert len({len(line) for line in csv.reader(file)}) == 1
    elif path.suffix == ".gz":
        gzip.decompress(path.read_bytes())
