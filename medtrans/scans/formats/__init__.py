"""Image files that are no DICOM."""
