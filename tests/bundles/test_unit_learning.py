"""The quick UNIT, and the one with attention, learn without pairs, in one latent space; broken ones do not.

Unshared blocks no image tells, at this length: what both domains train is found by gradients in the trained network.
"""

import pytest
import torch

pytestmark = pytest.mark.slow

BRIEF = {"max_epochs": 4, "train::trainer::epoch_length": 75, "val_interval": 4, "val_every": 8}
# dB, mean of both directions, above the untranslated and the histogram-matched source
ABOVE_SOURCE = {"unit": 1.0, "attention_unit": 0.7}
CODES, CYCLE, ENERGY, INTENSITIES = 0.75, 1.8, 6.4, 0.9  # most of each of ``distances``


@pytest.fixture(scope="module")
def workflow(root, training_workflow, phantoms):
    """A quick bundle as it ships, 300 steps long."""

    def begin(folder, bundle="unit", **overrides):
        files = [root / "bundles" / bundle / "configs" / name for name in ("train.json", "quick.json")]
        return training_workflow(files, phantoms, folder, **{**BRIEF, **overrides})

    return begin


def both_ways(of, images):
    """The mean of ``of(source, target)`` and ``of(target, source)``."""
    return (of(*images) + of(*images[::-1])) / 2


def distances(network, images, psnr, intensity_distance):
    """What training is judged by, on held-out pairs that it never saw as such."""
    x, y = images
    with torch.no_grad():
        fakes = {"target": network(x, "source", "target"), "source": network(y, "target", "source")}
        codes = network(x, "source", "code"), network(y, "target", "code")
        cycled = network(fakes["target"], "target", "source"), network(fakes["source"], "source", "target")
        kept = network(codes[0], "code", "source"), network(codes[1], "code", "target")
    lost, least = (
        float(sum((c - image).abs().mean() for c, image in zip(found, images, strict=True))) for found in (cycled, kept)
    )
    return {
        "psnr": (psnr(fakes["target"], y) + psnr(fakes["source"], x)) / 2,
        "cycle": lost / least,  # what a slice loses there and back, in units of what its own autoencoder loses
        # 1 for codes that have nothing to do with each other, 0 for equal ones
        "codes": float((codes[0] - codes[1]).square().sum() / sum(code.square().sum() for code in codes)),
        "energy": float(sum(code.square().mean() for code in codes) / 2),
        # how far the translations' intensities are from real ones, 1 for what was not translated
        "intensities": (intensity_distance(fakes["target"], y, x) + intensity_distance(fakes["source"], x, y)) / 2,
    }


@pytest.fixture(scope="module")
def judged(workflow, phantoms, slices, psnr, intensity_distance, weights_of_both, tmp_path_factory):
    """Train a quick bundle with changes and judge the network that it ends with."""

    def train(bundle="unit", **overrides):
        flow = workflow(tmp_path_factory.mktemp(bundle), bundle, **overrides)
        flow.run()
        network = flow.parser.get_parsed_content("network").eval()
        found = distances(network, slices(flow, phantoms, "test"), psnr, intensity_distance)
        found["shared"] = len(weights_of_both(network))
        print(bundle, overrides, found)
        return found

    return train


@pytest.fixture(scope="module")
def bar(workflow, phantoms, slices, psnr, matched, tmp_path_factory):
    """What translations have to reach: doing nothing, or mapping the quantiles of one modality to the other's."""
    flow = workflow(tmp_path_factory.mktemp("bar"))
    train, test = (slices(flow, phantoms, split) for split in ("train", "test"))

    def mapped(source, target):
        known, wanted = train if source is test[0] else train[::-1]
        return psnr(matched(source, known, wanted), target)

    identity, histogram = both_ways(psnr, test), both_ways(mapped, test)
    assert identity < histogram < identity + 2, "phantoms that a mapping of intensities nearly solves show nothing"
    print(f"identity {identity:.2f} dB, histogram-matched {histogram:.2f} dB")
    return {bundle: histogram + margin for bundle, margin in ABOVE_SOURCE.items()}


@pytest.mark.parametrize("bundle", ["unit", "attention_unit"])
def test_it_learns(judged, bar, bundle):
    found = judged(bundle)
    assert found["psnr"] >= bar[bundle]
    assert found["codes"] <= CODES
    assert found["cycle"] <= CYCLE
    assert found["intensities"] <= INTENSITIES
    if bundle == "unit":  # spectral norm gives codes another scale
        assert found["energy"] <= ENERGY
    assert found["shared"] == 4, "two convolutions of the block behind the encoders and of that before the generators"


def test_without_an_adversary_translations_keep_the_intensities_of_their_source(judged):
    assert judged(**{"losses::adversarial::weight": 0.0})["intensities"] > INTENSITIES


def test_with_an_adversary_that_pulls_the_wrong_way_codes_of_pairs_are_strangers(judged, bar):
    found = judged(**{"losses::adversarial::weight": -10.0})
    assert found["psnr"] < bar["unit"]
    assert found["codes"] > CODES


def test_without_cycle_and_divergence_slices_do_not_come_back_and_codes_grow(judged):
    lost = ("cycle", "cycle_divergence", "divergence")
    found = judged(**{f"losses::{name}::weight": 0.0 for name in lost})
    assert found["cycle"] > CYCLE
    assert found["energy"] > ENERGY
