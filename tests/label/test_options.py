"""What a client may ask of a training, and what is refused."""

import pytest

from medtrans import InputError
from medtrans.label.options import TrainingOptions

EXPRESSION = "$__import__('os').system('true')"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("max_epochs", value) for value in (0, -1, 1.5, True, "5", EXPRESSION)],
        *[("val_split", value) for value in (0, 1, -0.2, 1.5, True, "0.2", EXPRESSION, float("nan"))],
        *[("pretrained", value) for value in (0, "yes", None, EXPRESSION)],
        *[("device", value) for value in ("gpu", "", 0, "cuda:99", "meta", EXPRESSION)],
    ],
)
def test_what_a_config_would_run_or_misread_is_refused(key, value):
    with pytest.raises(InputError, match=key):
        TrainingOptions(**{key: value})


@pytest.mark.parametrize("key", ["ckpt_dir", "output_dir", "dataset_dir", "bundle_root"])
def test_settings_cannot_move_a_training_into_the_bundles_own_models(key):
    with pytest.raises(InputError, match=key):
        TrainingOptions(settings={key: "elsewhere"})
