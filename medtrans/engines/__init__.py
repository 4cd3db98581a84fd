"""The training and evaluation engines and inferers: MONAI's, extended."""

from medtrans.engines.batches import source_and_target
from medtrans.engines.budget import StepBudget
from medtrans.engines.bundle_run import run_inference
from medtrans.engines.checkpoints import BestModel, Checkpoints, load_network
from medtrans.engines.csv_log import CsvLog
from medtrans.engines.cycle_pictures import CyclePictures
from medtrans.engines.distributed import of_all_processes
from medtrans.engines.distributions import FeatureVectors, FrechetDistance, MeanDiscrepancy, unpaired_score
from medtrans.engines.diversity import Diversity
from medtrans.engines.inferers import WindowInferer, volumes_stay
from medtrans.engines.plateau import StopOnPlateau
from medtrans.engines.sample_pictures import SamplePictures
from medtrans.engines.source_information import SourceInformation
from medtrans.engines.step_log import StepLog
from medtrans.engines.there_and_back import ThereAndBack
from medtrans.engines.trainer import TranslationTrainer
from medtrans.engines.training_progress import TrainingProgress
from medtrans.engines.translation import VolumeTranslator
from medtrans.engines.volumes import SaveVolumed, save_volume
from medtrans.engines.watches import Watch
from medtrans.engines.watching import Watching

__all__ = [
    "BestModel",
    "Checkpoints",
    "CsvLog",
    "CyclePictures",
    "Diversity",
    "FeatureVectors",
    "FrechetDistance",
    "MeanDiscrepancy",
    "SamplePictures",
    "SaveVolumed",
    "SourceInformation",
    "StepBudget",
    "StepLog",
    "StopOnPlateau",
    "ThereAndBack",
    "TrainingProgress",
    "TranslationTrainer",
    "VolumeTranslator",
    "Watch",
    "Watching",
    "WindowInferer",
    "load_network",
    "of_all_processes",
    "run_inference",
    "save_volume",
    "source_and_target",
    "unpaired_score",
    "volumes_stay",
]
