"""A tiny data set and the command line of monai.bundle, for tests that run bundles as users do."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medtrans.cohorts import Case, Cases
from medtrans.transforms import Window

ROOT = Path(__file__).parents[2]
# The MedGAN bundle made so small that a step takes milliseconds; everything else is as it ships.
TINY = {
    "image_size": "[16,16]",
    "network_def::blocks": "2",
    "network_def::channels": "[4,4]",
    "discriminator_def::channels": "4",
    "losses::style::weight": "0",
    "losses::content::weight": "0",
    "threads": "1",
}


def write_dataset(
    root, splits=("train", "train", "validation", "test"), shape=(14, 18, 9), modalities=("T1", "T2", "CT")
):
    """A data set of smooth random volumes; each further modality is a nonlinear function of the first."""
    cases = []
    for number, split in enumerate(splits):
        random = np.random.default_rng(number)
        base = gaussian_filter(random.normal(size=shape), 2)
        base = (base - base.min()) / np.ptp(base)
        folder = root / f"case{number}"
        folder.mkdir(parents=True)
        volumes = {}
        for place, modality in enumerate(modalities):
            image = nib.Nifti1Image(
                (np.abs(base - 0.3 * place) * 1000).astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0])
            )
            image.set_sform(image.affine, 1)
            image.set_qform(image.affine, 1)
            volumes[modality] = folder / f"{modality}.nii"
            nib.save(image, volumes[modality])
        nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), np.diag([2.0, 2.0, 2.0, 1.0])), folder / "mask.nii")
        windows = {modality: Window(0.0, 1000.0) for modality in modalities}
        cases.append(
            Case(
                f"case{number}",
                f"subject{number}",
                split,
                volumes,
                windows,
                folder / "mask.nii",
                None,
                (2.0,) * 3,
                shape,
            )
        )
    Cases(root, tuple(cases)).write()
    rule = {"intensity": {"_target_": "medtrans.transforms.PercentileWindow"}, "background": 0.0}
    (root / "recipe.json").write_text(json.dumps({"spacing": [2.0] * 3, "modalities": dict.fromkeys(modalities, rule)}))
    return root


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "set")


def _command(run_id, config, *, tiny=True, **options):
    """The words of ``python -m monai.bundle run …`` with overrides."""
    words = [sys.executable, "-m", "monai.bundle", "run", *([run_id] if run_id else []), "--config_file", str(config)]
    for key, value in ({**TINY, **options} if tiny else options).items():
        words += [f"--{key}", str(value)]
    return words


def _run(*words, python=sys.executable, cwd=ROOT, check=True, **environment):
    """Run a command of Python, by ``python``, and return what it said; all of it is shown when it fails."""
    words = [python if word == sys.executable else word for word in words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done


def _training_workflow(files, dataset, folder, **settings):
    """The training of ``train.json`` and overlays in this process, initialised; models and tables go to ``folder``."""
    from monai.bundle import ConfigWorkflow

    flow = ConfigWorkflow(
        config_file=[str(file) for file in files],
        workflow_type="train",
        logging_file=False,
        dataset_dir=str(dataset),
        ckpt_dir=str(folder / "models"),
        output_dir=str(folder / "eval"),
        **settings,
    )
    flow.initialize()
    return flow


def _inference_workflow(config, **settings):
    """What ``inference.json`` or ``evaluate.json`` does, in this process, initialised."""
    from monai.bundle import ConfigWorkflow

    flow = ConfigWorkflow(config_file=str(config), workflow_type="inference", logging_file=False, **settings)
    flow.initialize()
    return flow


@pytest.fixture(scope="session")
def training_workflow():
    return _training_workflow


@pytest.fixture(scope="session")
def inference_workflow():
    return _inference_workflow


@pytest.fixture(scope="session")
def make_dataset():
    return write_dataset


@pytest.fixture(scope="session")
def bundle_command():
    return _command


@pytest.fixture(scope="session")
def run_command(warm_python):
    return partial(_run, python=warm_python)


def _train(folder, dataset, *overlays, **options):
    """One epoch of the tiny bundle in this process, by the function behind the command line; its models folder."""
    from monai.bundle import run

    folder.mkdir(parents=True, exist_ok=True)
    small = {key: json.loads(value) for key, value in TINY.items()}
    outputs = {"dataset_dir": str(dataset), "ckpt_dir": str(folder / "models"), "output_dir": str(folder / "eval")}
    once = {"max_epochs": 1, "batch_size": 2, "num_workers": 0}
    files = [str(ROOT / "bundles/medgan/configs" / name) for name in ("train.json", *overlays)]
    run("training", config_file=files, logging_file=False, **{**small, **outputs, **once, **options})
    return folder / "models"


@pytest.fixture(scope="session")
def train_in_two_processes(small_settings, run_command):
    """``train_in_two_processes(bundle, dataset, folder, **options)``: the command of two GPUs, on two CPU processes.

    One epoch of the bundle made small, batches of one image in each process. Returns the completed process.
    """

    def train(bundle, dataset, folder, check=True, **options):
        files = f"['bundles/{bundle}/train.json','bundles/{bundle}/multi_gpu_train.json']"
        short = {"image_size": [16, 16], "batch_size": 1, "max_epochs": 1, "num_workers": 0, "dataset_dir": dataset}
        short |= {"ckpt_dir": folder / "models", "output_dir": folder / "eval", "device": "$torch.device('cpu')"}
        options = {**small_settings(ROOT / "bundles" / bundle), **short, **options}
        words = [word for key, value in options.items() for word in (f"--{key}", str(value).replace(" ", ""))]
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle")
        return run_command(sys.executable, *launcher, "run", "training", "--config_file", files, *words, check=check)

    return train


def _networks_saved(folder):
    """Names of the networks in a run's checkpoint, after seeing that they are those of a single process."""
    import torch

    saved = torch.load(folder / "models/checkpoint.pt", weights_only=True)
    networks = {name for name in saved if name.startswith("network_")}
    assert not any(key.startswith("module.") for name in networks for key in saved[name])
    return {name.removeprefix("network_") for name in networks}


