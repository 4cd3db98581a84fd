"""The unpaired bundles: no pair survives, two cohorts train together, both directions translate."""

import csv
import inspect
import json

import nibabel as nib
import numpy as np
import pytest
import torch

from medtrans import InputError
from medtrans.cohorts import Cases, describe_modalities, read_modalities
from medtrans.engines import FeatureVectors, run_inference, unpaired_score
from medtrans.errors import TrainingStoppedError, input_error_behind
from medtrans.networks import RandomFeatures

SHORT = {"image_size": [16, 16], "batch_size": 2, "max_epochs": 1, "num_workers": 0}


@pytest.fixture(scope="module")
def workflow(root, training_workflow, small_settings):
    def begin(dataset, folder, **settings):
        bundle = root / "bundles/cyclegan"
        chosen = {**SHORT, **small_settings(bundle), **settings}
        return training_workflow([bundle / "configs/train.json"], dataset, folder, **chosen)

    return begin


@pytest.fixture(scope="module")
def trained(workflow, tiny_dataset, tmp_path_factory):
    """The models folder after one epoch; source and target each with a scale of their own."""
    folder = tmp_path_factory.mktemp("cyclegan")
    workflow(tiny_dataset, folder).run()
    return folder / "models"


def test_subjects_of_a_paired_data_set_never_meet_themselves(workflow, tiny_dataset, tmp_path):
    flow = workflow(tiny_dataset, tmp_path)
    dataset = flow.parser.get_parsed_content("train::dataset")
    for epoch in range(3):
        for index in range(len(dataset)):
            case = dataset.entry(epoch, index)["case"]
            assert case["source"] != case["target"]
    batch = next(iter(flow.parser.get_parsed_content("train::dataloader")))
    assert set(batch) >= {"source", "target"}
    assert batch["source"].shape == batch["target"].shape == (2, 1, 16, 16)
    assert batch["source"].min() >= -1
    assert batch["target"].max() <= 1


def test_source_and_target_are_augmented_each_on_its_own(workflow, tiny_dataset, tmp_path):
    flow = workflow(tiny_dataset, tmp_path)
    dataset = flow.parser.get_parsed_content("train::dataset")
    flips = flow.parser.get_parsed_content("train::preprocessing").transforms
    drawn = []
    for index in range(len(dataset)):
        dataset[1, index]
        drawn.append(tuple(t._do_transform for t in flips if type(t).__name__ == "RandFlipd"))
    assert {(True, False), (False, True)} <= set(drawn)


def test_discriminators_are_shown_older_images_than_the_last(workflow, tiny_dataset, tmp_path):
    """A pool that is passed by: no measure of the images would tell."""
    flow = workflow(tiny_dataset, tmp_path, pool_size=4, **{"train::trainer::epoch_length": 8})
    method = flow.parser.get_parsed_content("method")
    made, shown = [], []
    method.generators["target"].register_forward_hook(lambda m, x, image: made.append(image.detach().clone()))
    judge = method.discriminators["target"]
    judge.register_forward_pre_hook(lambda m, x: shown.append(x[0].detach().clone()) if m.training else None)
    flow.run()
    made = [{image.numpy().tobytes() for image in batch} for batch in made]
    shown = [[image.numpy().tobytes() for image in batch] for batch in shown]
    translated = made[: 3 * 8 : 3]  # before the way back and the identity of each step
    synthetic = [images for images in shown if set().union(*translated).intersection(images)]
    assert len(synthetic) == 8
    older = [len(set(images) - translated[step]) for step, images in enumerate(synthetic)]
    assert older[:2] == [0, 0], "a pool that is not full gives out what it is given"
    assert sum(older[2:]) >= 3, "half of 12 images, give or take"
    assert len(method.pools["target"].images) == len(method.pools["source"].images) == 4


def test_both_directions_translate_to_the_others_unit(root, trained, tiny_dataset, tmp_path):
    voxels = {}
    for direction, modality in (("source_to_target", "T2"), ("target_to_source", "T1")):
        folder = tmp_path / direction
        options = {"ckpt_dir": str(trained), "direction": direction}
        (row,) = run_inference(root / "bundles/cyclegan", tiny_dataset, folder, (), options)
        assert modality in row["output"]
        voxels[direction] = nib.load(folder / row["output"]).get_fdata()
    forth, back = (torch.load(trained / name, weights_only=True) for name in ("model.pt", "model_to_source.pt"))
    assert any(not torch.equal(forth[name], back[name]) for name in forth)
    assert np.abs(voxels["source_to_target"] - voxels["target_to_source"]).max() > 0


