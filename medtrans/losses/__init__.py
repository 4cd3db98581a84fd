"""One file a family of named, weighted loss terms."""

from medtrans.losses.adversarial import Adversarial
from medtrans.losses.discriminator_perceptual import DiscriminatorPerceptual
from medtrans.losses.observed import Observed
from medtrans.losses.pixel import L1
from medtrans.losses.style_content import Content, Style
from medtrans.losses.terms import LossTerm, LossTerms

__all__ = ["L1", "Adversarial", "Content", "DiscriminatorPerceptual", "LossTerm", "LossTerms", "Observed", "Style"]
