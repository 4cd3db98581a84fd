"""The image pool: discriminators learn from a history of synthetic images, not from the last ones alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor


class ImagePool:
    """Half of the time an older synthetic image is given out in the place of a new one (Shrivastava 2017, CycleGAN).

    Until it is full it keeps and returns what it is given. Then each new image is, with probability 1/2, exchanged for
    a random one of the pool, else returned as it is. Its content belongs to a checkpoint; its choices follow from
    torch's random numbers, which the engine seeds in each iteration. In distributed training all processes keep one
    pool of all their images, so that a checkpoint does not depend on the process that writes it.

    Args:
        size: number of images; 0 returns what it is given.
    """

    def __init__(self, size: int = 50) -> None:
        if size < 0:
            raise ValueError(f"an image pool has at least 0 images, got {size}")
        self.size = size
        self.images: list[Tensor] = []
        self.born: list[int] = []  # how many images had been seen when each one came
        self.seen = 0

    @property
    def age(self) -> float:
        """How many images have come since, the mean over the pool; 0 for an empty one."""
        return sum(self.seen - born for born in self.born) / len(self.born) if self.born else 0.0

    def exchange(self, images: Tensor) -> Tensor:
        """``(B, C, *spatial)``, new or from the pool, without gradients, for ``(B, C, *spatial)`` new ones."""
        images = images.detach()
        if self.size == 0:
            return images
        all_images, first = _of_all_processes(images)
        draws = _of_first_process(torch.rand(len(all_images), 2).to(images.device)).tolist()
        exchanged = [self._exchanged(image, *draw) for image, draw in zip(all_images, draws, strict=True)]
        return torch.stack(exchanged[first : first + len(images)])

    def _exchanged(self, image: Tensor, chance: float, choice: float) -> Tensor:
        self.seen += 1
        if len(self.images) < self.size:
            self.images.append(image.clone())
            self.born.append(self.seen)
            return image
        if chance < 0.5:
            return image
        place = min(int(choice * self.size), self.size - 1)
        older = self.images[place].to(image)
        self.images[place], self.born[place] = image.clone(), self.seen
        return older

    def state_dict(self) -> dict[str, Any]:
        """The images, on the CPU, and when they came."""
        return {"images": [image.cpu() for image in self.images], "born": list(self.born), "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved pool; a smaller one keeps the first images."""
        self.images = list(state["images"])[: self.size]
        self.seen = int(state.get("seen", 0))
        self.born = list(state.get("born", [self.seen] * len(self.images)))[: self.size]


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _of_all_processes(images: Tensor) -> tuple[Tensor, int]:
    """The images of all processes in their order, and where this process's begin."""
    if not _distributed() or torch.distributed.get_world_size() == 1:
        return images, 0
    gathered = [torch.empty_like(images) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, images.contiguous())
    return torch.cat(gathered), torch.distributed.get_rank() * len(images)


def _of_first_process(draws: Tensor) -> Tensor:
    """The first process's random numbers, for all of them."""
    if _distributed():
        torch.distributed.broadcast(draws, 0)
    return draws
