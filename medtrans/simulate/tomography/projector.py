"""Line integrals of slices along parallel rays, and their exact transpose, as sparse matrices in torch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy import sparse

KEPT_BYTES = 2**30  # matrices up to this size are kept; larger ones are made again whenever they are needed
KEPT_GEOMETRIES = 4  # by :func:`parallel_beam`
BYTES_AN_ENTRY = 16  # an index and a weight, for either direction


class ParallelBeam:
    """Projections of slices along parallel rays: the strip integrals of CT, and of PET after rebinning.

    A slice is made of rectangular pixels of constant value; a bin of the detector holds the mean of all line integrals
    that end in it, in value·mm. A pixel's shadow is a trapezoid, whose share in each bin is in closed form (Long,
    Fessler and Balter, IEEE Trans. Med. Imaging 29:1839, 2010, in two dimensions). So each view holds the whole
    content of the slice, ``bin_mm * view.sum() == image.sum() * pixel area``, for any size, spacing and bin, and the
    backprojection is the transpose of the projection to the rounding of float32.

    A ring of PET detectors sees lines of response that, sorted by angle and distance from the axis (rebinned to equal
    steps, as scanners hand out their sinograms), are these rays. Rays lie within a slice: no oblique planes.

    Gradients flow through both directions. Slices of a volume go through one matrix product together.

    Args:
        shape: pixels ``(X, Y)``.
        spacing: mm ``(x, y)``.
        views: their number, evenly over half a turn from 0, or the angles in radians; the ray of angle a and distance s
            is ``x cos(a) + y sin(a) = s``, with x and y in mm from the middle of the slice.
        bin_mm: width of a detector bin; None is the smaller of the voxel sizes.
        bins: their number, centred on the axis; None is as many as the diagonal of the slice needs.
        subsets: into how many interleaved sets the views are dealt (ordered subsets), view ``i`` into ``i % subsets``.
        device: where the matrices lie.

    Raises:
        ValueError: a size is not above 0, or there are fewer views than subsets.
    """

    def __init__(
        self,
        shape: Sequence[int],
        spacing: Sequence[float],
        views: int | Sequence[float],
        bin_mm: float | None = None,
        bins: int | None = None,
        subsets: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        angles = np.arange(views) * np.pi / views if isinstance(views, int) else np.asarray(views, np.float64)
        if len(shape) != 2 or len(spacing) != 2 or min(*shape, *spacing, subsets) <= 0:
            raise ValueError(f"a slice has 2 sizes and spacings above 0, got {tuple(shape)} and {tuple(spacing)} mm")
        if not 0 < subsets <= len(angles):
            raise ValueError(f"{subsets} subsets need at least as many views, got {len(angles)}")
        self.shape = (int(shape[0]), int(shape[1]))
        self.spacing = (float(spacing[0]), float(spacing[1]))
        self.angles = angles
        self.bin_mm = float(min(self.spacing) if bin_mm is None else bin_mm)
        diagonal = math.hypot(self.shape[0] * self.spacing[0], self.shape[1] * self.spacing[1])
        if self.bin_mm <= 0:
            raise ValueError(f"a detector bin is wider than 0 mm, got {bin_mm}")
        self.bins = math.ceil(diagonal / self.bin_mm - 1e-9) if bins is None else int(bins)
        self.subsets = subsets
        self.device = torch.device(device)
        entries = self.shape[0] * self.shape[1] * len(angles) * (math.sqrt(2) * max(self.spacing) / self.bin_mm + 1)
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] | None = (
            {} if entries * BYTES_AN_ENTRY <= KEPT_BYTES else None
        )

    @property
    def sinogram_shape(self) -> tuple[int, int]:
        """Views and bins."""
        return len(self.angles), self.bins

    def distances(self) -> torch.Tensor:
        """The middle of each bin, its distance from the axis in mm."""
        return (torch.arange(self.bins, device=self.device) - (self.bins - 1) / 2) * self.bin_mm

    def project(self, image: torch.Tensor, subset: int | None = None) -> torch.Tensor:
        """Line integrals.

        Args:
            image: ``(C, X, Y[, Z])``, any value per mm.
            subset: only its views.

        Returns:
            ``(C, views, bins[, Z])`` in value·mm.
        """
        if tuple(image.shape[1:3]) != self.shape:
            raise ValueError(f"the projector is for slices of {self.shape}, got {tuple(image.shape)}")
        return self._through(image, (self.shape, self.sinogram_shape), _Project, subset)

    def backproject(self, sinogram: torch.Tensor, subset: int | None = None) -> torch.Tensor:
        """The transpose of :meth:`project`.

        Args:
            sinogram: ``(C, views, bins[, Z])``, of the subset's views where one is given.
            subset: its views alone.

        Returns:
            ``(C, X, Y[, Z])`` in value·mm.
        """
        views = len(self.angles[slice(subset, None, 1 if subset is None else self.subsets)])
        if tuple(sinogram.shape[1:3]) != (views, self.bins):
            raise ValueError(f"these views give sinograms of {(views, self.bins)}, got {tuple(sinogram.shape)}")
        return self._through(sinogram, (self.sinogram_shape, self.shape), _Backproject, subset)

    def _through(
        self, values: torch.Tensor, shapes: tuple[tuple[int, int], tuple[int, int]], direction: Any, subset: int | None
    ) -> torch.Tensor:
        """``(C, a, b[, Z])`` as columns through the matrices of the subsets, and back."""
        channels, _, _, *slices = values.shape
        columns = values.float().reshape(channels, values.shape[1], values.shape[2], -1).permute(1, 2, 0, 3)
        columns = columns.reshape(values.shape[1], values.shape[2], -1)
        if subset is not None:
            out = direction.apply(columns, self, subset)
        elif direction is _Backproject:
            out = torch.stack([direction.apply(columns[k :: self.subsets], self, k) for k in range(self.subsets)]).sum(
                0
            )
        else:
            out = columns.new_empty(*shapes[1], columns.shape[-1])
            for k in range(self.subsets):
                out[k :: self.subsets] = direction.apply(columns, self, k)
        out = out.reshape(out.shape[0], out.shape[1], channels, *slices)
        return out.movedim(2, 0).contiguous()

    def matrices(self, subset: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Sparse matrices of a subset: bins of its views x pixels, and the transpose."""
        if self._kept is None:
            return self._made(subset)
        if subset not in self._kept:
            self._kept[subset] = self._made(subset)
        return self._kept[subset]

    def _made(self, subset: int) -> tuple[torch.Tensor, torch.Tensor]:
        angles = self.angles[subset :: self.subsets]
        first, weights = self._shadows(angles)
        pixels, views, width = weights.shape
        columns = first[..., None] + np.arange(width, dtype=np.int32)
        outside = (columns < 0) | (columns >= self.bins)
        weights[outside], columns[outside] = 0.0, 0
        columns += np.arange(views, dtype=np.int32)[:, None] * self.bins
        rows = np.arange(0, pixels * views * width + 1, views * width)
        shadows = sparse.csr_matrix((weights.ravel(), columns.ravel(), rows), shape=(pixels, views * self.bins))
        shadows.eliminate_zeros()
        return _in_torch(shadows.T.tocsr(), self.device), _in_torch(shadows, self.device)

    def _shadows(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first bin under each pixel in each view, and what it and those after it see of the pixel, in mm."""
        (nx, ny), (dx, dy) = self.shape, self.spacing
        x = (np.arange(nx) - (nx - 1) / 2) * dx
        y = (np.arange(ny) - (ny - 1) / 2) * dy
        reach = (dx * np.abs(np.cos(angles)) + dy * np.abs(np.sin(angles))) / 2
        width = int(np.ceil(2 * reach.max() / self.bin_mm - 1e-9)) + 1
        first = np.empty((nx * ny, len(angles)), np.int32)
        weights = np.empty((nx * ny, len(angles), width), np.float32)
        for view, (angle, far) in enumerate(zip(angles, reach, strict=True)):
            middle = np.add.outer(x * np.cos(angle), y * np.sin(angle)).ravel().astype(np.float32)
            start = np.floor((middle - np.float32(far)) / np.float32(self.bin_mm) + np.float32(self.bins / 2))
            edge = (start - np.float32(self.bins / 2)) * np.float32(self.bin_mm) - middle
            first[:, view], below = start, np.full_like(edge, -0.5)
            sides = dx * abs(np.cos(angle)), dy * abs(np.sin(angle))
            for number in range(width):
                edge += np.float32(self.bin_mm)
                share = _share_below(edge, *sides)
                weights[:, view, number] = share - below
                below = share
        weights *= dx * dy / self.bin_mm
        return first, weights


@lru_cache(maxsize=KEPT_GEOMETRIES)
def parallel_beam(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    views: int | tuple[float, ...],
    bin_mm: float | None = None,
    bins: int | None = None,
    subsets: int = 1,
    device: str = "cpu",
) -> ParallelBeam:
    """A :class:`ParallelBeam`; the latest few are kept, as slices of a data set share their geometry."""
    return ParallelBeam(shape, spacing, views, bin_mm, bins, subsets, device)


def _share_below(distance: np.ndarray, one: float, other: float) -> np.ndarray:
    """How much of a pixel's shadow lies below a distance from its middle, -1/2..1/2.

    The shadow is the convolution of two boxes, as wide as the pixel's two sides appear (mm).
    """
    low, high = sorted((one, other))
    low = max(low, 1e-6 * high)
    far = np.abs(distance)
    flank = np.clip(far - np.float32((high - low) / 2), 0, np.float32(low))
    share = np.minimum(far, np.float32((high - low) / 2))
    share += flank
    flank *= flank
    flank *= np.float32(0.5 / low)
    share -= flank
    share *= np.float32(1 / high)
    return np.copysign(share, distance, out=share)


def _in_torch(matrix: sparse.csr_matrix, device: torch.device) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls compressed sparse rows a beta feature
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32, copy=False)),
            torch.from_numpy(matrix.data),
            size=matrix.shape,
            device=device,
        )


def _product(matrix: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return matrix @ values.reshape(-1, values.shape[-1]).contiguous()


class _Project(torch.autograd.Function):
    """(X, Y, slices) -> (views, bins, slices)."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, beam: ParallelBeam, subset: int) -> torch.Tensor:
        ctx.beam, ctx.subset = beam, subset
        return _product(beam.matrices(subset)[0], image).reshape(-1, beam.bins, image.shape[-1])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return _Backproject.apply(gradients[0], ctx.beam, ctx.subset), None, None


class _Backproject(torch.autograd.Function):
    """(views, bins, slices) -> (X, Y, slices)."""

    @staticmethod
    def forward(ctx: Any, sinogram: torch.Tensor, beam: ParallelBeam, subset: int) -> torch.Tensor:
        ctx.beam, ctx.subset = beam, subset
        return _product(beam.matrices(subset)[1], sinogram).reshape(*beam.shape, sinogram.shape[-1])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return _Project.apply(gradients[0], ctx.beam, ctx.subset), None, None
