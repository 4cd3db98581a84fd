"""How hard a loss pulls at pix2pix's output beside L1, and the weight that follows from it."""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from catalogue import term
from monai.bundle import ConfigParser
from study import Study, batches, load_start

from medtrans.files import written_whole
from medtrans.losses import LossTerm, Observed
from medtrans.methods import Method

L1_WEIGHT = 100.0


def gradient_ratios(study: Study, method: Method, names: list[str]) -> dict[str, float]:
    """‖∂loss/∂G(y)‖ of losses of weight 1, relative to L1's, on validation slices, at the start of every training."""
    batch = batches(study.parser(), "validation")[0]
    discriminator = method.networks["discriminator"].eval().requires_grad_(False)
    with torch.no_grad():
        found = method.networks["generator"].eval()(batch["source"])
    target = Observed(batch["target"], batch["source"], batch["mask"], discriminator, constant=True)

    def norm(config: dict[str, Any]) -> float:
        loss: LossTerm = ConfigParser({"loss": config}).get_parsed_content("loss")
        loss.prepare()
        image = found.clone().requires_grad_()
        value = loss(Observed(image, batch["source"], batch["mask"], discriminator), target)
        return torch.autograd.grad(value, image)[0].norm().item()

    reference = norm(term("L1"))
    return {name: norm(study.entries[name].config) / reference for name in names}


def rounded(value: float) -> float:
    """To one significant digit."""
    if value <= 0 or not math.isfinite(value):
        return 0.0
    power = math.floor(math.log10(value))
    return float(f"{round(value / 10**power) * 10**power:.6g}")


def weights_of(study: Study, names: list[str], share: float) -> dict[str, dict[str, float]]:
    """Ratio of the gradients and the weight that follows from it, by name; each measured once."""
    path = study.folder / "gradients.json"
    ratios: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    if missing := [name for name in names if name not in ratios]:
        method = study.parser().get_parsed_content("method")
        load_start(study, method)
        ratios |= gradient_ratios(study, method, missing)
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(ratios))
    found: dict[str, dict[str, float]] = {}
    for name in names:
        own, ratio = study.entries[name].share, ratios[name]
        wanted = 1.0 if own is None else rounded(L1_WEIGHT * (own or share) / ratio)
        found[name] = {"ratio": ratio, "weight": wanted}
    return found
