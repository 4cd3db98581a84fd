"""The losses that are tried: what each is, what it takes the place of, and what it is meant to change."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOSS = "medtrans.losses."
BRIGHT = {"edges": [0.0], "weights": [1.0, 4.0]}
PLAIN, AGAIN = "pix2pix", ("pix2pix, order 2", "pix2pix, order 3")
NUDGED = {"pix2pix, L1 101": 101.0, "pix2pix, L1 99": 99.0}


@dataclass
class Entry:
    """One line of the catalogue: a loss that is added to pix2pix, or takes the place of one of its own.

    Attributes:
        config: the term, without its weight.
        replaces: name of pix2pix's term that goes.
        share: how hard it pulls, relative to pix2pix's L1; 0 takes the run's own share, None leaves the weight at 1.
        trained: whether pix2pix is trained with it; the others are only measured.
        meant: the property of :data:`loss_effects.PROPERTIES` that it is to change.
        order: seed of the order of the slices.
    """

    config: dict[str, Any] = field(default_factory=dict)
    replaces: str = ""
    share: float | None = 0.0
    trained: bool = True
    meant: str = ""
    order: int = 0


def term(name: str, **options: Any) -> dict[str, Any]:
    return {"_target_": LOSS + name, **options}


def catalogue(segmenter: Path) -> dict[str, Entry]:
    """The losses by name."""
    network = {"_target_": "medtrans.networks.FrozenNetwork", "path": str(segmenter)}
    vgg = {"_target_": "medtrans.networks.VGG19Features", "weights": "random"}

    def in_place_of_l1(meant: str, name: str, **options: Any) -> Entry:
        return Entry(term(name, **options), "l1", 1.0, meant=meant)

    def form(name: str) -> Entry:
        return Entry(term("Adversarial", form=name), "adversarial", None, meant="fine power")

    def added(meant: str, name: str, **options: Any) -> Entry:
        return Entry(term(name, **options), meant=meant)

    return {
        PLAIN: Entry(share=None),
        **{name: Entry(share=None, order=order) for order, name in enumerate(AGAIN, start=1)},
        **{name: Entry(term("L1"), "l1", None) for name in NUDGED},
        "log": Entry(term("Adversarial", form="log"), "adversarial", None, trained=False),
        "least squares": form("least_squares"),
        "hinge": form("hinge"),
        "Wasserstein": form("wasserstein"),
        "L2": in_place_of_l1("RMSE", "L2"),
        "Charbonnier": in_place_of_l1("MAE", "Charbonnier", epsilon=0.05),
        "masked L1": in_place_of_l1("MAE", "L1", masked=True),
        "weighted L1": in_place_of_l1("MAE of bright voxels", "L1", intensity_weights=BRIGHT),
        "gradient": added("sharpness", "GradientDifference"),
        "sharpness": added("sharpness", "Sharpness"),
        "shape": added("tissue Dice", "Shape", network=network, form="dice_cross_entropy"),
        "discriminator": added("fine power", "DiscriminatorPerceptual", layers=[0, 1, 1]),
        "perceptual": Entry(term("Perceptual", features=vgg), trained=False),
        "SSIM": added("SSIM", "SSIM"),
        "MS-SSIM": added("MS-SSIM", "MultiScaleSSIM", scales=3),
        "style": Entry(term("Style", features=vgg), trained=False),
        "content": Entry(term("Content", features=vgg), trained=False),
        "self-regularisation": added("distance to source", "SelfRegularisation"),
        "frequency": added("k-space error", "Frequency"),
        "focal frequency": added("k-space error, largest", "Frequency", power=2, focal=1.0),
        "fine frequencies": added("k-space error, fine", "Frequency", band=[0.5, 1.5]),
        "total variation": added("variation", "TotalVariation"),
    }
