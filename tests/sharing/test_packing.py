"""A packed bundle: what is in it, what is not, the same bytes every time, and the same voxels where it is opened."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import download_large_files, load, run, verify_metadata, verify_net_in_out

from medtrans import InputError
from medtrans.cohorts import write_phantom_cohort
from medtrans.engines import run_inference
from medtrans.sharing import Packing, pack, unpack, verify

BUNDLES = Path(__file__).parents[2] / "bundles"
HISTORY = "epoch,psnr,ssim\n1,20.5,0.6\n2,23.25,0.71\n3,22.0,0.8\n"
SUMMARY = """level,region,image,metric,mean,sd,median,min,max,cases,infinite,undefined,better,compared
volume,mask,synthetic,mae,41.5,3.25,41,38,45,5,0,0,5,5
volume,mask,source,mae,99,1,99,98,100,5,0,0,,
volume,whole,synthetic,mae,12,1,12,11,13,5,0,0,5,5
slice,mask,synthetic,mae,40,1,40,39,41,5,0,0,5,5
"""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Five heads, named as patients might be."""
    folder = tmp_path_factory.mktemp("hospital") / "cohort"
    write_phantom_cohort(folder, 5, ["T1", "T2"], 12.0)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cohort, write_trained_bundle):
    """A one-way and a two-way bundle as after training, with the history of one."""
    folder = tmp_path_factory.mktemp("home")
    made = {name: write_trained_bundle(folder, name, cohort) for name in ("medgan", "cyclegan")}
    (made["medgan"] / "eval").mkdir()
    (made["medgan"] / "eval/validation.csv").write_text(HISTORY)
    return made


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "summary.csv").write_text(SUMMARY)
    return folder


def content(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", sorted(path.parent.name for path in BUNDLES.glob("*/method.json")))
def test_every_bundle_packs_and_arrives(name, cohort, tmp_path, write_trained_bundle):
    settings = {"source": "T2"} if name == "bigan" else {}
    bundle = write_trained_bundle(tmp_path, name, cohort, image_size=32, **settings)
    path = pack(bundle, tmp_path / "out")
    assert path.name == f"{name}_v0.1.0.zip"
    with zipfile.ZipFile(path) as archive:  # any tool opens it
        archive.extractall(tmp_path / "there")
    assert verify(tmp_path / "there" / name)["name"] == name
    packed = {file.name for file in (tmp_path / "there" / name / "models").iterdir()}
    assert packed == {file.name for file in (bundle / "models").iterdir()}
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(tmp_path / "there" / name / "configs/metadata.json"),
        config_file=str(tmp_path / "there" / name / "configs/inference.json"),
        bundle_root=str(tmp_path / "there" / name),
        device="cpu",
    )


def test_the_same_bundle_gives_the_same_bytes(trained, tmp_path, report):
    paths = [pack(trained["medgan"], tmp_path / f"{n}.zip", Packing(report=report)) for n in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    other = pack(trained["medgan"], tmp_path / "other.zip", Packing(report=report, version="2.0"))
    assert other.read_bytes() != paths[0].read_bytes()


def test_nothing_private_is_in_it(trained, cohort, tmp_path):
    bundle = trained["medgan"]
    (bundle / "models/checkpoint.pt").unlink(missing_ok=True)
    (bundle / "docs/.hidden.md").write_text("secret")
    (bundle / "notes.json").write_text("{}")
    packed = content(pack(bundle, tmp_path / "a.zip"))
    for stray in ("docs/.hidden.md", "notes.json"):
        (bundle / stray).unlink()
    everything = b"\n".join([*packed.values(), *(name.encode() for name in packed)])
    private = [str(cohort), str(bundle), str(Path.home()) + "/", 'dataset_dir": "/', "secret"]
    cases = [line.split(",")[:2] for line in (cohort / "cases.csv").read_text().splitlines()[1:]]
    for word in [*private, *(name for case in cases for name in case)]:
        assert word.encode() not in everything, word
    assert "dataset_dir" not in json.loads(packed["medgan/models/modalities.json"])["settings"]
    assert not any("method.json" in name or "eval/" in name or "notes.json" in name for name in packed)


def test_the_card_says_what_is_known(trained, tmp_path, report):
    (tmp_path / "notes.md").write_text("Healthy volunteers of 20 to 40 years.")
    packing = Packing(report=report, notes=tmp_path / "notes.md", name="t1_to_t2", version="1.2.0")
    packed = content(pack(trained["medgan"], tmp_path / "a.zip", packing))
    card = packed["t1_to_t2/docs/MODEL_CARD.md"].decode()
    recorded = json.loads(packed["t1_to_t2/models/modalities.json"])
    counts = recorded["source"][0]["subjects"]
    assert sum(counts.values()) == 5
    for said in (
        "# t1_to_t2 1.2.0, T1 to T2",
        "not for diagnosis",
        f"| source T1 | {counts['train']} | {counts['validation']} | {counts['test']} |",
        "Volumes of 12 × 12 × 12 mm, seen as axial slices of 16 × 16 pixels",
        "Validation of epoch 2",
        "| psnr | 23.25 |",
        "| mae | 41.5 | 3.25 | 5 |",
        "Healthy volunteers",
        hashlib.sha256((trained["medgan"] / "models/model.pt").read_bytes()).hexdigest(),
        f"| torch | {torch.__version__.split('+')[0]}",
    ):
        assert said in card, said
    assert "| mae | 12" not in card
    metadata = json.loads(packed["t1_to_t2/configs/metadata.json"])
    assert metadata["eval_metrics"] == {"validation_psnr": 23.25, "validation_ssim": 0.71, "evaluation_mae": 41.5}
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == [16, 16]
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "T2"}
    assert (metadata["name"], metadata["version"], list(metadata["changelog"])[-1]) == ("t1_to_t2", "1.2.0", "1.2.0")
    assert "(../" not in packed["t1_to_t2/docs/README.md"].decode()


