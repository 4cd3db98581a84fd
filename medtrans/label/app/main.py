"""The MONAI Label app folder's entry: MONAI Label looks here for a subclass of MONAILabelApp."""

from medtrans.label.application import TranslationApp

__all__ = ["TranslationApp"]
