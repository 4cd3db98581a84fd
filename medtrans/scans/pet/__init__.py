"""Standardised uptake values."""
