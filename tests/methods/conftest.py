"""A stepper that does what the engine does on one batch, and writes down what happened."""

import pytest


class Recorder:
    def __init__(self, method):
        self.method, self.order, self.trainable, self.totals = method, [], [], []

    def optimize(self, name, loss, parts):
        self.order.append(name)
        discriminators = [n for key, n in self.method.networks.items() if key.startswith("discriminator")]
        self.trainable.append(all(p.requires_grad for n in discriminators for p in n.parameters()))
        optimizer = self.method.optimizers[name]
        optimizer.zero_grad()
        averaged, count = {}, sum(len(part["source"]) for part in parts)
        for part in parts:
            share = len(part["source"]) / count
            total, values = loss(part)
            (total * share).backward()
            for key, value in {"total": total, **values}.items():
                averaged[key] = averaged.get(key, 0) + value.detach() * share
        self.totals.append(averaged["total"].item())
        optimizer.step()
        return averaged


@pytest.fixture
def recorder():
    return Recorder
