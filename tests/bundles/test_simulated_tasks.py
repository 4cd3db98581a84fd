"""Tasks without pairs are learnt: the quick MedGAN makes unseen heads better than they were handed to it."""

import pytest
import torch
from monai.metrics import SSIMMetric

pytestmark = pytest.mark.slow

# Random VGG features cost two thirds of a step and say nothing about learning: test_learning.py trains with them.
SETTINGS = {"losses::style::weight": 0, "losses::content::weight": 0, "val_every": 8}
# What a task is trained and judged with, and what held-out slices must gain: dB of PSNR, SSIM. Measured: motion 18.28
# -> 19.88 dB, 0.418 -> 0.625; PET 31.95 -> 37.37 dB, 0.806 -> 0.930.
TASKS = {
    "mr_motion": ({"severity": [6.0, 10.0], "learning_rate": 0.001, "max_epochs": 2}, 0.4, 0.08),
    "pet_denoising": ({"fraction": 0.05, "max_epochs": 1}, 2.0, 0.05),
}


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory):
    """Sixteen heads of 3.5 mm with what a task needs: what the quick setting trains on without a data set."""
    from medtrans.cohorts import write_phantom_cohort

    done = {}

    def write(task):
        if task not in done:
            done[task] = tmp_path_factory.mktemp(task)
            write_phantom_cohort(done[task], 16, ("T1",) if task == "mr_motion" else ("PET", "CT"), spacing=3.5)
        return done[task]

    return write


@pytest.fixture
def workflow(root, training_workflow, cohorts, tmp_path):
    def begin(task, **changes):
        files = [root / "bundles/medgan/configs" / name for name in ("train.json", "quick.json")]
        files.append(root / "tasks" / f"{task}.json")
        return training_workflow(files, cohorts(task), tmp_path, **{**SETTINGS, **TASKS[task][0], **changes})

    return begin


def held_out(flow, folder):
    """Degraded and reference slices of the test heads as the network sees them; each always degraded alike."""
    from medtrans.cohorts import EpochDataset, slice_items

    names = [flow.parser.get_parsed_content(key) for key in ("source", "target", "companions")]
    items = slice_items(folder, *names[:2], "test", minimum_foreground=0.05, companions=names[2])
    read = EpochDataset(items, flow.parser.get_parsed_content("validate::preprocessing"))
    loaded = [read[index] for index in range(len(read))]
    return tuple(torch.stack([item[key] for item in loaded]) for key in ("source", "target"))


def quality(images, target):
    """PSNR in dB and SSIM of the [-1, 1] range, means over slices."""
    errors = (images - target).square().mean((1, 2, 3))
    return float((10 * torch.log10(4 / errors)).mean()), float(SSIMMetric(2, data_range=2.0)(images, target).mean())


@pytest.fixture
def gain(cohorts):
    """``gain(flow, task)``: what the training's best model adds to the degraded slices, in PSNR and in SSIM."""

    def reached(flow, task):
        flow.run()
        network, folder = (flow.parser.get_parsed_content(id_) for id_ in ("network", "ckpt_dir"))
        network.load_state_dict(torch.load(f"{folder}/model.pt", weights_only=True))
        source, target = held_out(flow, cohorts(task))
        with torch.no_grad():
            restored = torch.cat([network.eval()(part) for part in source.split(16)])
        before, after = quality(source, target), quality(restored, target)
        print(f"{task}: PSNR {before[0]:.2f} -> {after[0]:.2f} dB, SSIM {before[1]:.3f} -> {after[1]:.3f}")
        return after[0] - before[0], after[1] - before[1]

    return reached


@pytest.mark.parametrize("task", TASKS)
def test_the_quick_medgan_improves_what_was_degraded(workflow, gain, task):
    psnr, ssim = gain(workflow(task), task)
    assert psnr >= TASKS[task][1]
    assert ssim >= TASKS[task][2]


@pytest.mark.parametrize("task", TASKS)
def test_an_untrained_network_does_not(workflow, gain, task):
    psnr, ssim = gain(workflow(task, learning_rate=0.0, max_epochs=1), task)
    assert psnr < 0
    assert ssim < 0


def test_wrong_pairs_do_not(workflow, gain):
    flow = workflow("mr_motion")
    items = flow.parser.get_parsed_content("train::dataset").data
    targets = [item["target"] for item in items]
    for item, target in zip(items, targets[len(targets) // 3 :] + targets[: len(targets) // 3], strict=True):
        item["target"] = target  # the same slice of another head
    psnr, ssim = gain(flow, "mr_motion")
    assert psnr < TASKS["mr_motion"][1]
    assert ssim < TASKS["mr_motion"][2]
