"""Shape: a segmentation network finds the same structures in output and target (the review's L6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from monai.networks import one_hot
from torch import Tensor, nn

from medtrans.errors import InputError
from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm

FORMS = ("dice", "cross_entropy", "dice_cross_entropy")
AGAINST = ("target", "label")


class Shape(LossTerm):
    """d(S(G(y)), S(x)) or d(S(G(y)), label) under a frozen segmentation network S (Zhang 2018).

    With q = S's class probabilities in the output and p those in the target (constant; or the label, one-hot):

    - ``dice``: mean over classes of 1 − 2 Σ_v p q / (Σ_v p² + Σ_v q²) (V-Net, Milletari 2016; MONAI's DiceLoss);
    - ``cross_entropy``: mean_v Σ_c p (log p − log q): the cross entropy, less the target's own where p is soft;
    - ``dice_cross_entropy``: their sum.

    Args:
        network: S, image -> list whose first tensor is the logits ``(B, classes, *spatial)``; for a bundle or a
            TorchScript file :class:`medtrans.networks.FrozenNetwork`.
        weight: factor in the generator's total.
        form: one of the above.
        against: ``"target"``, or ``"label"``: the batch's label map of class numbers.
        activation: ``"softmax"`` for classes that exclude each other, ``"sigmoid"`` for those that may overlap.
        classes: those whose Dice counts, for instance the tumour alone; none takes all. Cross entropy takes all.
    """

    def __init__(
        self,
        network: nn.Module,
        weight: float = 1.0,
        form: str = "dice",
        against: str = "target",
        activation: str = "softmax",
        classes: Sequence[int] = (),
    ) -> None:
        super().__init__(weight)
        for name, value, known in (
            ("form", form, FORMS),
            ("against", against, AGAINST),
            ("activation", activation, ("softmax", "sigmoid")),
        ):
            if value not in known:
                raise InputError(f"shape loss {name} {value!r}", "is unknown", f"Use one of {', '.join(known)}")
        self.network, self.form, self.against, self.exclusive = network, form, against, activation == "softmax"
        self.classes = [int(number) for number in classes]
        # Squared in the denominator: soft segmentations that are equal cost nothing.
        self.dice = DiceLoss(squared_pred=True, smooth_nr=1e-5, smooth_dr=1e-5)

    def prepare(self) -> None:
        """Load the network, where it has anything to load."""
        load = getattr(self.network, "load", None)
        if callable(load):
            load()

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """0 where the network sees the same in both."""
        found = candidate.features(self.network)[0]
        wanted = self._wanted(target, found)
        total = found.new_zeros(())
        if "dice" in self.form:
            chosen = self.classes or list(range(found.shape[1]))
            total = total + self.dice(self._probabilities(found)[:, chosen], wanted[:, chosen])
        if "cross_entropy" in self.form:
            total = total + self._divergence(found, wanted)
        return total

    def _probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(1) if self.exclusive else logits.sigmoid()

    def _wanted(self, target: Observed, found: Tensor) -> Tensor:
        """The segmentation to agree with, ``(B, classes, *spatial)``, without gradient."""
        if self.against == "target":
            return self._probabilities(target.features(self.network)[0].detach())
        if target.label is None:
            raise ValueError("a shape loss against the label needs one, but the batch has none")
        return one_hot(target.label, found.shape[1], dtype=found.dtype)

    def _divergence(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """mean_v Σ_c p (log p − log q), for overlapping classes the sum over yes and no."""
        entropy = torch.special.entr(wanted)
        if self.exclusive:
            return (-wanted * logits.log_softmax(1) - entropy).sum(1).mean()
        missed = wanted * F.softplus(-logits) + (1 - wanted) * F.softplus(logits)
        return (missed - entropy - torch.special.entr(1 - wanted)).sum(1).mean()
