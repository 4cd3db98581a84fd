"""Bad input to every command: one clear error with file and remedy, the rest done, nothing half-written."""

import csv
import gzip
import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from medtrans.cohorts import write_phantom_cohort
from medtrans.errors import input_error_behind

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "bundles/medgan"
RECIPE = ROOT / "data_prep/t1_t2.json"
CANNOT_START, CASES_FAILED = 2, 1


@dataclass(frozen=True)
class Kit:
    """A sound data set and model, and the folder of one test."""

    phantoms: Path
    models: Path
    folder: Path
    mr_series: object

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
        words = ["translate", BUNDLE, source, self.folder / out, "--set", f"ckpt_dir={models or self.models}"]
        return [*words, *more]

    def prepare(self, source, *more, recipe=RECIPE, out="out"):
        quick = ["spacing=[12,12,12]", "size=[null,null,null]", "registration#rigid=false"]
        options = [word for setting in quick for word in ("--set", setting)]
        words = ["prepare", recipe, "--input", source, "--output", self.folder / out, "--workers", "1"]
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


def of_set(*more):
    return ["--target", "T2", "--split", "all", *more]


def cut(path, share=0.6):
    """Only the beginning of a file; of a compressed one, of what it holds too."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def spoil(path, change):
    """The volume changed by ``change(values)``."""
    image = nib.load(path)
    values = change(np.asarray(image.dataobj, dtype=np.float32).copy())
    nib.save(nib.Nifti1Image(values, image.affine), path)


def with_nan(values):
    values[3, 3, 3] = np.nan
    return values


def as_colours(path):
    image = nib.load(path)
    colours = np.zeros(image.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colours, image.affine), path)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    make: object
    code: int
    says: tuple[str, ...]
    good: int


TABLE = []


def row(name, code, *says, good=0):
    """``make(kit)`` lays out the input and gives the command; ``good`` volumes are to be written all the same."""

    def register(make):
        TABLE.append(Row(name, make, code, says, good))
        return make

    return register


# ---- convert -------------------------------------------------------------------------------------------------------


@row("convert: folder that is not there", CANNOT_START, "absent", "does not exist", "Give the folder")
def _(kit):
    return ["convert", kit.folder / "absent", kit.folder / "out"]


@row("convert: empty folder", CANNOT_START, "empty", "holds no files", "Give the folder")
def _(kit):
    (kit.folder / "empty").mkdir()
    return ["convert", kit.folder / "empty", kit.folder / "out"]


@row("convert: no scan in the folder", CANNOT_START, "junk", "PAR/REC among 1 file(s)", "Give the scanner's")
def _(kit):
    (kit.folder / "junk").mkdir()
    (kit.folder / "junk/letter.txt").write_text("hello")
    return ["convert", kit.folder / "junk", kit.folder / "out"]


@row("convert: truncated DICOM", CASES_FAILED, "image 5", "Export this image again", good=1)
def _(kit):
    kit.mr_series(kit.folder / "in/a", seed=1)
    kit.mr_series(kit.folder / "in/b", seed=2)
    cut(kit.folder / "in/b/image004")
    return ["convert", kit.folder / "in", kit.folder / "out"]


@row("convert: truncated, NaN and colour NIfTI", CASES_FAILED, "NaN", "damaged", "colours", "Replace", "Copy", good=1)
def _(kit):
    scans = kit.scans(cases=(0, 1, 2, 3))
    cut(scans / "s1.nii.gz")
    spoil(scans / "s2.nii.gz", with_nan)
    as_colours(scans / "s3.nii.gz")
    return ["convert", scans, kit.folder / "out"]


@row("convert: output is a file", CANNOT_START, "out", "cannot be written", "Choose a folder")
def _(kit):
    (kit.folder / "out").write_text("a file")
    return ["convert", kit.scans(), kit.folder / "out"]


@row("convert: output where no file can be", CANNOT_START, "/proc/medtrans", "cannot be written", "Choose a folder")
def _(kit):
    if not Path("/proc/self").exists():
        pytest.skip("no such file system")
    kit.mr_series(kit.folder / "in")
    return ["convert", kit.folder / "in", "/proc/medtrans"]


@row("convert: output is the export", CANNOT_START, "is the export itself", "Choose another folder")
def _(kit):
    return ["convert", kit.scans(into="out"), kit.folder / "out"]


@row("convert: unknown layout", CANNOT_START, "--layout", "'BIDS'", "plain, bids")
def _(kit):
    kit.mr_series(kit.folder / "in")
    return ["convert", kit.folder / "in", kit.folder / "out", "--layout", "BIDS"]


@row("convert: unknown unit", CANNOT_START, "--pet-unit", "kelvin", "suv, suvlbm, suvbsa, bqml")
def _(kit):
    return ["convert", kit.scans(), kit.folder / "out", "--pet-unit", "kelvin"]


@row("convert: misspelt option", CANNOT_START, "--worker")
def _(kit):
    return ["convert", kit.scans(), kit.folder / "out", "--worker", "2"]


# ---- phantom -------------------------------------------------------------------------------------------------------


@row("phantom: unknown modality", CANNOT_START, "T3", "Choose from T1")
def _(kit):
    return ["phantom", kit.folder / "out", "--subjects", "1", "--spacing", "12", "--modalities", "T3"]


@row("phantom: nobody", CANNOT_START, "subjects 0", "at least 1")
def _(kit):
    return ["phantom", kit.folder / "out", "--subjects", "0", "--spacing", "12"]


@row("phantom: output is a file", CANNOT_START, "out", "is a file", "Choose a folder")
def _(kit):
    (kit.folder / "out").write_text("a file")
    return ["phantom", kit.folder / "out", "--subjects", "1", "--spacing", "12"]


@row("phantom: below a file", CANNOT_START, "file/out", "cannot be written", "Choose a folder")
def _(kit):
    (kit.folder / "file").write_text("a file")
    return ["phantom", kit.folder / "file/out", "--subjects", "1", "--spacing", "12"]


@row("phantom: folder of something else", CANNOT_START, "set", "other settings", "Choose another folder")
def _(kit):
    return ["phantom", kit.data_set(), "--subjects", "7", "--spacing", "12"]


@row("phantom: misspelt option", CANNOT_START, "--subject")
def _(kit):
    return ["phantom", kit.folder / "out", "--subject", "1"]


# ---- prepare -------------------------------------------------------------------------------------------------------


@row("prepare: empty folder", CANNOT_START, "empty", "holds nothing that the recipe asks for", "medtrans convert")
def _(kit):
    (kit.folder / "empty").mkdir()
    return kit.prepare(kit.folder / "empty")


@row("prepare: recipe that is not there", CANNOT_START, "no.json", "does not exist", "data_prep")
def _(kit):
    return kit.prepare(kit.scans(("T1", "T2"), nested=True), recipe=kit.folder / "no.json")


@row("prepare: folder in place of a recipe", CANNOT_START, "recipes", "is no file", "data_prep")
def _(kit):
    (kit.folder / "recipes").mkdir()
    return kit.prepare(kit.scans(("T1", "T2"), nested=True), recipe=kit.folder / "recipes")


@row("prepare: broken recipe", CANNOT_START, "broken.json", "not a readable config", "Mend")
def _(kit):
    (kit.folder / "broken.json").write_text('{"modalities": ')
    return kit.prepare(kit.scans(("T1", "T2"), nested=True), recipe=kit.folder / "broken.json")


@row("prepare: misspelt key in the recipe", CANNOT_START, "mine.json", "spacin", "Did you mean spacing")
def _(kit):
    (kit.folder / "mine.json").write_text(json.dumps(json.loads(RECIPE.read_text()) | {"spacin": 1}))
    return kit.prepare(kit.scans(("T1", "T2"), nested=True), recipe=kit.folder / "mine.json")


@row("prepare: misspelt --set", CANNOT_START, "registration", "rigit", "rigid")
def _(kit):
    return kit.prepare(kit.scans(("T1", "T2"), nested=True), "--set", "registration#rigit=true")


@row("prepare: --set without a value", CANNOT_START, "--set seed", "key=value")
def _(kit):
    return kit.prepare(kit.scans(("T1", "T2"), nested=True), "--set", "seed")


@row("prepare: output is a file", CANNOT_START, "out", "cannot be written", "Choose a folder")
def _(kit):
    (kit.folder / "out").write_text("a file")
    return kit.prepare(kit.scans(("T1", "T2"), nested=True))


@row("prepare: truncated, NaN and colour volumes, a modality missing", CASES_FAILED,
     "s1/T2.nii.gz", "cannot be read", "Convert it again", "s2/T1.nii.gz", "NaN", "not_finite", "no T2", "colours",
     good=3)  # fmt: skip
def _(kit):
    scans = kit.scans(("T1", "T2"), (0, 1, 2, 3), nested=True)
    shutil.copytree(scans / "s3", scans / "s4")
    cut(scans / "s1/T2.nii.gz")
    spoil(scans / "s2/T1.nii.gz", with_nan)
    (scans / "s3/T2.nii.gz").unlink()
    as_colours(scans / "s4/T2.nii.gz")
    return kit.prepare(scans)


@row("prepare: different subjects in a pair", CASES_FAILED, "s1", "different subjects", good=3)
def _(kit):
    scans = kit.scans(("T1", "T2"), (0, 1), nested=True)
    for modality, patient in (("T1", "anna"), ("T2", "otto")):
        (scans / "s1" / f"{modality}.json").write_text(json.dumps({"patient": patient}))
    return kit.prepare(scans)


@row("prepare: one subject under two names", CASES_FAILED, "s1", "voxel by voxel", "give both one name", good=3)
def _(kit):
    scans = kit.scans(("T1", "T2"), (0,), nested=True)
    shutil.copytree(scans / "s0", scans / "s1")
    return kit.prepare(scans)


@row("prepare: a constant volume", CASES_FAILED, "s1/T1.nii.gz", "constant", "Leave it out", good=3)
def _(kit):
    scans = kit.scans(("T1", "T2"), (0, 1), nested=True)
    spoil(scans / "s1/T1.nii.gz", np.zeros_like)
    return kit.prepare(scans)


# ---- translate -----------------------------------------------------------------------------------------------------


@row("translate: input that is not there", CANNOT_START, "absent.nii", "does not exist", "Give a NIfTI")
def _(kit):
    return kit.translate(kit.folder / "absent.nii")


@row("translate: empty folder", CANNOT_START, "empty", "holds no files", "Give the folder")
def _(kit):
    (kit.folder / "empty").mkdir()
    return kit.translate(kit.folder / "empty")


@row("translate: no input", CANNOT_START, "input", "is not given", "Give a NIfTI")
def _(kit):
    return kit.translate("")


@row("translate: truncated, NaN, 4D, colour and constant volumes", CASES_FAILED,
     "s1.nii.gz", "damaged or cut off", "s2.nii.gz", "not finite", "s3.nii.gz", "one volume", "s4.nii.gz",
     "s5", "constant", "Replace NaN", good=2)  # fmt: skip
def _(kit):
    scans = kit.scans(cases=(0, 1, 2, 3))
    for name in ("s4", "s5", "s9"):
        shutil.copy(scans / "s0.nii.gz", scans / f"{name}.nii.gz")
    cut(scans / "s1.nii.gz")
    spoil(scans / "s2.nii.gz", with_nan)
    spoil(scans / "s3.nii.gz", lambda values: np.stack([values, values], -1))
    as_colours(scans / "s4.nii.gz")
    spoil(scans / "s5.nii.gz", np.ones_like)
    return kit.translate(scans)


@row("translate: truncated plain NIfTI and a renamed text file", CASES_FAILED,
     "a.nii", "damaged or cut off", "Copy", "b.nii", "not a readable NIfTI", "Convert", good=1)  # fmt: skip
def _(kit):
    scans = kit.scans(cases=(0,))
    shutil.copy(kit.phantoms / "head-0001/T1.nii", scans / "a.nii")
    cut(scans / "a.nii")
    (scans / "b.nii").write_text("not an image")
    return kit.translate(scans)


@row("translate: truncated DICOM", CASES_FAILED, "in", "cannot be converted", good=1)
def _(kit):
    kit.mr_series(kit.folder / "in/a", seed=1)
    kit.mr_series(kit.folder / "in/b", seed=2)
    cut(kit.folder / "in/b/image004")
    return kit.translate(kit.folder / "in")


@row("translate: a modality missing in a sub-folder", CASES_FAILED, "s1", "has no T1.nii", "Add it", good=2)
def _(kit):
    scans = kit.scans(("T1", "T2"), (0, 1, 2), nested=True)
    (scans / "s1/T1.nii.gz").unlink()
    return kit.translate(scans)


@row("translate: a modality missing in a data set", CASES_FAILED, "cases.csv", "head-0001", "names no T1", good=3)
def _(kit):
    data = kit.data_set()
    text = (data / "cases.csv").read_text()
    (data / "cases.csv").write_text(text.replace("head-0001/T1.nii", ""))
    return kit.translate(data, "--split", "all")


@row("translate: a truncated volume of a data set", CASES_FAILED, "head-0001/T1.nii", "damaged", "Copy", good=3)
def _(kit):
    data = kit.data_set()
    cut(data / "head-0001/T1.nii")
    return kit.translate(data, "--split", "all")


@row("translate: a data set of other modalities", CANNOT_START, "set", "no modality 'T1'", "another bundle")
def _(kit):
    data = kit.data_set()
    (data / "cases.csv").write_text((data / "cases.csv").read_text().replace("T1", "X1"))
    for folder in data.glob("head-*"):
        (folder / "T1.nii").rename(folder / "X1.nii")
    return kit.translate(data)


@row("translate: misspelt split", CANNOT_START, "tset", "test")
def _(kit):
    return kit.translate(kit.phantoms, "--split", "tset")


@row("translate: two volumes for one channel", CANNOT_START, "is 2 volume(s)", "T1")
def _(kit):
    scans = kit.scans()
    return kit.translate(f"{scans}/s0.nii.gz,{scans}/s1.nii.gz")


@row("translate: output is a file", CANNOT_START, "out", "cannot be written", "Choose a folder")
def _(kit):
    (kit.folder / "out").write_text("a file")
    return kit.translate(kit.scans())


@row("translate: output is a file, input DICOM", CANNOT_START, "out", "cannot be written", "Choose a folder")
def _(kit):
    (kit.folder / "out").write_text("a file")
    kit.mr_series(kit.folder / "in")
    return kit.translate(kit.folder / "in")


@row("translate: a case whose name is too long", CASES_FAILED, "cannot be written", "shorter names", good=1)
def _(kit):
    scans = kit.scans(cases=(0, 1))
    (scans / "s1.nii.gz").rename(scans / f"{'x' * 240}.nii.gz")
    return kit.translate(scans)


@row("translate: no bundle", CANNOT_START, "nowhere", "is not a bundle", "Give the bundle's folder")
def _(kit):
    return ["translate", kit.folder / "nowhere", kit.scans(), kit.folder / "out"]


@row("translate: untrained bundle", CANNOT_START, "modalities.json", "Train the bundle first")
def _(kit):
    return kit.translate(kit.scans(), models=kit.folder / "untrained")


@row("translate: model absent", CANNOT_START, "model.pt", "does not exist", "Train the bundle first")
def _(kit):
    models = kit.model()
    (models / "model.pt").unlink()
    return kit.translate(kit.scans(), models=models)


@row("translate: truncated model", CANNOT_START, "model.pt", "damaged", "Restore a copy")
def _(kit):
    models = kit.model()
    cut(models / "model.pt")
    return kit.translate(kit.scans(), models=models)


@row("translate: model of another architecture", CANNOT_START, "model.pt", "does not fit the network", "Use the config")
def _(kit):
    models = kit.model()
    torch.save({"weight": torch.zeros(3)}, models / "model.pt")
    return kit.translate(kit.scans(), models=models)


@row("translate: truncated modalities.json", CANNOT_START, "modalities.json", "not readable JSON", "Train")
def _(kit):
    models = kit.model()
    cut(models / "modalities.json")
    return kit.translate(kit.scans(), models=models)


@row("translate: misspelt key", CANNOT_START, "inference.json", "overlp", "Did you mean 'overlap'")
def _(kit):
    return kit.translate(kit.scans(), "--set", "overlp=0.5")


@row("translate: misspelt nested key", CANNOT_START, "inference.json", "infere", "Did you mean 'inferer'")
def _(kit):
    return kit.translate(kit.scans(), "--set", "infere#overlap=0.5")


@row("translate: misspelt argument", CANNOT_START, "inference.json", "overlp", "Did you mean 'overlap'")
def _(kit):
    return kit.translate(kit.scans(), "--set", "inferer#overlp=0.5")


@row("translate: impossible value", CANNOT_START, "overlap", "Choose")
def _(kit):
    return kit.translate(kit.scans(), "--set", "overlap=1.5")


@row("translate: impossible axis", CANNOT_START, "diagonal", "axial")
def _(kit):
    return kit.translate(kit.scans(), "--set", "axis=diagonal")


@row("translate: overlay that is not there", CANNOT_START, "mine.json", "does not exist", "Give the path")
def _(kit):
    return kit.translate(kit.scans(), "--config", kit.folder / "mine.json")


@row("translate: broken overlay", CANNOT_START, "mine.json", "not readable JSON", "Mend")
def _(kit):
    (kit.folder / "mine.json").write_text("{,}")
    return kit.translate(kit.scans(), "--config", kit.folder / "mine.json")


@row("translate: misspelt key in an overlay", CANNOT_START, "mine.json", "overlp", "Did you mean 'overlap'")
def _(kit):
    (kit.folder / "mine.json").write_text('{"overlp": 0.5}')
    return kit.translate(kit.scans(), "--config", kit.folder / "mine.json")


# ---- evaluate ------------------------------------------------------------------------------------------------------


@row("evaluate: predictions that are not there", CANNOT_START, "absent", "Check the path")
def _(kit):
    return kit.evaluate(kit.folder / "absent", kit.phantoms, *of_set())


@row("evaluate: empty folder", CANNOT_START, "empty", "holds no NIfTI", "Check the path")
def _(kit):
    (kit.folder / "empty").mkdir()
    return kit.evaluate(kit.folder / "empty", kit.phantoms, *of_set())


@row("evaluate: truncated, NaN and missing predictions", CASES_FAILED,
     "head-0000_T2", "cannot be read", "Write the file again", "head-0001_T2", "NaN", "head-0002",
     "has no prediction", "Translate it")  # fmt: skip
def _(kit):
    predictions = kit.predictions()
    cut(predictions / "head-0000_T2_synthetic.nii.gz")
    spoil(predictions / "head-0001_T2_synthetic.nii.gz", with_nan)
    (predictions / "head-0002_T2_synthetic.nii.gz").unlink()
    return kit.evaluate(predictions, kit.phantoms, *of_set())


@row("evaluate: other grids and channels", CASES_FAILED,
     "head-0000_T2", "voxels", "Bring both onto one grid", "head-0001_T2", "elsewhere in space", "head-0002_T2",
     "axes")  # fmt: skip
def _(kit):
    predictions = kit.predictions()
    spoil(predictions / "head-0000_T2_synthetic.nii.gz", lambda values: values[1:])
    moved = nib.load(predictions / "head-0001_T2_synthetic.nii.gz")
    affine = moved.affine + np.eye(4)[:, [3]] @ np.zeros((1, 4))
    affine[0, 3] += 30
    nib.save(nib.Nifti1Image(np.asarray(moved.dataobj), affine), predictions / "head-0001_T2_synthetic.nii.gz")
    spoil(predictions / "head-0002_T2_synthetic.nii.gz", lambda values: np.stack([values, values], -1))
    return kit.evaluate(predictions, kit.phantoms, *of_set())


@row("evaluate: a prediction whose case has no target", CASES_FAILED, "head-0001", "no target", "Prepare the case")
def _(kit):
    data = kit.data_set()
    (data / "cases.csv").write_text((data / "cases.csv").read_text().replace("head-0001/T2.nii", ""))
    return kit.evaluate(kit.predictions(), data, *of_set())


@row("evaluate: predictions of other cases", CANNOT_START, "pred", "no prediction for any", "Name predictions")
def _(kit):
    predictions = kit.predictions()
    for path in predictions.iterdir():
        path.rename(predictions / path.name.replace("head", "skull"))
    return kit.evaluate(predictions, kit.phantoms, *of_set())


@row("evaluate: a target that no case has", CANNOT_START, "CT", "is in no case", "--target")
def _(kit):
    return kit.evaluate(kit.predictions(), kit.phantoms, "--target", "CT")


@row("evaluate: unknown metric", CANNOT_START, "psrn", "psnr")
def _(kit):
    return ["evaluate", kit.predictions(), kit.phantoms, "--output", kit.folder / "out", "--metrics", "psrn", *of_set()]


@row("evaluate: misspelt split", CANNOT_START, "tset", "test")
def _(kit):
    return kit.evaluate(kit.predictions(), kit.phantoms, "--target", "T2", "--split", "tset")


@row("evaluate: output is a file", CANNOT_START, "out", "cannot be written", "Choose a folder")
def _(kit):
    (kit.folder / "out").write_text("a file")
    return kit.evaluate(kit.predictions(), kit.phantoms, *of_set())


@row("evaluate: folders without a range", CANNOT_START, "data range", "--data-range")
def _(kit):
    return kit.evaluate(kit.predictions(), kit.scans(("T2",)))


# ---- the table is run ----------------------------------------------------------------------------------------------


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


def written(folder):
    """Every file of the command's output."""
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


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


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_error_is_clear_the_rest_is_done_and_nothing_half_written(row, kit, run_medtrans):
    words, output = row.make(kit), kit.folder / "out"
    before = set(written(kit.folder))
    code, last = run_medtrans(*words)
    assert code == row.code, last
    told = last
    if code == CASES_FAILED:
        tables = [path for path in written(output) if path.name in TABLES]
        assert tables, "no table says what failed"
        told += "".join(path.read_text() for path in tables)
    else:
        assert last.lower().startswith("error: "), last
        assert "\n" not in last
    for word in row.says:
        assert word in told, f"{word!r} is not in: {told}"
    for path in set(written(kit.folder)) - before:
        assert_whole(path)
        assert path.is_relative_to(output), f"{path} is no place for output"
    volumes = [path for path in set(written(output)) - before if path.name.endswith((".nii", ".nii.gz"))]
    volumes = [path for path in volumes if words[0] != "translate" or "synthetic" in path.name]
    assert len(volumes) == row.good, volumes
    if code == CASES_FAILED and words[0] == "evaluate":
        assert (output / "report.html").is_file()


