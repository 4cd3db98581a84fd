"""MONAI transforms that align, resample and scale images, and invert."""

from medtrans.transforms.attenuation import AttenuationMap, AttenuationMapd
from medtrans.transforms.body_mask import BodyMask, BodyMaskd, body_mask
from medtrans.transforms.clear_outside import ClearOutsided
from medtrans.transforms.fit_window import FitWindowd
from medtrans.transforms.intensity import FixedWindow, PercentileWindow
from medtrans.transforms.isotropic import Isotropic, Isotropicd, isotropic_as_trained
from medtrans.transforms.read_slices import ReadSlices, ReadSlicesd, ReadVolumes, ReadVolumesd
from medtrans.transforms.scale import RestoreByWindowd, ScaleByWindowd
from medtrans.transforms.window import Window

__all__ = [
    "AttenuationMap",
    "AttenuationMapd",
    "BodyMask",
    "BodyMaskd",
    "ClearOutsided",
    "FitWindowd",
    "FixedWindow",
    "Isotropic",
    "Isotropicd",
    "PercentileWindow",
    "ReadSlices",
    "ReadSlicesd",
    "ReadVolumes",
    "ReadVolumesd",
    "RestoreByWindowd",
    "ScaleByWindowd",
    "Window",
    "body_mask",
    "isotropic_as_trained",
]
