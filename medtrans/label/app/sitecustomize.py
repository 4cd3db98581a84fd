"""Run by Python itself in the processes that MONAI Label starts with this folder on PYTHONPATH."""

import logging

import medtrans.label.pydicom_names  # noqa: F401

for _talkative in ("monailabel", "__main__"):  # clients see what such a process says: no folders, no options
    logging.getLogger(_talkative).setLevel(logging.WARNING)
