"""What each loss does when it is added to pix2pix: the same heads, the same order, the same budget.

    python benchmarks/loss_catalogue.py LOSSES

Trains pix2pix on the phantom cohort, measures how strongly every loss pulls at its output, gives each the weight that
pulls a given share as hard as pix2pix's own L1, and trains on from the same pix2pix with each, and with none (also in
other orders of the slices and with a nudge to L1's weight, to see what chance does). Writes LOSSES/losses.md and a
picture; a loss that is done is kept, so an interrupted run goes on.
"""

from __future__ import annotations

import io
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from loss_effects import PROPERTIES, change, dice
from matplotlib.figure import Figure
from monai.bundle import ConfigParser
from monai.networks.nets import UNet
from monai.utils import set_determinism
from PIL import Image
from torch import Tensor

from medtrans.cohorts import Cases
from medtrans.engines import TranslationTrainer
from medtrans.files import written_whole
from medtrans.losses import LossTerm, Observed
from medtrans.methods import Method
from medtrans.transforms import ReadSlicesd

LOSS = "medtrans.losses."
L1_WEIGHT = 100.0
# Classes of the segmentation network that the shape loss asks, by the phantom's labels.
TISSUES = {"air": [0], "bone": [4, 5, 10], "fluid": [6, 11], "grey": [7, 9, 14, 18], "white": [8, 15]}
BRIGHT = {"edges": [0.0], "weights": [1.0, 4.0]}
PLAIN, AGAIN = "pix2pix", ("pix2pix, order 2", "pix2pix, order 3")
NUDGED = {"pix2pix, L1 101": 101.0, "pix2pix, L1 99": 99.0}
TABLE = {
    "PSNR": ".2f",
    "SSIM": ".3f",
    "MAE": ".4f",
    "sharpness": ".2f",
    "tissue Dice": ".3f",
    "histogram distance": ".3f",
}


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


class Study:
    """One folder of results: the data, the budget, and what is done already."""

    def __init__(self, folder: Path, bundle: Path, settings: dict[str, Any], start: int, epochs: int) -> None:
        self.folder, self.bundle, self.settings, self.start, self.epochs = folder, bundle, settings, start, epochs
        folder.mkdir(parents=True, exist_ok=True)
        self.entries = catalogue(folder / "segmenter.ts")

    def parser(self, losses: dict[str, Any] | None = None, order: int = 0) -> ConfigParser:
        """The bundle's training config, small, with these losses."""
        configs = self.bundle / "configs"
        parser = ConfigParser()
        parser.read_config([str(configs / "train.json"), str(configs / "quick.json")])
        parser.update(self.settings)
        parser["seed"] = int(parser["seed"]) + order
        if losses is not None:
            parser["losses"] = losses
        return parser

    def losses_of(self, name: str, weight: float) -> dict[str, Any]:
        """pix2pix's losses with the entry's."""
        entry = self.entries[name]
        losses = {key: value for key, value in self.parser()["losses"].items() if key != entry.replaces}
        return losses | ({name: {**entry.config, "weight": weight}} if entry.config else {})

    def trainer(self, parser: ConfigParser, epochs: int) -> TranslationTrainer:
        """Networks, data and optimisers from the seed."""
        set_determinism(int(parser.get_parsed_content("seed")))
        return TranslationTrainer(
            parser.get_parsed_content("device"),
            epochs,
            parser.get_parsed_content("train::dataloader"),
            parser.get_parsed_content("method"),
            seed=parser.get_parsed_content("seed"),
            threads=1,
        )


def batches(parser: ConfigParser, split: str) -> list[dict[str, Tensor]]:
    """Every fourth slice of a split, without augmentation."""
    parser["val_split"], parser["val_every"] = split, 4
    return list(parser.get_parsed_content("validate::dataloader"))


def train_segmenter(study: Study, steps: int) -> None:
    """A small U-Net that finds tissues in real target images; what the shape loss asks."""
    path = study.folder / "segmenter.ts"
    if path.is_file():
        return
    parser = study.parser()
    dataset = parser.get_parsed_content("train::dataset")
    labels = {case.name: str(case.label) for case in Cases.read(parser.get_parsed_content("cohort"))}
    size = parser.get_parsed_content("image_size")
    reading = parser.get_parsed_content("train::reading")
    read_label = ReadSlicesd(["label"], mask_key=None)
    torch.manual_seed(0)
    network = UNet(2, 1, len(TISSUES) + 1, (16, 32, 64), (2, 2))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    group = torch.full((256,), len(TISSUES))
    for number, members in enumerate(TISSUES.values()):
        group[members] = number
    order = torch.randperm(len(dataset.data)).tolist()
    for step in range(steps):
        images, wanted = [], []
        for index in (order[(step * 8 + i) % len(order)] for i in range(8)):
            item = dataset.data[index]
            label = read_label({**item, "label": labels[item["case"]]})["label"]
            for transform in reading:
                item = transform(item)
            images.append(item["target"].as_tensor())
            wanted.append(group[_fitted(label, size).long()][0])
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(torch.stack(images)), torch.stack(wanted))
        loss.backward()
        optimizer.step()
    typer.echo(f"segmentation network: cross entropy {loss.item():.3f} after {steps} steps")
    network.eval()
    with written_whole(path) as temporary:
        torch.jit.trace(network, torch.stack(images)).save(str(temporary))


