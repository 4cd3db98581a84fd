"""Every command in the documentation runs as it is written, with small sizes appended.

The commands of a page run in order in one folder. Nothing is skipped in silence: a command that no function here knows
how to run fails its page. What does not run as written:

- ``make``: the target exists (CI runs ``make test`` itself), ``source .venv/bin/activate``: the Makefile makes it;
- ``torchrun``: two processes on the CPU take the place of eight GPUs;
- ``tensorboard``: the log folder holds its events, the server is not started;
- ``Orthanc``: on a free port, for which the page's is replaced; without Orthanc the rest of its page is skipped;
- ``trt_export``: ends without a GPU, as its page says;
- commands on public data: only where the data are there;
- MONAI Label's page: a test of its environment runs it.
"""

import itertools
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a page takes as given, under the names it uses.
GIVEN = {
    "README.md": ["EXPORT"],
    "bundles/medgan/docs/README.md": ["DATASET", "SCANS"],
    "bundles/bigan/docs/README.md": ["DATASET"],
    "bundles/cycle_medgan/docs/README.md": ["DATASET"],
    "bundles/cyclegan/docs/README.md": ["DATASET"],
    "bundles/cyclegan_s/docs/README.md": ["DATASET"],
    "bundles/generators_s/docs/README.md": ["DATASET"],
    "bundles/fila_sgan/docs/README.md": ["DATASET"],
    "bundles/id_cgan/docs/README.md": ["DATASET"],
    "bundles/pan/docs/README.md": ["DATASET"],
    "bundles/pix2pix/docs/README.md": ["DATASET"],
    "bundles/regression/docs/README.md": ["DATASET"],
    "bundles/simple/docs/README.md": ["DATASET"],
    "bundles/unit/docs/README.md": ["DATASET"],
    "bundles/attention_unit/docs/README.md": ["DATASET"],
    "data_prep/README.md": [
        "EXPORT", "IXI", "BRATS_2021", "BRATS_2023", "HCP", "SYNTHRAD_2023", "SYNTHRAD_2025", "KIRBY21", "MR_ART",
        "PET_CT", "PET_TIMES", "MR_CT", "CLEAN_T1", "CLEAN_CT",
    ],
    "docs/bundles.md": ["DATASET"],
    "docs/configuration.md": ["DATASET"],
    "docs/data-set.md": ["CONVERTED", "MINE"],
    "docs/data-doctor.md": ["DATASET"],
    "docs/deidentification.md": ["EXPORT", "SERIES", "OTHER.nii.gz"],
    "docs/dicom-output.md": ["EXPORT", "SERIES", "OTHER.nii.gz"],
    "docs/evaluation.md": ["DATASET", "SYNTHETIC", "REAL", "MASKS"],
    "docs/losses.md": ["DATASET", "SEGMENTER"],
    "docs/method-comparison.md": ["DATASET"],
    "docs/scanner-exports.md": ["EXPORT"],
    "docs/misaligned-pairs.md": ["DATASET"],
    "docs/simulation.md": ["CLEAN", "CLEAN_SET", "SCAN.nii.gz"],
    "docs/sharing-bundles.md": ["DATASET", "SCANS"],
    "docs/troubleshooting.md": ["DATASET"],
    "docs/watching-a-gan.md": ["DATASET", "OTHERS"],
    "docs/tutorial.md": ["EXPORT", "NEW_SCAN.nii.gz"],
}  # fmt: skip
TRAIN = "python -m monai.bundle run training --config_file bundles/medgan/train.json --dataset_dir DATASET"
BEFORE = {
    "docs/evaluation.md": [TRAIN],
    "docs/dicom-output.md": [TRAIN.removesuffix(" --dataset_dir DATASET")],
    "docs/sharing-bundles.md": [TRAIN],
}  # these pages are read after training
ELSEWHERE = {"docs/monai-label.md": "tests/label/server/test_page.py"}
FAILURES = ("medtrans convert HOSPITAL",)  # end with exit code 1, as their page says: the export has faults
PUBLIC = ("$MEDTRANS_DATA", "trial/", "MEDTRANS_DATA=")  # what only commands on public data mention
PLAIN = {"cat", "cp", "ls", "mkdir"}  # run in bash as they are

