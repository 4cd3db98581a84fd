"""What each loss does when it is added to pix2pix: the same heads, the same order, the same budget.

    python benchmarks/loss_catalogue.py LOSSES

Trains pix2pix on the phantom cohort, measures how strongly every loss pulls at its output, gives each the weight that
pulls a given share as hard as pix2pix's own L1, and trains on from the same pix2pix with each, and with none. Writes
LOSSES/losses.md and a picture; a loss that is done is kept, so an interrupted run goes on.
"""

from __future__ import annotations

import copy
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
from medtrans.losses.sharpness import LocalSharpness
from medtrans.methods import Method
from medtrans.metrics.psnr import PSNR
from medtrans.metrics.ssim import SSIM
from medtrans.transforms import ReadSlicesd

LOSS = "medtrans.losses."
L1_WEIGHT = 100.0
# Classes of the segmentation network that the shape loss asks, by the phantom's labels.
TISSUES = {"air": [0], "bone": [4, 5, 10], "fluid": [6, 11], "grey": [7, 9, 14, 18], "white": [8, 15]}
BRIGHT = {"edges": [0.0], "weights": [1.0, 4.0]}


@dataclass
class Entry:
    """One line of the catalogue: a loss that is added to pix2pix, or takes the place of one of its own.

    Attributes:
        config: the term, without its weight.
        replaces: name of pix2pix's term that goes.
        share: how hard it pulls, relative to pix2pix's L1; 0 takes the run's own share, None leaves the weight at 1.
        trained: whether pix2pix is trained with it; the others are only measured.
    """

    config: dict[str, Any] = field(default_factory=dict)
    replaces: str = ""
    share: float | None = 0.0
    trained: bool = True


def term(name: str, **options: Any) -> dict[str, Any]:
    return {"_target_": LOSS + name, **options}


def catalogue(segmenter: Path) -> dict[str, Entry]:
    """The losses by name."""
    network = {"_target_": "medtrans.networks.FrozenNetwork", "path": str(segmenter)}
    vgg = {"_target_": "medtrans.networks.VGG19Features", "weights": "random"}

    def in_place_of_l1(name: str, **options: Any) -> Entry:
        return Entry(term(name, **options), "l1", 1.0)

    def form(name: str) -> Entry:
        return Entry(term("Adversarial", form=name), "adversarial", None)

    return {
        "pix2pix": Entry(share=None),
        "log": Entry(term("Adversarial", form="log"), "adversarial", None, trained=False),
        "least squares": form("least_squares"),
        "hinge": form("hinge"),
        "Wasserstein": form("wasserstein"),
        "L2": in_place_of_l1("L2"),
        "Charbonnier": in_place_of_l1("Charbonnier", epsilon=0.05),
        "masked L1": in_place_of_l1("L1", masked=True),
        "weighted L1": in_place_of_l1("L1", intensity_weights=BRIGHT),
        "gradient": Entry(term("GradientDifference")),
        "sharpness": Entry(term("Sharpness")),
        "shape": Entry(term("Shape", network=network, form="dice_cross_entropy")),
        "discriminator": Entry(term("DiscriminatorPerceptual", layers=[0, 1, 1])),
        "perceptual": Entry(term("Perceptual", features=vgg), trained=False),
        "SSIM": Entry(term("SSIM")),
        "MS-SSIM": Entry(term("MultiScaleSSIM", scales=3)),
        "style": Entry(term("Style", features=vgg), trained=False),
        "content": Entry(term("Content", features=vgg), trained=False),
        "self-regularisation": Entry(term("SelfRegularisation")),
        "frequency": Entry(term("Frequency")),
        "focal frequency": Entry(term("Frequency", power=2, focal=1.0)),
        "fine frequencies": Entry(term("Frequency", band=[0.5, 1.5])),
        "total variation": Entry(term("TotalVariation")),
    }


class Study:
    """One folder of results: the data, the budget, and what is done already."""

    def __init__(self, folder: Path, bundle: Path, settings: dict[str, Any], start: int, epochs: int) -> None:
        self.folder, self.bundle, self.settings, self.start, self.epochs = folder, bundle, settings, start, epochs
        folder.mkdir(parents=True, exist_ok=True)
        self.entries = catalogue(folder / "segmenter.ts")

    def parser(self, losses: dict[str, Any] | None = None) -> ConfigParser:
        """The bundle's training config, small, with these losses."""
        configs = self.bundle / "configs"
        parser = ConfigParser()
        parser.read_config([str(configs / "train.json"), str(configs / "quick.json")])
        parser.update(self.settings)
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
    prepare = ConfigParser({"reading": copy.deepcopy(parser["train"]["reading"])})
    size = parser.get_parsed_content("image_size")
    prepare.update({"image_size": size})
    reading = prepare.get_parsed_content("reading")
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