TABLES = ("series.csv", "prepare.csv", "translated.csv", "failed.csv")


# ---- workflows of the bundle ---------------------------------------------------------------------------------------


def run_bundle(run_id, config, **options):
    """What ``python -m monai.bundle run`` would say last: the error behind the exception; None where all went well."""
    from monai.bundle import run

    try:
        run(run_id, config_file=str(BUNDLE / "configs" / config), logging_file=False, **options)
    except Exception as error:
        known = input_error_behind(error)
        if known is None:
            raise
        return str(known)
    return None


SMALL = {
    "image_size": [16, 16],
    "network_def::blocks": 1,
    "network_def::channels": [4, 4],
    "discriminator_def::channels": 4,
    "losses::style::weight": 0,
    "losses::content::weight": 0,
    "threads": 1,
    "max_epochs": 1,
    "num_workers": 0,
}


def lose_t2(data):
    (data / "cases.csv").write_text((data / "cases.csv").read_text().replace("head-0001/T2.nii", ""))


def swap_grid(data):
    spoil(data / "head-0001/T2.nii", lambda values: values[1:])


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda data: cut(data / "head-0001/T2.nii"), ("head-0001/T2.nii", "damaged", "Copy")),
        (lambda data: spoil(data / "head-0001/T1.nii", with_nan), ("head-0001/T1.nii", "not finite", "Replace")),
        (lose_t2, ("head-0001 (T2)", "Complete them")),
        (swap_grid, ("head-0001/T2.nii", "not on the grid", "Align")),
        (lambda data: (data / "head-0001/T1.nii").unlink(), ("head-0001/T1.nii", "does not exist", "Restore it")),
        (lambda data: (data / "cases.csv").unlink(), ("is not a data set", "medtrans prepare")),
        (lambda data: cut(data / "recipe.json"), ("recipe.json", "JSON", "Prepare the data set again")),
    ],
    ids=["truncated", "NaN", "modality missing", "other grid", "file gone", "no table", "broken recipe"],
)
def test_training_refuses_a_spoilt_data_set_by_name(harm, says, kit):
    data = kit.data_set()
    harm(data)
    places = {"ckpt_dir": str(kit.folder / "models"), "output_dir": str(kit.folder / "eval")}
    told = run_bundle("training", "train.json", dataset_dir=str(data), **SMALL, **places)
    assert told is not None
    for word in says:
        assert word in told, told
    assert not (kit.folder / "models/model.pt").exists()
    for path in written(kit.folder / "models") + written(kit.folder / "eval"):
        assert not path.name.startswith(".partial")


