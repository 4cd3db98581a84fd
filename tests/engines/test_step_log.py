"""What steps took and were given: checksums tell the same images, rows survive a kill, budgets end the run."""

import csv
import json
import zlib

import pytest
import torch

from medtrans.cohorts import EpochDataset, EpochSampler
from medtrans.engines import Checkpoints, StepBudget, StepLog, TranslationTrainer
from medtrans.engines.step_log import checksums, peak_memory
from medtrans.losses import L1
from medtrans.methods import PairedTranslation
from medtrans.networks import CasNet


def build(folder, max_epochs=2, channels=(4, 8), seed=0, every=0, batch_size=2, **budget):
    """A tiny training of 5 batches an epoch whose checkpoint and step log lie in ``folder``."""
    torch.manual_seed(0)
    network = CasNet(2, 1, 1, blocks=1, channels=channels)
    optimizers = {"generator": torch.optim.Adam(network.parameters(), 1e-3)}
    method = PairedTranslation(network, {"l1": L1(1.0)}, optimizers, generator_steps=2)
    images = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    dataset = EpochDataset([{"source": image, "target": -image} for image in images], lambda item: item, seed=seed)
    loader = torch.utils.data.DataLoader(dataset, batch_size, sampler=EpochSampler(dataset, seed=seed))
    log = StepLog(folder / "steps.csv")
    handlers = [log, *([StepBudget(log, **budget)] if budget else [])]
    checkpoints = Checkpoints(folder, every)
    return TranslationTrainer(
        "cpu", max_epochs, loader, method, handlers, checkpoints=checkpoints, threads=1, seed=seed
    )


def rows(folder):
    with (folder / "steps.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def seen(folder):
    return [row["items"] for row in rows(folder)]


def test_a_row_a_step_with_time_memory_and_the_images(tmp_path):
    build(tmp_path).run()
    found = rows(tmp_path)
    assert [int(row["iteration"]) for row in found] == list(range(1, 11))
    assert all(0 < float(row["seconds"]) < 30 for row in found)
    assert all(float(row["memory_mib"]) > 50 for row in found)
    assert all(len(row["items"].split()) == 2 for row in found)
    facts = json.loads((tmp_path / "steps.json").read_text())
    assert (facts["total_steps"], facts["batch_size"], facts["generator_steps"]) == (10, 2, 2)
    assert facts["parameters"] == {"generator": sum(p.numel() for p in build(tmp_path).method.parameters())}


def test_checksums_are_crc_32_of_source_then_target():
    batch = {"source": torch.arange(8.0).reshape(2, 1, 2, 2), "target": torch.ones(2, 1, 2, 2), "case": ["a", "b"]}
    raw = [batch["source"][n].numpy().tobytes() + batch["target"][n].numpy().tobytes() for n in range(2)]
    assert checksums(batch) == " ".join(f"{zlib.crc32(values):08x}" for values in raw)


def test_other_networks_see_the_same_images_and_another_seed_sees_others(tmp_path):
    for name, settings in {"a": {}, "b": {"channels": (6, 6, 6)}, "c": {"seed": 1}}.items():
        (tmp_path / name).mkdir()
        build(tmp_path / name, **settings).run()
    assert seen(tmp_path / "a") == seen(tmp_path / "b") != seen(tmp_path / "c")
    assert len(set(" ".join(seen(tmp_path / "a")).split())) == 10  # every image has a checksum of its own


def test_another_batch_size_sees_the_same_images_in_the_same_order(tmp_path):
    for name, size in {"a": 2, "b": 5}.items():
        (tmp_path / name).mkdir()
        build(tmp_path / name, batch_size=size).run()
    assert " ".join(seen(tmp_path / "a")) == " ".join(seen(tmp_path / "b"))


def test_a_killed_run_goes_on_with_its_rows_and_its_seconds(tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    straight.mkdir()
    broken.mkdir()
    build(straight).run()
    killed = build(broken, every=2)

    def kill(engine):
        if engine.state.iteration == 8:
            raise KeyboardInterrupt

    from ignite.engine import Events

    killed.add_event_handler(Events.ITERATION_COMPLETED, kill)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    before = [float(row["seconds"]) for row in rows(broken)[:6]]
    again = build(broken, every=2)
    again.run()
    assert seen(broken) == seen(straight)
    assert again.state.iteration == 10
    after = [float(row["seconds"]) for row in rows(broken)]
    assert after[:6] == before  # the last checkpoint was after six
    assert float(rows(broken)[-1]["total_seconds"]) == pytest.approx(sum(after), rel=1e-4)


@pytest.mark.parametrize("steps", [3, 5, 7, 10])
def test_a_budget_of_steps_ends_in_the_middle_of_an_epoch_too_and_saves(tmp_path, steps):
    trainer = build(tmp_path, max_epochs=50, steps=steps)
    trainer.run()
    assert len(rows(tmp_path)) == steps
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["run"]["iteration"] == steps
    again = build(tmp_path, max_epochs=50, steps=steps)
    again.run()
    assert len(rows(tmp_path)) == steps  # started again, it takes no step more


def test_a_budget_of_minutes_counts_those_before_a_resume(tmp_path):
    build(tmp_path, max_epochs=1).run()
    path = tmp_path / "steps.csv"
    lines = path.read_text().splitlines()
    lines[2] = ",".join([*lines[2].split(",")[:2], "30.0", *lines[2].split(",")[3:]])  # one step took half a minute
    path.write_text("\n".join(lines) + "\n")
    trainer = build(tmp_path, max_epochs=50, minutes=0.5)
    trainer.run()
    assert len(rows(tmp_path)) == 5
    trainer = build(tmp_path, max_epochs=50, minutes=0.51)
    trainer.run()
    assert 5 < len(rows(tmp_path)) < 250


def test_the_epoch_that_a_budget_cuts_short_is_validated(tmp_path):
    from ignite.engine import Events

    trainer = build(tmp_path, max_epochs=50, steps=7)
    ended = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda e: ended.append((e.state.epoch, e.state.iteration)))
    trainer.run()
    assert ended == [(1, 5), (2, 7)]
    assert trainer.state.max_epochs == 2


def test_a_budget_of_nothing_is_refused(tmp_path):
    for budget in ({"steps": 0}, {"minutes": 0.0}):
        with pytest.raises(ValueError, match="budget"):
            StepBudget(StepLog(tmp_path / "steps.csv"), **budget)


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory()
    held = torch.ones(60_000_000)
    assert peak_memory() >= before + 0.5 * held.nbytes or peak_memory() > held.nbytes
