"""The 3D Slicer module's client against the real server."""

import importlib.util
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

MODULE = Path(__file__).parents[3] / "medtrans/label/slicer/MedTransTranslate.py"


@pytest.fixture(scope="module")
def client(server):
    specification = importlib.util.spec_from_file_location("MedTransTranslate", MODULE)
    module = importlib.util.module_from_spec(specification)
    sys.modules["MedTransTranslate"] = module
    specification.loader.exec_module(module)
    return module, module.Client(server.url)


def test_it_lists_our_models(client):
    module, connected = client
    models = {model.name: (model.source, model.target) for model in module.models_of(connected.info())}
    assert models["cyclegan_to_source"] == ("T2", "T1")
    assert models["medgan"] == ("T1", "T2")


def test_a_volume_comes_back_as_medtrans_translate_writes_it(client, studies, translated, tmp_path):
    _, connected = client
    answer = connected.translate("medgan", str(studies / "one.nii.gz"), str(tmp_path), {"overlap": 0.5})
    got = nibabel.load(answer.path)
    expected = nibabel.load(translated("medgan", studies / "one.nii.gz", overlap=0.5))
    assert np.array_equal(got.get_fdata(), expected.get_fdata())
    assert got.get_data_dtype() == np.float32
    assert answer.params["target"] == "T2"


def test_a_pair_is_added_and_training_is_refused_in_words(client, server, studies):
    module, connected = client
    connected.add_image("slicer", str(studies / "one.nii.gz"))
    connected.add_target("slicer", str(studies / "two.nii"))
    try:
        assert (studies / "labels/final/slicer.nii").is_file()
        with pytest.raises(module.ServerError, match="lists them"):
            connected.train("nothing", 1)
    finally:
        server.ask("DELETE", "/datastore/image?id=slicer")
