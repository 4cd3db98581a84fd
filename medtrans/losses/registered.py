"""A loss for pairs that are not aligned: a small network registers the output to the target, then they are compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medtrans.losses.deformation import folding, mean_displacement, roughness, warped
from medtrans.losses.observed import Observed, at_least_single
from medtrans.losses.terms import LossTerm


class Registered(LossTerm):
    """Another term, after a network R registered the output to the target (RegGAN; Kong et al., NeurIPS 2021, eq. 4-7).

    L(φ∘G(y), x) + smoothness · mean|∇φ|² + drift · |mean(φ) / size|² with φ = R(G(y), x), minimised by G and R
    together. A target that is displaced against its source pulls φ instead of blurring G(y). After training, R is not
    needed. What keeps R from other work:

    - R moves voxels, it has no say in their values, and G(y) and x reach it as constants: G cannot steer it.
    - ``smoothness`` prices a field that pulls intensities together. It has no price for a shift, and neither has the
      first term when all that G makes is shifted and R undoes it: ``drift`` has. It is the mean over the body of each
      image, as a share of the image's size, so that a case's true shift costs little.
    - Of a term that looks at the discriminator, nothing reaches R: it does not learn to deceive.

    Beside it, the same term without registration at a fraction of the weight ties G's geometry to the targets', down to
    the details that R could undo; where targets are sharp and R is right, a mean of absolute differences still has its
    minimum at the registered value.

    Args:
        term: any term that compares images: :class:`~medtrans.losses.L1`, a structural or a perceptual one. A term that
            looks at the discriminator then judges the warped output, also when the discriminator is trained. Its own
            weights are factors inside this term's.
        registration: moving and fixed ``(B, C, *spatial)`` -> displacement in voxels, for instance
            :class:`medtrans.networks.DeformationNet`. Its parameters belong into the generator's optimiser. Terms that
            share it register once.
        weight: factor in the generator's total.
        smoothness: price of mean|∇φ|², in units of the term. 0.25 is RegGAN's ratio in this
            definition; at that price, R also deforms what is aligned.
        drift: price of the squared mean displacement; 1 is a shift by the whole image.
        discriminator_weight: factor in the discriminator's total, of a term that trains it.
    """

    def __init__(
        self,
        term: LossTerm,
        registration: nn.Module,
        weight: float = 1.0,
        smoothness: float = 1.0,
        drift: float = 10.0,
        discriminator_weight: float = 1.0,
    ) -> None:
        super().__init__(weight, discriminator_weight)
        if smoothness < 0 or drift < 0:
            raise ValueError(f"smoothness and drift are prices, 0 or more, got {smoothness} and {drift}")
        self.term, self.registration = term, registration
        self.smoothness, self.drift = float(smoothness), float(drift)
        self.trains_discriminator, self.uses_discriminator = term.trains_discriminator, term.uses_discriminator

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The registration network, which checkpoints keep."""
        return {"registration": self.registration, **self.term.networks}

    def prepare(self) -> None:
        """As the term does."""
        self.term.prepare()

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """The term's value for the registered output, in its units, and the price of the field."""
        moved = self._moved(candidate, target, constant_field=self.uses_discriminator)
        value = self.term.weight * self.term(moved, target)
        return value if self.uses_discriminator else value + self._price(self._field(candidate, target), target)

    def discriminator_loss(self, candidate: Observed, target: Observed) -> Tensor:
        """The term's loss for the discriminator, which sees the registered output."""
        with torch.no_grad():
            moved = self._moved(candidate, target, constant_field=True)
        return self.term.discriminator_weight * self.term.discriminator_loss(moved, target)

    def measured(self, candidate: Observed, target: Observed) -> dict[str, Tensor]:
        """In voxels: the mean length of the displacement and the length of its mean; then roughness and folding."""
        if self.uses_discriminator:  # said by the term that trains the registration
            return {}
        field = self._field(candidate, target)
        length = mean_displacement(field.norm(dim=1, keepdim=True), target.mask)
        return {
            "displacement": length.mean(),
            "shift": mean_displacement(field, target.mask).mean(0).norm(),
            "roughness": roughness(field),
            "folding": folding(field),
        }

    def _price(self, field: Tensor, target: Observed) -> Tensor:
        size = torch.tensor(field.shape[2:], device=field.device)
        drift = (mean_displacement(field, target.mask) / size).square().sum(1).mean()
        return self.smoothness * roughness(field) + self.drift * drift

    def _field(self, candidate: Observed, target: Observed) -> Tensor:
        pair = (candidate.image.detach(), target.image)
        return candidate.kept(("field", *self._key(target)), lambda: at_least_single(self.registration(*pair)))

    def _moved(self, candidate: Observed, target: Observed, constant_field: bool) -> Observed:
        """The candidate where the target is; with a constant field, gradients reach the generator only."""

        def move() -> Observed:
            field = self._field(candidate, target)
            return candidate.with_image(warped(candidate.image, field.detach() if constant_field else field))

        return candidate.kept(("moved", constant_field, *self._key(target)), move)

    def _key(self, target: Observed) -> tuple[nn.Module, Observed]:
        return self.registration, target
