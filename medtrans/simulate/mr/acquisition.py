"""When each line of k-space is measured: sequences of shots and echo trains, over slices or over partitions.

Lines and partitions are counted from the most negative frequency to the highest; the centre of n is n // 2.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

ORDERS = ("linear", "centric")
SLICE_ORDERS = ("sequential", "interleaved")


@dataclass(frozen=True)
class Slices:
    """2D: a slice is excited by itself, and gets one shot of lines a TR.

    Args:
        tr: time between two shots of the same slice, s.
        echo_train: lines a shot; 1 is a conventional spin or gradient echo.
        echo_spacing: time between the lines of a shot, s.
        order: ``linear`` from one end of k-space to the other, ``centric`` from its centre outwards. In a train each
            echo fills a band of k-space of its own, in this order.
        interleaved_shots: the shots' lines lie between one another, as in turbo spin echo; otherwise each shot fills a
            block of k-space.
        slice_order: ``sequential``, or ``interleaved``: every other slice first.
        packages: groups of slices that are measured one after the other; within a group all slices share each TR. None:
            as few as fit into the TR. As many as slices: one slice after the other.

    Raises:
        ValueError: a number is not positive, an order is unknown, or a train is longer than the TR.
    """

    tr: float = 4.0
    echo_train: int = 16
    echo_spacing: float = 0.01
    order: str = "linear"
    interleaved_shots: bool = True
    slice_order: str = "interleaved"
    packages: int | None = None

    def __post_init__(self) -> None:
        _check(self.tr, self.echo_train, self.echo_spacing, self.order)
        if self.slice_order not in SLICE_ORDERS:
            raise ValueError(f"slice_order is one of {', '.join(SLICE_ORDERS)}, got {self.slice_order!r}")
        if self.packages is not None and self.packages < 1:
            raise ValueError(f"packages is 1 or more, got {self.packages}")

    def seconds(self, lines: int, slices: int = 1) -> np.ndarray:
        """When each line of each slice is measured, ``(slices, lines)``, in s since the scan began.

        Raises:
            ValueError: the slices of a package do not fit into the TR.
        """
        train = min(self.echo_train, lines)
        shot, echo = _shots(_ranks(lines, self.order), train, self.interleaved_shots)
        room = max(1, int(self.tr / (train * self.echo_spacing) + 1e-9))  # slices that fit into a TR
        packages = min(self.packages or -(-slices // room), slices)
        share = -(-slices // packages)  # slices of a package
        if share > room:
            raise ValueError(f"{share} slices of {train} lines do not fit into a TR of {self.tr:g} s; raise packages")
        first = np.empty(slices)
        for place, number in enumerate(_slice_order(slices, self.slice_order)):
            package, slot = divmod(place, share)
            first[number] = package * (shot.max() + 1) * self.tr + slot * self.tr / share
        return first[:, None] + shot * self.tr + echo * self.echo_spacing


@dataclass(frozen=True)
class Partitions:
    """3D: the whole volume is excited, line by line along the phase axis, for each the partitions in trains.

    Args:
        tr: time between two trains, s.
        echo_train: partitions a train; None: all of them, or as many as fit, as in MP-RAGE; 1: a plain gradient echo.
        echo_spacing: time within a train, s.
        order: of the lines along the phase axis, ``linear`` or ``centric``.
        partition_order: of the partitions of a line, likewise.

    Raises:
        ValueError: a number is not positive, an order is unknown, or a train is longer than the TR.
    """

    tr: float = 2.3
    echo_train: int | None = None
    echo_spacing: float = 0.0075
    order: str = "linear"
    partition_order: str = "linear"

    def __post_init__(self) -> None:
        _check(self.tr, self.echo_train or 1, self.echo_spacing, self.order)
        _check(self.tr, self.echo_train or 1, self.echo_spacing, self.partition_order)

    def seconds(self, lines: int, partitions: int) -> np.ndarray:
        """When each partition of each line is measured, ``(lines, partitions)``, in s since the scan began."""
        room = max(1, int(self.tr / self.echo_spacing + 1e-9))
        train = min(self.echo_train or room, partitions)
        shot, echo = _shots(_ranks(partitions, self.partition_order), train, interleaved=True)
        line = _ranks(lines, self.order)[:, None] * (shot.max() + 1)
        return (line + shot) * self.tr + echo * self.echo_spacing


def sequence_record(sequence: Slices | Partitions) -> dict[str, Any]:
    """JSON-ready settings of a sequence."""
    return {"type": type(sequence).__name__, **asdict(sequence)}


def sequence_from(record: dict[str, Any]) -> Slices | Partitions:
    """The sequence that :func:`sequence_record` recorded."""
    settings = {name: value for name, value in record.items() if name != "type"}
    return {"Slices": Slices, "Partitions": Partitions}[record["type"]](**settings)


def _check(tr: float, echo_train: int, echo_spacing: float, order: str) -> None:
    if min(tr, echo_train, echo_spacing) <= 0:
        raise ValueError(f"times and echo_train are above 0, got TR {tr}, {echo_train} echoes {echo_spacing} s apart")
    if echo_train * echo_spacing > tr * (1 + 1e-9):
        raise ValueError(f"{echo_train} echoes {echo_spacing} s apart do not fit into a TR of {tr} s")
    if order not in ORDERS:
        raise ValueError(f"an order of k-space is one of {', '.join(ORDERS)}, got {order!r}")


def _ranks(count: int, order: str) -> np.ndarray:
    """The place of each frequency in the order of measurement."""
    if order == "linear":
        return np.arange(count)
    outwards = np.argsort(np.abs(np.arange(count) - count // 2), kind="stable")
    return np.argsort(outwards)


def _shots(ranks: np.ndarray, train: int, interleaved: bool) -> tuple[np.ndarray, np.ndarray]:
    """The shot of each rank, and its echo within the shot."""
    shots = -(-len(ranks) // train)
    return (ranks % shots, ranks // shots) if interleaved else (ranks // train, ranks % train)


def _slice_order(slices: int, order: str) -> SequenceOf[int]:
    return [*range(0, slices, 2), *range(1, slices, 2)] if order == "interleaved" else range(slices)


#: sequences by name, with timings usual for the head at 1.5 and 3 T
SEQUENCES: dict[str, Slices | Partitions] = {
    "turbo_spin_echo": Slices(tr=4.0, echo_train=16, echo_spacing=0.01),
    "spin_echo": Slices(tr=0.6, echo_train=1, echo_spacing=0.02),
    "gradient_echo": Slices(tr=0.25, echo_train=1, echo_spacing=0.008),
    "mp_rage": Partitions(tr=2.3, echo_train=None, echo_spacing=0.0075),
    "turbo_spin_echo_3d": Partitions(tr=3.0, echo_train=64, echo_spacing=0.004, partition_order="centric"),
    "gradient_echo_3d": Partitions(tr=0.012, echo_train=1, echo_spacing=0.012),
}
