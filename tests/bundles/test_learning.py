"""They learn: the quick paired bundles beat every mapping of intensities on unseen heads, broken training does not."""

import pytest
import torch

pytestmark = pytest.mark.slow

EPOCHS = 2
ABOVE_LOOK_UP, ABOVE_IDENTITY = 3.0, 6.0  # dB that held-out PSNR must gain
# MedGAN updates its generator three times a batch: at this rate one epoch is as good as two at the quick setting's own.
FAST = {"learning_rate": 2e-3, "max_epochs": 1}
STILL = {"learning_rate": 0.0, "max_epochs": 1, "train::trainer::epoch_length": 8}  # more steps move it no further
# Random VGG features cost two thirds of a step and say nothing about learning: the broken runs go without.
WITHOUT_VGG = {"losses::style::weight": 0, "losses::content::weight": 0}
# Bundles that update their generator once a batch, not three times, get a higher rate and a lower bar.
ONCE_A_BATCH, ABOVE_LOOK_UP_ONCE = {"learning_rate": 1e-3}, 1.5
FLIPPED = {
    "pix2pix": {"losses::l1::weight": -100.0},
    "pan": {"losses::perceptual::weight": -20.0},
    "id_cgan": {"losses::l2::weight": -150.0, "losses::content::weight": 0},
    "fila_sgan": {"losses::l1::weight": -100.0, **WITHOUT_VGG},
    "regression": {"losses::l1_body::weight": -1.0, "losses::l1::weight": -0.1},
}


@pytest.fixture(scope="module")
def workflow(root, training_workflow):
    """A quick bundle as it ships, two epochs long unless changed."""

    def begin(phantoms, folder, bundle="medgan", **overrides):
        files = [root / "bundles" / bundle / "configs" / name for name in ("train.json", "quick.json")]
        return training_workflow(files, phantoms, folder, **{"max_epochs": EPOCHS, "val_every": 8, **overrides})

    return begin


def look_up(train, source, bins=64):
    """The best mapping of intensities: the mean target of every source intensity, fitted on the training heads."""
    place = lambda image: ((image + 1) / 2 * (bins - 1)).round().long().clamp(0, bins - 1)  # noqa: E731
    known, wanted = place(train[0]).flatten(), train[1].flatten()
    count = torch.bincount(known, minlength=bins).clamp(min=1)
    table = torch.bincount(known, weights=wanted.double(), minlength=bins) / count
    return table[place(source)].float()


@pytest.fixture(scope="module")
def without_training(workflow, phantoms, slices, psnr, tmp_path_factory):
    """PSNR on the held-out heads of the untranslated source, and of the best mapping of its intensities."""
    flow = workflow(phantoms, tmp_path_factory.mktemp("bar"), **WITHOUT_VGG)
    train, test = (slices(flow, phantoms, split) for split in ("train", "test"))
    identity, mapped = psnr(test[0], test[1]), psnr(look_up(train, test[0]), test[1])
    assert identity < mapped, "a look-up must beat doing nothing, or the phantoms are too easy"
    print(f"identity {identity:.2f} dB, best intensity mapping {mapped:.2f} dB")
    return identity, mapped


@pytest.fixture(scope="module")
def bar(without_training):
    """What MedGAN has to reach on the held-out heads: the higher of the two demands."""
    identity, mapped = without_training
    return max(mapped + ABOVE_LOOK_UP, identity + ABOVE_IDENTITY)


@pytest.fixture(scope="module")
def lower_bar(without_training):
    """What the others have to reach."""
    return without_training[1] + ABOVE_LOOK_UP_ONCE


@pytest.fixture(scope="module")
def held_out(phantoms, slices, psnr):
    """``held_out(flow)``: PSNR of the training's best model on the test heads."""

    def reached(flow):
        flow.run()
        network, folder = (flow.parser.get_parsed_content(id_) for id_ in ("network", "ckpt_dir"))
        network.load_state_dict(torch.load(f"{folder}/model.pt", weights_only=True))
        source, target = slices(flow, phantoms, "test")
        with torch.no_grad():
            found = psnr(torch.cat([network.eval()(part) for part in source.split(16)]), target)
        print(f"held-out PSNR {found:.2f} dB")
        return found

    return reached


def test_the_quick_medgan_learns(workflow, phantoms, held_out, bar, tmp_path):
    assert held_out(workflow(phantoms, tmp_path, **FAST)) >= bar


def test_a_flipped_perceptual_loss_does_not_learn(workflow, phantoms, held_out, bar, tmp_path):
    flow = workflow(phantoms, tmp_path, **WITHOUT_VGG, **FAST, **{"losses::perceptual::weight": -20.0})
    assert held_out(flow) < bar


def test_wrong_pairing_does_not_learn(workflow, phantoms, held_out, bar, tmp_path):
    flow = workflow(phantoms, tmp_path, **WITHOUT_VGG, **FAST)
    items = flow.parser.get_parsed_content("train::dataset").data
    targets = [item["target"] for item in items]
    for item, target in zip(items, targets[len(targets) // 3 :] + targets[: len(targets) // 3], strict=True):
        item["target"] = target  # the same slice of another head
    assert len({tuple(item["source"]) for item in items}) > 3
    assert held_out(flow) < bar


def test_a_wrong_target_range_does_not_learn(workflow, phantoms, held_out, bar, tmp_path):
    flow = workflow(phantoms, tmp_path, **WITHOUT_VGG, **FAST)
    for item in flow.parser.get_parsed_content("train::dataset").data:
        lower, upper, *unit = item["windows"]["target"][0]
        item["windows"]["target"] = [[lower, 1.5 * upper, *unit]]
    assert held_out(flow) < bar


def test_a_frozen_generator_does_not_learn(workflow, phantoms, held_out, bar, tmp_path):
    flow = workflow(phantoms, tmp_path, **WITHOUT_VGG, **STILL)
    assert held_out(flow) < bar


@pytest.mark.parametrize("bundle", FLIPPED)
def test_the_quick_baselines_learn(workflow, phantoms, held_out, lower_bar, tmp_path, bundle):
    assert held_out(workflow(phantoms, tmp_path, bundle, **ONCE_A_BATCH)) >= lower_bar


@pytest.mark.parametrize("bundle", FLIPPED)
def test_a_baseline_with_its_main_loss_flipped_does_not_learn(
    workflow, phantoms, held_out, lower_bar, tmp_path, bundle
):
    flow = workflow(phantoms, tmp_path, bundle, **ONCE_A_BATCH, **FLIPPED[bundle])
    assert held_out(flow) < lower_bar


def test_two_convolutions_learn_a_mapping_of_intensities_and_no_more(
    workflow, phantoms, held_out, without_training, tmp_path
):
    identity, mapped = without_training
    reached = held_out(workflow(phantoms, tmp_path, "simple", **ONCE_A_BATCH))
    assert identity + 2 < reached < mapped + ABOVE_LOOK_UP_ONCE
