"""MONAI's exports of every bundle, to TorchScript and ONNX, give what its network gives, both ways, 2D and 3D."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, load, onnx_export, trt_export

from medtrans.networks import folded

BUNDLES = Path(__file__).parents[2] / "bundles"
NAMES = sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/train.json"))
SIZES = {2: 16, 3: 8}  # smallest that every network takes
ONNX = {"dynamo": False, "input_names": ["image"], "output_names": ["pred"]}
ONNX["dynamic_axes"] = {"image": {0: "batch"}, "pred": {0: "batch"}}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


@pytest.fixture(
    scope="module", params=[(name, dims) for name in NAMES for dims in (2, 3)], ids=lambda p: f"{p[0]}-{p[1]}D"
)
def bundle(request, tmp_path_factory, make_dataset, write_trained_bundle):
    """A bundle as it is after training, and its number of dimensions."""
    name, dims = request.param
    folder = tmp_path_factory.mktemp("bundles")
    dataset = make_dataset(folder / "set")
    return write_trained_bundle(folder, name, dataset, dims, 32 if "unit" in name and dims == 2 else SIZES[dims]), dims


def directions(folder):
    """direction -> file of its weights; one, empty direction where the bundle has no other."""
    inference = json.loads((folder / "configs/inference.json").read_text())
    if "direction" not in inference:
        return {"": "model.pt"}
    back = "model_to_source.pt" if (folder / "models/model_to_source.pt").is_file() else "model.pt"
    return {"source_to_target": "model.pt", "target_to_source": back}


def exporting(folder, direction, weights, filepath):
    """The options of an export, as a user types them."""
    return {
        "net_id": "network_def",
        "bundle_root": str(folder),
        "config_file": str(folder / "configs/inference.json"),
        "meta_file": str(folder / "configs/metadata.json"),
        "ckpt_file": str(folder / "models" / weights),
        "filepath": str(filepath),
        **({"direction": direction} if direction else {}),
    }


def expected(folder, direction, weights, images):
    """What the network with spectral normalisation and without any export says of the images."""
    recorded = json.loads((folder / "models/modalities.json").read_text())["settings"]
    back = direction == "target_to_source" and "network_to_source" in recorded
    network = recorded["network_to_source" if back else "network"]
    if direction and not back and network["_target_"].endswith("UNIT"):
        network = network | {"direction": direction}
    network = ConfigParser({"network_def": network}).get_parsed_content("network_def")
    network.load_state_dict(torch.load(folder / "models" / weights, weights_only=True))
    with torch.no_grad():
        return network.eval()(images)


def some_images(folder, dims, count):
    size = json.loads((folder / "models/modalities.json").read_text())["settings"]["image_size"]
    return torch.rand(count, 1, *size, generator=torch.Generator().manual_seed(count)) * 2 - 1


def test_torchscript_gives_the_networks_voxels(bundle, tmp_path):
    folder, dims = bundle
    for direction, weights in directions(folder).items():
        images, file = some_images(folder, dims, 2), tmp_path / f"model{direction}.ts"
        reference = expected(folder, direction, weights, images)
        assert reference.std() > 1e-3
        ckpt_export(**exporting(folder, direction, weights, file))
        assert torch.equal(torch.jit.load(file)(images), reference)
        if dims == 2:
            traced = {"use_trace": True, "input_shape": list(images[:1].shape)}
            ckpt_export(**exporting(folder, direction, weights, file), **traced)
            assert torch.equal(torch.jit.load(file)(images), reference)


def test_onnx_gives_the_networks_voxels_for_batches_of_any_size(bundle, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    folder, dims = bundle
    for direction, weights in directions(folder).items():
        file, shape = tmp_path / f"model{direction}.onnx", list(some_images(folder, dims, 1).shape)
        options = exporting(folder, direction, weights, file)
        onnx_export(**options, use_trace=True, input_shape=shape, converter_kwargs=ONNX.copy())
        session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
        for count in (1, 3):
            images = some_images(folder, dims, count)
            (found,) = session.run(None, {"image": images.numpy()})
            assert np.abs(found - expected(folder, direction, weights, images).numpy()).max() <= 1e-4


def test_the_exported_file_carries_configs_and_opens_with_monai(tmp_path, tiny_dataset, write_trained_bundle):
    folder = write_trained_bundle(tmp_path, "medgan", tiny_dataset)
    options = exporting(folder, "", "model.pt", "")
    del options["filepath"], options["ckpt_file"], options["meta_file"], options["net_id"]
    ckpt_export(**options)  # a bundle_root is enough
    network, metadata, files = load(
        "medgan", bundle_dir=tmp_path, load_ts_module=True, config_files=["inference.json"], device="cpu"
    )
    images = some_images(folder, 2, 2)
    assert torch.equal(network(images), expected(folder, "", "model.pt", images))
    assert metadata["name"] == "MedGAN"
    assert json.loads(files["inference.json"])["evaluator"]["_target_"] == "medtrans.engines.VolumeTranslator"


def test_spectral_normalisation_is_folded_when_weights_are_read(tmp_path, tiny_dataset, write_trained_bundle):
    settings = {"network_def::spectral": True}
    folder = write_trained_bundle(tmp_path, "attention_unit", tiny_dataset, image_size=32, **settings)
    saved = torch.load(folder / "models/model.pt", weights_only=True)
    assert any("parametrizations" in name for name in saved)
    parser = ConfigParser()
    parser.read_config(str(folder / "configs/inference.json"))
    parser["bundle_root"] = str(folder)
    network = parser.get_parsed_content("network_def")
    assert network.state_dict().keys() == saved.keys()
    network.load_state_dict(saved)
    assert not any("parametrizations" in name for name in network.state_dict())
    images = some_images(folder, 2, 2)
    assert torch.equal(folded(network)(images), expected(folder, "source_to_target", "model.pt", images))


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_tensorrt_is_left_to_machines_with_a_gpu(tmp_path, tiny_dataset, write_trained_bundle):
    folder = write_trained_bundle(tmp_path, "medgan", tiny_dataset)
    options = exporting(folder, "", "model.pt", tmp_path / "model_trt.ts")
    with pytest.raises(Exception, match="Cannot find any GPU devices"):
        trt_export(**options, input_shape=[1, 1, 16, 16], use_onnx=True, use_trace=True)
    assert not (tmp_path / "model_trt.ts").exists()