def evaluate(study: Study, generator: torch.nn.Module) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Quality on the held-out heads, inside the body, and one slice for the picture."""
    segmenter = torch.jit.load(str(study.folder / "segmenter.ts"))
    generator.eval()
    values: dict[str, list[Tensor]] = {}
    shown: dict[str, np.ndarray] = {}
    sharpness = LocalSharpness()
    with torch.no_grad():
        for batch in batches(study.parser(), "test"):
            source, target, mask = (batch[key] for key in ("source", "target", "mask"))
            found = generator(source).clamp(-1, 1)
            options: dict[str, Any] = {"data_range": (-1.0, 1.0), "mask": mask}
            inside = mask[..., 4:-4, 4:-4] > 0
            steep = [sharpness(image)[0] * inside for image in (found, target)]
            agreed = [segmenter(image).argmax(1, keepdim=True) for image in (found, target)]
            measured = {
                "PSNR": PSNR()(found, target, **options),
                "SSIM": SSIM()(found, target, **options),
                "MAE": ((found - target).abs() * (mask > 0)).flatten(1).sum(1) / (mask > 0).flatten(1).sum(1),
                "sharpness": steep[0].flatten(1).sum(1) / steep[1].flatten(1).sum(1),
                "tissues": ((agreed[0] == agreed[1]) & (mask > 0)).flatten(1).sum(1) / (mask > 0).flatten(1).sum(1),
            }
            for key, value in measured.items():
                values.setdefault(key, []).append(value.double())
            if not shown:
                middle = int(mask.flatten(1).sum(1).argmax())
                pictures = {"source": source, "target": target, "found": found}
                shown = {key: image[middle, 0].numpy() for key, image in pictures.items()}
    return {key: float(torch.cat(parts).nanmean()) for key, parts in values.items()}, shown


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
    for losses in (study.losses_of("pix2pix", 0), study.losses_of(name, weight)):
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
        "settings": study.settings,
    }
    if result.is_file() and (kept := json.loads(result.read_text()))["told"] == json.loads(json.dumps(told)):
        return kept
    folder.mkdir(exist_ok=True)
    record: dict[str, Any] = {"told": told}
    if entry.trained:
        trainer = study.trainer(study.parser(study.losses_of(name, weight)), study.epochs)
        load_start(study, trainer.method)
        trainer.run()
        record["quality"], shown = evaluate(study, trainer.method.networks["generator"])
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
    """Markdown: quality on the held-out heads, weight, gradient, and time of a step."""
    head = "| loss | weight | gradient / L1's | pull / 100·L1's | step | PSNR dB | SSIM | MAE | sharpness | tissues |"
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name, record in records.items():
        found, ratio = weights.get(name), record["step_ratio"]
        pull = ("", "", "") if found is None else (
            f"{found['weight']:g}", f"{found['ratio']:.2g}", f"{found['weight'] * found['ratio'] / L1_WEIGHT:.0%}"
        )  # fmt: skip
        q = record.get("quality")
        quality = ["–"] * 5 if q is None else [
            f"{q['PSNR']:.2f}", f"{q['SSIM']:.3f}", f"{q['MAE']:.4f}", f"{q['sharpness']:.2f}", f"{q['tissues']:.1%}"
        ]  # fmt: skip
        lines.append(f"| {' | '.join([name, *pull, f'×{ratio:.2f}', *quality])} |")
    return "\n".join(lines)


def draw(study: Study, names: list[str], path: Path, columns: int = 7) -> None:
    """Output, its error, and what the loss changed, one loss beside the other, source and target first."""
    slices = {name: np.load(study.folder / name.replace(" ", "_") / "slice.npz") for name in names}
    plain = slices["pix2pix"]
    corner = [slice(max(0, at.min() - 1), at.max() + 2) for at in np.nonzero(plain["target"] > -0.9)]
    panels = [("source", plain["source"], None, None), ("target", plain["target"], None, None)]
    for name, arrays in slices.items():
        change = None if name == "pix2pix" else arrays["found"] - plain["found"]
        panels.append((name, arrays["found"], arrays["found"] - arrays["target"], change))
    rows = math.ceil(len(panels) / columns)
    height, width = (place.stop - place.start for place in reversed(corner))
    figure = Figure(figsize=(1.2 * columns, 3 * rows * 1.2 * height / width + 0.25 * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(3 * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for index, (name, *images) in enumerate(panels):
        row, column = divmod(index, columns)
        for below, (image, limit) in enumerate(zip(images, (1.0, 0.8, 0.4), strict=True)):
            if image is None:
                continue
            colours = "RdBu_r" if below else "gray"
            shown = image[tuple(corner)].T[::-1]
            axes[3 * row + below][column].imshow(shown, cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
        axes[3 * row][column].set_title(name, fontsize=8, pad=2)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=75, facecolor="white")
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
        "phantom": {"subjects": 16, "spacing": 3.5, "modalities": ["T1", "T2"]},
    }  # fmt: skip
    for setting in settings or []:
        key, _, value = setting.partition("=")
        small[key] = json.loads(value) if value[:1] in "[{0123456789" else value
    torch.set_num_threads(1)
    study = Study(folder, bundle, small, start, epochs)
    chosen = [name.strip() for name in losses.split(",") if name.strip()] or list(study.entries)
    if unknown := set(chosen) - set(study.entries):
        raise typer.BadParameter(f"no loss {sorted(unknown)}: choose from {', '.join(study.entries)}")
    train_segmenter(study, steps=20 * start)
    train_start(study)
    weights = weights_of(study, [name for name in chosen if study.entries[name].config], share)
    records = {"pix2pix": run_entry(study, "pix2pix", 0.0, repeats)}
    for name, found in weights.items():
        records[name] = run_entry(study, name, found["weight"], repeats)
        typer.echo(f"{name}: weight {found['weight']:g}, {records[name].get('quality', 'not trained')}")
    text = table(study, weights, records)
    (folder / "losses.md").write_text(text + "\n", encoding="utf-8")
    typer.echo(f"\n{start} epochs of pix2pix, then {epochs} ({records['pix2pix']['steps']} steps) each\n\n{text}")
    draw(study, [name for name in records if study.entries[name].trained], folder / "losses_added.png")


if __name__ == "__main__":
    typer.run(main)
