"""What is written: volumes, sidecars, names, tables."""