def test_the_best_epoch_is_the_checkpoints(trained, tmp_path):
    run_ = {"iteration": 30, "seed": 4, "best_metric_epoch": 3, "identity": {"learning_rate": 0.0002}}
    torch.save({"run": run_}, trained["medgan"] / "models/checkpoint.pt")
    card = content(pack(trained["medgan"], tmp_path / "a.zip"))["medgan/docs/MODEL_CARD.md"].decode()
    (trained["medgan"] / "models/checkpoint.pt").unlink()
    assert "Validation of epoch 3" in card
    assert "| `learning_rate` | `0.0002` |" in card


def test_an_untrained_or_half_trained_bundle_is_refused(tmp_path, cohort, write_trained_bundle):
    bundle = write_trained_bundle(tmp_path, "cyclegan", cohort)
    (bundle / "models/model_to_source.pt").unlink()
    with pytest.raises(InputError, match=r"model_to_source.pt: does not exist: the bundle is not trained. Train it"):
        pack(bundle, tmp_path / "out")
    with pytest.raises(InputError, match=r"model.pt: does not exist: the bundle is not trained"):
        pack(BUNDLES / "simple", tmp_path / "out", Packing(models=tmp_path / "none"))
    with pytest.raises(InputError, match="is not a complete bundle"):
        pack(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network_or_a_path_of_this_machine_are_refused(tmp_path, cohort, write_trained_bundle):
    bundle = write_trained_bundle(tmp_path, "simple", cohort)
    overlay = bundle / "configs/mine.json"
    overlay.write_text(json.dumps({"dataset_dir": str(cohort)}))
    with pytest.raises(InputError, match=r"mine.json: names a path of this machine"):
        pack(bundle, tmp_path / "out")
    overlay.unlink()
    torch.save(torch.nn.Linear(2, 2).state_dict(), bundle / "models/model.pt")
    with pytest.raises(InputError, match="does not fit the network"):
        pack(bundle, tmp_path / "out")


def test_a_report_of_other_weights_is_refused(trained, tmp_path):
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "summary.csv").write_text(SUMMARY)
    (tmp_path / "synthetic/a.json").write_text(json.dumps({"synthesis": {"model_sha256": "0" * 64}}))
    with pytest.raises(InputError, match="is of volumes that other weights made"):
        pack(trained["medgan"], tmp_path / "a.zip", Packing(report=tmp_path))


@pytest.fixture
def moved(trained, cohort, tmp_path):
    """name -> volumes that the original translated, and the unpacked copy, when the original is no longer there."""
    made = {}
    both = [{"direction": direction} for direction in ("source_to_target", "target_to_source")]
    for name, directions in {"medgan": [{}], "cyclegan": both}.items():
        home = trained[name]
        for place, options in enumerate(directions):
            run_inference(home, str(cohort), tmp_path / f"before/{name}{place}", (), options)
        copy = unpack(pack(home, tmp_path / f"{name}.zip"), tmp_path / "elsewhere")
        made[name] = (home, copy, directions)
    for home, _, _ in made.values():
        home.rename(home.with_name(f"gone_{home.name}"))
    yield made
    for home, _, _ in made.values():
        home.with_name(f"gone_{home.name}").rename(home)


