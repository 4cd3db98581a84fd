"""Accelerated MR against theory: identity, aliases, transforms summed by hand, coils, noise, records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.apps.reconstruction.complex_utils import complex_abs
from monai.apps.reconstruction.mri_utils import root_sum_of_squares
from monai.data import MetaTensor
from monai.data.fft_utils import fftn_centered, ifftn_centered
from monai.transforms import Compose
from scipy.stats import chi, rayleigh

from medtrans.simulate import HeadPhantom
from medtrans.simulate.mr.coils import CoilArray
from medtrans.simulate.mr.masks import CARTESIAN, cartesian_mask
from medtrans.simulate.mr.undersampling import READOUTS, SAMPLINGS, UndersampledMR, UndersampledMRd, encoding_of

CPU = torch.device("cpu")
CLEAN = {"phase": 0.0}
T1 = Path(__file__).parents[4] / "shared" / "data" / "nifti_dev"


def image_of(*shape: int, seed: int = 0) -> torch.Tensor:
    return 50 + 100 * torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed))


def point(*shape: int) -> torch.Tensor:
    image = torch.zeros(1, *shape)
    image[(0, *[size // 2 for size in shape])] = 1
    return image


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    """An axial slice of the head phantom, T1, 3 mm."""
    images = HeadPhantom(1, spacing=3.0, shape=(64, 75, 1), noise=False).images(["T1"])
    return torch.as_tensor(images["T1"])[None, ..., 0]


def worst(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((torch.as_tensor(found) - expected).abs().max() / expected.abs().max())


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(CARTESIAN),
    st.lists(st.integers(5, 24), min_size=2, max_size=3),
    st.sampled_from(["2d", "3d"]),
    st.sampled_from([(1, "root sum of squares"), (3, "root sum of squares"), (5, "matched"), (4, "cg-sense")]),
    st.sampled_from([(0, 1), (1, 0), (1, 2)]),
    st.floats(0, 6),
)
def test_a_whole_measurement_gives_the_image_back(sampling, shape, encoding, coils, axes, phase) -> None:
    phase_axis, slice_axis = axes
    spacing = [0.8, 1.5, 4.0][: len(shape)]
    whole = UndersampledMR(
        sampling,
        acceleration=1,
        encoding=encoding,
        phase_axis=phase_axis,
        slice_axis=slice_axis,
        coils=coils[0],
        combination=coils[1],
        phase=phase,
    )
    image = image_of(*shape)
    assert worst(whole(image, spacing), image) < 1e-5


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_every_rth_line_gives_r_images_a_rth_of_the_field_of_view_apart_of_a_rth_the_size(factor, axis) -> None:
    """The point-spread function of a comb is a comb; phases of its teeth are seen by nobody in the magnitude."""
    shape = (48, 60)
    out = UndersampledMR("equispaced", factor, centre=0, phase_axis=axis, **CLEAN)(point(*shape), (1, 1)).as_tensor()
    expected = torch.zeros(1, *shape)
    for alias in range(factor):
        place = [24, 30]
        place[axis] = (place[axis] + alias * shape[axis] // factor) % shape[axis]
        expected[0, place[0], place[1]] = 1 / factor
    assert torch.allclose(out, expected, atol=1e-6)


def test_a_lattice_of_two_axes_has_its_aliases_along_both() -> None:
    out = UndersampledMR("equispaced", 4, centre=0, encoding="3d", **CLEAN)(point(32, 32), (1, 1)).as_tensor()
    places = {(int(x), int(y)) for _, x, y in torch.nonzero(out > 1e-4)}
    assert places == {(x, y) for x in (0, 16) for y in (0, 16)}
    assert torch.allclose(out[out > 1e-4], torch.tensor(0.25), atol=1e-6)


@pytest.mark.parametrize("sampling", CARTESIAN)
@pytest.mark.parametrize("shape", [(33, 28), (32, 31)])
def test_masked_monai_transforms_give_the_same_image(sampling, shape) -> None:
    degrade = UndersampledMR(sampling, 3, centre=0.1, **CLEAN).set_random_state(2)
    image = image_of(*shape)
    out = degrade(image, (1, 1))
    random = np.random.default_rng([degrade.parameters["seed"], 0])
    mask = torch.as_tensor(cartesian_mask(sampling, [shape[1]], 3, 0.1, random)).float()
    kspace = fftn_centered(torch.stack([image, 0 * image], -1), 2, is_complex=True)
    expected = complex_abs(ifftn_centered(kspace * mask[:, None], 2, is_complex=True))
    assert worst(out, root_sum_of_squares(expected[None], spatial_dim=0)) < 1e-5


@pytest.mark.parametrize("sampling", READOUTS)
@pytest.mark.parametrize("shape", [(14, 14), (15, 12)])
def test_readouts_are_the_fourier_sum_written_out(sampling, shape) -> None:
    """Samples and adjoint against sums over all voxels and samples in float64."""
    parameters = UndersampledMR(sampling, 2, arms=3).draw((1, *shape), (1, 1))
    encoding = encoding_of(parameters, (1, *shape), CPU)
    image = image_of(*shape).to(torch.complex64) * torch.exp(1j * image_of(*shape, seed=1))
    place = [np.arange(size) - size // 2 for size in shape]
    waves = [np.exp(-1j * np.outer(axis.astype(float), at)) for axis, at in zip(encoding.points, place, strict=True)]
    samples = np.einsum("mx,my,xy->m", *waves, image[0].numpy()) / np.sqrt(image.numel())
    measured = encoding.sample(image)
    assert np.abs(measured[0].numpy() - samples).max() < 1e-4 * np.abs(samples).max()
    weighted = samples * encoding.areas.double().numpy()
    back = np.einsum("mx,my,m->xy", waves[0].conj(), waves[1].conj(), weighted) * np.sqrt(image.numel())
    assert np.abs(encoding.adjoint(measured)[0].numpy() - back).max() < 1e-4 * np.abs(back).max()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_sampling_and_its_adjoint_are_each_others(sampling) -> None:
    """<A x, W A y> = <x, Aᴴ W A y>: what conjugate gradients need, on a volume with odd sizes."""
    shape = (2, 9, 12, 7)
    parameters = UndersampledMR(sampling, 2, phase_axis=0, slice_axis=1, centre=0.1).draw(shape, (1, 1, 1))
    encoding = encoding_of(parameters, shape, CPU)
    x, y = (torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(s)) for s in (0, 1))

    def inner(a: torch.Tensor, b: torch.Tensor) -> complex:
        return complex((a.conj() * encoding.adjoint(encoding.sample(b))).sum())

    assert inner(x, y) == pytest.approx(inner(y, x).conjugate(), rel=1e-3, abs=1e-2)
    assert inner(x, x).real > 0
    assert abs(inner(x, x).imag) < 1e-3 * inner(x, x).real


@pytest.mark.parametrize("sampling", READOUTS)
def test_slices_of_a_volume_are_read_as_slices_alone_are(sampling) -> None:
    volume = image_of(16, 5, 18)
    degrade = UndersampledMR(sampling, 3, phase_axis=0, slice_axis=1, **CLEAN).set_random_state(0)
    out = degrade(volume, (1, 3, 1)).as_tensor()
    alone = degrade.reapply(volume[:, :, 2], degrade.parameters, (1, 1)).as_tensor()
    assert worst(out[:, :, 2], alone) < 1e-4


def test_sense_unfolds_aliases_that_the_other_combinations_leave(head) -> None:
    """Every second line, no centre: eight coils see the two places that lie on each other differently."""
    errors = {}
    for how in ("root sum of squares", "matched", "cg-sense"):
        degrade = UndersampledMR("equispaced", 2, centre=0, coils=8, combination=how, iterations=30)
        errors[how] = worst(degrade.set_random_state(0)(head, (3, 3)), head)
    assert errors["cg-sense"] < 0.01
    assert min(errors["root sum of squares"], errors["matched"]) > 0.2


def test_sense_amplifies_noise_by_pruessmanns_g_factor() -> None:
    """√R g σ, with g = √([(SᴴS)⁻¹]ρρ [SᴴS]ρρ) of the R places that lie on each other (Magn Reson Med 42, 1999)."""
    size, factor = 48, 3
    image = torch.full((1, size, size), 100.0)
    array = CoilArray(8, (size, size), (4, 4), CPU)
    maps = torch.stack([array.sensitivity(coil) for coil in range(8)]).numpy()
    folded = np.stack([np.roll(maps, -alias * size // factor, axis=2) for alias in range(factor)], -1)
    gram = np.einsum("cxya,cxyb->xyab", folded.conj(), folded)
    g = np.sqrt(np.linalg.inv(gram)[..., 0, 0].real * gram[..., 0, 0].real)
    sense = UndersampledMR(
        "equispaced", factor, centre=0, coils=8, combination="cg-sense", iterations=60, noise_percent=0.5, **CLEAN
    )
    noise = [sense.set_random_state(seed)(image, (4, 4)).as_tensor()[0].numpy() - 100 for seed in range(30)]
    found = np.std(noise, axis=0) / (0.5 * factor**0.5)
    easy = g < 3  # elsewhere 60 iterations are not enough
    assert easy.mean() > 0.6
    ratio = found[easy] / g[easy]
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert ratio.std() < 1.3 / np.sqrt(2 * 30)  # a standard deviation of 30 draws is known to 13 %


def test_noise_of_one_coil_is_rayleigh_in_air_and_of_n_coils_chi() -> None:
    """σ of both parts is a share of the foreground's signal, here 200."""
    image = torch.zeros(1, 160, 160)
    image[:, 80:] = 200
    for coils, law in ((1, rayleigh(scale=10)), (4, chi(8, scale=10))):
        noisy = UndersampledMR(acceleration=1, coils=coils, noise_percent=5, **CLEAN).set_random_state(0)
        air = noisy(image, (1, 1)).as_tensor()[:, :80].numpy().ravel()
        assert air.mean() == pytest.approx(law.mean(), rel=0.01)
        assert air.var() == pytest.approx(law.var(), rel=0.04)


