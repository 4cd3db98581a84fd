"""Phantoms and physical degradations that make training data."""
