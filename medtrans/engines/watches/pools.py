"""How full the image pools are, and how old what they hold is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ignite.engine import Engine
from torch import Tensor

from medtrans.engines.watches.watch import Watch
from medtrans.methods.image_pool import ImagePool

if TYPE_CHECKING:
    from medtrans.engines.trainer import TranslationTrainer


class Pools(Watch):
    """Columns ``pool_<domain>_fill``, a share of its size, and ``pool_<domain>_age``, in synthetic images made since.

    The age is the mean over the pool; about twice the pool's size is normal once it is full. Pools of size 0 have no
    columns.
    """

    name = "pools"

    def __init__(self) -> None:
        self.pools: dict[str, ImagePool] = {}

    def attach(self, trainer: TranslationTrainer, evaluator: Engine | None) -> None:
        """Follow the method's pools, where it has some."""
        pools: dict[str, ImagePool] = getattr(trainer.method, "pools", {})
        self.pools = {domain: pool for domain, pool in pools.items() if pool.size}

    def values(self) -> dict[str, Tensor | float]:
        """Fill and age of each pool."""
        found: dict[str, Tensor | float] = {}
        for domain, pool in self.pools.items():
            found |= {f"pool_{domain}_fill": len(pool.images) / pool.size, f"pool_{domain}_age": pool.age}
        return found
