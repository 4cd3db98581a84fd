"""Who is in the study: the cases table, splits, recipes, data sets and loaders."""

from medtrans.cohorts.cases import SPLITS, Case, Cases

__all__ = ["SPLITS", "Case", "Cases"]