@pytest.fixture(scope="session")
def networks_saved():
    return _networks_saved


@pytest.fixture(scope="session")
def train_bundle():
    return _train


def _slices(flow, dataset, split):
    """Source and target of a split as the network sees them, ``(N, 1, *image_size)``, true windows and pairing."""
    import torch

    from medtrans.cohorts import EpochDataset, slice_items

    items = slice_items(dataset, "T1", "T2", split, minimum_foreground=0.05)
    read = EpochDataset(items, flow.parser.get_parsed_content("validate::preprocessing"))
    loaded = [read[index] for index in range(len(read))]
    return tuple(torch.stack([item[key] for item in loaded]) for key in ("source", "target"))


def _psnr(synthetic, target):
    """Mean over slices, in dB, of the [-1, 1] range."""
    errors = (np.asarray(synthetic) - np.asarray(target)) ** 2
    return float(np.mean(10 * np.log10(4 / errors.mean((1, 2, 3)))))


def _shared_information(one, other, bins=32):
    """Mutual information of two sets of images in nats, from their joint histogram."""
    counts = np.histogram2d(np.ravel(one), np.ravel(other), bins, [[-1, 1]] * 2)[0]
    joint = counts / counts.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / independent[there])).sum())


def _intensity_distance(synthetic, real, source):
    """1-Wasserstein distance of synthetic intensities from real ones, in units of that of the source's."""
    from scipy.stats import wasserstein_distance

    return wasserstein_distance(np.ravel(synthetic), np.ravel(real)) / wasserstein_distance(
        np.ravel(source), np.ravel(real)
    )


def _weights_of_both(network):
    """Weights of a UNIT that learn from source images alone and from target images alone, found by their gradients."""
    import torch

    def reached(domain):
        network.zero_grad(set_to_none=True)
        network(torch.rand(2, 1, 16, 16) * 2 - 1, domain, domain).square().mean().backward()
        weights = {name: p.grad for name, p in network.named_parameters() if p.ndim > 1 and p.grad is not None}
        return {name for name, gradient in weights.items() if gradient.abs().max() > 0}

    found = reached("source") & reached("target")
    network.zero_grad(set_to_none=True)
    return found


@pytest.fixture(scope="session")
def weights_of_both():
    return _weights_of_both


@pytest.fixture(scope="session")
def intensity_distance():
    return _intensity_distance


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory, worker_id):
    """Sixteen heads of 3.5 mm with T1 and T2: what the quick settings train on; made once for all processes."""
    from medtrans.cohorts import default_phantom_dataset

    run = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDTRANS_CACHE", str(run / "cache" if worker_id == "master" else run.parent / "cache"))
        return default_phantom_dataset(16, 3.5, ("T1", "T2"))


@pytest.fixture(scope="session")
def slices():
    return _slices


@pytest.fixture(scope="session")
def psnr():
    return _psnr


@pytest.fixture(scope="session")
def matched():
    """``matched(images, known, wanted)``: quantiles of ``known`` go to those of ``wanted``, of other subjects."""

    def match(images, known, wanted):
        quantiles = [np.quantile(np.asarray(values), np.linspace(0, 1, 1001)) for values in (known, wanted)]
        return np.interp(np.asarray(images), *quantiles)

    return match


@pytest.fixture(scope="session")
def judge_both_ways():
    """``judge_both_ways(there, back, source, target)``: what two generators do to held-out pairs, means of both ways.

    ``psnr`` in dB; ``cycle``, mean absolute error of what was translated there and back; ``information`` in nats of an
    image and its translation; ``intensities``, how far those of translations are from real ones, 1 for what was not
    translated.
    """

    def judge(there, back, source, target):
        import torch

        def over(network, images):
            with torch.no_grad():
                return torch.cat([network(part) for part in images.split(16)])

        to_target, to_source = over(there, source), over(back, target)
        cycles = (over(back, to_target) - source).abs().mean() + (over(there, to_source) - target).abs().mean()
        return {
            "psnr": (_psnr(to_target, target) + _psnr(to_source, source)) / 2,
            "cycle": float(cycles) / 2,
            "information": (_shared_information(source, to_target) + _shared_information(target, to_source)) / 2,
            "intensities": (
                _intensity_distance(to_target, target, source) + _intensity_distance(to_source, source, target)
            )
            / 2,
        }

    return judge


@pytest.fixture(scope="session")
def root():
    """The repository's root."""
    return ROOT
