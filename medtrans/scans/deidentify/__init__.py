"""De-identification by DICOM PS3.15 Annex E: of headers, of DICOM files, and of what is made from them."""
