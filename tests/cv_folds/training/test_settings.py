from __future__ import annotations

import pytest
from pydantic import ValidationError

from cv_folds.training.settings import AugmentationSettings, PhaseSettings, TrainingSettings

PHASE = {"epochs": 3, "learning_rate": 0.1}


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
        {"optimiser": "adamax"},
        {"momentum": 1.0},
        {"nesterov": True},
        {"nesterov": True, "optimiser": "sgd", "momentum": 0.0},
        {"loss": "hinge"},
        {"focal_gamma": -1.0},
        {"class_weights": "all"},
        {"monitor": "accuracy"},
        {"gradient_clip": -1.0},
        {"phases": [{"epochs": 3}]},
        {"phases": [{"epochs": 0, "learning_rate": 0.1}]},
        {"phases": [{"epochs": 1, "learning_rate": 0.1, "lr": 0.1}]},
        *(
            {"phases": [{"epochs": 1, "learning_rate": 0.1, "trained": share}]}
            for share in (0, 1, 0.0, 1.0, True, "most")
        ),
        {"phases": [{"epochs": 1, "learning_rate": 0.1, "batch_norm": "eval"}]},
        {"precision": "float16"},
        {"epoch": 3},
        {"augmentation": {"rotation": 200}},
        {"augmentation": {"hue": 0.6}},
        {"augmentation": {"shear": 0.1}},
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


@pytest.mark.parametrize("model", [TrainingSettings, PhaseSettings, AugmentationSettings])
def test_every_setting_is_described(model):
    assert all(field.description for field in model.model_fields.values())


@pytest.mark.parametrize("from_scratch", [True, False])
def test_no_phases_are_one_phase(from_scratch):
    settings = TrainingSettings(epochs=7, learning_rate=0.2, learning_rate_from_scratch=0.3)
    (phase,) = settings.phases_of(from_scratch=from_scratch)
    assert phase == PhaseSettings(epochs=7, learning_rate=0.3 if from_scratch else 0.2)
    assert settings.most_epochs == 7


def test_phases_have_epochs_and_rates_of_their_own():
    settings = TrainingSettings.model_validate({"epochs": 99, "phases": [PHASE, PHASE | {"trained": 0.25}]})
    assert settings.phases_of(from_scratch=True) == settings.phases
    assert settings.most_epochs == 6
    assert TrainingSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("resampling", "class_weights", "power"),
    [("none", "none", 0.0), ("none", "balanced", 1.0), ("weighted", "none", 0.5), ("weighted", "balanced", 1.5)],
)
def test_class_weights_balance_like_resampling(resampling, class_weights, power):
    settings = TrainingSettings(resampling=resampling, resampling_exponent=0.5, class_weights=class_weights)
    assert settings.balancing_power == power
