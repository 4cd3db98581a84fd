"""medtrans: medical image-to-image translation on MONAI, from scanner export to evaluated synthetic volumes."""

from medtrans.bundle import bundle_root, check_configuration
from medtrans.errors import InputError
from medtrans.recorded_network import describe_network, describe_setting, recorded_network

__version__ = "0.1.0"
__all__ = [
    "InputError",
    "bundle_root",
    "check_configuration",
    "describe_network",
    "describe_setting",
    "recorded_network",
]