def test_a_rth_of_the_lines_carries_a_rth_of_the_noise_variance() -> None:
    """In air that no alias reaches, since aliases lie along the phase-encoded axis."""
    image = torch.zeros(1, 160, 160)
    image[:, 80:] = 200
    noisy = UndersampledMR("random", 4, centre=0, noise_percent=5, **CLEAN).set_random_state(0)
    air = noisy(image, (1, 1)).as_tensor()[:, :80].numpy()
    assert air.mean() == pytest.approx(rayleigh(scale=10 / 4**0.5).mean(), rel=0.02)


@pytest.mark.parametrize("method", ["homodyne", "pocs", "zero-filled"])
@pytest.mark.parametrize("shape", [(24, 32), (24, 33)])
def test_an_image_without_phase_is_made_whole_by_its_symmetry(method, shape) -> None:
    """k-space of a real image is Hermitian: 5/8 of it say all."""
    partial = UndersampledMR(acceleration=1, partial_fourier=5 / 8, partial_fourier_method=method, **CLEAN)
    image = image_of(*shape)
    error = worst(partial(image, (1, 1)), image)
    assert error < {"homodyne": 1e-5, "pocs": 0.02, "zero-filled": 1}[method]
    if method == "zero-filled":
        assert error > 0.1


def test_with_a_phase_homodyne_and_pocs_are_better_than_zeros_but_not_exact(head) -> None:

    def error(method: str, fraction: float = 5 / 8) -> float:
        partial = UndersampledMR(acceleration=1, partial_fourier=fraction, partial_fourier_method=method, phase=3.0)
        out = partial.set_random_state(0)(head, (3, 3)).as_tensor()
        return float((out - head).square().mean().sqrt() / head.mean())

    zeros = error("zero-filled")
    for method in ("homodyne", "pocs"):
        assert 1e-4 < error(method) < 0.6 * zeros
        assert error(method, 7 / 8) < error(method)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_more_acceleration_is_more_error(head, sampling) -> None:

    def error(acceleration: float) -> float:
        out = UndersampledMR(sampling, acceleration).set_random_state(0)(head, (3, 3)).as_tensor()
        return float((out - head).square().mean())

    assert error(2) < error(4) < error(8)


