"""Implants: their place and size, and what hardening and starvation do to rays behind them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medtrans.simulate import MetalArtefactCT
from medtrans.simulate.degradation import Parameters
from medtrans.simulate.tomography import ParallelBeam
from medtrans.simulate.tomography.ct import WATER, attenuation_of
from medtrans.simulate.tomography.metal_artefact_ct import METALS, SPECTRUM, WATER_AT, as_water, implanted

SIZE, STEP = 81, 2.0
AXIS = (np.arange(SIZE) - SIZE // 2) * STEP
RADII = np.hypot(AXIS[:, None], AXIS[None])


def head(slices: int = 5) -> np.ndarray:
    """Water with two bones, ``(1, X, Y, Z)``."""
    scan = np.where(RADII < 70, 0.0, -1000.0)
    for x in (-32, 32):
        scan[np.hypot(AXIS[:, None] - x, AXIS[None]) < 5] = 1200
    return np.repeat(scan[None, ..., None], slices, axis=-1).astype(np.float32)


def with_metal(metal: str, photons: float = 1e7, slices: int = 5, scan: np.ndarray | None = None) -> np.ndarray:
    """Implants in the middle of both bones, in the slices 1 to 3 of 5."""
    scan = head(slices) if scan is None else scan
    site = np.zeros_like(scan)
    for x in (-32, 32):
        site[:, SIZE // 2 + int(x / STEP), SIZE // 2, scan.shape[-1] // 2] = 1
    implant: Parameters = {"radius_mm": 3.0, "height_mm": 6.0}
    parameters = {
        "views": 120,
        "window": "hann",
        "metal": metal,
        "implants": [implant | {"place": 0.25}, implant | {"place": 0.75}],
        "bone_hu": 700.0,
        "photons_per_ray": photons,
        "electronic_photons": 10.0,
        "seed": 1,
    }
    return MetalArtefactCT().reapply(scan, parameters, (STEP, STEP, 2.0), site=site).numpy()


def test_between_two_implants_lies_a_dark_band_and_water_elsewhere_keeps_its_value() -> None:
    change = (with_metal("steel") - head())[0, ..., 2]
    middle = SIZE // 2
    between, above = change[middle - 6 : middle + 7, middle], change[middle - 6 : middle + 7, middle + 22]
    assert between.mean() < -50
    assert abs(above.mean()) < 0.3 * abs(between.mean())


def test_denser_metals_do_more() -> None:
    middle = SIZE // 2
    bands = [
        (with_metal(metal) - head())[0, middle - 6 : middle + 7, middle, 2].mean() for metal in ("titanium", "steel")
    ]
    assert bands[1] < 2 * bands[0] < 0


def test_few_photons_behind_gold_are_noise_along_the_line_of_both() -> None:
    middle = SIZE // 2
    many, few = ((with_metal("gold", photons) - head())[0, ..., 2] for photons in (1e9, 1e3))
    assert np.isfinite(few).all()
    band = (slice(middle - 8, middle + 9), slice(middle - 3, middle + 4))
    assert (few - many)[band].std() > 20


def test_metal_reads_what_is_stored_at_most_and_other_slices_stay_bit_by_bit() -> None:
    seen, scan = with_metal("gold"), head()
    assert (seen[0, SIZE // 2 + 16, SIZE // 2, 1:4] == 3071).all()
    assert np.array_equal(seen[..., [0, 4]], scan[..., [0, 4]])
    assert (seen[..., 1:4] != scan[..., 1:4]).mean() > 0.5


def test_hardening_is_corrected_for_water_and_for_nothing_else() -> None:
    water = np.linspace(0, 400, 37)

    def hidden(metal: float) -> np.ndarray:
        passed = [
            share * np.exp(-by_water * water - by_metal * metal)
            for share, by_water, by_metal in zip(SPECTRUM, WATER_AT, METALS["steel"], strict=True)
        ]
        return -np.log(np.sum(passed, axis=0))

    np.testing.assert_allclose(as_water(hidden(0)), water, atol=1e-3)
    thin, thick = (as_water(hidden(metal)) - water for metal in (0.5, 5.0))
    assert (thick < 8 * thin).all()  # a line would be 10: the beam has hardened
    assert as_water(np.array([-0.01])) == pytest.approx(-0.01 / np.dot(SPECTRUM, WATER_AT), rel=1e-2)


def test_attenuation_falls_with_energy_except_at_the_edge_of_gold_and_is_near_that_of_water_at_70_kev() -> None:
    for name, values in METALS.items():
        falls = np.diff(values) < 0
        assert falls[:3].all()
        assert falls[3] == (name != "gold")
    at_70 = np.exp(np.interp(np.log(70), np.log([60, 80]), np.log(WATER_AT[2:4])))
    assert at_70 == pytest.approx(WATER, rel=0.01)
    assert sum(SPECTRUM) == pytest.approx(1)


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (1.0, 1.0, 3.0)])
def test_an_implant_lies_on_its_voxel_and_has_its_volume(spacing: tuple[float, float, float]) -> None:
    site = torch.zeros(41, 43, 37, dtype=torch.bool)
    site[5, 5, 5] = site[20, 22, 18] = True
    implant: Parameters = {"place": 0.6, "radius_mm": 3.0, "height_mm": 6.0}
    filled = implanted(site, [implant], spacing)
    assert filled.sum().item() * np.prod(spacing) == pytest.approx(np.pi * 9 * 6, rel=0.03)
    centre = (filled[..., None] * torch.stack(torch.meshgrid(*map(torch.arange, filled.shape), indexing="ij"), -1)).sum(
        (0, 1, 2)
    ) / filled.sum()
    np.testing.assert_allclose(centre, [20, 22, 18], atol=1e-3)


def test_implants_are_in_bone_unless_a_site_is_given() -> None:
    scan = head(1)[..., 0]
    found = MetalArtefactCT("gold", implants=1, radius=4).set_random_state(0)(scan, (STEP, STEP)).numpy()
    x, y = np.nonzero(found[0] == 3071)
    assert np.hypot(np.abs(AXIS[x]) - 32, AXIS[y]).max() < 5 + 4 + 2 * STEP
    site = np.zeros_like(scan)
    site[:, 50, 20] = 1
    placed = MetalArtefactCT("steel", implants=1, radius=2).set_random_state(0)(scan, (STEP, STEP), site=site).numpy()
    assert placed[0, 50, 20] == 3071


def test_metal_takes_the_place_of_the_tissue_that_was_there() -> None:
    beam = ParallelBeam((SIZE, SIZE), (STEP, STEP), 20)
    metal = torch.from_numpy((head(1) == 1200).astype(np.float32))
    degradation = MetalArtefactCT("titanium", implants=0)
    parameters = degradation.draw((1, SIZE, SIZE), (STEP, STEP))
    lines = []
    for bone in (500.0, 2500.0):
        tissue = attenuation_of(torch.where(metal > 0, bone, torch.from_numpy(head(1))))
        change = degradation.change(tissue, 0, beam, parameters, metal=metal)
        lines.append((beam.project(tissue) + change)[beam.project(metal) > 0])
    np.testing.assert_allclose(lines[0], lines[1], atol=1e-4)
