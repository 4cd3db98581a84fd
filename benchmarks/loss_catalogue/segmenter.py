"""A small network that finds tissues in real target images: what the shape loss asks."""

from __future__ import annotations

import torch
import typer
from monai.networks.nets import UNet
from monai.transforms import ResizeWithPadOrCrop
from study import Study
from torch import Tensor

from medtrans.cohorts import Cases
from medtrans.files import written_whole
from medtrans.transforms import ReadSlicesd

# Classes of the network, by the phantom's labels.
TISSUES = {"air": [0], "bone": [4, 5, 10], "fluid": [6, 11], "grey": [7, 9, 14, 18], "white": [8, 15]}


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
    return torch.as_tensor(ResizeWithPadOrCrop(size)(label)).round()
