"""Checkpoints: whole or not at all, refused where going on would not give the uninterrupted run's result."""

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from medtrans import InputError
from medtrans.engines import BestModel, Checkpoints, TranslationTrainer, load_network
from medtrans.engines.checkpoints import save_whole
from medtrans.losses import L1
from medtrans.methods import PairedTranslation


def trainer(folder, max_epochs=1, count=4, width=3, seed=0, every=0, resume=True):
    torch.manual_seed(0)
    generator = nn.Conv2d(1, 1, width, padding=width // 2)
    optimizer = torch.optim.Adam(generator.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    method = PairedTranslation(
        generator, {"l1": L1()}, {"generator": optimizer}, generator_steps=1, schedulers={"generator": scheduler}
    )
    generator_of_data = torch.Generator().manual_seed(1)
    batches = [
        {key: torch.rand(1, 1, 8, 8, generator=generator_of_data) for key in ("source", "target")} for _ in range(count)
    ]
    evaluator = Engine(lambda *_: None)
    evaluator.state.best_metric, evaluator.state.best_metric_epoch = -1, -1
    checkpoints = Checkpoints(folder, every, evaluator, resume)
    return TranslationTrainer("cpu", max_epochs, batches, method, checkpoints=checkpoints, seed=seed, threads=1)


def test_everything_needed_to_go_on_is_kept(tmp_path):
    first = trainer(tmp_path)
    first.checkpoints.evaluator.state.best_metric, first.checkpoints.evaluator.state.best_metric_epoch = 21.5, 1
    first.run()
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert set(saved) == {"run", "scaler", "network_generator", "optimizer_generator", "scheduler_generator"}
    assert saved["run"] == {
        "iteration": 4,
        "epoch_length": 4,
        "seed": 0,
        "identity": {},
        "best_metric": 21.5,
        "best_metric_epoch": 1,
    }
    again = trainer(tmp_path, max_epochs=2)
    again.checkpoints.load(again)
    assert (again.state.iteration, again.state.epoch) == (4, 1)
    assert again.checkpoints.evaluator.state.best_metric == 21.5
    assert again.method.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(5e-3)
    for p, q in zip(first.method.generator.parameters(), again.method.generator.parameters(), strict=True):
        assert torch.equal(p, q)


def test_position_inside_an_epoch_is_kept(tmp_path):
    stopped = trainer(tmp_path, every=3, count=5)
    stopped.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda e: e.terminate())
    stopped.run()
    again = trainer(tmp_path, every=3, count=5)
    seen = []
    again.checkpoints.load(again)
    assert (again.state.iteration, again.state.epoch) == (3, 0)
    again.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append((e.state.epoch, e.state.iteration)))
    again.run()
    assert seen == [(1, 4), (1, 5)]


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    save_whole({"value": 1}, tmp_path / "checkpoint.pt")

    class Unsaveable:
        def __reduce__(self):
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        save_whole({"value": Unsaveable()}, tmp_path / "checkpoint.pt")
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True) == {"value": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_what_a_killed_writer_left_is_cleared_away(tmp_path):
    (tmp_path / ".partial-00ff00ff-checkpoint.pt").write_bytes(b"half")
    one = trainer(tmp_path)
    one.checkpoints.load(one)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 5}, "network_generator does not fit"),
        ({"count": 3}, "epochs have 4 batches, these have 3"),
        ({"seed": 7}, "its seed is 0, here it is 7"),
    ],
)
def test_another_configuration_is_refused_with_the_reason(tmp_path, changes, message):
    trainer(tmp_path).run()
    other = trainer(tmp_path, max_epochs=2, **changes)
    with pytest.raises(InputError, match=message):
        other.run()


def test_another_task_is_refused_by_the_setting_that_differs(tmp_path):
    one = trainer(tmp_path)
    one.checkpoints.identity = {"source": "T1", "image_size": [16, 16]}
    one.run()
    other = trainer(tmp_path, max_epochs=2)
    other.checkpoints.identity = {"source": "T2", "image_size": [16, 16]}
    with pytest.raises(InputError, match="made with source T1, here it is T2"):
        other.run()


def test_starting_anew_on_request(tmp_path):
    trainer(tmp_path).run()
    anew = trainer(tmp_path, resume=False)
    anew.checkpoints.load(anew)
    assert anew.state.iteration == 0


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04broken zip"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.pt: is damaged or not a checkpoint"):
        trainer(tmp_path).run()


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    torch.save({"run": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=r"holds code \(builtins.print\)"):
        trainer(tmp_path).run()


def test_best_model_is_written_only_when_validation_is_better(tmp_path):
    network = nn.Conv2d(1, 1, 1)
    engine = Engine(lambda *_: None)
    engine.state.rank = 0
    engine.state.best_metric_epoch = 1
    BestModel(tmp_path / "models/model.pt", network).attach(engine)
    engine.run([0], max_epochs=1)
    before = (tmp_path / "models/model.pt").read_bytes()
    with torch.no_grad():
        network.weight += 1
    engine.state.max_epochs = None
    engine.run([0, 0], max_epochs=2)  # epoch 2, best is still 1
    assert (tmp_path / "models/model.pt").read_bytes() == before
    state = torch.load(tmp_path / "models/model.pt", weights_only=True)
    assert set(state) == {"weight", "bias"}


def test_a_model_of_another_architecture_is_refused(tmp_path):
    save_whole(nn.Conv2d(1, 1, 3).state_dict(), tmp_path / "model.pt")
    load_network(nn.Conv2d(1, 1, 3), tmp_path / "model.pt")
    with pytest.raises(InputError, match="does not fit the network"):
        load_network(nn.Conv2d(1, 2, 3), tmp_path / "model.pt")
    with pytest.raises(InputError, match="Train the bundle first"):
        load_network(nn.Conv2d(1, 1, 3), tmp_path / "absent.pt")
