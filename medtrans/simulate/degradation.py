"""What every simulated degradation is: parameters that are drawn, applied, and recorded with the image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform

Parameters = dict[str, Any]  # JSON-ready, in physical units; what was drawn, and the seed of what is drawn by the voxel
Range = float | Sequence[float]  # one value, or the lowest and the highest
RECORDS = "degradations"  # key of a MetaTensor's meta


class Degradation(Randomizable, Transform):
    """An array transform that makes an image worse, as a scanner would have.

    A degradation is two functions: :meth:`draw` chooses physical parameters, :meth:`apply` is a pure function of image
    and parameters. What was applied is kept in ``meta["degradations"]`` of the image, so that it can be looked up,
    written beside a file, and applied to another image by :meth:`reapply`.

    Voxel noise comes from ``parameters["seed"]`` through :func:`noise_source`, on the CPU, so that every device gives
    the same image. Random state is MONAI's: ``set_random_state(seed)``.

    A class names in ``companions`` the further images that it looks at (the CT of a PET scan); they are handed over by
    these names. ``axial_only`` says that it knows axial slices alone, as tomographs have their rays in these.
    """

    companions: tuple[str, ...] = ()
    axial_only: bool = False
    across_mm: float | None = None  # from slice to slice, where a 2D image is one of a volume and its item says so
    parameters: Parameters | None = None  # of the latest call

    @abstractmethod
    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """Parameters for an image, chosen with ``self.R``.

        Args:
            shape: of the image, ``(C, X, Y[, Z])``.
            spacing: mm, one number a spatial axis.
        """

    @abstractmethod
    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The degraded image: a function of its arguments alone.

        Args:
            img: ``(C, X, Y[, Z])`` float32, in physical units; left as it is.
            parameters: as :meth:`draw` chose them.
            spacing: mm, one number a spatial axis.
            **companions: images on the grid of ``img``, by name.

        Returns:
            An image of the same shape, type and device.
        """

    def undo(self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float]) -> torch.Tensor:
        """The image that :meth:`apply` made ``img`` from, where the degradation loses nothing."""
        raise NotImplementedError(f"what {type(self).__name__} takes from an image does not come back")

    def randomize(self, data: torch.Tensor, spacing: Sequence[float] | None = None) -> None:
        """Draw the parameters of the next image."""
        self.parameters = self.draw(tuple(data.shape), spacing_of(data, spacing))

    def __call__(  # type: ignore[override]
        self, img: Any, spacing: Sequence[float] | None = None, randomize: bool = True, **companions: Any
    ) -> MetaTensor:
        """The degraded image, with what was done to it in ``meta["degradations"]``.

        Args:
            img: ``(C, X, Y[, Z])`` in physical units, an array, a tensor or a MetaTensor.
            spacing: mm, one number a spatial axis; a MetaTensor's affine says it otherwise.
            randomize: draw parameters; otherwise those of the latest call are taken again.
            **companions: see the class; those that are None are not given.

        Raises:
            ValueError: nobody says the spacing, nothing was drawn yet, or a companion is missing, unknown or on
                another grid.
        """
        image = img if isinstance(img, torch.Tensor) else torch.as_tensor(np.asarray(img))
        if randomize:
            self.randomize(image, spacing)
        if self.parameters is None:
            raise ValueError(f"{type(self).__name__} has drawn no parameters yet: call it with randomize=True first")
        return self.reapply(img, self.parameters, spacing, **companions)

    def reapply(
        self, img: Any, parameters: Parameters, spacing: Sequence[float] | None = None, **companions: Any
    ) -> MetaTensor:
        """As a call, with parameters that were recorded before; which companions were given is recorded, too.

        Raises:
            ValueError: as a call; or the parameters were recorded with other companions than are given now.
        """
        image = img if isinstance(img, torch.Tensor) else torch.as_tensor(np.asarray(img))
        steps = spacing_of(image, spacing)
        given = {name: companion for name, companion in companions.items() if companion is not None}
        parameters = self.with_companions(parameters, sorted(given))
        voxels = self.apply(_plain(image), parameters, steps, **self._companions(image, given))
        earlier = image.meta.get(RECORDS, ()) if isinstance(image, MetaTensor) else ()
        record = {"degradation": type(self).__name__, "parameters": parameters}
        return _with_records(voxels, image, steps, [*earlier, record])

    def with_companions(self, parameters: Parameters, given: Sequence[str]) -> Parameters:
        """The parameters with the names of the companions, where the class looks at any.

        Raises:
            ValueError: they were recorded with others.
        """
        if not self.companions:
            return parameters
        if (recorded := parameters.get("companions", given)) != given:
            before, now = (", ".join(names) or "no companion" for names in (recorded, given))
            raise ValueError(f"the parameters were recorded with {before}, now {now} is given")
        return {**parameters, "companions": given}

    def inverse(self, img: MetaTensor, spacing: Sequence[float] | None = None) -> MetaTensor:
        """Take back the latest degradation that ``img`` records.

        Raises:
            ValueError: it records none, or another one.
            NotImplementedError: this one loses something.
        """
        *earlier, latest = [*img.meta.get(RECORDS, ())] or [{"degradation": "nothing"}]
        if latest["degradation"] != type(self).__name__:
            raise ValueError(f"the image was last degraded by {latest['degradation']}, not by {type(self).__name__}")
        steps = spacing_of(img, spacing)
        return _with_records(self.undo(_plain(img), latest["parameters"], steps), img, steps, earlier)

    def between(self, bounds: Range) -> float:
        """A value between the lowest and the highest of ``bounds``, uniformly; one value is itself."""
        low, high = limits(bounds)
        return low if low == high else float(self.R.uniform(low, high))

    def new_seed(self) -> int:
        """A seed for ``parameters["seed"]``."""
        return int(self.R.randint(0, 2**31 - 1))

    def _companions(self, image: torch.Tensor, given: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The companions as float32 tensors on the image's device, checked."""
        if unknown := sorted(set(given) - set(self.companions)):
            raise ValueError(f"{type(self).__name__} knows no {', '.join(unknown)}; it may be given: {self.companions}")
        beside = {}
        for name, value in given.items():
            tensor = _plain(value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value)))
            if tensor.shape[1:] != image.shape[1:]:
                raise ValueError(f"{name} is {tuple(tensor.shape[1:])}, the image {tuple(image.shape[1:])}")
            beside[name] = tensor.to(image.device)
        return beside


