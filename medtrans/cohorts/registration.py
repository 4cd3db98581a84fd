"""Rigid registration where headers do not agree: multi-resolution, Mattes mutual information, deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from medtrans.cohorts.grid import Grid, grid_over
from medtrans.cohorts.resample import resample
from medtrans.cohorts.similarity import mutual_information, robust_range
from medtrans.cohorts.volumes import Volume

GAIN = 1.02  # a motion must raise the mutual information by 2 %, or the header's alignment stays
PROBES_MM = (-8.0, -4.0, 4.0, 8.0)


@dataclass(frozen=True)
class Alignment:
    """How a volume lies relative to the reference, and what was gained.

    Args:
        rigid: 4x4, RAS millimetres of the reference -> RAS millimetres of the volume; identity keeps the header.
        before: mutual information in nats with the header's alignment, inside the reference's body.
        after: the same with ``rigid``.
    """

    rigid: np.ndarray = field(default_factory=lambda: np.eye(4))
    before: float = float("nan")
    after: float = float("nan")

    @property
    def registered(self) -> bool:
        """Whether the volume was moved."""
        return not np.array_equal(self.rigid, np.eye(4))

    def parameters(self, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (degrees about x, y, z, applied in this order) and shift (mm) of the point ``centre``."""
        turn = Rotation.from_matrix(self.rigid[:3, :3]).as_euler("xyz", degrees=True)
        return turn, self.rigid[:3, :3] @ centre + self.rigid[:3, 3] - centre


@dataclass(frozen=True)
class Coarse:
    """A volume at the resolution of the registration, on a grid along the RAS axes over its whole extent.

    Args:
        values: float32, clipped to its robust range.
        grid: where they lie.
        background: the value outside.
    """

    values: np.ndarray
    grid: Grid
    background: float

    @classmethod
    def of(cls, volume: Volume, spacing: float, background: float, threads: int = 0) -> Coarse:
        """``volume`` at ``spacing`` millimetres, anti-aliased."""
        corners = volume.corners()
        grid = grid_over(np.stack([corners.min(axis=0), corners.max(axis=0)]), (spacing,) * 3)
        values = resample(volume, grid, background=background, threads=threads)
        lower, upper = robust_range(values)
        return cls(np.clip(values, lower, upper), grid, float(np.clip(background, lower, upper)))

    def on(self, grid: Grid, rigid: np.ndarray, threads: int = 0) -> np.ndarray:
        """These values on ``grid``, ``rigid`` leading from there to here."""
        volume = Volume(self.values, self.grid.affine)
        return resample(volume, grid, rigid, background=self.background, threads=threads)


def header_agrees(fixed: Coarse, moving: Coarse, body: np.ndarray) -> bool:
    """Whether no shift of 4 or 8 mm along an axis fits better than the header's own alignment."""
    here = mutual_information(fixed.values, moving.on(fixed.grid, np.eye(4)), body)
    for axis in range(3):
        for shift in PROBES_MM:
            rigid = np.eye(4)
            rigid[axis, 3] = shift
            if mutual_information(fixed.values, moving.on(fixed.grid, rigid), body) > here * GAIN:
                return False
    return True


def measure(fixed: Coarse, moving: Coarse, body: np.ndarray, rigid: np.ndarray | None = None) -> float:
    """Mutual information in nats inside ``body`` (a mask on the fixed grid), ``rigid`` as in :class:`Alignment`."""
    return mutual_information(fixed.values, moving.on(fixed.grid, np.eye(4) if rigid is None else rigid), body)


def register(
    fixed: Coarse,
    moving: Coarse,
    body: np.ndarray,
    moving_body: np.ndarray,
    bins: int = 32,
    iterations: int = 200,
    sampling: float = 0.3,
    seed: int = 0,
) -> Alignment:
    """Find the rigid motion that maximises Mattes mutual information (Mattes et al. 2003).

    The search starts from the header's alignment and from the alignment of the body masks' centres, takes the better
    of the two at the coarsest level and refines it. The result is kept only when the mutual information, measured
    anew on all voxels of the body, rises by 2 %; the header's alignment stays otherwise.

    Args:
        fixed: the reference.
        moving: the volume to move.
        body: mask on the fixed grid, in which the mutual information is reported.
        moving_body: mask on the moving grid, for its centre.
        bins: bins of the joint histogram.
        iterations: most steps of the optimiser at each level.
        sampling: share of the voxels sampled a step, in (0, 1].
        seed: of the sampling; the same seed gives the same motion.
    """
    before = measure(fixed, moving, body)
    starts = [np.eye(4), centred(fixed, moving, body, moving_body)]
    coarse = [search(fixed, moving, body, s, (4,), bins, iterations, sampling, seed) for s in starts]
    best = max(coarse, key=lambda rigid: measure(fixed, moving, body, rigid))
    rigid = search(fixed, moving, body, best, (2, 1), bins, iterations, sampling, seed)
    after = measure(fixed, moving, body, rigid)
    if not after > before * GAIN:
        return Alignment(np.eye(4), before, before)
    return Alignment(rigid, before, after)