# Settings that keep a run small. They come last, so that they win over the command's own.
SHORT = {"image_size": "[16,16]", "max_epochs": "1", "num_workers": "0"}
BRIEF = ["--config", "quick.json", "--set", "image_size=[16,16]", "--set", "threads=1"]
COARSE = ["--set", "spacing=[4,4,4]", "--set", "size=[64,64,null]", "--set", "registration#spacing=4", "--workers", "1"]
GANS = {
    "gan_failures": ["--epochs", "1", "--runs", "healthy"],
    "unpaired_score": ["--seeds", "1", "--steps", "3", "--bundles", "unit"],
}


def appended(workplace, words):
    """``words`` with the options that make them small."""
    text = " ".join(words)
    if words[:2] == ["medtrans", "phantom"]:
        return [*words, "--subjects", "4", "--spacing", "12"]  # two of them to train on
    if words[:2] == ["medtrans", "prepare"]:
        return [*words, *COARSE]
    if words[:2] == ["medtrans", "simulate"]:
        return [*words, "--workers", "1"]
    if words[:2] == ["medtrans", "translate"]:
        return [*words, "--set", "threads=1"]
    if words[:2] == ["medtrans", "benchmark"]:
        return one_row_a_study(workplace, words)
    if words[:2] == ["medtrans", "convert"]:
        return [*words, "--workers", "1"]
    if words[1:3] == ["-m", "monai.bundle"] and words[4] == "training":
        files = re.findall(r"[\w/.-]+\.json", words[words.index("--config_file") + 1])
        small = SHORT | workplace.small_settings(*(workplace.folder / file for file in files))
        small |= {"image_size": "[32,32]"} if re.search("patch_70|unpaired_validation", text) else {}
        small |= {"image_size": "[16,16,16]", "patches": "1"} if "three_d.json" in text else {}
        small |= {} if "--dataset_dir" in words else {"dataset_dir": "DATASET"}
        return [*words, *(word for key, value in small.items() for word in (f"--{key}", str(value)))]
    if words[:2] == ["medtrans", "check"]:
        return [*words, "--workers", "1"]
    if words[:2] == ["python", "benchmarks/prepare.py"]:
        return [*words, "--shape", "48,48,32", "--repeats", "1", "--cases", "0"]
    if words[:2] == ["python", "benchmarks/convert.py"]:
        return [*words, "--slices", "6", "--repeats", "1"]
    if words[:2] == ["python", "benchmarks/data_doctor.py"]:
        return [*words, "--heads", "2"]
    if words[0] == "python" and Path(words[1]).stem in GANS:
        small = {"image_size": "[16,16]", "network_def::channels": "4", "discriminator_def::layers": "1"}
        small["phantom"] = '{"subjects": 4, "spacing": 12, "modalities": ["T1", "T2"]}'
        sets = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
        return [*words, *GANS[Path(words[1]).stem], *sets]
    if words[:2] == ["python", "benchmarks/loss_catalogue/run.py"]:
        small = {"image_size": "[16,16]", "network_def::channels": "[4,4]", "discriminator_def::channels": "4"}
        small["phantom"] = '{"subjects": 4, "spacing": 12, "modalities": ["T1", "T2"]}'
        sets = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
        return [*words, "--losses", "Wasserstein,SSIM", "--start", "1", "--epochs", "1", "--repeats", "1", *sets]
    if words[:2] == ["python", "benchmarks/misaligned_pairs.py"]:
        return [*words, "--heads", "3", "--steps", "2", "--seeds", "1", "--spacing", "12", "--misalignment", "8"]
    if words[:2] == ["python", "benchmarks/severity.py"]:
        small = {
            "image_size": "[16,16]",
            "network_def::channels": "[4,4]",
            "network_def::blocks": "1",
            "max_epochs": "1",
        }
        small |= {"discriminator_def::channels": "4", "phantom::spacing": "12", "phantom::subjects": "4"}
        sets = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
        return [*words, "--heads", "1", "--spacing", "8", *sets]
    if words[:2] == ["python", "benchmarks/degradations.py"]:
        return [*words, "--slice", "24", "--volume", "12", "--repeats", "1"]
    if words[:2] == ["python", "benchmarks/training_step.py"]:
        small = {"image_size": "[16,16]"} | workplace.small_settings(workplace.folder / words[2])
        return [*words, "--steps", "1", *(word for key, value in small.items() for word in ("--set", f"{key}={value}"))]
    return words