def same_volumes(one, other):
    names = sorted(path.name for path in one.glob("*.nii.gz"))
    assert names
    assert names == sorted(path.name for path in other.glob("*.nii.gz"))
    for name in names:
        images = [nibabel.load(folder / name) for folder in (one, other)]
        np.testing.assert_array_equal(*(np.asarray(image.dataobj) for image in images))
        np.testing.assert_array_equal(*(image.affine for image in images))


def test_an_unpacked_copy_gives_the_same_voxels_by_every_way(moved, cohort, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, (_, copy, directions) in moved.items():
        for place, options in enumerate(directions):
            run_inference(copy, str(cohort), tmp_path / f"after/{name}{place}", (), options)
            same_volumes(tmp_path / f"before/{name}{place}", tmp_path / f"after/{name}{place}")
    _, copy, _ = moved["medgan"]
    config = str(copy / "configs/inference.json")
    run(config_file=config, logging_file=False, input=str(cohort), output_dir=str(tmp_path / "monai"))
    same_volumes(tmp_path / "before/medgan0", tmp_path / "monai")
    network = load("medgan", bundle_dir=copy.parent, workflow_type="inference", device="cpu")
    saved = torch.load(copy / "models/model.pt", weights_only=True)
    assert all(torch.equal(value, saved[key]) for key, value in network.state_dict().items())


def test_without_its_data_set_an_unpacked_copy_asks_for_one(moved, tmp_path):
    config = str(moved["medgan"][1] / "configs/evaluate.json")
    with pytest.raises(RuntimeError) as caught:
        run("evaluating", config_file=config, logging_file=False, output_dir=str(tmp_path / "report"))
    from medtrans.errors import input_error_behind

    assert "Give it with --dataset_dir" in str(input_error_behind(caught.value))


@pytest.mark.slow
def test_monai_downloads_and_runs_it_from_the_command_line(trained, cohort, tmp_path):
    path = pack(trained["medgan"], tmp_path / "medgan.zip")
    for words in (
        ["download", "--name", "medgan", "--url", path.as_uri(), "--bundle_dir", "zoo"],
        ["run", "--config_file", "zoo/medgan/configs/inference.json", "--input", cohort, "--output_dir", "out"],
    ):
        command = [sys.executable, "-m", "monai.bundle", *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    run_inference(trained["medgan"], str(cohort), tmp_path / "straight")
    same_volumes(tmp_path / "straight", tmp_path / "out")


def test_weights_can_lie_elsewhere_and_are_fetched_by_monai(trained, cohort, tmp_path):
    address = (trained["cyclegan"] / "models").as_uri()
    path = pack(trained["cyclegan"], tmp_path / "light.zip", Packing(large_files=address))
    assert not any(name.endswith(".pt") for name in content(path))
    copy = unpack(path, tmp_path / "there")
    verify(copy)
    download_large_files(bundle_path=str(copy))
    assert verify(copy)["name"] == "cyclegan"
    for name in ("model.pt", "model_to_source.pt"):
        assert (copy / "models" / name).read_bytes() == (trained["cyclegan"] / "models" / name).read_bytes()
    with pytest.raises(InputError, match="is no URL"):
        pack(trained["cyclegan"], tmp_path / "light.zip", Packing(large_files="share"))


def test_the_commands_pack_verify_and_unpack(trained, tmp_path, run_medtrans, capsys):
    assert run_medtrans("bundle", "pack", trained["medgan"], tmp_path / "a.zip", "--name", "mine")[0] == 0
    assert run_medtrans("bundle", "verify", tmp_path / "a.zip")[0] == 0
    assert run_medtrans("bundle", "unpack", tmp_path / "a.zip", tmp_path / "there")[0] == 0
    assert (tmp_path / "there/mine/models/model.pt").is_file()
    code, last = run_medtrans("bundle", "unpack", tmp_path / "a.zip", tmp_path / "there")
    assert code == 2
    assert re.search("mine: exists already", last)


def test_metadata_obeys_the_specification(trained, tmp_path):
    copy = unpack(pack(trained["medgan"], tmp_path / "a.zip"), tmp_path)
    schema = {
        "type": "object",
        "required": ["version", "monai_version", "pytorch_version", "numpy_version", "network_data_format"],
        "properties": {"eval_metrics": {"type": "object", "additionalProperties": {"type": "number"}}},
    }
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    verify_metadata(meta_file=str(copy / "configs/metadata.json"), filepath=str(tmp_path / "schema.json"))