def test_the_seed_and_the_record_make_the_same_image_again() -> None:
    image = image_of(20, 22)
    for sampling in SAMPLINGS:
        degrade = UndersampledMR(sampling, (2, 4), coils=2, noise_percent=(1, 3), partial_fourier=1)
        first, again, other = (degrade.set_random_state(seed)(image, (1, 2)) for seed in (3, 3, 4))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        record = json.loads(json.dumps(first.meta["degradations"][0]))
        assert torch.equal(first, UndersampledMR().reapply(image, record["parameters"], (1, 2)))
        assert 2 <= record["parameters"]["acceleration"] <= 4


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong, words in (
        ({"sampling": "zigzag"}, "sampling is one of"),
        ({"acceleration": 0.5}, "acceleration is 1 or more"),
        ({"centre": 0.3, "acceleration": 4}, "centre"),
        ({"partial_fourier": 0.5}, "5/8"),
        ({"sampling": "radial", "partial_fourier": 0.75}, "radial has none"),
        ({"phase_axis": 2}, "phase_axis"),
        ({"phase_axis": -1}, "phase_axis"),
        ({"coils": 0}, "coils"),
        ({"combination": "sum"}, "combination"),
        ({"partial_fourier_method": "guess"}, "partial_fourier_method"),
        ({"noise_percent": -1}, "noise_percent"),
        ({"encoding": "4d"}, "encoding"),
        ({"sampling": "spiral", "centre": 0.3}, "centre"),
    ):
        with pytest.raises(ValueError, match=words):
            UndersampledMR(**wrong)
    with pytest.raises(ValueError, match="no phase_axis 2"):
        UndersampledMR(phase_axis=2, slice_axis=0)(image_of(8, 8), (1, 1))


