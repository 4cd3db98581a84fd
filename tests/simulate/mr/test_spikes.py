"""Spikes against numpy's k-space: one sample, one wave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans.simulate.mr.spikes import KSpaceSpikes, KSpaceSpikesd


def image_of(*shape: int) -> torch.Tensor:
    return 100 + 50 * torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(6, 21), min_size=2, max_size=3), st.integers(0, 99))
def test_a_spike_is_a_value_added_to_one_sample_of_k_space(sizes, seed) -> None:
    """Amplitude A in the image is A times the number of voxels in numpy's k-space."""
    spiky = KSpaceSpikes(1, (5, 20), slice_axis=None).set_random_state(seed)
    image = image_of(*sizes)
    found = spiky(image, [1] * len(sizes)).as_tensor()[0].numpy()
    (spike,) = spiky.parameters["spikes"]
    voxels = image[0].double().numpy()
    level = voxels[voxels >= voxels.mean()].mean()
    kspace = np.fft.fftn(voxels)
    kspace[tuple(spike["cycles"])] += spike["percent"] / 100 * level * voxels.size * np.exp(1j * spike["phase"])
    assert np.abs(found - np.abs(np.fft.ifftn(kspace))).max() < 1e-2
    assert not np.allclose(found, voxels, rtol=1e-3)


def test_an_empty_slice_under_one_spike_is_an_even_haze_of_its_amplitude() -> None:
    image = torch.zeros(1, 8, 8, 4)
    image[..., 0] = 100
    wave = {"cycles": [2, 1, 0], "percent": 30.0, "phase": 1.0, "slice": [2, 3]}
    found = KSpaceSpikes().reapply(image, {"spikes": [wave]}, (1, 1, 1)).as_tensor()
    assert torch.allclose(found[..., 3], torch.tensor(30.0), rtol=1e-5)
    assert torch.equal(found[..., :3], image[..., :3])


def test_in_a_volume_of_slices_each_spike_hits_one_and_has_no_cycles_across() -> None:
    spiky = KSpaceSpikes(3, 20, slice_axis=1).set_random_state(0)
    volume = image_of(9, 6, 7)
    changed = (spiky(volume, (1, 1, 1)).as_tensor() - volume).abs().amax((0, 1, 3)) > 0
    hit = {spike["slice"][1] for spike in spiky.parameters["spikes"]}
    assert {int(place) for place in torch.nonzero(changed)} == hit
    assert all(spike["cycles"][1] == 0 for spike in spiky.parameters["spikes"])


def test_spikes_lie_at_the_frequencies_that_were_asked_for() -> None:
    spiky = KSpaceSpikes(40, frequency=(0.5, 0.75)).set_random_state(0)
    spiky(image_of(100, 60), (1, 1))
    places = np.array([spike["cycles"] for spike in spiky.parameters["spikes"]]) / [50, 30]
    assert np.all((np.linalg.norm(places, axis=1) > 0.47) & (np.linalg.norm(places, axis=1) < 0.78))
    assert np.abs(places.mean(0)).max() < 0.25  # in all directions


def test_no_spikes_change_nothing_and_the_seed_decides() -> None:
    image = image_of(10, 10)
    assert torch.allclose(KSpaceSpikes(0)(image, (1, 1)).as_tensor(), image)
    first, again, other = (KSpaceSpikes().set_random_state(seed)(image, (1, 1)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_dictionary_hatches_its_keys_alike() -> None:
    out = KSpaceSpikesd(["a", "b"], percent=50)({"a": image_of(8, 8), "b": image_of(8, 8), "spacing": [1, 1]})
    assert torch.equal(out["a"], out["b"])


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"number": 1.5}, {"number": -1}, {"percent": -1}, {"frequency": 1.5}, {"slice_axis": 3}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            KSpaceSpikes(**wrong)