def _fitted(label: Tensor, size: list[int]) -> Tensor:
    from monai.transforms import ResizeWithPadOrCrop

    return torch.as_tensor(ResizeWithPadOrCrop(size)(label)).round()


def held_out(study: Study) -> dict[str, dict[str, Tensor]]:
    """Every fourth slice of each head that does not train: ``(N, 1, X, Y)`` of source, target and mask, by head."""
    found: dict[str, dict[str, list[Tensor]]] = {}
    for split in ("validation", "test"):  # nothing is chosen by validation here
        parser = study.parser()
        parser["val_split"], parser["val_every"] = split, 4
        dataset = parser.get_parsed_content("validate::dataset")
        for index, told in enumerate(dataset.data):
            item = dataset[index]
            for key in ("source", "target", "mask"):
                found.setdefault(told["case"], {}).setdefault(key, []).append(
                    torch.as_tensor(item[key]).as_subclass(Tensor)
                )
    return {head: {key: torch.stack(planes) for key, planes in images.items()} for head, images in found.items()}


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


def train_start(study: Study) -> None:
    """The pix2pix that every training goes on from."""
    path = study.folder / "start.pt"
    if not path.is_file():
        trainer = study.trainer(study.parser(), study.start)
        trainer.run()
        with written_whole(path) as temporary:
            torch.save({name: network.state_dict() for name, network in trainer.method.networks.items()}, temporary)


def load_start(study: Study, method: Method) -> None:
    """Weights of the common start; optimisers begin anew."""
    state = torch.load(study.folder / "start.pt", weights_only=True)
    for name, network in method.networks.items():
        network.load_state_dict(state[name])


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


def table(study: Study, weights: dict[str, dict[str, float]], records: dict[str, dict[str, Any]]) -> str:
    """Markdown: weight, gradient, time of a step, and means over the held-out heads."""
    lines = ["| " + " | ".join(["loss", "weight", "pull at weight 1", "pull here", "step", *TABLE]) + " |"]
    lines.append("|---|" + "---:|" * (4 + len(TABLE)))
    for name, record in records.items():
        found, ratio = weights.get(name), record["step_ratio"]
        two_digits = float(f"{found['ratio'] if found else 0:.2g}")
        pull = ("", "", "") if found is None else (
            f"{found['weight']:g}", f"{two_digits:g}", f"{found['weight'] * found['ratio'] / L1_WEIGHT:.0%}"
        )  # fmt: skip
        heads = record.get("heads")
        quality = [format(np.nanmean([*heads[key].values()]), how) if heads else "–" for key, how in TABLE.items()]
        lines.append(f"| {' | '.join([name, *pull, f'×{ratio:.2f}', *quality])} |")
    return "\n".join(lines)


