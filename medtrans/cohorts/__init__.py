"""Who is in the study: the cases table, splits, recipes, data sets and loaders."""

from medtrans.cohorts.cases import SPLITS, Case, Cases
from medtrans.cohorts.epochs import EpochDataset, EpochSampler
from medtrans.cohorts.modalities import describe_modalities, read_modalities, write_modalities
from medtrans.cohorts.slices import slice_items, volume_items

__all__ = [
    "SPLITS",
    "Case",
    "Cases",
    "EpochDataset",
    "EpochSampler",
    "describe_modalities",
    "read_modalities",
    "slice_items",
    "volume_items",
    "write_modalities",
]
