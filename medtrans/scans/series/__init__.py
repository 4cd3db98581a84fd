"""What belongs together: volumes out of series, slices and time points in order."""
