"""A validation of images at hand: metrics over batches of items as an evaluator gives them."""

import pytest
from ignite.engine import Engine


@pytest.fixture(scope="session")
def measured():
    """``measured(metrics, batch, **images)``: values by the names of ``metrics``; ``images`` are what items hold."""

    def measure(metrics, batch=3, **images):
        engine = Engine(lambda _, items: items)
        for name, metric in metrics.items():
            metric.attach(engine, name)
        items = [dict(zip(images, values, strict=True)) for values in zip(*images.values(), strict=True)]
        engine.run([items[start : start + batch] for start in range(0, len(items), batch)])
        return engine.state.metrics

    return measure