@pytest.mark.parametrize("place", ["ckpt_dir", "output_dir"])
def test_training_refuses_a_file_in_the_place_of_a_folder(place, kit):
    places = {"ckpt_dir": kit.folder / "models", "output_dir": kit.folder / "eval"}
    places[place].write_text("a file")
    told = run_bundle(
        "training", "train.json", dataset_dir=str(kit.phantoms), **SMALL, **{k: str(v) for k, v in places.items()}
    )
    assert str(places[place]) in told
    assert "cannot be written" in told
    assert "Choose a folder" in told


def test_training_refuses_a_truncated_checkpoint_and_leaves_it(kit):
    places = {"ckpt_dir": str(kit.folder / "models"), "output_dir": str(kit.folder / "eval")}
    assert run_bundle("training", "train.json", dataset_dir=str(kit.phantoms), **SMALL, **places) is None
    checkpoint = kit.folder / "models/checkpoint.pt"
    cut(checkpoint)
    content = checkpoint.read_bytes()
    told = run_bundle("training", "train.json", dataset_dir=str(kit.phantoms), **SMALL | {"max_epochs": 2}, **places)
    assert "checkpoint.pt: is damaged" in told
    assert "Restore a copy, or delete it" in told
    assert checkpoint.read_bytes() == content


def test_inference_of_the_bundle_without_input_is_told(kit):
    told = run_bundle(None, "inference.json", ckpt_dir=str(kit.models), output_dir=str(kit.folder / "out"))
    assert "input: is not given" in told