def effects(study: Study, records: dict[str, dict[str, Any]]) -> str:
    """Markdown: the property that each loss is meant to change and its own value, against plain pix2pix."""
    plain = records[PLAIN]["heads"]
    controls = [[records[name]["heads"] for name in names] for names in (NUDGED, AGAIN)]
    head = ["loss", "meant to change", "pix2pix", "with it", "difference [95 %]", "nudge", "order", "visible"]
    lines = [f"| {' | '.join([*head, 'own value', 'visible'])} |", "|---|---|---:|---:|---|---:|---:|---|---|---|"]
    for name, record in records.items():
        meant, heads = study.entries[name].meant, record.get("heads")
        if not meant or not heads:
            continue
        found, own = (
            change(heads[key], plain[key], *([run[key] for run in runs] for runs in controls)) if key in heads else None
            for key in (meant, f"own {name}")
        )
        assert found is not None
        moved = found.difference
        cells = [name, meant, f"{found.plain:.4g}", f"{found.plain + moved.mean:.4g}"]
        cells += [
            f"{moved.mean:+.2g} [{moved.low:+.2g}, {moved.high:+.2g}]",
            f"{found.nudge:.2g}",
            f"{found.order:.2g}",
        ]
        cells.append(found.visible)
        cells += ["–", "–"] if own is None else [
            f"{own.difference.mean / own.plain:+.1%} [{own.difference.low / own.plain:+.1%}, "
            f"{own.difference.high / own.plain:+.1%}]", own.visible
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(study: Study, names: list[str], path: Path, columns: int = 8) -> None:
    """Output, a detail of it, and what the loss changed, five times as strong; source and target first."""
    slices = {name: np.load(study.folder / name.replace(" ", "_") / "slice.npz") for name in names}
    plain = slices[PLAIN]
    corner = [slice(max(0, at.min() - 1), at.max() + 2) for at in np.nonzero(plain["target"] > -0.9)]
    detail = [slice(at.start + (at.stop - at.start) // 3, at.stop - (at.stop - at.start) // 4) for at in corner]
    panels = [("source", plain["source"], None), ("target", plain["target"], None)]
    panels += [
        (n, arrays["found"], None if n == PLAIN else arrays["found"] - plain["found"]) for n, arrays in slices.items()
    ]
    rows = math.ceil(len(panels) / columns)
    height, width = (place.stop - place.start for place in reversed(corner))
    figure = Figure(figsize=(1.2 * columns, 3 * rows * 1.2 * height / width + 0.25 * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(3 * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for index, (name, output, changed) in enumerate(panels):
        row, column = divmod(index, columns)
        for below, (image, place, limit) in enumerate(
            ((output, corner, 1.0), (output, detail, 1.0), (changed, corner, 0.2))
        ):
            if image is None:
                continue
            shown = image[tuple(place)].T[::-1]
            axis, colours = axes[3 * row + below][column], "RdBu_r" if below == 2 else "gray"
            axis.imshow(shown, cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
        axes[3 * row][column].set_title(name, fontsize=8, pad=2)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=85, facecolor="white")
    with written_whole(path) as temporary:  # 96 colours do, and make a small file
        Image.open(drawn).convert("RGB").quantize(96).save(temporary, format="png", optimize=True)


def main(
    folder: Annotated[Path, typer.Argument(help="Where results go; a finished loss is not trained again.")],
    bundle: Annotated[Path, typer.Option(help="A pix2pix bundle.")] = Path("bundles/pix2pix"),
    losses: Annotated[str, typer.Option(help="Names, separated by commas; all by default.")] = "",
    start: Annotated[int, typer.Option(help="Epochs of the pix2pix that all go on from.")] = 8,
    epochs: Annotated[int, typer.Option(help="Epochs that each goes on for.")] = 2,
    share: Annotated[float, typer.Option(help="How hard an added loss pulls, relative to 100·L1.")] = 0.5,
    repeats: Annotated[int, typer.Option(help="Timed steps.")] = 12,
    settings: Annotated[list[str] | None, typer.Option("--set", help="id=value of the bundle; repeatable.")] = None,
) -> None:
    """Train, measure, print a table, draw."""
    small: dict[str, Any] = {
        "image_size": [64, 64], "network_def::channels": [16, 32, 64, 64], "discriminator_def::channels": 16,
        "learning_rate": 1e-3, "precision": "fp32", "device": "$torch.device('cpu')", "num_workers": 0,
        "phantom": {"subjects": 40, "spacing": 3.5, "modalities": ["T1", "T2"]},
    }  # fmt: skip
    for setting in settings or []:
        key, _, value = setting.partition("=")
        small[key] = json.loads(value) if value[:1] in "[{0123456789" else value
    torch.set_num_threads(1)
    study = Study(folder, bundle, small, start, epochs)
    chosen = [name.strip() for name in losses.split(",") if name.strip()] or list(study.entries)
    if unknown := set(chosen) - set(study.entries):
        raise typer.BadParameter(f"no loss {sorted(unknown)}: choose from {', '.join(study.entries)}")
    train_segmenter(study, steps=40 * start)
    train_start(study)
    weights = weights_of(study, [n for n in chosen if study.entries[n].config and n not in NUDGED], share)
    records = {name: run_entry(study, name, NUDGED.get(name, 0.0), repeats) for name in (PLAIN, *AGAIN, *NUDGED)}
    for name, found in weights.items():
        records[name] = run_entry(study, name, found["weight"], repeats)
        typer.echo(f"{name}: weight {found['weight']:g}, {'trained' if study.entries[name].trained else 'measured'}")
    text = f"{effects(study, records)}\n\n{table(study, weights, records)}"
    (folder / "losses.md").write_text(text + "\n", encoding="utf-8")
    typer.echo(f"\n{start} epochs of pix2pix, then {epochs} ({records['pix2pix']['steps']} steps) each\n\n{text}")
    shown = [name for name in records if study.entries[name].trained and name not in (AGAIN[1], [*NUDGED][1])]
    draw(study, shown, folder / "losses_added.png")


if __name__ == "__main__":
    typer.run(main)
