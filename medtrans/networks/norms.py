"""Norm specifications: MONAI's, and whether a convolution in front of one needs a bias."""

from __future__ import annotations

Norm = str | tuple | None
INSTANCE: Norm = ("instance", {"affine": True})
AFFINE_FREE: Norm = ("instance", {"affine": False})


def is_batch(norm: Norm) -> bool:
    """Whether ``norm`` is batch norm."""
    return (norm if isinstance(norm, str) else norm[0] if norm else "").lower() == "batch"


def has_offset(norm: Norm) -> bool:
    """Whether ``norm`` learns an offset, so that a bias in front of it would be without effect.

    Such a bias gets no gradient but rounding noise, which Adam turns into a random walk of full step size.
    """
    if norm is None:
        return False
    name, options = (norm, {}) if isinstance(norm, str) else (norm[0], norm[1] if len(norm) > 1 else {})
    return bool(options.get("affine", name.lower() in ("batch", "group", "layer")))
