"""Reconstruction: an autoencoder gives back the image it was given."""

from __future__ import annotations

from medtrans.losses.derived import _OfDerived


class Reconstruction(_OfDerived):
    """d(G(E(y)), y) within one domain, by default the mean of |G(E(y)) − y| (UNIT, Liu 2017, eq. 3; BiGAN).

    Args:
        weight: factor in the generator's total.
        distance: any loss term between two images; its own weight multiplies. L1 by default.
    """

    name = "reconstructed"
