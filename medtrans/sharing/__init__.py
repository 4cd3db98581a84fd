"""Trained bundles that travel: packed with everything they need and nothing that is private, checked on arrival."""

from medtrans.sharing.arrival import check_unpacked, unpack, verify
from medtrans.sharing.packing import Packing, pack

__all__ = ["Packing", "check_unpacked", "pack", "unpack", "verify"]