def test_a_dictionary_degrades_its_keys_alike() -> None:
    item = {"source": image_of(16, 16), "again": image_of(16, 16), "spacing": [1.0, 1.0, 5.0], "axis": 2}
    chain = Compose([UndersampledMRd(["source", "again"], sampling="gaussian", coils=2)]).set_random_state(1)
    out = chain(item)
    assert torch.equal(out["source"], out["again"])
    assert out["source"].meta["degradations"][0]["degradation"] == "UndersampledMR"


@pytest.mark.parametrize(("shape", "spacing"), [((40, 62), (1.0, 0.5)), ((20, 31, 9), (2.0, 1.0, 4.0))])
def test_coils_are_normalised_and_each_is_most_sensitive_on_its_own_side(shape, spacing) -> None:
    array = CoilArray(6, shape, spacing, CPU)
    maps = torch.stack([array.sensitivity(coil) for coil in range(6)])
    assert torch.allclose((maps.abs() ** 2).sum(0), torch.ones(shape), atol=1e-5)
    for coil, seen in enumerate(maps):
        angle, weight = 2 * np.pi * coil / 6, seen.abs().numpy() ** 2
        x, y, *_ = np.meshgrid(
            *[(np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, spacing, strict=True)], indexing="ij"
        )
        outwards = x * np.cos(angle) + y * np.sin(angle)
        assert (weight * outwards).sum() / weight.sum() > 3
    if len(shape) == 2:  # smooth: by a voxel of 1/40 of the field of view
        assert maps.diff(dim=1).abs().max() < 0.08


def test_a_loop_has_biot_savarts_field_on_its_axis() -> None:
    """B ∝ a² / (a² + d²)^1.5 along the line from the coil through the centre."""
    array = CoilArray(8, (65, 65), (3.0, 3.0), CPU)
    line = array._received(0).abs().numpy()[:, 32]
    away = array.ring - (np.arange(65) - 32) * 3.0
    theory = (array.radius**2 + away**2) ** -1.5
    assert line / line[32] == pytest.approx(theory / theory[32], rel=0.02)


@pytest.mark.skipif(not T1.is_dir(), reason="needs the public scans")
def test_a_real_scan_keeps_its_low_frequencies_and_its_place() -> None:
    import nibabel

    nifti = nibabel.load(next(T1.rglob("*_t1.nii.gz")))
    volume = np.asarray(nifti.dataobj, np.float32).squeeze()[::2, ::2, ::2]
    image = MetaTensor(torch.as_tensor(volume.copy())[None], affine=nifti.affine @ np.diag([2, 2, 2, 1]))
    out = UndersampledMR("gaussian", 3, coils=2).set_random_state(0)(image)
    assert np.array_equal(out.affine, image.affine)
    assert np.corrcoef(out.numpy().ravel(), volume.ravel())[0, 1] > 0.9
