"""They learn without pairs: quick CycleGAN and Cycle-MedGAN beat every mapping of intensities, broken ones do not.

Without pairs PSNR alone does not see everything: without its cycle CycleGAN has the higher one here, and without its
adversary about the same. What is missing shows in what comes back, in how much of an image is left in its translation,
and in whether translations have the other modality's intensities.
"""

import pytest

pytestmark = pytest.mark.slow

# 120 steps of 4 slices, about 80 s of one core.
BRIEF = {"max_epochs": 2, "train::trainer::epoch_length": 60, "val_interval": 2, "val_every": 8, "threads": 1}
ABOVE_SOURCE = 0.5  # dB, mean of both ways, above the untranslated and the histogram-matched source
CYCLE, INFORMATION = 0.115, 0.68  # most, in units of [-1, 1]; least, in nats
INTENSITIES = 0.88  # most; 1 is that of the untranslated images


@pytest.fixture(scope="module")
def workflow(root, training_workflow, phantoms):
    """A quick bundle as it ships, 120 steps long."""

    def begin(folder, bundle="cyclegan", **overrides):
        files = [root / "bundles" / bundle / "configs" / name for name in ("train.json", "quick.json")]
        return training_workflow(files, phantoms, folder, **{**BRIEF, **overrides})

    return begin


@pytest.fixture(scope="module")
def judged(workflow, phantoms, slices, judge_both_ways, tmp_path_factory):
    """Train a quick bundle with changes and judge the generators that it ends with on the held-out heads."""

    def train(bundle="cyclegan", **overrides):
        flow = workflow(tmp_path_factory.mktemp(bundle), bundle, **overrides)
        flow.run()
        there, back = (flow.parser.get_parsed_content(name).eval() for name in ("network", "network_to_source"))
        found = judge_both_ways(there, back, *slices(flow, phantoms, "test"))
        print(bundle, overrides, found)
        return found

    return train


@pytest.fixture(scope="module")
def bar(workflow, phantoms, slices, psnr, matched, tmp_path_factory):
    """What translations have to reach: doing nothing, or giving one modality the quantiles of the other."""
    flow = workflow(tmp_path_factory.mktemp("bar"))
    train, (source, target) = (slices(flow, phantoms, split) for split in ("train", "test"))
    identity = psnr(source, target)
    histogram = (psnr(matched(source, *train), target) + psnr(matched(target, *train[::-1]), source)) / 2
    print(f"identity {identity:.2f} dB, histogram-matched {histogram:.2f} dB")
    assert identity < histogram < identity + 2, "phantoms that a mapping of intensities nearly solves show nothing"
    return histogram + ABOVE_SOURCE


@pytest.mark.parametrize("bundle", ["cyclegan", "cycle_medgan"])
def test_it_learns_to_translate_both_ways_and_to_come_back(judged, bar, bundle):
    found = judged(bundle)
    assert found["psnr"] >= bar
    assert found["cycle"] <= CYCLE
    assert found["information"] >= INFORMATION
    assert found["intensities"] <= INTENSITIES


def test_without_an_adversary_translations_keep_the_intensities_of_their_source(judged):
    assert judged(**{"losses::adversarial::weight": 0.0})["intensities"] > INTENSITIES


def test_with_the_sign_of_its_adversary_flipped_it_does_not(judged, bar):
    half = {"train::trainer::epoch_length": 30}  # enough: it does not come near
    assert judged(**{"losses::adversarial::weight": -1.0, **half})["psnr"] < bar


def test_without_the_cycle_what_is_translated_does_not_come_back(judged):
    found = judged(**{"losses::cycle::weight": 0.0})
    assert found["cycle"] > CYCLE
    assert found["information"] < INFORMATION
