"""The head phantom: a procedural head, another anatomy for every seed, in co-registered MR, CT and PET."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from medtrans.errors import InputError
from medtrans.simulate.phantom.anatomy import Anatomy
from medtrans.simulate.phantom.canvas import Canvas, Region
from medtrans.simulate.phantom.fields import Field, stream
from medtrans.simulate.phantom.grid import Grid, block_means, block_modes
from medtrans.simulate.phantom.images import (
    CT_TEXTURE,
    PET_METABOLISM,
    PET_TEXTURE,
    SHADING,
    TEXTURE,
    Contrast,
    ct_image,
    mixed,
    mr_image,
    pet_image,
)
from medtrans.simulate.phantom.individual import Lesion
from medtrans.simulate.phantom.pathology import LESION_TISSUES
from medtrans.simulate.phantom.signals import MODALITIES, MR
from medtrans.simulate.phantom.tissues import LABELS

#: goes up whenever a seed gives another image than before, so that cached cohorts are made again
VERSION = 1
SLAB_VOXELS = 400_000  # voxels painted at once: temporaries stay in the processor's cache


@dataclass
class _SingleThreads:
    """Sets torch to one thread and full precision while anyone makes a phantom, in whatever thread."""

    users: int = 0
    threads: int = 1
    precision: str = "highest"
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> int:
        with self.lock:
            if self.users == 0:
                self.threads, self.precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
                torch.set_float32_matmul_precision("highest")
            torch.set_num_threads(1)
            self.users += 1
            return self.threads

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            torch.set_num_threads(self.threads)  # of this thread, and of those to come
            if self.users == 0:
                torch.set_float32_matmul_precision(self.precision)


_single_threads = _SingleThreads()


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A pool of as many workers as torch has threads, each of one thread.

    Slabs are shared out, not operations: so the result does not depend on the number of threads.
    """
    with (
        _single_threads as threads,
        ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        yield pool


class HeadPhantom:
    """One synthetic head.

    The same seed, spacing and shape give bit-identical output on one machine, whatever the number of threads; the same
    seed at another spacing shows the same anatomy. Voxels larger than 2 mm are averages of smaller ones, so that coarse
    images have true partial volume.

    Args:
        seed: who it is, a non-negative integer.
        spacing: voxel size in mm, one number or one an axis.
        shape: voxels along x, y, z; default: a field of view of 192 x 224 x 192 mm.
        lesion: True, False, a :class:`Lesion` of your own, or None to leave it to chance (35 %).
        noise: whether the images are noisy.

    Raises:
        InputError: the seed is negative.
        ValueError: spacing or shape is not positive.
    """

    def __init__(
        self,
        seed: int,
        spacing: float | Sequence[float] = 1.0,
        shape: Sequence[int] | None = None,
        lesion: Lesion | bool | None = None,
        noise: bool = True,
    ) -> None:
        if seed < 0:
            raise InputError(f"seed {seed}", "is negative", "Use 0 or a positive integer")
        self.seed, self.noise, self.grid = int(seed), noise, Grid.covering(spacing, shape)
        with one_thread_each():  # matrix products of several threads are rounded otherwise on some processors
            self.anatomy, self.contrast = Anatomy(self.seed, lesion), Contrast(self.seed)

    @property
    def affine(self) -> np.ndarray:
        """Voxel indices to RAS world coordinates (mm), (4, 4) float64; the field of view's centre is the origin."""
        return self.grid.affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x (right), y (front), z (top)."""
        return self.grid.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm."""
        return self.grid.spacing

    @property
    def lesion(self) -> Lesion | None:
        """The lesion, if there is one."""
        return self.anatomy.lesion

    def images(self, modalities: Sequence[str] = MODALITIES) -> dict[str, np.ndarray]:
        """Make the images.

        Args:
            modalities: any of ``T1``, ``T2``, ``PD``, ``FLAIR`` (arbitrary units, fully relaxed water is 1000), ``CT``
                (HU) and ``PET`` (FDG, SUV).

        Returns:
            Arrays of the phantom's shape, RAS order: one float32 a modality; ``label``, uint8, the tissue that fills
            most of the voxel (:data:`~medtrans.simulate.phantom.LABELS`); ``mask``, uint8, 1 within the skin; and
            ``lesion``, uint8, 1 in its core and rim. A modality does not depend on which others are asked for.

        Raises:
            InputError: a modality is unknown.
        """
        for modality in modalities:
            if modality not in MODALITIES:
                known = ", ".join(MODALITIES)
                raise InputError(f"modality {modality!r}", "cannot be simulated", f"Choose from {known}")
        with one_thread_each() as pool:
            fields = self.anatomy.fields_for(self.grid.finer(), pool)
            tables = {modality: self.contrast.table(modality) for modality in modalities}
            shading = {modality: self.contrast.shading(modality) for modality in modalities if modality in MR}
            planes = self._planes()
            slabs = list(
                pool.map(lambda number: self._slab(number, planes, fields, tables, shading), range(len(planes)))
            )
            volumes = {name: torch.cat([slab.pop(name) for slab in slabs]) for name in list(slabs[0])}
            if "PET" in volumes:
                volumes["PET"] = pet_image(volumes["PET"], self.grid, self._noise("PET", 0))
        return {name: volume.numpy() for name, volume in volumes.items()}

    def _noise(self, modality: str, slab: int) -> np.random.Generator | None:
        return stream(self.seed, f"noise {modality} {slab}") if self.noise else None

    def _planes(self) -> list[range]:
        """The x planes of each slab."""
        along_x = self.grid.oversampling[0]
        fine = self.grid.finer().shape
        thickness = max(1, SLAB_VOXELS // (along_x * fine[1] * fine[2]))
        return [range(x, min(x + thickness, self.shape[0])) for x in range(0, self.shape[0], thickness)]

    def _slab(
        self,
        number: int,
        planes: list[range],
        fields: dict[str, Field],
        tables: dict[str, torch.Tensor],
        shading: dict[str, Field],
    ) -> dict[str, torch.Tensor]:
        """Paint and image one slab; PET is left as true uptake, since its blur needs the neighbours."""
        rows, factors, fine = planes[number], self.grid.oversampling, self.grid.finer()
        coordinates = [fine.coordinates(axis) for axis in range(3)]
        coordinates[0] = coordinates[0][rows.start * factors[0] : rows.stop * factors[0]]
        canvas, fine_region = self.anatomy.paint(coordinates, math.prod(fine.spacing) ** (1 / 3), fields)

        own = [self.grid.coordinates(axis) for axis in range(3)]
        own[0] = own[0][rows.start : rows.stop]
        region = Region(lambda name: fields[name].at(own))
        slab = self._outlines(canvas, fine_region, factors)
        for modality, table in tables.items():
            signal = block_means(mixed(canvas, table), factors)
            if modality in MR:
                gain = torch.exp(SHADING * shading[modality].at(own))
                signal = signal * (1 + TEXTURE[modality] * region["texture"]) * gain
                slab[modality] = mr_image(signal, modality, self._noise(modality, number))
            elif modality == "CT":
                slab["CT"] = ct_image(signal + CT_TEXTURE * region["texture"], self._noise("CT", number))
            else:
                slab["PET"] = signal * (1 + PET_METABOLISM * region["metabolism"] + PET_TEXTURE * region["texture"])
        return slab

    @staticmethod
    def _outlines(canvas: Canvas, region: Region, factors: Sequence[int]) -> dict[str, torch.Tensor]:
        """Label map, body mask and lesion mask."""
        label = block_modes(canvas.mostly(), factors)
        lesion = torch.isin(label, torch.tensor([LABELS[name] for name in LESION_TISSUES], dtype=torch.uint8))
        body = block_means((region["skin"] < 0).float(), factors) >= 0.5
        return {"label": label, "mask": body.to(torch.uint8), "lesion": lesion.to(torch.uint8)}
