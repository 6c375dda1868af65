from __future__ import annotations

import pytest
from pydantic import ValidationError

from cv_folds.training.settings import AugmentationSettings, TrainingSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"image_size": 8},
        {"warmup": 1.0},
        {"label_smoothing": 1.0},
        {"validation_parts": 1},
        {"resampling": "smote"},
        {"schedule": "linear"},
        {"precision": "float16"},
        {"epoch": 3},
        {"augmentation": {"rotation": 200}},
        {"augmentation": {"hue": 0.1}},
    ],
)
def test_wrong_values_and_unknown_names_are_refused(wrong):
    with pytest.raises(ValidationError):
        TrainingSettings.model_validate(wrong)


def test_settings_do_not_change_and_survive_a_round_trip():
    settings = TrainingSettings(epochs=3, augmentation=AugmentationSettings(rotation=10))
    with pytest.raises(ValidationError):
        settings.epochs = 4
    assert TrainingSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize("model", [TrainingSettings, AugmentationSettings])
def test_every_setting_is_described(model):
    assert all(field.description for field in model.model_fields.values())
