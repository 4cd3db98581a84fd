"""PET of few counts: what a scan of a fraction of the time, or of the dose, would have shown."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor

from medtrans.simulate.degradation import Degradation, Degradationd, Parameters, Range, limits, noise_source
from medtrans.simulate.resolution import along, blurred
from medtrans.simulate.tomography.count_noise import added_noise
from medtrans.simulate.tomography.counts import (
    Coincidences,
    coincidences_per_content,
    expected_coincidences,
    thinned,
)
from medtrans.simulate.tomography.projector import ParallelBeam, parallel_beam
from medtrans.simulate.tomography.reconstruction import filtered_backprojection, osem
from medtrans.transforms import AttenuationMap

COMPANIONS = {"ct": "ct", "attenuation": "attenuation"}
UNITS = ("SUV", "Bq/ml", "kBq/ml")
DOMAINS = ("sinogram", "image")
ALGORITHMS = ("osem", "fbp")
SMALLEST_BIN = 2.0  # mm; detectors are not finer
SLICE_MM = 3.0  # of a 2D image that nobody says the thickness of
VIEWS_OF_NOISE = 24  # enough for means over all directions
SLICES_AT_ONCE = 32  # that are in memory as sinograms
THINNING = 0x7E7  # what sets the stream that drops coincidences apart from the one that makes them


class LowCountPET(Degradation):
    """A PET image as it would come from fewer coincidences.

    The image is taken as the activity that a scanner sees. Its slices are projected, attenuated, counted and
    reconstructed: ``counts ~ Poisson(trues + scatter + randoms)`` of the whole acquisition, of which each is kept with
    probability ``fraction`` (25 % of the time or of the dose), then OSEM or filtered backprojection with the true
    attenuation and background, then a Gaussian filter. The result has the unit of the image.

    Trues at 100 % are ``sensitivity · activity in the slice · acquisition`` behind attenuation; activity follows from
    the image's unit (SUV: ``dose / weight``, decayed over the uptake time) and decays over the acquisition.

    The full-count image of the same coincidences is the same call with ``fraction=1``: see :meth:`full_count`.
    Attenuation comes from a companion, ``ct`` in HU or ``attenuation`` in 1/cm; which of them it was, or "none",
    is recorded. Slices are axial; 2D images are one axial slice each.

    Args:
        fraction: share of the coincidences that is kept, above 0 up to 1.
        unit: of the image, "SUV" (body weight), "Bq/ml" or "kBq/ml"; of no matter with ``prompts``.
        dose_mbq: injected activity in MBq.
        weight_kg: of the patient.
        uptake_min: minutes from injection to scan.
        acquisition_s: seconds of the whole acquisition.
        sensitivity_cps_kbq: true coincidences a second for each kBq in the field of view, without attenuation. NEMA
            NU 2 gives it for a source of 700 mm; times 700 / axial field for this (7.5 at 260 mm: 20).
        half_life_min: of the isotope; default 18F.
        prompts: all coincidences of a slice at 100 %, the mean of the image's slices, instead of dose, time and
            sensitivity: for images in any unit.
        scatter_fraction: S / (T + S), 0 up to 1.
        randoms_fraction: R / (T + S + R), 0 up to 1.
        resolution_mm: full width at half maximum of the scanner's blur; 0 for images that have gone through a scanner.
        post_filter_mm: full width at half maximum of the Gaussian filter after reconstruction.
        algorithm: "osem", or "fbp" with a Hann window.
        iterations: of OSEM.
        subsets: of OSEM.
        views: angles of the sinogram; None takes about as many as there are bins.
        bin_mm: width of a bin; None is the voxel size, but 2 mm at least.
        slice_mm: thickness of the slice that a 2D image is; None takes the step across it where an item says that
            (:class:`LowCountPETd`), and 3 mm otherwise.
        kvp: tube voltage of a companion CT.
        domain: "sinogram" for all this; "image" takes the image as the full-count reconstruction and adds the noise
            that is between the two, of local variance and correlation (:func:`~.count_noise.added_noise`): several
            times as fast, no bias, ``resolution_mm`` is of no matter.

    Every number but ``subsets``, ``views``, ``bin_mm``, ``slice_mm`` and ``kvp`` may be a (lowest, highest) range.

    Raises:
        ValueError: a setting is outside its range.
    """

    companions = tuple(COMPANIONS)
    axial_only = True

    def __init__(
        self,
        fraction: Range = 0.25,
        unit: str = "SUV",
        dose_mbq: Range = 200.0,
        weight_kg: Range = 70.0,
        uptake_min: Range = 60.0,
        acquisition_s: Range = 600.0,
        sensitivity_cps_kbq: Range = 20.0,
        half_life_min: Range = 109.77,
        prompts: Range | None = None,
        scatter_fraction: Range = 0.35,
        randoms_fraction: Range = 0.25,
        resolution_mm: Range = 0.0,
        post_filter_mm: Range = 5.0,
        algorithm: str = "osem",
        iterations: Range = 4,
        subsets: int = 16,
        views: int | None = None,
        bin_mm: float | None = None,
        slice_mm: float | None = None,
        kvp: int = 120,
        domain: str = "sinogram",
    ) -> None:
        if unit not in UNITS and prompts is None:
            raise ValueError(f"the unit is one of {', '.join(UNITS)}, got {unit!r}; any other needs prompts")
        if algorithm not in ALGORITHMS:
            raise ValueError(f"the algorithm is one of {', '.join(ALGORITHMS)}, got {algorithm!r}")
        if domain not in DOMAINS:
            raise ValueError(f"the domain is one of {', '.join(DOMAINS)}, got {domain!r}")
        self.domain = domain
        self.ranges: dict[str, Range] = {
            "fraction": _within("fraction", fraction, 0, 1),
            "dose_mbq": _within("dose_mbq", dose_mbq, 0),
            "weight_kg": _within("weight_kg", weight_kg, 0),
            "uptake_min": _within("uptake_min", uptake_min, 0, lowest_too=True),
            "acquisition_s": _within("acquisition_s", acquisition_s, 0),
            "sensitivity_cps_kbq": _within("sensitivity_cps_kbq", sensitivity_cps_kbq, 0),
            "half_life_min": _within("half_life_min", half_life_min, 0),
            "scatter_fraction": _within("scatter_fraction", scatter_fraction, 0, 0.95, lowest_too=True),
            "randoms_fraction": _within("randoms_fraction", randoms_fraction, 0, 0.95, lowest_too=True),
            "resolution_mm": _within("resolution_mm", resolution_mm, 0, lowest_too=True),
            "post_filter_mm": _within("post_filter_mm", post_filter_mm, 0, lowest_too=True),
            "iterations": _within("iterations", iterations, 1, lowest_too=True),
        }
        if prompts is not None:
            self.ranges["prompts"] = _within("prompts", prompts, 0)
        fixed = {"subsets": subsets, "views": views, "bin_mm": bin_mm, "slice_mm": slice_mm}
        for name, value in fixed.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} is above 0, got {value}")
        if views is not None and views < subsets:
            raise ValueError(f"{subsets} subsets need as many views, got {views}")
        self.unit, self.algorithm, self.kvp = unit, algorithm, AttenuationMap(kvp).kvp
        self.subsets, self.views, self.bin_mm, self.slice_mm = int(subsets), views, bin_mm, slice_mm

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """The settings of a scan and its geometry, and the seed of its coincidences."""
        drawn: Parameters = {name: self.between(bounds) for name, bounds in self.ranges.items()}
        bin_mm = max(min(spacing[:2]), SMALLEST_BIN) if self.bin_mm is None else self.bin_mm
        diagonal = math.hypot(shape[1] * spacing[0], shape[2] * spacing[1])
        views = max(math.ceil(diagonal / bin_mm / self.subsets), 1) * self.subsets if self.views is None else self.views
        return drawn | {
            "iterations": round(drawn["iterations"]),
            "unit": self.unit,
            "domain": self.domain,
            "algorithm": self.algorithm,
            "subsets": self.subsets,
            "views": views,
            "bin_mm": float(bin_mm),
            "slice_mm": float(spacing[2] if len(spacing) == 3 else self.slice_mm or self.across_mm or SLICE_MM),
            "kvp": self.kvp,
            "seed": self.new_seed(),
        }

    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The reconstruction of the coincidences that are kept."""
        steps, attenuation = (*spacing, parameters["slice_mm"])[:3], _attenuation(parameters, companions)
        if parameters["domain"] == "image":
            return self._noisier(img, attenuation, parameters, steps)
        activity = gaussian(_volume(img.clamp_min(0)), parameters["resolution_mm"], steps, img.ndim - 1)
        events, thinning = noise_source(parameters), torch.Generator().manual_seed(parameters["seed"] ^ THINNING)
        beam = _beam(parameters, img.shape, steps, img.device)
        scale = _scale(beam, activity, attenuation, parameters)
        slices = []
        for expected in _sinograms(beam, activity, attenuation, scale, parameters):
            counts = torch.poisson(expected.prompts.cpu(), generator=events)
            kept = thinned(counts, parameters["fraction"], thinning).to(img.device)
            slices.append(_reconstructed(beam, kept, expected, parameters))
        image = gaussian(torch.cat(slices, -1), parameters["post_filter_mm"], steps, img.ndim - 1)
        return image.reshape(img.shape)

    def _noisier(
        self, img: torch.Tensor, attenuation: torch.Tensor | None, parameters: Parameters, spacing: Sequence[float]
    ) -> torch.Tensor:
        """The image with the noise that fewer counts add."""
        if parameters["fraction"] >= 1:
            return img.clone()
        activity = _volume(img.clamp_min(0))
        few = {**parameters, "views": min(VIEWS_OF_NOISE, parameters["views"]), "subsets": 1}
        beam = _beam(few, img.shape, spacing, img.device)
        scale = _scale(beam, activity, attenuation, parameters)
        expected = _sinograms(beam, activity, attenuation, scale, parameters)
        noise = added_noise(beam, activity, expected, parameters, noise_source(parameters))
        image = img + gaussian(noise, parameters["post_filter_mm"], spacing, img.ndim - 1).reshape(img.shape)
        return image.clamp_min(0) if parameters["algorithm"] == "osem" else image

    def full_count(
        self, img: Any, parameters: Parameters, spacing: Sequence[float] | None = None, **companions: Any
    ) -> MetaTensor:
        """The reconstruction of all coincidences, of which the low-count image with these parameters kept some."""
        return self.reapply(img, {**parameters, "fraction": 1.0}, spacing, **companions)

    def with_companions(self, parameters: Parameters, given: Sequence[str]) -> Parameters:
        """The parameters with what attenuation comes from."""
        source = " and ".join(given) or "none"
        if len(given) > 1:
            raise ValueError(f"attenuation comes from one companion, got {source}")
        if (recorded := parameters.get("attenuation", source)) != source:
            raise ValueError(f"the parameters were recorded with attenuation from {recorded}, now it is {source}")
        return {**parameters, "attenuation": source}