def test_an_unknown_direction_is_refused(root, trained, tiny_dataset, tmp_path):
    options = {"ckpt_dir": str(trained), "direction": "sideways"}
    with pytest.raises(RuntimeError) as error:
        run_inference(root / "bundles/cyclegan", tiny_dataset, tmp_path, (), options)
    assert "direction 'sideways' is unknown" in str(input_error_behind(error.value)).replace(":", "")


def test_two_cohorts_of_other_subjects_train_together(workflow, make_dataset, tiny_dataset, tmp_path):
    mr = make_dataset(tmp_path / "mr", splits=("train", "train", "validation"), modalities=("T1",))
    ct = make_dataset(tmp_path / "ct", splits=("train",) * 3, shape=(12, 10, 7), modalities=("T2",))
    flow = workflow(
        mr,
        tmp_path,
        target_dataset_dir=str(ct),
        val_dataset_dir=str(tiny_dataset),
        position=0.3,
    )
    flow.run()
    recorded = json.loads((tmp_path / "models/modalities.json").read_text())
    assert [entry["modality"] for entry in recorded["source"] + recorded["target"]] == ["T1", "T2"]
    assert (tmp_path / "models/model.pt").is_file()


def test_directions_exchange_what_is_known_of_the_modalities(tiny_dataset, tmp_path):
    from medtrans.cohorts import write_modalities

    path = write_modalities(describe_modalities(tiny_dataset, "T1", "T2"), tmp_path / "modalities.json")
    forth, back = read_modalities(path), read_modalities(path, "target_to_source")
    assert forth["source"] == back["target"]
    assert forth["target"] == back["source"]
    assert forth["source"] != forth["target"]
    with pytest.raises(InputError, match="source_to_target, target_to_source"):
        read_modalities(path, "both")


def test_data_sets_of_other_voxel_sizes_are_refused(make_dataset, tmp_path):
    one, other = make_dataset(tmp_path / "one"), make_dataset(tmp_path / "other")
    recipe = json.loads((other / "recipe.json").read_text())
    (other / "recipe.json").write_text(json.dumps(recipe | {"spacing": [1.0, 1.0, 1.0]}))
    with pytest.raises(InputError, match="Prepare both with the same"):
        describe_modalities(one, "T1", "T2", other)


@pytest.mark.slow
def test_two_processes_train_both_directions(tiny_dataset, tmp_path, train_in_two_processes, networks_saved):
    train_in_two_processes("cyclegan", tiny_dataset, tmp_path)
    saved = torch.load(tmp_path / "models/checkpoint.pt", weights_only=True)
    assert len(saved["pool_target"]["images"]) == len(saved["pool_source"]["images"]) == 18  # of both processes
    assert len(networks_saved(tmp_path)) == 4
    assert (tmp_path / "models/model_to_source.pt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "epochs", "code"), [({"stop_after": {"collapse": 1}}, 1, 1), ({"stop_on_plateau": 1}, 2, 0)]
)
def test_two_processes_stop_together(tiny_dataset, tmp_path, train_in_two_processes, rule, epochs, code):
    """A generator that stands still: much the same image for everybody, and never a better one."""
    options = {"max_epochs": 9, "learning_rate": 0.0, **rule}
    done = train_in_two_processes("cyclegan", tiny_dataset, tmp_path, check=False, **options)
    assert done.returncode == code
    assert ("was stopped: mode collapse?" in done.stderr) == bool(code)
    saved = torch.load(tmp_path / "models/checkpoint.pt", weights_only=True)
    steps = len((tmp_path / "eval/losses.csv").read_text().splitlines()) - 1
    assert saved["run"]["iteration"] == steps == 9 * epochs
    assert (tmp_path / "models/model.pt").is_file()