def _centre(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """RAS position of the centre of a mask, of the grid when the mask is empty."""
    points = np.argwhere(mask) if mask.any() else (np.array([grid.shape]) - 1) / 2
    return points.mean(axis=0) * grid.spacing + grid.affine[:3, 3]


def _radius(mask: np.ndarray, grid: Grid) -> float:
    """Root mean square distance of a mask from its centre in mm, 50 when the mask is empty."""
    points = np.argwhere(mask) * grid.spacing
    return float(np.sqrt(points.var(axis=0).sum())) if len(points) > 1 else 50.0


def centred(fixed: Coarse, moving: Coarse, body: np.ndarray, moving_body: np.ndarray) -> np.ndarray:
    """The shift, as a 4x4 matrix, that lays the centre of the moving body on that of the fixed one."""
    shift = np.eye(4)
    shift[:3, 3] = _centre(moving_body, moving.grid) - _centre(body, fixed.grid)
    return shift


def search(
    fixed: Coarse,
    moving: Coarse,
    body: np.ndarray,
    start: np.ndarray,
    levels: tuple[int, ...],
    bins: int,
    iterations: int,
    sampling: float,
    seed: int,
    within: np.ndarray | None = None,
    least_step: float = 1e-3,
) -> np.ndarray:
    """The optimiser from one start over ``levels`` (shrink factors, coarse to fine), as a 4x4 matrix.

    Args:
        fixed: the reference.
        moving: the volume to move.
        body: mask on the fixed grid; its centre is that of the rotation, its radius balances turns and shifts.
        start: 4x4, where the search begins.
        levels: shrink factors.
        bins: bins of the joint histogram.
        iterations: most steps at each level.
        sampling: share of the voxels sampled, in (0, 1].
        seed: of the sampling.
        within: mask on the fixed grid outside which nothing is sampled; None samples everywhere.
        least_step: mm, at which the search ends.
    """
    import SimpleITK as sitk  # noqa: N813

    euler = sitk.Euler3DTransform()
    euler.SetCenter(_centre(body, fixed.grid).tolist())
    euler.SetMatrix(start[:3, :3].ravel().tolist(), 1e-6)
    centre = np.array(euler.GetCenter())
    euler.SetTranslation((start[:3, :3] @ centre + start[:3, 3] - centre).tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(bins)
    method.SetMetricSamplingStrategy(method.RANDOM if sampling < 1 else method.NONE)
    if sampling < 1:
        method.SetMetricSamplingPercentage(sampling, seed + 1)  # 0 would mean the clock
    if within is not None:
        method.SetMetricFixedMask(_image(Coarse(within.astype(np.uint8), fixed.grid, 0.0)))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=least_step, numberOfIterations=iterations, relaxationFactor=0.6
    )
    # A step turns the body's rim as far as it shifts it. (ITK's own estimates stopped degrees short on round heads.)
    method.SetOptimizerScales([_radius(body, fixed.grid) ** 2] * 3 + [1.0] * 3)
    method.SetShrinkFactorsPerLevel(levels)
    method.SetSmoothingSigmasPerLevel([float(level - 1) for level in levels])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(euler, inPlace=True)
    try:
        with _one_thread():
            method.Execute(_image(fixed), _image(moving))
    except RuntimeError:  # the volumes lost each other; the start stays
        return start
    rigid = np.eye(4)
    rigid[:3, :3] = np.reshape(euler.GetMatrix(), (3, 3))
    rigid[:3, 3] = np.array(euler.TransformPoint((0.0, 0.0, 0.0)))
    return rigid


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in a fixed order, so that the result is the same to the last bit every time."""
    import SimpleITK as sitk  # noqa: N813

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _image(coarse: Coarse) -> object:
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(np.ascontiguousarray(coarse.values.transpose(2, 1, 0)))
    image.SetSpacing(coarse.grid.spacing.tolist())
    image.SetOrigin(coarse.grid.affine[:3, 3].tolist())
    return image
