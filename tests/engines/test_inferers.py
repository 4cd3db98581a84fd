import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.inferers import SliceInferer
from torch import nn

from medtrans.engines import WindowInferer, volumes_stay


class Counting(nn.Module):
    """A network that notes what it sees."""

    def __init__(self, function):
        super().__init__()
        self.function, self.shapes = function, []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return self.function(x)


def local_network(dimensions):
    """Two small convolutions: what they say depends on two voxels around, not on the window."""
    torch.manual_seed(0)
    conv = nn.Conv2d if dimensions == 2 else nn.Conv3d
    return nn.Sequential(conv(1, 4, 3, padding=1), nn.ReLU(), conv(4, 2, 3, padding=1)).eval()


@pytest.mark.parametrize(("axis", "name"), [(0, "sagittal"), (1, "coronal"), (2, "axial")])
def test_slice_by_slice_equals_the_network_on_every_slice(axis, name):
    volume, network = torch.rand(1, 1, 9, 10, 11) * 2 - 1, local_network(2)
    window = [length for i, length in enumerate((9, 10, 11)) if i != axis]
    expected = torch.stack([network(s) for s in volume.unbind(axis + 2)], dim=axis + 2).detach()
    for asked in (axis, name):
        output = WindowInferer(window, asked, batch_size=4)(volume, network)
        assert output.shape == (1, 2, 9, 10, 11)
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


def test_slices_larger_than_the_window_equal_monais_slice_inferer():
    volume, network = torch.rand(2, 1, 20, 17, 5) * 2 - 1, local_network(2)
    options = {"roi_size": (12, 12), "sw_batch_size": 3, "overlap": 0.25, "mode": "gaussian", "cval": -1}
    expected = SliceInferer(spatial_dim=2, **options)(volume, network).detach()
    torch.testing.assert_close(WindowInferer((12, 12), batch_size=3)(volume, network), expected, atol=1e-5, rtol=1e-5)


@given(
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    axis=st.integers(0, 2),
    batch=st.integers(1, 7),
    window=st.integers(3, 9),
)
@settings(deadline=None, max_examples=30)
def test_the_identity_comes_back_whatever_the_size_and_batch(shape, axis, batch, window):
    volume = torch.rand(1, 1, *shape) * 2 - 1
    for size in ((window, window), (window, window, window)):
        network = Counting(nn.Identity())
        inferer = WindowInferer(size, axis, batch_size=batch)
        torch.testing.assert_close(inferer(volume, network), volume, atol=1e-5, rtol=0)
        assert {seen[2:] for seen in network.shapes} == {size}
        assert sum(seen[0] for seen in network.shapes) == inferer.window_count(volume.shape)
        assert max(seen[0] for seen in network.shapes) <= batch


def test_small_slices_are_padded_with_background_about_their_centre():
    seen = []
    WindowInferer((8, 8))(torch.zeros(1, 1, 5, 4, 1), lambda x: seen.append(x.clone()) or x)
    expected = np.pad(np.zeros((5, 4)), ((1, 2), (2, 2)), constant_values=-1)
    np.testing.assert_array_equal(seen[0][0, 0].numpy(), expected)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_overlap_and_batch_size_do_not_change_a_local_network(dimensions):
    network = local_network(dimensions)
    image = torch.rand(1, 1, *(20, 18, 17)[:dimensions]) * 2 - 1
    inner = (..., *(slice(2, -2),) * dimensions)  # the network's own zero padding differs at the border of the image

    def run(**options):
        size = (12,) * dimensions
        padded = nn.functional.pad(image, (8,) * 2 * dimensions, value=-1.0)
        output = WindowInferer(size, **options)(padded, network)
        return output[(..., *(slice(8, -8),) * dimensions)][inner]

    expected = run(overlap=0.5, batch_size=1)
    torch.testing.assert_close(run(overlap=0.5, batch_size=5), expected, atol=1e-5, rtol=0)
    # window borders see zeros in the place of their neighbours; the Gaussian gives them little weight
    whole = network(nn.functional.pad(image, (8,) * 2 * dimensions, value=-1.0)).detach()
    whole = whole[(..., *(slice(8, -8),) * dimensions)][inner]
    scale = float(whole.std())
    assert float((expected - whole).abs().mean()) < 0.05 * scale
    assert float((run(overlap=0.75) - expected).abs().mean()) < 0.05 * scale


