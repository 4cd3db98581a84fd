import csv
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from medtrans import InputError
from medtrans.engines import VolumeTranslator
from medtrans.engines.translation import TRANSLATED
from medtrans.errors import CasesFailedError


class Halving(nn.Module):
    """A network with one weight."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return x * self.factor


class Steps:
    """Pre- and postprocessing over files of one number, noting what they did."""

    def __init__(self, folder):
        self.folder, self.read, self.seen = folder, [], []

    def preprocessing(self, item):
        self.read.append(item["case"])
        value = float(Path(item["source"][0]).read_text())
        if value < 0:
            raise InputError(item["source"][0], "is negative", "Give another")
        return item | {
            "source": MetaTensor(torch.full((1, 2, 2, 2), value), affine=torch.diag(torch.tensor([2.0] * 4)))
        }

    def inferer(self, volume, network):
        assert not torch.is_grad_enabled()
        assert volume.shape == (1, 1, 2, 2, 2)
        if float(volume.max()) > 100:
            raise RuntimeError("out of memory")
        return network(volume)

    def postprocessing(self, item):
        assert isinstance(item["pred"], MetaTensor)
        assert float(item["pred"].affine[0, 0]) == 2
        path = self.folder / "out" / f"{item['case']}.txt"
        path.write_text(str(float(item["pred"].max())))
        self.seen.append(item["pred"].dtype)
        return item | {"pred_paths": [path]}


@pytest.fixture
def steps(tmp_path):
    torch.save(Halving().state_dict(), tmp_path / "model.pt")
    return Steps(tmp_path)


def items(folder, **values):
    for case, value in values.items():
        (folder / case).write_text(str(value))
    return [{"case": case, "source": [str(folder / case)]} for case in values]


def translator(steps, cases, **options):
    network = Halving()
    with torch.no_grad():
        network.factor.zero_()  # what it is worth must come from the file
    return VolumeTranslator(
        "cpu", cases, steps.preprocessing, network, steps.inferer, steps.postprocessing,
        steps.folder / "out", steps.folder / "model.pt", **options,
    )  # fmt: skip


def table(folder):
    with (folder / "out/translated.csv").open() as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_every_case_is_translated_by_the_model_on_disk(steps, tmp_path):
    translator(steps, items(tmp_path, a=4, b=6)).run()
    assert [(tmp_path / "out" / f"{name}.txt").read_text() for name in "ab"] == ["2.0", "3.0"]
    rows = table(tmp_path)
    assert [(row["status"], row["output"]) for row in rows.values()] == [("ok", "a.txt"), ("ok", "b.txt")]
    assert all(float(row["seconds"]) >= 0 for row in rows.values())


def test_failing_cases_are_recorded_and_the_others_done(steps, tmp_path, caplog):
    cases = items(tmp_path, a=4, b=-1, c=1000, d=6)
    cases.insert(2, {"case": "e", "source": [], "problem": "e: has no T1. Add it."})
    with pytest.raises(
        CasesFailedError, match=r"3 of 5 cases failed, the first: .*/b: is negative. Give another"
    ) as told:
        translator(steps, cases).run()
    assert str(tmp_path / "out/translated.csv") in str(told.value)
    rows = table(tmp_path)
    assert {name: row["status"] for name, row in rows.items()} == {
        "a": "ok", "b": "failed", "e": "failed", "c": "failed", "d": "ok"
    }  # fmt: skip
    assert rows["e"]["reason"] == "e: has no T1. Add it."
    assert "RuntimeError: out of memory" in rows["c"]["reason"]
    assert "--verbose" in rows["c"]["reason"]
    assert "Traceback" not in caplog.text
    assert steps.read == ["a", "b", "c", "d"]


def test_finished_cases_are_kept_and_failed_ones_tried_again(steps, tmp_path):
    cases = items(tmp_path, a=4, b=-1)
    with pytest.raises(CasesFailedError):
        translator(steps, cases).run()
    (tmp_path / "b").write_text("8")
    translator(steps, cases).run()
    assert steps.read == ["a", "b", "b"]
    assert [row["status"] for row in table(tmp_path).values()] == ["kept", "ok"]
    translator(steps, items(tmp_path, c=2)).run()  # other cases into the same folder
    assert [row["status"] for row in table(tmp_path).values()] == ["kept", "ok", "ok"]


@pytest.mark.parametrize(
    "change", ["overwrite", "precision", "settings", "windows", "model", "file", "output", "nothing"]
)
def test_a_case_is_kept_only_while_nothing_changes_that_decides_its_voxels(change, steps, tmp_path):
    cases = items(tmp_path, a=4)
    translator(steps, cases, settings={"overlap": 0.25}).run()
    options = {"settings": {"overlap": 0.25}}
    if change == "overwrite":
        options["overwrite"] = True
    if change == "precision":
        options["precision"] = "bf16"
    if change == "settings":
        options["settings"] = {"overlap": 0.5}
    if change == "windows":
        cases[0]["windows"] = {"source": [[0, 1, ""]]}
    if change == "model":
        torch.save({"factor": torch.tensor(0.25)}, tmp_path / "model.pt")
    if change == "file":
        (tmp_path / "a").write_text("10")
    if change == "output":
        (tmp_path / "out/a.txt").unlink()
    translator(steps, cases, **options).run()
    assert table(tmp_path)["a"]["status"] == ("kept" if change == "nothing" else "ok")
    assert len(steps.read) == (1 if change == "nothing" else 2)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_case_that_fails_now_leaves_no_earlier_output_to_be_taken_for_it(overwrite, steps, tmp_path):
    translator(steps, items(tmp_path, a=4, b=6)).run()
    with pytest.raises(CasesFailedError):
        translator(steps, items(tmp_path, a=4, b=1000), overwrite=overwrite).run()
    assert (tmp_path / "out/a.txt").is_file()
    assert not (tmp_path / "out/b.txt").exists()


def test_a_folder_that_cannot_be_written_is_told_before_the_work(steps, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match=r"out/translated\.csv: cannot be written"):
        translator(steps, items(tmp_path, a=4)).run()
    assert steps.read == []


def test_what_killed_writers_left_is_removed(steps, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.partial-12345678-a.nii.gz").write_text("half")
    translator(steps, items(tmp_path, a=4)).run()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.txt", "translated.csv"]


@pytest.mark.parametrize("content", [b"name,age\nDoe,44\n", b"", b"\xff\xfe\x00", b"case,status\na,ok\n"])
def test_a_table_of_something_else_is_not_overwritten(content, steps, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/translated.csv").write_bytes(content)
    with pytest.raises(InputError, match="another output folder"):
        translator(steps, items(tmp_path, a=4)).run()
    assert (tmp_path / "out/translated.csv").read_bytes() == content
    assert TRANSLATED.read(tmp_path / "absent.csv") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"junk", "is damaged or not a checkpoint"), ({"other": torch.zeros(1)}, "does not fit the network")],
)
def test_a_model_that_cannot_be_used_is_refused_at_once(content, message, steps, tmp_path):
    if isinstance(content, bytes):
        (tmp_path / "model.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=message):
        translator(steps, items(tmp_path, a=4))


def test_half_precision_reaches_the_network(steps, tmp_path):
    class Watching(Halving):
        seen = ()

        def forward(self, x):
            Watching.seen = (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"))
            return super().forward(x)

    VolumeTranslator(
        "cpu", items(tmp_path, a=4), steps.preprocessing, Watching(), steps.inferer, steps.postprocessing,
        tmp_path / "out", tmp_path / "model.pt", precision="bf16",
    ).run()  # fmt: skip
    assert Watching.seen == (True, torch.bfloat16)
