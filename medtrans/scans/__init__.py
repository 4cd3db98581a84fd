"""Scanner files in and out: find series, convert them, write them back."""

from medtrans.scans.conversion import Conversion
from medtrans.scans.convert import convert_export, read_series
from medtrans.scans.output.volume import Volume

__all__ = ["Conversion", "Volume", "convert_export", "read_series"]