def test_the_evaluation_workflow_judges_what_could_be_translated(kit, capsys):
    data = kit.data_set()
    cut(data / "head-0001/T1.nii")
    options = {"ckpt_dir": str(kit.models), "dataset_dir": str(data), "output_dir": str(kit.folder / "out")}
    told = run_bundle("evaluating", "evaluate.json", split="all", metrics=["mae"], **options)
    assert "1 case(s) could not be evaluated" in told
    assert "head-0001" in told
    assert (kit.folder / "out/report.html").is_file()
    with (kit.folder / "out/metrics.csv").open() as file:
        assert {line["case"] for line in csv.DictReader(file)} == {"head-0000", "head-0002", "head-0003"}
    assert "head-0001/T1.nii: is damaged" in (kit.folder / "out/synthetic/translated.csv").read_text()


@pytest.mark.slow
def test_the_bundles_command_line_ends_in_one_line_and_does_the_rest(kit):
    scans = kit.scans()
    spoil(scans / "s1.nii.gz", with_nan)
    words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", BUNDLE / "configs/inference.json"]
    words += ["--input", scans, "--output_dir", kit.folder / "out", "--ckpt_dir", kit.models]
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("error: ")
    assert "1 of 3 cases failed" in last
    assert "s1.nii.gz: holds values that are not finite" in last
    assert len(list((kit.folder / "out").glob("*.nii.gz"))) == 2
    assert "Traceback" not in done.stderr


