"""The training and evaluation engines and inferers: MONAI's, extended."""

from medtrans.engines.batches import source_and_target
from medtrans.engines.budget import StepBudget
from medtrans.engines.bundle_run import run_inference
from medtrans.engines.checkpoints import BestModel, Checkpoints, load_network
from medtrans.engines.csv_log import CsvLog
from medtrans.engines.distributed import of_all_processes
from medtrans.engines.inferers import WindowInferer, volumes_stay
from medtrans.engines.sample_pictures import SamplePictures
from medtrans.engines.step_log import StepLog
from medtrans.engines.trainer import TranslationTrainer
from medtrans.engines.training_progress import TrainingProgress
from medtrans.engines.translation import VolumeTranslator
from medtrans.engines.volumes import SaveVolumed, save_volume

__all__ = [
    "BestModel",
    "Checkpoints",
    "CsvLog",
    "SamplePictures",
    "SaveVolumed",
    "StepBudget",
    "StepLog",
    "TrainingProgress",
    "TranslationTrainer",
    "VolumeTranslator",
    "WindowInferer",
    "load_network",
    "of_all_processes",
    "run_inference",
    "save_volume",
    "source_and_target",
    "volumes_stay",
]
