"""Cycle consistency: an image translated there and back is the image it was (the review's L3)."""

from __future__ import annotations

from medtrans.losses.derived import _OfDerived


class Cycle(_OfDerived):
    """d(F(G(y)), y), by default the mean of |F(G(y)) − y| (CycleGAN, Zhu 2017, eq. 2, λ = 10).

    Needs a method that translates back; the paired ones do not. With :class:`Perceptual` or :class:`Style` as distance
    it is Cycle-MedGAN's cycle-perceptual and cycle-style loss (its eq. 3-5).

    Args:
        weight: factor in the generator's total.
        distance: any loss term between two images; its own weight multiplies. L1 by default.
    """

    name = "cycled"
