"""Items and their order as functions of (seed, epoch, index): a resumed training equals an uninterrupted one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed
from monai.data import Dataset, MetaTensor
from torch.utils.data import Sampler


def seed_of(*parts: int) -> int:
    """One 32 bit seed from several numbers, well mixed (NumPy's SeedSequence): neighbours get unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's, NumPy's and torch's global random numbers start from ``seed`` inside, and go on as before outside."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    # not torch.manual_seed: that would reach for the GPU, which workers must not touch
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class EpochDataset(Dataset):
    """A MONAI ``Dataset`` whose item does not depend on workers, on reading order or on what was read before.

    ``dataset[epoch, index]`` seeds the transform, and the global random numbers for the length of the call, by a
    function of (seed, epoch, index); ``dataset[index]`` is ``dataset[0, index]``.

    Args:
        data: the items, as :func:`medtrans.cohorts.slice_items` lists them.
        transform: a MONAI transform, or several.
        seed: of the whole run.
        track_meta: leave MetaTensors as they are; otherwise items hold plain tensors, which collate faster and carry no
            history into the training.
    """

    def __init__(self, data: Sequence[Any], transform: Any = None, seed: int = 0, track_meta: bool = False) -> None:
        super().__init__(data, transform)
        self.seed, self.track_meta = int(seed), track_meta

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple) and len(index) == 2:
            return self._item(int(index[0]), int(index[1]))
        if isinstance(index, slice | Sequence):
            return super().__getitem__(index)
        return self._item(0, int(index))

    def entry(self, epoch: int, index: int) -> Any:
        """What the transform starts from: a function of (seed, epoch, index)."""
        return self.data[index]

    def _item(self, epoch: int, index: int) -> Any:
        """The item ``index`` as it is in ``epoch``."""
        index = range(len(self))[index]  # negative numbers count from the end, others must exist
        seed = seed_of(self.seed, epoch, index)
        self.transform.set_random_state(seed=seed)
        with seeded(seed):
            item = self.transform(self.entry(epoch, index))
        if self.track_meta or not isinstance(item, dict):
            return item
        return {key: value.as_tensor() if isinstance(value, MetaTensor) else value for key, value in item.items()}


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields ``(epoch, index)`` in an order that is a function of (seed, epoch), an equal share for every rank.

    Ranks take turns through one permutation; where it does not divide evenly, its beginning is repeated, so that every
    rank sees equally many samples.

    Args:
        dataset: what to draw from, or its length.
        seed: of the whole run.
        shuffle: permute anew in every epoch; otherwise keep the order.
        rank, world_size: of this process; taken from torch.distributed where it is running.
    """

    def __init__(
        self,
        dataset: Sized | int,
        seed: int = 0,
        shuffle: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        running = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else (torch.distributed.get_rank() if running else 0)
        self.world_size = (
            world_size if world_size is not None else (torch.distributed.get_world_size() if running else 1)
        )
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} is not one of {self.world_size} processes")
        self.size = dataset if isinstance(dataset, int) else len(dataset)
        if self.size < 1:
            raise ValueError("there is nothing to draw from")
        self.seed, self.shuffle, self.epoch, self.start = int(seed), shuffle, 0, 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Say which epoch comes next, and at which sample of this rank it begins (0, or where it was interrupted).

        For batches to be those of the uninterrupted epoch, ``start`` is a multiple of the batch size.
        """
        if not 0 <= start <= len(self):
            raise ValueError(f"an epoch of {len(self)} samples cannot begin at sample {start}")
        self.epoch, self.start = int(epoch), int(start)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.size)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        mine = np.resize(order, len(self) * self.world_size)[self.rank :: self.world_size]
        return iter([(self.epoch, int(index)) for index in mine[self.start :]])

    def __len__(self) -> int:
        """Samples of a whole epoch on this rank, wherever this one began."""
        return -(-self.size // self.world_size)
