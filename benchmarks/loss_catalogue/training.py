"""One training that goes on from the common start with one loss: what came of it, and what a step takes."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch
from catalogue import PLAIN
from loss_effects import PROPERTIES, dice
from monai.bundle import ConfigParser
from segmenter import TISSUES
from study import Study, held_out, load_start

from medtrans.files import written_whole
from medtrans.losses import LossTerm, Observed


def own_terms(study: Study) -> dict[str, LossTerm]:
    """The catalogue's losses of images, by name; without those that need larger images than a trial's."""
    found: dict[str, LossTerm] = {}
    for name, entry in study.entries.items():
        if entry.meant and entry.replaces != "adversarial":
            loss: LossTerm = ConfigParser({"loss": entry.config}).get_parsed_content("loss")
            least = getattr(loss, "least_size", lambda: 0)()
            if least <= min(study.settings["image_size"]):
                found[name] = loss
    return found


def evaluate(study: Study, generator: torch.nn.Module) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Properties by name and head, each loss's own value among them, and one slice for the picture."""
    segmenter = torch.jit.load(str(study.folder / "segmenter.ts"))
    start = study.parser().get_parsed_content("method")
    load_start(study, start)
    discriminator = start.networks["discriminator"].eval().requires_grad_(False)
    own = own_terms(study)
    for loss in own.values():
        loss.prepare()
    generator.eval()
    values: dict[str, dict[str, float]] = {}
    shown: dict[str, np.ndarray] = {}
    with torch.no_grad():
        for name, head in held_out(study).items():
            output = generator(head["source"])
            found = output.clamp(-1, 1)
            measured = {key: measure(found, head) for key, measure in PROPERTIES.items()}
            measured["tissue Dice"] = dice(found, head, segmenter, len(TISSUES))
            target = Observed(head["target"], head["source"], head["mask"], discriminator, constant=True)
            for key, loss in own.items():
                candidate = Observed(output, head["source"], head["mask"], discriminator)
                measured[f"own {key}"] = loss(candidate, target).item()
            for key, value in measured.items():
                values.setdefault(key, {})[name] = value
            if not shown:
                middle = int(head["mask"].flatten(1).sum(1).argmax())
                pictures = {"source": head["source"], "target": head["target"], "found": found}
                shown = {key: image[middle, 0].numpy() for key, image in pictures.items()}
    return values, shown


def step_ratio(study: Study, name: str, weight: float, repeats: int) -> float:
    """CPU time of a training step with the loss over one without, in turns in one run, the least of each."""
    runs = []
    for losses in (study.losses_of(PLAIN, 0), study.losses_of(name, weight)):
        parser = study.parser(losses)
        trainer = study.trainer(parser, 1)
        runs.append((trainer, next(iter(trainer.data_loader))))
    times: list[list[float]] = [[], []]
    for repeat in range(repeats + 1):
        for index, (trainer, batch) in enumerate(runs):
            start = time.process_time()
            trainer._iteration(trainer, dict(batch))
            if repeat:  # the first warms up
                times[index].append(time.process_time() - start)
    return min(times[1]) / min(times[0])


def run_entry(study: Study, name: str, weight: float, repeats: int) -> dict[str, Any]:
    """Train with one loss and measure; a finished one is read."""
    folder = study.folder / name.replace(" ", "_")
    result, entry = folder / "result.json", study.entries[name]
    told = {
        "start": study.start,
        "epochs": study.epochs,
        "weight": weight,
        "config": entry.config,
        "order": entry.order,
        "settings": study.settings,
    }
    if result.is_file() and (kept := json.loads(result.read_text()))["told"] == json.loads(json.dumps(told)):
        return kept
    folder.mkdir(exist_ok=True)
    record: dict[str, Any] = {"told": told}
    if entry.trained:
        trainer = study.trainer(study.parser(study.losses_of(name, weight), entry.order), study.epochs)
        load_start(study, trainer.method)
        trainer.run()
        record["heads"], shown = evaluate(study, trainer.method.networks["generator"])
        np.savez_compressed(folder / "slice.npz", **shown)  # type: ignore[arg-type]
        record["steps"] = trainer.state.iteration
    record["step_ratio"] = step_ratio(study, name, weight, repeats) if entry.config else 1.0
    with written_whole(result) as temporary:
        temporary.write_text(json.dumps(record))
    return record