def one_row_a_study(workplace, words):
    """A benchmark of the first row of each study, or of the rows typed, for one epoch or step of tiny networks."""
    told = [*itertools.pairwise(["", *words])]
    words = ["1" if before in ("--epochs", "--steps") else word for before, word in told]
    studies = [json.loads((workplace.folder / word).read_text()) for before, word in told if before == "--study"]
    named = [word.split(",")[0] for before, word in told if before == "--only"]
    only = named or list(dict.fromkeys(next(iter(study["rows"])) for study in studies))
    # the discriminators of several scales have no room for all their layers in the smallest images
    room = ["--set", "discriminator_def#layers=1"] if any("unit" in word for word in words) else []
    return [*words, *(["--only", ",".join(only)] if only else []), *BRIEF, *room]


def run_training_anew(workplace, words):
    """A bundle's run; training does not go on from the checkpoint of the page's command before."""
    if "training" in words and "--ckpt_dir" not in words:
        for checkpoint in workplace.folder.glob("bundles/*/models/checkpoint.pt"):
            checkpoint.unlink()
    if "--dataset_dir" not in words and "training" in words and not (workplace.folder / "DATASET").exists():
        workplace.run(["medtrans", "phantom", "DATASET", "--subjects", "3", "--spacing", "12"])
        workplace.run(appended(workplace, words))
        workplace.shell("rm -r DATASET")
    else:
        workplace.run(appended(workplace, words))


def run_tensorrt_export(workplace, words):
    """The commands' process sees no GPU, also where there is one."""
    workplace.run(words, accepted=(1,))
    assert "Cannot find any GPU devices" in workplace.said


def run_make(workplace, words):
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words[1:]) <= set(targets), f"the Makefile has no target {words[1:]}"


def run_source(workplace, words):
    assert words == ["source", ".venv/bin/activate"]
    assert re.search(r"^VENV\s*:= \.venv$", (ROOT / "Makefile").read_text(), re.MULTILINE)


def run_export(workplace, line):
    name = line.removeprefix("export ").split("=")[0]
    workplace.environment[name] = workplace.shell(f'{line}; printf %s "${name}"')


def run_orthanc(workplace, words):
    """As the page's file has it, but for the port."""
    assert words[2:] == ["&"]
    settings = json.loads((workplace.folder / words[1]).read_text())
    port = settings.pop("HttpPort")
    workplace.elsewhere[f"127.0.0.1:{port}"] = f"127.0.0.1:{workplace.start_orthanc(**settings).port}"


def run_torchrun(workplace, words):
    words = ["--nproc_per_node=2" if word.startswith("--nproc_per_node") else word for word in words[1:]]
    module = words.index("-m")
    small = appended(workplace, ["python", *words[module:]])[1:]
    workplace.run(["python", "-m", "torch.distributed.run", "--standalone", *words[:module], *small])


def run_tensorboard(workplace, words):
    assert words[:2] == ["tensorboard", "--logdir"]
    assert list((workplace.folder / words[2]).glob("events.out.tfevents.*")), f"{words[2]} holds no events"
    assert (Path(sys.executable).parent / "tensorboard").is_file()


