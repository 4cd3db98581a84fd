"""Accelerated MR: a part of k-space is measured, by one coil or several, and an image is made from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from medtrans.simulate.degradation import Degradation, Degradationd, Parameters, Range, limits, noise_source
from medtrans.simulate.mr.coils import CoilArray
from medtrans.simulate.mr.combination import COMBINATIONS, combined
from medtrans.simulate.mr.encoding import CartesianEncoding, Encoding, ReadoutEncoding
from medtrans.simulate.mr.kspace import complex_noise
from medtrans.simulate.mr.masks import CARTESIAN, cartesian_mask
from medtrans.simulate.mr.partial_fourier import METHODS, PartialFourier
from medtrans.simulate.mr.readouts import radial, spiral
from medtrans.simulate.mr.signal_level import signal_level
from medtrans.simulate.mr.smooth_field import smooth_field

READOUTS = ("radial", "golden-angle radial", "spiral")
SAMPLINGS = (*CARTESIAN, *READOUTS)


class UndersampledMR(Degradation):
    """An MR image from a part of its k-space.

    The image is given a smooth phase, seen by every coil with its own sensitivity, transformed, sampled, and made an
    image again. Low frequencies keep their size: nothing is scaled.

    Args:
        sampling: one of ``SAMPLINGS``. Cartesian: ``random``, ``equispaced``, ``gaussian`` or ``poisson``
            phase encodings (:func:`~medtrans.simulate.mr.masks.cartesian_mask`); ``radial``, ``golden-angle radial``,
            ``spiral``: readouts in the plane, made an image by density compensation and the adjoint non-uniform
            Fourier transform.
        acceleration: what a whole measurement takes / what is measured, 1 or more. Whole are all phase encodings; π/2
            spokes a voxel of the longer side; spirals whose turns are one cycle a field of view apart.
        centre: share of phase encodings around the zero frequency that is always measured; of a spiral, of its radius.
            Radial scans always measure it.
        encoding: ``2d``: slices, each with one phase-encoded axis; ``3d``: two phase-encoded axes, as in a volume
            excited whole. Readouts: a volume is a stack of stars or spirals, alike for both.
        phase_axis: phase-encoded axis of the image.
        slice_axis: axis across the slices, in a 3d encoding the second phase-encoded axis. A 2D image is one slice;
            with ``3d`` both its axes are phase-encoded.
        partial_fourier: share of k-space that is acquired along ``phase_axis``, 5/8 to 1, before any acceleration.
        partial_fourier_method: ``zero-filled``, ``homodyne`` or ``pocs``
            (:class:`~medtrans.simulate.mr.partial_fourier.PartialFourier`).
        coils: how many (:class:`~medtrans.simulate.mr.coils.CoilArray`).
        combination: ``root sum of squares``; ``matched``: weighted with the conjugate sensitivities, the optimum for
            equal noise (Roemer et al., Magn Reson Med 16, 1990); ``cg-sense``: least squares with the sensitivities
            known (Pruessmann et al., Magn Reson Med 46, 2001).
        iterations: of ``cg-sense``; it stops before noise is amplified.
        noise_percent: standard deviation of the noise in the real and in the imaginary part of every coil, in % of the
            signal of the foreground, as it would be in the image of a whole measurement. A 2D image has its own
            foreground: the slices of a volume, taken one by one, have noise in proportion to their own signal.
        phase: of the image, between its largest and its smallest, in rad.
        phase_length: length scale of the phase in mm.
        arms: of the spiral.

    Raises:
        ValueError: a setting is unknown or impossible.
    """

    def __init__(
        self,
        sampling: str = "random",
        acceleration: Range = 4.0,
        centre: float = 0.08,
        encoding: str = "2d",
        phase_axis: int = 1,
        slice_axis: int = 2,
        partial_fourier: Range = 1.0,
        partial_fourier_method: str = "homodyne",
        coils: int = 1,
        combination: str = "root sum of squares",
        iterations: int = 10,
        noise_percent: Range = 0.0,
        phase: Range = 1.5,
        phase_length: float = 60.0,
        arms: int = 16,
    ) -> None:
        self.settings: dict[str, Any] = {
            "sampling": _one_of("sampling", sampling, SAMPLINGS),
            "centre": centre,
            "encoding": _one_of("encoding", encoding, ("2d", "3d")),
            "phase_axis": phase_axis,
            "slice_axis": slice_axis,
            "partial_fourier_method": _one_of("partial_fourier_method", partial_fourier_method, METHODS),
            "coils": coils,
            "combination": _one_of("combination", combination, COMBINATIONS),
            "iterations": iterations,
            "phase_length": phase_length,
            "arms": arms,
        }
        self.drawn: dict[str, Range] = {
            "acceleration": acceleration,
            "partial_fourier": partial_fourier,
            "noise_percent": noise_percent,
            "phase": phase,
        }
        self._check()

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """All settings, with what is drawn."""
        drawn = {name: self.between(bounds) for name, bounds in self.drawn.items()}
        return self.settings | drawn | {"seed": self.new_seed()}

    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The magnitude of what is made of the samples."""
        encoding = encoding_of(parameters, img.shape, img.device)
        array = CoilArray(parameters["coils"], img.shape[1:], spacing, img.device)
        noise, source = parameters["noise_percent"] / 100 * signal_level(img), noise_source(parameters)
        phased = with_phase(img, parameters, spacing)

        def measured() -> Iterator[torch.Tensor]:
            for coil in range(array.number):
                samples = encoding.sample(array.sensitivity(coil) * phased)
                if parameters["noise_percent"] > 0:
                    level = noise.reshape(-1, *[1] * (samples.ndim - 1))
                    samples = samples + level * complex_noise(samples.shape, source, img.device)
                yield samples

        return combined(measured(), encoding, array, parameters["combination"], parameters["iterations"])

    def _check(self) -> None:
        """Whatever cannot be simulated is refused before the first image."""
        slowest, fastest = limits(self.drawn["acceleration"])
        least = limits(self.drawn["partial_fourier"])[0]
        centre, cartesian = self.settings["centre"], self.settings["sampling"] in CARTESIAN
        phase_axes = 2 if self.settings["encoding"] == "3d" and cartesian else 1
        axes = {self.settings["phase_axis"], self.settings["slice_axis"]}
        if slowest < 1:
            raise ValueError(f"acceleration is 1 or more, got {self.drawn['acceleration']}")
        if not 0 <= centre <= 1 or ("radial" not in self.settings["sampling"] and centre**phase_axes * fastest > 1):
            raise ValueError(
                f"a centre of {centre} alone is more than 1/{fastest:g} of a whole measurement: give less of one"
            )
        if not 5 / 8 <= least <= limits(self.drawn["partial_fourier"])[1] <= 1:
            raise ValueError(f"partial_fourier is 5/8 to 1, got {self.drawn['partial_fourier']}")
        if least < 1 and not cartesian:
            raise ValueError(f"partial Fourier is of phase encodings, {self.settings['sampling']} has none: give 1")
        if len(axes) != 2 or not axes <= {0, 1, 2}:
            raise ValueError(f"phase_axis and slice_axis are two of 0, 1 and 2, got {sorted(axes)}")
        if min(self.settings[name] for name in ("coils", "iterations", "arms")) < 1:
            raise ValueError("coils, iterations and arms are 1 or more")
        if (
            self.settings["phase_length"] <= 0
            or min(limits(self.drawn[name])[0] for name in ("noise_percent", "phase")) < 0
        ):
            raise ValueError("noise_percent and phase are 0 or more, phase_length is above 0 mm")


