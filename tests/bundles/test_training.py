"""The main command as users type it: from anywhere, with overrides, logged, on several processes."""

import csv
import json
import shutil
import sys

import pytest
import torch


def once(dataset, folder, **more):
    return {
        "dataset_dir": dataset,
        "ckpt_dir": folder / "models",
        "output_dir": folder / "eval",
        "max_epochs": 1,
        "batch_size": 2,
        "num_workers": 0,
        **more,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_dataset, bundle_command, run_command):
    """One short run by the main command from the repository's root; what it printed and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    words = bundle_command("training", "bundles/medgan/train.json", **once(tiny_dataset, folder, max_epochs=2))
    done = run_command(*words, python=sys.executable)
    return done.stdout + done.stderr, folder


def test_main_command_trains_and_leaves_the_generator(trained):
    _, folder = trained
    state = torch.load(folder / "models/model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    assert any(name.startswith("blocks.1.decoder") for name in state)
    description = json.loads((folder / "models/modalities.json").read_text())
    assert [entry["modality"] for entry in description["source"] + description["target"]] == ["T1", "T2"]


def test_progress_names_epoch_step_rate_time_left_and_every_loss(trained):
    said, _ = trained
    line = next(line for line in said.splitlines() if "epoch 2/2 step" in line)
    for word in ("left", "loss", "adversarial", "perceptual", "discriminator"):
        assert word in line
    assert "psnr" in said


def test_losses_and_validation_are_written_as_csv_and_to_tensorboard(trained):
    _, folder = trained
    with (folder / "eval/losses.csv").open() as file:
        losses = list(csv.DictReader(file))
    assert {"epoch", "iteration", "loss", "adversarial", "perceptual", "discriminator"} <= set(losses[0])
    assert [int(row["iteration"]) for row in losses] == list(range(1, len(losses) + 1))
    with (folder / "eval/validation.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "eval")).Reload()
    assert "source | synthetic | target | error" in events.Tags()["images"]
    assert (folder / "eval/pictures/epoch_0002.png").is_file()


@pytest.mark.parametrize("where", ["own folder", "copy elsewhere"])
def test_bundle_runs_from_its_own_folder_and_from_a_copy(
    where, tmp_path, tiny_dataset, bundle_command, run_command, root
):
    bundle = root / "bundles/medgan"
    if where == "copy elsewhere":
        bundle = shutil.copytree(
            bundle, tmp_path / "my models" / "medgan", ignore=shutil.ignore_patterns("models", "eval")
        )
    options = once(tiny_dataset, tmp_path / "out")
    if where == "copy elsewhere":
        del options["ckpt_dir"], options["output_dir"]  # they follow the bundle
    words = bundle_command("training", "configs/train.json", **options)
    run_command(*words, cwd=bundle)
    assert (bundle / "models/model.pt" if where == "copy elsewhere" else tmp_path / "out/models/model.pt").is_file()


def test_outputs_follow_the_bundle_whatever_the_working_directory(
    tmp_path, tiny_dataset, bundle_command, run_command, root
):
    bundle = shutil.copytree(root / "bundles/medgan", tmp_path / "b", ignore=shutil.ignore_patterns("models", "eval"))
    options = once(tiny_dataset, tmp_path)
    del options["ckpt_dir"], options["output_dir"]
    (tmp_path / "elsewhere").mkdir()
    run_command(*bundle_command("training", "../b/train.json", **options), cwd=tmp_path / "elsewhere")
    assert (bundle / "models/model.pt").is_file()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_overrides_reach_their_place(tmp_path, tiny_dataset, bundle_command, run_command):
    options = once(tiny_dataset, tmp_path, generator_steps=1, image_size="[24,24]", **{"losses#perceptual#weight": 0})
    said = run_command(*bundle_command("training", "bundles/medgan/train.json", **options))
    with (tmp_path / "eval/losses.csv").open() as file:
        assert "perceptual" not in next(csv.DictReader(file))
    assert "generator_steps=1" in said.stdout


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("max_epoch", "Did you mean 'max_epochs'"),
        ("losses#styl#weight", "styl"),
        ("network_def#blocs", "blocs"),
    ],
)
def test_a_misspelt_key_is_one_clear_error(key, message, tmp_path, tiny_dataset, bundle_command, run_command):
    words = bundle_command("training", "bundles/medgan/train.json", **once(tiny_dataset, tmp_path), **{key: 3})
    done = run_command(*words, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert not (tmp_path / "models/model.pt").exists()


def test_a_misspelt_key_in_an_overlay_is_refused(tmp_path, tiny_dataset, bundle_command, run_command):
    (tmp_path / "mine.json").write_text('{"learning_rat": 0.1}')
    files = f"['bundles/medgan/train.json','{tmp_path}/mine.json']"
    done = run_command(*bundle_command("training", files, **once(tiny_dataset, tmp_path)), check=False)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Did you mean 'learning_rate'" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dataset_dir": "/nowhere/at/all"}, ("/nowhere/at/all", "medtrans prepare")),
        ({"source": "PET"}, ("no modality 'PET'", "T1, T2")),
        ({"features::weights": "/no/file.pth", "losses::style::weight": 1}, ("/no/file.pth", "vgg19-dcbb9e9d.pth")),
    ],
)
def test_bad_input_ends_in_one_line_that_names_it(options, words, tmp_path, tiny_dataset, bundle_command, run_command):
    settings = once(tiny_dataset, tmp_path) | options
    done = run_command(*bundle_command("training", "bundles/medgan/train.json", **settings), check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert last.startswith("error: ")
    assert all(word in last for word in words), last


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path, tiny_dataset, bundle_command, run_command):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/checkpoint.pt").write_bytes(b"not a checkpoint")
    done = run_command(
        *bundle_command("training", "bundles/medgan/train.json", **once(tiny_dataset, tmp_path)), check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert "checkpoint.pt" in last
    assert "damaged" in last
    assert (tmp_path / "models/checkpoint.pt").read_bytes() == b"not a checkpoint"


def test_a_checkpoint_of_other_settings_is_refused(trained, tiny_dataset, bundle_command, run_command, tmp_path):
    _, folder = trained
    shutil.copytree(folder / "models", tmp_path / "models")
    options = once(tiny_dataset, tmp_path, max_epochs=3, **{"network_def::blocks": 1})
    done = run_command(*bundle_command("training", "bundles/medgan/train.json", **options), check=False)
    assert done.returncode != 0
    assert "cannot be resumed" in done.stderr


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_batch_of_both(tmp_path, tiny_dataset, bundle_command, run_command, root):
    files = "['bundles/medgan/train.json','bundles/medgan/multi_gpu_train.json']"
    options = once(tiny_dataset, tmp_path / "two", batch_size=1, device="$torch.device('cpu')")
    words = bundle_command("training", files, **options)[2:]
    run_command(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", *words)
    run_command(*bundle_command("training", "bundles/medgan/train.json", **once(tiny_dataset, tmp_path / "one")))
    two, one = (torch.load(tmp_path / n / "models/checkpoint.pt", weights_only=True) for n in ("two", "one"))
    assert two["run"]["iteration"] == one["run"]["iteration"]
    assert not any(name.startswith("module.") for name in two["network_generator"])
    for name, value in one["network_generator"].items():
        moved = 2e-4 * 3 * one["run"]["iteration"]  # as far as Adam can have moved a weight
        assert (two["network_generator"][name] - value).abs().mean() < 0.1 * moved, name


@pytest.mark.slow
def test_tracking_with_mlflow_records_loss_and_validation(tmp_path, tiny_dataset, bundle_command, run_command):
    pytest.importorskip("mlflow")
    words = bundle_command("training", "bundles/medgan/train.json", **once(tiny_dataset, tmp_path), tracking="mlflow")
    run_command(*words)
    import sqlite3

    with sqlite3.connect(tmp_path / "eval/mlruns.db") as database:
        names = {row[0] for row in database.execute("select distinct key from metrics")}
    assert {"train_loss", "psnr", "ssim", "mae"} <= names


def test_shipped_settings_are_the_papers(root):
    config = json.loads((root / "bundles/medgan/configs/train.json").read_text())
    assert config["image_size"] == [256, 256]
    assert config["network_def"]["blocks"] == 6
    assert config["network_def"]["channels"] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert (config["batch_size"], config["max_epochs"], config["generator_steps"]) == (1, 200, 3)
    assert config["learning_rate"] == 2e-4
    assert config["optimizers"]["generator"]["betas"] == [0.5, 0.999]
    weights = {name: term["weight"] for name, term in config["losses"].items()}
    assert weights == {"adversarial": 1.0, "perceptual": 20.0, "style": 1e-4, "content": 1e-4}
    assert config["discriminator_def"]["spectral"] is True
    assert config["discriminator_def"]["layers"] == 1
    assert config["features"]["weights"] == "imagenet"
