"""The documentation's pages and blocks, and a workplace in which their commands can run at a small size."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC_DATA = ROOT.parent / "shared" / "data"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _pages():
    """Every page for users, relative to the root."""
    found = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), ROOT / "data_prep/README.md"]
    return [path.relative_to(ROOT).as_posix() for path in sorted([*found, *ROOT.glob("bundles/*/docs/README.md")])]


def _blocks(page):
    """``[(language, text)]`` of the page's fenced blocks."""
    return FENCE.findall((ROOT / page).read_text(encoding="utf-8"))


def _commands(block):
    """The commands of a bash block: continued lines joined, comments gone, a here-document with its command."""
    lines, found = iter(block.replace("\\\n", " ").splitlines()), []
    for line in lines:
        command = re.sub(r"(^|\s)#\s.*$", "", line).rstrip()
        if end := re.search(r"<<'(\w+)'", command):
            for more in lines:
                command += f"\n{more}"
                if more == end[1]:
                    break
        if command:
            found.append(command)
    return found


def pytest_generate_tests(metafunc):
    """``page`` is each page, ``public_page`` each with commands on public data."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", _pages())
    if "public_page" in metafunc.fixturenames:
        metafunc.parametrize(
            "public_page", [page for page in _pages() if "$MEDTRANS_DATA" in (ROOT / page).read_text()]
        )


@pytest.fixture(scope="session")
def pages():
    return _pages()


@pytest.fixture(scope="session")
def blocks_of():
    return _blocks


@pytest.fixture(scope="session")
def commands_in():
    return _commands


@dataclass
class Workplace:
    """A folder with the repository's files that commands name, and the interpreter that runs commands in it."""

    folder: Path
    python: str
    environment: dict = field(default_factory=dict)
    small_settings: Callable = dict
    said: str = ""
    start_orthanc: Callable = None
    elsewhere: dict = field(default_factory=dict)  # where the page's servers are in truth

    def run(self, words, accepted=(0,)):
        """Run ``medtrans …`` or ``python …``; what it said is added to ``said``. Other exit codes fail the test."""
        command = {"medtrans": [self.python, "-m", "medtrans.cli"], "python": [self.python]}[words[0]]
        done = subprocess.run(
            [*command, *words[1:]], cwd=self.folder, env=self.environment, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.said += done.stdout
        assert done.returncode in accepted, f"{' '.join(words)}\nexit code {done.returncode}\n{done.stdout[-4000:]}"

    def shell(self, command):
        """Run a line in bash."""
        words = ["bash", "-euc", command]
        done = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        self.said += done.stdout
        return done.stdout


@pytest.fixture
def workplace(tmp_path, warm_python, small_settings, request):
    """A fresh copy of what commands refer to: bundles without models, recipes, benchmarks, studies, tasks."""
    for name in ("bundles", "data_prep", "benchmarks", "studies", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("models", "eval", "__pycache__"))
    shutil.copy(ROOT / "Makefile", tmp_path)
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")}
    kept |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    kept |= {"CUDA_VISIBLE_DEVICES": "", "MEDTRANS_CACHE": str(tmp_path / "cache"), "MKL_NUM_THREADS": "1"}
    kept |= {"MEDTRANS_DATA": str(PUBLIC_DATA)} if PUBLIC_DATA.is_dir() else {}

    def start_orthanc(**settings):
        return request.getfixturevalue("start_orthanc")(tmp_path, **settings)

    return Workplace(tmp_path, warm_python, kept, small_settings, start_orthanc=start_orthanc)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """A data set of four coarse heads, at least one in every split."""
    from medtrans.cohorts import write_phantom_cohort

    folder = tmp_path_factory.mktemp("phantoms") / "set"
    write_phantom_cohort(folder, 4, ["T1", "T2", "PD", "CT"], 12.0, 0, None)
    return folder


@pytest.fixture(scope="session")
def export(tmp_path_factory, write_mr_series):
    """What a scanner gives: T1 and T2 of four patients, as DICOM."""
    from pydicom.uid import generate_uid

    folder = tmp_path_factory.mktemp("export") / "scans"
    for patient in range(4):
        for number, name in enumerate(("T1 mprage", "T2 tse"), 3):
            tags = {"SeriesDescription": name, "SeriesNumber": number, "SeriesInstanceUID": generate_uid()}
            write_mr_series(folder / f"p{patient}" / name, (14, 18, 16), patient, **tags)
    return folder


@pytest.fixture
def provide(workplace, phantoms, export, layouts):
    """``provide(name)`` puts what a page takes as given into the workplace, under the name the page uses."""
    from medtrans.cohorts import Cases, write_phantom_cohort

    def put(name):
        place, cases = workplace.folder / name, list(Cases.read(phantoms))
        if name == "EXPORT":
            shutil.copytree(export, place)
        elif name in layouts.LAYOUTS:
            layouts.LAYOUTS[name](place)
        elif name == "DATASET":
            shutil.copytree(phantoms, place)
        elif name == "CLEAN":
            layouts.LAYOUTS["CLEAN_T1"](place)
        elif name == "CLEAN_SET":
            write_phantom_cohort(place, 3, ["T1", "CT", "PET"], 12.0)
        elif name == "SCAN.nii.gz":
            _compressed(cases[0].volumes["T1"], place)
        elif name == "SERIES":
            shutil.copytree(export / "p0" / "T1 mprage", place)
        elif name == "OTHER.nii.gz":
            _like_series(export / "p0" / "T1 mprage", place)
        elif name == "OTHERS":
            shutil.copytree(phantoms, place)
            renamed = [replace(case, subject=f"another-{case.subject}") for case in Cases.read(place)]
            Cases(place, tuple(renamed)).write()
        elif name == "SEGMENTER":
            _segmenter(place)
        elif name == "CONVERTED":
            workplace.run(["medtrans", "convert", str(export), name])
        elif name == "NEW_SCAN.nii.gz":
            _compressed(cases[0].volumes["T1"], place)
        elif name in ("SCANS", "SYNTHETIC", "REAL", "MASKS"):
            for case in cases:
                volume = {"SCANS": case.volumes["T1"], "MASKS": case.mask}.get(name, case.volumes["T2"])
                ending = "_T2_synthetic" if name == "SYNTHETIC" else ""
                _compressed(volume, place / f"{case.name}{ending}.nii.gz")
        elif name == "MINE":
            for case in cases:
                for modality in ("T1", "T2"):
                    file = place / f"sub-{case.name}" / "anat" / f"sub-{case.name}_{modality}w.nii.gz"
                    _compressed(case.volumes[modality], file)
        else:
            raise AssertionError(f"no test knows how to provide {name}")

    return put


def _segmenter(folder):
    """A bundle with an untrained network of as many classes as phantoms have labels."""
    import torch
    from monai.networks.nets import UNet

    from medtrans.simulate.phantom.tissues import LABELS

    options = {"spatial_dims": 2, "in_channels": 1, "out_channels": len(LABELS), "channels": [4, 8], "strides": [2]}
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True)
    (folder / "configs/inference.json").write_text(json.dumps({"network_def": {"_target_": "UNet", **options}}))
    torch.save(UNet(**options).state_dict(), folder / "models/model.pt")


def _like_series(series, place):
    """A volume of zeros on the grid of a series, without a sidecar."""
    import nibabel

    from medtrans.scans import read_series

    (volume,) = read_series(series)
    nibabel.save(nibabel.Nifti1Image(volume.array * 0, volume.affine), place)


def _compressed(volume, place):
    import nibabel

    place.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.load(volume), place)
