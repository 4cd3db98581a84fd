"""Derived DICOM: a synthetic volume as a series of its own, laid over the series that it was made from."""