class LowCountPETd(Degradationd):
    """Dictionary form of :class:`LowCountPET`.

    Items say the unit of an image in ``item["unit"]`` or, as those of data sets do, in ``item["windows"][key]``: it is
    held against the setting, for Bq/ml that are counted as SUV make thousands of times too many coincidences.

    Args:
        keys: PET images ``(C, X, Y[, Z])``, to degrade alike.
        reference_key: gets the full-count reconstruction of the same coincidences, of the first key: what the
            low-count image is compared with, as 25 % and 100 % of one acquisition are. None leaves the item's own
            images as they are, so that an entry that holds the true activity is what to compare with.
        companions: ``ct`` or ``attenuation`` -> key of the entry that holds it, by default of the same name; entries
            that the item lacks, or that are None, are not handed over.
        spacing_key: see :class:`~medtrans.simulate.degradation.Degradationd`.
        allow_missing_keys: pass over entries that are missing.
        **settings: of :class:`LowCountPET`.

    Raises:
        ValueError: on a call, an image is in another unit than the setting says, and ``prompts`` is not set.
    """

    array_form = LowCountPET

    def __init__(
        self,
        keys: KeysCollection,
        reference_key: Hashable | None = None,
        companions: Mapping[str, Hashable] | None = None,
        spacing_key: Hashable = "spacing",
        allow_missing_keys: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(keys, companions or COMPANIONS, spacing_key, allow_missing_keys, **settings)
        self.reference_key = reference_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its keys degraded by the same parameters, and with the reference."""
        for key in self.key_iterator(dict(data)):
            self._check_unit(_unit_of(data, key))
        item = super().__call__(data)
        first = next(iter(self.key_iterator(item)), None)
        if self.reference_key is not None and first is not None:
            scan: Any = self.degradation
            beside = {name: data[key] for name, key in self.companion_keys.items() if key in data}
            spacing = self._spacing(item, first)
            item[self.reference_key] = scan.full_count(data[first], scan.parameters, spacing, **beside)
        return item

    def _check_unit(self, unit: str) -> None:
        """Refuse an image in another unit than the setting says; one that says none has that of the setting."""
        scan: Any = self.degradation
        if not unit or "prompts" in scan.ranges or _plain(unit) == _plain(scan.unit):
            return
        known = next((name for name in UNITS if _plain(name) == _plain(unit)), None)
        remedy = f"set unit to {known}" if known else f"bring it to {', '.join(UNITS)}, or set prompts"
        raise ValueError(f"the image is in {unit}, but its coincidences would be counted as of {scan.unit}: {remedy}")


def gaussian(volume: torch.Tensor, fwhm_mm: float, spacing: Sequence[float], axes: int = 3) -> torch.Tensor:
    """``(C, X, Y, Z)`` convolved with a Gaussian of this full width at half maximum along its first ``axes`` axes."""
    for axis, step in enumerate(spacing[:axes]):
        volume = along(volume, blurred(volume.shape[axis + 1], step, fwhm_mm), axis)
    return volume


def _unit_of(item: Mapping[Hashable, Any], key: Hashable) -> str:
    """The unit that the item says its entry has; empty where it says none."""
    windows = (item.get("windows") or {}).get(key) or ()
    return str(item.get("unit") or next((unit for _, _, unit in windows if unit), ""))


def _plain(unit: str) -> str:
    """``kBq/mL`` and ``kbq/ml`` are one unit."""
    return unit.replace(" ", "").lower()


def _within(name: str, bounds: Range, low: float, high: float = math.inf, lowest_too: bool = False) -> Range:
    """``bounds``, checked."""
    least, most = limits(bounds)
    if not (low <= least if lowest_too else low < least) or most > high:
        above = "from" if lowest_too else "above"
        raise ValueError(f"{name} is {above} {low}{f' up to {high}' if high < math.inf else ''}, got {bounds}")
    return bounds


def _volume(img: torch.Tensor) -> torch.Tensor:
    """``(C, X, Y[, Z])`` -> ``(C, X, Y, Z)``."""
    return img if img.ndim == 4 else img[..., None]


def _attenuation(parameters: Parameters, companions: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """``(1 or C, X, Y, Z)`` in 1/cm, from what was given."""
    if "ct" in companions:
        return _volume(AttenuationMap(parameters["kvp"])(companions["ct"]))
    return _volume(companions["attenuation"]) if "attenuation" in companions else None


def _beam(parameters: Parameters, shape: Sequence[int], spacing: Sequence[float], device: torch.device) -> ParallelBeam:
    subsets = parameters["subsets"] if parameters["algorithm"] == "osem" else 1
    in_plane = (float(spacing[0]), float(spacing[1]))
    size = (int(shape[1]), int(shape[2]))
    return parallel_beam(size, in_plane, parameters["views"], parameters["bin_mm"], None, subsets, str(device))


def _scale(
    beam: ParallelBeam, activity: torch.Tensor, attenuation: torch.Tensor | None, parameters: Parameters
) -> float:
    """True coincidences for each value·mm² of a slice's content."""
    if "prompts" not in parameters:
        return coincidences_per_content(parameters, parameters["slice_mm"])
    unit_scans = _sinograms(beam, activity, attenuation, 1.0, parameters)
    counted = sum(float(expected.prompts.double().sum()) for expected in unit_scans)
    wanted = parameters["prompts"] * activity.shape[-1] * activity.shape[0]
    return wanted / counted if counted > 0 else 0.0


def _sinograms(
    beam: ParallelBeam,
    activity: torch.Tensor,
    attenuation: torch.Tensor | None,
    scale: float,
    parameters: Parameters,
) -> Iterator[Coincidences]:
    """What is expected at 100 %, some slices at a time."""
    for start in range(0, activity.shape[-1], SLICES_AT_ONCE):
        some = slice(start, start + SLICES_AT_ONCE)
        yield expected_coincidences(
            beam,
            activity[..., some],
            None if attenuation is None else attenuation[..., some],
            scale,
            parameters["scatter_fraction"],
            parameters["randoms_fraction"],
        )


def _reconstructed(
    beam: ParallelBeam, counts: torch.Tensor, expected: Coincidences, parameters: Parameters
) -> torch.Tensor:
    """Slices in the unit of the activity."""
    factor, background = (parameters["fraction"] * part for part in (expected.factor, expected.background))
    if parameters["algorithm"] == "osem":
        return osem(beam, counts, factor, background, parameters["iterations"])
    return filtered_backprojection(beam, (counts - background) / factor.clamp_min(torch.finfo(factor.dtype).tiny))