@pytest.fixture
def make_cohorts(make_dataset, tmp_path):
    def make(shape=(14, 18, 9), other=(12, 10, 7)):
        """T1 of some subjects and T2 of others, each with a validation split of its own; nobody has both."""
        splits = ("train", "train", "validation", "validation")
        mr = make_dataset(tmp_path / "mr", splits=splits, modalities=("T1",), shape=shape)
        ct = make_dataset(tmp_path / "ct", splits=(*splits, "train"), modalities=("T2",), shape=other)
        text = (ct / "cases.csv").read_text()
        (ct / "cases.csv").write_text(text.replace("subject", "other").replace(",other,", ",subject,", 1))
        return mr, ct

    return make


@pytest.fixture
def cohorts(make_cohorts):
    return make_cohorts()


@pytest.mark.parametrize("bundle", ["cyclegan", "unit"])
def test_cohorts_without_a_common_subject_train_and_validate_without_pairs(
    root, training_workflow, small_settings, cohorts, tmp_path, bundle
):
    mr, ct = cohorts
    configs = root / "bundles" / bundle / "configs"
    small = small_settings(root / "bundles" / bundle) | SHORT | {"max_epochs": 2, "val_every": 1}
    files = [configs / "train.json", configs / "unpaired_validation.json"]
    flow = training_workflow(files, mr, tmp_path, target_dataset_dir=str(ct), **small)
    mine, others = ({case.subject for case in Cases.read(folder)} for folder in cohorts)
    assert not mine & others
    flow.run()
    with (tmp_path / "eval/validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    values = {name: [float(row[name]) for row in rows] for name in rows[0]}
    assert all(np.isfinite(value).all() for value in values.values())
    assert min(values["frechet_between"]) > 0
    for row in range(2):
        arguments = inspect.signature(unpaired_score).parameters
        expected = unpaired_score(**{name: values[name][row] for name in arguments})
        assert values["unpaired_score"][row] == pytest.approx(expected, rel=1e-4)
    best = torch.load(tmp_path / "models/checkpoint.pt", weights_only=True)["run"]
    assert best["best_metric_epoch"] == 1 + int(np.argmax(values["unpaired_score"]))
    assert (tmp_path / "models/model.pt").is_file()
    assert (tmp_path / "eval/pictures/epoch_0002.png").is_file()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "eval")).Reload().Tags()
    assert {"unpaired_score", "gradient_generator", "discriminator_of_target_accuracy_real"} <= set(events["scalars"])
    assert any("back" in title for title in events["images"])


def test_cycle_errors_and_information_are_those_of_the_trained_networks(
    root, training_workflow, small_settings, cohorts, tmp_path
):
    mr, ct = cohorts
    configs = root / "bundles/cyclegan/configs"
    small = small_settings(root / "bundles/cyclegan") | SHORT | {"val_every": 1}
    files = [configs / "train.json", configs / "unpaired_validation.json"]
    flow = training_workflow(files, mr, tmp_path, target_dataset_dir=str(ct), **small)
    flow.run()
    there, back = (flow.parser.get_parsed_content(name).eval() for name in ("network", "network_to_source"))
    batches = list(flow.parser.get_parsed_content("validate::dataloader"))
    source, target = (torch.cat([batch[name] for batch in batches]) for name in ("source", "target"))
    with torch.no_grad():
        ways = (there, back, source), (back, there, target)
        errors = [(again(first(image)) - image).abs().mean().item() for first, again, image in ways]
    with (tmp_path / "eval/validation.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    assert [float(row[f"cycle_error_{name}"]) for name in ("source", "target")] == pytest.approx(errors, rel=1e-3)
    assert float(row["unrelated_error"]) == pytest.approx((source - target).abs().mean().item(), rel=1e-3)


def middle(path, size):
    """The middle of a volume, with background around it where it is smaller, scaled as in training."""
    volume = nib.load(path).get_fdata() / 1000 * 2 - 1
    window = tuple(slice(size + (n - size) // 2, 2 * size + (n - size) // 2) for n in volume.shape)
    return np.pad(volume, size, constant_values=-1)[window]


def frechet(one, other):
    """NumPy's Fréchet distance of two sets of feature vectors."""
    covariances = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0)).sum()
    return ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1]) - 2 * root