class UndersampledMRd(Degradationd):
    """:class:`UndersampledMR` on entries of an item; settings are its own."""

    array_form = UndersampledMR


def encoding_of(parameters: Parameters, shape: Sequence[int], device: torch.device) -> Encoding:
    """How an image of ``shape`` ``(C, X, Y[, Z])`` is measured with these parameters of :class:`UndersampledMR`.

    Raises:
        ValueError: the image has no such phase-encoded axis.
    """
    random = np.random.default_rng([parameters["seed"], 0])
    volume, sampling, acceleration = len(shape) == 4, parameters["sampling"], parameters["acceleration"]
    across = parameters["slice_axis"] + 1 if volume else None
    plane = [axis for axis in range(1, len(shape)) if axis != across]
    if sampling in READOUTS:
        matrix, start = max(shape[axis] for axis in plane), float(random.uniform(0, math.pi))
        if sampling == "spiral":
            points, areas = spiral(matrix, acceleration, start, parameters["arms"], parameters["centre"])
        else:
            points, areas = radial(matrix, acceleration, start, golden=sampling != "radial")
        return ReadoutEncoding(points, areas, (plane[0], plane[1]), shape)
    phase = parameters["phase_axis"] + 1
    if phase not in plane:
        raise ValueError(f"an image of {len(shape) - 1} axes has no phase_axis {phase - 1}: give another")
    other = across if across is not None else 3 - phase
    axes = [phase] if parameters["encoding"] == "2d" else [phase, other]
    sizes = [shape[axis] for axis in axes]
    mask = cartesian_mask(sampling, sizes, acceleration, parameters["centre"], random)
    fraction = parameters["partial_fourier"]
    partial = PartialFourier(sizes[0], fraction, parameters["partial_fourier_method"]) if fraction < 1 else None
    return CartesianEncoding(mask, axes, len(shape), partial, device)


def with_phase(img: torch.Tensor, parameters: Parameters, spacing: Sequence[float]) -> torch.Tensor:
    """The image with its smooth phase, complex64."""
    if parameters["phase"] == 0:
        return img.to(torch.complex64)
    seed = [parameters["seed"], 1]
    field = smooth_field(img.shape[1:], spacing, parameters["phase_length"], seed, img.device)
    return torch.polar(img.abs(), parameters["phase"] * field) * torch.sgn(img)


def _one_of(name: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, got {value!r}")
    return value
