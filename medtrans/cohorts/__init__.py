"""Who is in the study: the cases table, splits, recipes, data sets and loaders."""

from medtrans.cohorts.cases import SPLITS, Case, Cases
from medtrans.cohorts.epochs import EpochDataset, EpochSampler
from medtrans.cohorts.inputs import translation_items
from medtrans.cohorts.modalities import (
    describe_modalities,
    read_modalities,
    recorded_data_set,
    recorded_settings,
    write_modalities,
)
from medtrans.cohorts.phantom import default_phantom_dataset, write_phantom_cohort
from medtrans.cohorts.prepare import prepare
from medtrans.cohorts.recipe import Recipe
from medtrans.cohorts.slices import slice_items, volume_items
from medtrans.cohorts.unpaired import SideBySide, UnpairedDataset, domain_slice_items, domain_volume_items

__all__ = [
    "SPLITS",
    "Case",
    "Cases",
    "EpochDataset",
    "EpochSampler",
    "Recipe",
    "SideBySide",
    "UnpairedDataset",
    "default_phantom_dataset",
    "describe_modalities",
    "domain_slice_items",
    "domain_volume_items",
    "prepare",
    "read_modalities",
    "recorded_data_set",
    "recorded_settings",
    "slice_items",
    "translation_items",
    "volume_items",
    "write_modalities",
    "write_phantom_cohort",
]