@pytest.mark.parametrize("bundle", ["cyclegan", "attention_unit"])
def test_volumes_are_validated_without_pairs_on_their_middles(
    root, training_workflow, small_settings, make_cohorts, tmp_path, bundle
):
    """Other people, other sizes: what is written is NumPy's, of the trained networks, the middles and their slices."""
    mr, ct = make_cohorts((14, 18, 13), (16, 10, 17))
    configs = root / "bundles" / bundle / "configs"
    small = small_settings(root / "bundles" / bundle) | SHORT | {"image_size": [12, 12, 12], "patches": 1}
    files = [configs / name for name in ("train.json", "three_d.json", "unpaired_validation.json")]
    flow = training_workflow(files, mr, tmp_path, target_dataset_dir=str(ct), **small)
    flow.run()
    with (tmp_path / "eval/validation.csv").open() as file:
        (row,) = csv.DictReader(file)
    values = {name: float(value) for name, value in row.items()}
    assert all(np.isfinite(value) for value in values.values())

    source, target = (
        torch.tensor(np.stack([middle(case.volumes[name], 12) for case in Cases.read(folder) if case.split != "train"]))
        .float()
        .unsqueeze(1)
        for folder, name in ((mr, "T1"), (ct, "T2"))
    )
    target = target.roll(-1, 0)  # beside each source another one's
    there, back = (flow.parser.get_parsed_content(name) for name in ("network", "to_source"))
    with torch.no_grad():
        to_target, to_source = there(source), back(target)
        cycles = (back(to_target) - source).abs().mean().item(), (there(to_source) - target).abs().mean().item()
    assert [values[f"cycle_error_{name}"] for name in ("source", "target")] == pytest.approx(cycles, rel=1e-3)
    assert values["unrelated_error"] == pytest.approx((source - target).abs().mean().item(), rel=1e-3)
    features = FeatureVectors(RandomFeatures())
    sets = {"between": (source, target), "to_target": (to_target, target), "to_source": (to_source, source)}
    for name, volumes in sets.items():
        vectors = [features(list(images.movedim(-1, 1).flatten(0, 1))).numpy() for images in volumes]
        assert values[f"frechet_{name}"] == pytest.approx(frechet(*vectors), rel=0.02), name
    assert (tmp_path / "eval/pictures/epoch_0001.png").is_file()


def test_the_overlays_of_volumes_and_of_no_pairs_in_the_wrong_order_are_refused_in_one_line(
    root, training_workflow, small_settings, tiny_dataset, tmp_path
):
    configs = root / "bundles/cyclegan/configs"
    files = [configs / name for name in ("train.json", "unpaired_validation.json", "three_d.json")]
    small = small_settings(root / "bundles/cyclegan") | SHORT | {"image_size": [8, 8, 8]}
    with pytest.raises(RuntimeError) as error:
        training_workflow(files, tiny_dataset, tmp_path, **small).run()
    assert "unpaired_validation.json after three_d.json" in str(input_error_behind(error.value))


def test_a_run_is_not_gone_on_with_under_another_way_to_choose_the_model(
    root, training_workflow, small_settings, tiny_dataset, tmp_path
):
    configs = root / "bundles/cyclegan/configs"
    small = small_settings(root / "bundles/cyclegan") | SHORT
    training_workflow([configs / "train.json"], tiny_dataset, tmp_path, **small).run()
    files = [configs / "train.json", configs / "unpaired_validation.json"]
    flow = training_workflow(files, tiny_dataset, tmp_path, **small | {"max_epochs": 2})
    with pytest.raises(RuntimeError) as error:
        flow.run()
    assert "key_metric psnr, here it is unpaired_score" in str(input_error_behind(error.value))


def test_a_rule_of_the_config_stops_a_collapsed_run_and_leaves_its_checkpoint_and_model(
    workflow, tiny_dataset, tmp_path
):
    """A generator of random weights gives much the same image for everybody."""
    flow = workflow(tiny_dataset, tmp_path, stop_after={"collapse": 1}, max_epochs=9, learning_rate=0.0)
    with pytest.raises(RuntimeError) as error:
        flow.run()
    stopped = input_error_behind(error.value)
    assert isinstance(stopped, TrainingStoppedError)
    assert str(stopped).startswith("training, epoch 1: was stopped: mode collapse?")
    assert torch.load(tmp_path / "models/checkpoint.pt", weights_only=True)["run"]["iteration"] > 0
    assert (tmp_path / "models/model.pt").is_file()