class Degradationd(MapTransform, Randomizable):
    """A :class:`Degradation` on entries of an item: one draw for all of them.

    The dictionary form of a degradation is a subclass that names its ``array_form``.

    A slice's item tells the degradation how far apart the slices of its volume lie, too.

    Args:
        keys: images ``(C, X, Y[, Z])`` in physical units, to degrade alike.
        companions: name of a companion -> key of its entry; entries that the item lacks are not handed over.
        spacing_key: where the item says the three voxel sizes of its volume in mm; slices say their ``axis``, too.
            A MetaTensor's affine is asked where the item has no such entry.
        allow_missing_keys: pass over entries that are missing.
        **settings: of the array form.

    Raises:
        ValueError: on a call, a slice is not axial and the degradation is of these alone.
    """

    array_form: type[Degradation]

    def __init__(
        self,
        keys: KeysCollection,
        companions: Mapping[str, Hashable] | None = None,
        spacing_key: Hashable = "spacing",
        allow_missing_keys: bool = False,
        **settings: Any,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.degradation = self.array_form(**settings)
        self.companion_keys = dict(companions or {})
        self.spacing_key = spacing_key

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Degradationd:
        """Hand the random state to the degradation."""
        super().set_random_state(seed, state)
        self.degradation.set_random_state(seed, state)
        return self

    def randomize(self, data: Any) -> None:
        """The degradation draws with its first key."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its keys degraded by the same parameters."""
        item = dict(data)
        beside = {name: item[key] for name, key in self.companion_keys.items() if key in item}
        for number, key in enumerate(self.key_iterator(item)):
            self._check_axis(item, key)
            spacing = self._spacing(item, key)
            self.degradation.across_mm = self._across(item, key)
            item[key] = self.degradation(item[key], spacing, randomize=number == 0, **beside)
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with the degradation taken back, where that is possible."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self.degradation.inverse(item[key], self._spacing(item, key))
        return item

    def _spacing(self, item: Mapping[Hashable, Any], key: Hashable) -> list[float] | None:
        """The voxel sizes along the axes of the entry; None lets its affine say them."""
        if self.spacing_key not in item:
            return None
        spacing = [float(step) for step in item[self.spacing_key]]
        if self._is_slice(item, key):  # the axis across it has no step
            del spacing[int(item["axis"])]
        return spacing

    def _across(self, item: Mapping[Hashable, Any], key: Hashable) -> float | None:
        """The voxel size across the entry, a slice; None for volumes, and where the item does not say it."""
        if self.spacing_key not in item or not self._is_slice(item, key):
            return None
        return float(item[self.spacing_key][int(item["axis"])])

    def _is_slice(self, item: Mapping[Hashable, Any], key: Hashable) -> bool:
        return item[key].ndim - 1 < len(item[self.spacing_key])

    def _check_axis(self, item: Mapping[Hashable, Any], key: Hashable) -> None:
        """Refuse slices that the degradation's rays do not lie in."""
        if self.degradation.axial_only and item[key].ndim == 3 and int(item.get("axis", 2)) != 2:
            name, remedy = type(self.degradation).__name__, "train with axis axial, or simulate volumes first"
            raise ValueError(f"{name} is of rays that lie in axial slices, this slice is of another axis: {remedy}")


def spacing_of(img: torch.Tensor, spacing: Sequence[float] | None = None) -> tuple[float, ...]:
    """Millimetres along each spatial axis of ``(C, X, Y[, Z])``, as said, or from a MetaTensor's affine.

    Raises:
        ValueError: nobody says them, or their number is not that of the axes.
    """
    axes = img.ndim - 1
    if spacing is None:
        if not isinstance(img, MetaTensor):
            raise ValueError("the image does not say its voxel sizes: give spacing in mm, or a MetaTensor")
        spacing = [float(step) for step in img.pixdim[:axes]]
    if len(spacing) != axes or min(spacing) <= 0:
        raise ValueError(f"an image of {axes} axes needs {axes} voxel sizes above 0 mm, got {tuple(spacing)}")
    return tuple(float(step) for step in spacing)


def limits(bounds: Range) -> tuple[float, float]:
    """The lowest and the highest value of a range; a number is both.

    Raises:
        ValueError: there are not two, or they are the wrong way round.
    """
    low, high = (bounds, bounds) if isinstance(bounds, int | float) else bounds
    if not low <= high:
        raise ValueError(f"a range goes from its lowest to its highest value, got {bounds}")
    return float(low), float(high)


def noise_source(parameters: Mapping[str, Any]) -> torch.Generator:
    """A generator on the CPU that starts from ``parameters["seed"]``: the same noise on every device."""
    return torch.Generator().manual_seed(int(parameters["seed"]))


def _plain(image: torch.Tensor) -> torch.Tensor:
    """float32 without metadata."""
    return (image.as_tensor() if isinstance(image, MetaTensor) else image).float()


def _with_records(
    voxels: torch.Tensor, origin: torch.Tensor, spacing: Sequence[float], records: list[dict[str, Any]]
) -> MetaTensor:
    """``voxels`` where ``origin`` lies, with what is known of it, and these records."""
    known = origin.meta if isinstance(origin, MetaTensor) else {}
    steps = torch.tensor([*spacing, *[1.0] * (4 - len(spacing))], dtype=torch.float64)
    affine = origin.affine if isinstance(origin, MetaTensor) else torch.diag(steps)
    meta = {key: value for key, value in known.items() if key != "affine"}
    return MetaTensor(voxels, affine=affine, meta={**meta, RECORDS: records})
