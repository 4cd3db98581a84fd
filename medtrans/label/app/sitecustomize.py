"""Run by Python itself in the processes that MONAI Label starts with this folder on PYTHONPATH."""

import medtrans.label.pydicom_names  # noqa: F401
