"""What the tasks refuse, they tell a client in one line without the folders of the server."""

import traceback

import pytest


def test_a_setting_that_monai_fails_to_build_with_is_refused_in_one_line(tiny_bundles, tmp_path):
    from monailabel.interfaces.exception import MONAILabelException

    from medtrans.label.served import ServedBundle
    from medtrans.label.translation import TranslationTask

    folder = tiny_bundles / "bundles/medgan"
    task = TranslationTask(ServedBundle("medgan", folder, folder / "models"), "source_to_target", tmp_path)
    with pytest.raises(MONAILabelException) as caught:
        task({"image": str(tiny_bundles / "heads/head-0000/T1.nii"), "overlap": 5.0})
    assert caught.value.msg.startswith("overlap 5.0")
    assert "\n" not in caught.value.msg
    assert not list(tmp_path.iterdir())


def test_a_refused_training_names_no_folder(tiny_bundles, tmp_path):
    from monailabel.interfaces.exception import MONAILabelException

    from medtrans.label.options import TrainingOptions
    from medtrans.label.served import ServedBundle
    from medtrans.label.trainer import BundleTrainer

    class Nothing:
        def datalist(self):
            return []

    folder = tiny_bundles / "bundles/unit"
    trainer = BundleTrainer(ServedBundle("unit", folder, folder / "models"), tmp_path / "work", TrainingOptions())
    with pytest.raises(MONAILabelException) as caught:
        trainer({}, Nothing())
    assert caught.value.msg.startswith("unit: is not trained")
    assert str(tiny_bundles) not in "".join(traceback.format_exception(caught.value))