def test_half_precision_networks_are_blended_in_float32():
    volume = torch.full((1, 1, 30, 30, 3), 0.7)
    output = WindowInferer((16, 16), overlap=0.75)(volume, lambda x: x.to(torch.bfloat16))
    assert output.dtype == torch.float32
    assert float((output - torch.tensor(0.7).to(torch.bfloat16)).abs().max()) < 1e-6
    double = WindowInferer((16, 16))(volume.double(), nn.Identity())
    assert double.dtype == torch.float32


def test_volumes_keep_their_affine_and_carry_no_gradient():
    affine = torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0], dtype=torch.float64))
    volume = MetaTensor(torch.rand(1, 1, 6, 7, 8), affine=affine)
    output = WindowInferer((8, 8))(volume, local_network(2))
    assert torch.equal(output.affine, affine)
    assert not output.requires_grad


def test_networks_that_work_in_place_leave_the_volume_alone():
    volume = torch.rand(1, 1, 10, 4, 3) * 2 - 1
    before = volume.clone()
    for network in (nn.ReLU(inplace=True), nn.Identity()):
        WindowInferer((4, 4), batch_size=1)(volume, network)
        assert torch.equal(volume, before)


def test_windows_are_computed_where_the_network_lies_unless_told_otherwise(monkeypatch):
    asked = []

    def inference(inputs, *args):
        asked.append((inputs.device.type, str(args[8])))  # sw_device
        return inputs

    monkeypatch.setattr("monai.inferers.inferer.sliding_window_inference", inference)
    network = nn.Conv2d(1, 1, 1, device="meta")
    WindowInferer((4, 4))(torch.zeros(1, 1, 4, 4, 2), network)
    WindowInferer((4, 4), device="cpu")(torch.zeros(1, 1, 4, 4, 2), network)
    WindowInferer((4, 4))(torch.zeros(1, 1, 4, 4, 2), nn.Identity())
    assert asked == [("cpu", "meta"), ("cpu", "cpu"), ("cpu", "cpu")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_windows_go_to_the_networks_device_and_the_volume_stays():
    volume = torch.rand(1, 1, 64, 64, 3000) * 2 - 1
    network = local_network(2).cuda()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    output = WindowInferer((64, 64), batch_size=4)(volume, network)
    assert output.device.type == "cpu"
    assert torch.cuda.max_memory_allocated() - before < volume.nbytes / 4
    expected = WindowInferer((64, 64), batch_size=4)(volume[..., :8], network.cpu())
    torch.testing.assert_close(output[..., :8], expected, atol=1e-4, rtol=1e-4)


def test_images_of_two_dimensions_go_through_the_same_windows():
    image = torch.rand(3, 1, 11, 7) * 2 - 1
    torch.testing.assert_close(WindowInferer((6, 6))(image, nn.Identity()), image, atol=1e-6, rtol=0)


def test_long_volumes_report_progress(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("medtrans.progress.on_terminal", lambda: False)
    WindowInferer((4, 4), batch_size=2)(torch.zeros(1, 1, 4, 4, 9), nn.Identity())
    assert "translating: 5/5 batch" in caplog.text
    caplog.clear()
    WindowInferer((4, 4), show_progress=False)(torch.zeros(1, 1, 4, 4, 9), nn.Identity())
    assert not caplog.text


def test_options_out_of_range_are_refused():
    for problem, options in [
        ("positive sizes", {"window": [8]}),
        ("positive sizes", {"window": [8, 0]}),
        ("axis", {"window": [8, 8], "axis": "z"}),
        ("axis", {"window": [8, 8], "axis": 3}),
        ("overlap", {"window": [8, 8], "overlap": 1.0}),
    ]:
        with pytest.raises(ValueError, match=problem):
            WindowInferer(**options)
    with pytest.raises(ValueError, match="cannot go over"):
        WindowInferer((8, 8, 8))(torch.zeros(1, 1, 8, 8), nn.Identity())


def test_the_evaluator_may_leave_volumes_where_they_are():
    source = torch.zeros(1, 1, 2, 2, 2)
    assert volumes_stay({"source": source}, "cuda")[0] is source
    assert volumes_stay({"source": source, "target": source})[1] is source
