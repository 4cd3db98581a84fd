"""The training and evaluation engines and inferers: MONAI's, extended."""
