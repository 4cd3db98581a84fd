"""The data doctor: what is wrong with a prepared data set, before a network learns it."""

from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.examination import Diagnosis, examine
from medtrans.cohorts.doctor.findings import Finding

__all__ = ["Check", "Cohort", "Diagnosis", "Finding", "Threshold", "examine"]
