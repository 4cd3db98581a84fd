"""Every bundle follows the MONAI Bundle Specification and MONAI's own tools accept it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, load, verify_metadata, verify_net_in_out

from medtrans.networks import folded

# The rules of the specification's metadata section, in JSON Schema; MONAI's own file needs the internet.
TENSOR = {
    "type": "object",
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    "properties": {
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["integer", "string"]}},
        "dtype": {"type": "string"},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object"},
    },
}
STRINGS = (
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version"),
    *("task", "description", "authors", "copyright"),
)
RULES = {
    "type": "object",
    "required": [*STRINGS, "required_packages_version", "network_data_format"],
    "properties": {
        **{key: {"type": "string"} for key in STRINGS},
        "required_packages_version": {"type": "object"},
        "changelog": {"type": "object"},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {k: {"type": "object", "additionalProperties": TENSOR} for k in ("inputs", "outputs")},
        },
    },
}
ROOT_FILES = ("configs", "")
BUNDLES = Path(__file__).parents[2] / "bundles"


@pytest.fixture(scope="module", params=sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/train.json")))
def bundle(request):
    return BUNDLES / request.param


def test_required_files_are_there(bundle):
    for name in ("LICENSE", "configs/metadata.json", "configs/train.json", "configs/inference.json", "docs/README.md"):
        assert (bundle / name).is_file(), name


def test_metadata_obeys_the_specification(bundle, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(RULES))
    verify_metadata(meta_file=str(bundle / "configs/metadata.json"), filepath=str(schema))


def test_metadata_that_disobeys_is_noticed(bundle, tmp_path):
    schema, broken = tmp_path / "schema.json", tmp_path / "metadata.json"
    schema.write_text(json.dumps(RULES))
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    del metadata["network_data_format"]["inputs"]["image"]["num_channels"]
    broken.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="num_channels"):
        verify_metadata(meta_file=str(broken), filepath=str(schema))


@pytest.mark.slow
def test_network_takes_and_gives_what_metadata_says(bundle):
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs/metadata.json"),
        config_file=str(bundle / "configs/train.json"),
        device="cpu",
    )


@pytest.mark.parametrize("folder", ROOT_FILES)
def test_training_workflow_has_every_property(bundle, folder, tiny_dataset, tmp_path, small_settings):
    workflow = ConfigWorkflow(
        config_file=str(bundle / folder / "train.json"),
        workflow_type="train",
        dataset_dir=str(tiny_dataset),
        ckpt_dir=str(tmp_path),
        output_dir=str(tmp_path),
        **small_settings(bundle),
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    assert workflow.bundle_root == str(bundle)


def test_generator_loads_with_monai_bundle_load(bundle, tmp_path, small_settings):
    copy = shutil.copytree(bundle, tmp_path / bundle.name, ignore=shutil.ignore_patterns("models", "eval"))
    for file in (copy / "configs/train.json", copy / "configs/inference.json"):
        config = json.loads(file.read_text())
        small = {key: value for key, value in small_settings(bundle).items() if key.startswith("network_def::")}
        config["network_def"] |= {key.removeprefix("network_def::"): value for key, value in small.items()}
        file.write_text(json.dumps(config))
    parser = ConfigParser()
    parser.read_config(str(copy / "configs/inference.json"))
    network = parser.get_parsed_content("network_def")
    (copy / "models").mkdir()
    torch.save(network.state_dict(), copy / "models/model.pt")
    loaded = load(name=bundle.name, bundle_dir=str(tmp_path), workflow_type="inference", source="github")
    assert type(loaded) is type(network)
    image = torch.rand(1, 1, *getattr(network, "image_size", (32, 32)))
    assert torch.equal(loaded.eval()(image), network.eval()(image))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_the_generator_exports_to_torchscript(bundle, small_settings):
    small = {key: value for key, value in small_settings(bundle).items() if key.startswith("network_def::")}
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs/train.json"))
    parser.update(small)
    torch.manual_seed(0)
    network = folded(parser.get_parsed_content("network_def").eval())
    image = torch.rand(1, 1, *getattr(network, "image_size", (18, 21)))
    torch.testing.assert_close(torch.jit.script(network)(image), network(image))
