"""DICOMweb: derived series sent to a PACS (STOW-RS), looked up there (QIDO-RS) and read back (WADO-RS)."""

from medtrans.scans.dicomweb.connection import Access
from medtrans.scans.dicomweb.fetching import fetch_series
from medtrans.scans.dicomweb.searching import search_series
from medtrans.scans.dicomweb.sending import send_series

__all__ = ["Access", "fetch_series", "search_series", "send_series"]
