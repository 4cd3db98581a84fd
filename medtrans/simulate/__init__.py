"""Phantoms and physical degradations that make training data."""

from medtrans.simulate.phantom import LABELS, MODALITIES, TISSUES, HeadPhantom, Lesion

__all__ = ["LABELS", "MODALITIES", "TISSUES", "HeadPhantom", "Lesion"]
