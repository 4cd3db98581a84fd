"""Scanner files in and out: find series, convert them, write them back."""