def test_a_truncated_phantom_of_an_earlier_run_is_made_again(kit, run_medtrans):
    data = kit.data_set()
    for name in ("head-0001/T1.nii", "head-0002/mask.nii"):
        cut(data / name)
    (data / "head-0003/label.nii").write_text("junk")
    words = ["phantom", data, "--subjects", "4", "--spacing", "12", "--modalities", "T1,T2"]
    assert run_medtrans(*words)[0] == 0
    for path in kit.phantoms.rglob("*.nii"):
        again = nib.load(data / path.relative_to(kit.phantoms))
        np.testing.assert_array_equal(again.get_fdata(), nib.load(path).get_fdata())


def test_what_a_killed_conversion_left_is_removed_and_never_taken_for_a_scan(kit, run_medtrans):
    kit.mr_series(kit.folder / "in")
    out, left = kit.folder / "out", "patient-001/study-01/.partial-0badc0de-003-MR.nii.gz"
    assert run_medtrans("convert", kit.folder / "in", out)[0] == 0
    (out / left).write_bytes(b"half")
    assert run_medtrans("convert", kit.folder / "in", out)[0] == 0
    assert not (out / left).exists()
    scans = kit.scans(("T1", "T2"), (0, 1), nested=True)
    (scans / "s1/.partial-0badc0de-T1.nii.gz").write_bytes(b"half")
    loose = ["modalities#T1#file={subject}/*T1.nii.gz", "modalities#T1#choose=only"]
    words = [word for setting in loose for word in ("--set", setting)]
    code, _ = run_medtrans(*kit.prepare(scans, *words, out="prepared"))
    assert code == 0
    with (kit.folder / "prepared/prepare.csv").open() as file:
        assert [line["status"] for line in csv.DictReader(file)] == ["ok", "ok"]


def test_a_volume_smaller_than_the_window_is_no_error(kit, run_medtrans):
    scans = kit.scans(cases=(0,))
    spoil(scans / "s0.nii.gz", lambda values: values[6:11, 5:12, 7:10])
    assert run_medtrans(*kit.translate(scans))[0] == 0
    assert nib.load(next((kit.folder / "out").glob("*.nii.gz"))).shape == (5, 7, 3)