def run(workplace, command):
    """Run one command of a page, whichever it is."""
    for address, place in workplace.elsewhere.items():
        command = command.replace(address, place)
    known = "".join(rf"|\${name}\b|\${{{name}}}" for name in workplace.environment)[1:]
    expanded = re.sub(known, lambda found: workplace.environment[found[0].strip("${}")], command)
    words = shlex.split(expanded.split("\n")[0])
    by_name = {"make": run_make, "source": run_source, "torchrun": run_torchrun, "tensorboard": run_tensorboard,
               "Orthanc": run_orthanc}  # fmt: skip
    if words[0] == "export":
        run_export(workplace, command)
    elif words[0] in PLAIN:
        workplace.shell(command)
    elif words[0] in by_name:
        by_name[words[0]](workplace, words)
    elif words[:4] == ["python", "-m", "monai.bundle", "trt_export"]:
        run_tensorrt_export(workplace, words)
    elif words[:3] == ["python", "-m", "monai.bundle"]:
        run_training_anew(workplace, words)
    elif words[:3] == ["python", "-m", "medtrans.bundle_configs"]:
        workplace.run(words)
    elif words[:2] == ["medtrans", "check"]:
        workplace.run(appended(workplace, words), accepted=(0, 1))  # 1: it found what the page planted
    elif words[:2] == ["python", "tests/scans/fuzzing"]:
        workplace.shell(f"{command} --files 40".replace("tests/", f"{ROOT}/tests/"))
    elif words[0] == "medtrans" or (words[0] == "python" and words[1].startswith("benchmarks/")):
        workplace.run(appended(workplace, words), accepted=(1,) if command.startswith(FAILURES) else (0,))
    else:
        pytest.fail(f"no test knows how to run: {command}")


def commands_of(page, blocks_of, commands_in, public):
    """The page's commands on public data, or its others."""
    every = [c for language, text in blocks_of(page) if language == "bash" for c in commands_in(text)]
    return [c for c in every if any(mark in c for mark in PUBLIC) == public or (public and "<<'" in c)]


@pytest.mark.slow
def test_commands_of_the_page_run(page, workplace, provide, blocks_of, commands_in):
    if page in ELSEWHERE:
        assert page in (ROOT / ELSEWHERE[page]).read_text()
        return
    commands = commands_of(page, blocks_of, commands_in, public=False)
    for name in GIVEN.get(page, []) if commands else []:
        provide(name)
    for command in [*BEFORE.get(page, []), *commands]:
        run(workplace, command)


@pytest.mark.slow
def test_commands_on_public_data_run(public_page, workplace, blocks_of, commands_in):
    if "MEDTRANS_DATA" not in workplace.environment:
        pytest.skip("the public data are not here")
    for command in commands_of(public_page, blocks_of, commands_in, public=True):
        run(workplace, command)


def test_a_command_that_nobody_knows_fails(workplace):
    with pytest.raises(pytest.fail.Exception, match="no test knows how to run"):
        run(workplace, "frobnicate --all")


def test_a_documented_command_that_fails_is_told(workplace):
    with pytest.raises(AssertionError, match=r"nowhere.*does not exist"):
        run(workplace, "medtrans convert nowhere CONVERTED")


def test_a_misspelt_setting_in_a_documented_command_is_told(workplace, provide):
    provide("DATASET")
    with pytest.raises(AssertionError, match="Did you mean 'batch_size'"):
        run(workplace, f"{TRAIN} --batch_sise 2")


def test_blocks_are_read_as_a_shell_reads_them(commands_in):
    block = "# a comment\none --set a#b=1 \\\n  --more  # and why\n\ncat > x <<'END'\n{\n  # kept\n}\nEND\ntwo\n"
    assert commands_in(block) == ["one --set a#b=1    --more", "cat > x <<'END'\n{\n  # kept\n}\nEND", "two"]


def test_every_given_thing_is_on_its_page():
    for page, names in GIVEN.items():
        text = (ROOT / page).read_text()
        assert all(name in text for name in names), page
