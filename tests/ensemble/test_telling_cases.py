"""Which images a gallery shows."""

from __future__ import annotations

import numpy as np
import pytest

from cv_folds.arrays import frozen
from ensemble.disagreement import mutual_information
from ensemble.predictions import ModelKind, Predictions
from ensemble.telling_cases import choose_cases

CLASSES = ("a", "b", "c")


def table(members: int = 3, n: int = 60, seed: int = 4) -> Predictions:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    lesions = np.sort(random.integers(0, n // 2, n))
    rows = {f"net{k}": random.dirichlet(np.ones(3) * 0.5, n) for k in range(members)}
    rows["soft_vote"] = np.mean(list(rows.values()), axis=0)
    kinds: dict[str, ModelKind] = dict.fromkeys(rows, "backbone")
    return Predictions(
        image_ids=frozen([f"i{k:03d}" for k in random.permutation(n)], np.str_),
        lesion_ids=frozen([f"l{k}" for k in lesions], np.str_),
        groups=frozen([f"l{k}" for k in lesions], np.str_),
        folds=frozen(lesions % 4, np.int64),
        labels=frozen(labels, np.int64),
        classes=CLASSES,
        probabilities={name: frozen(values) for name, values in rows.items()},
        kinds=kinds | {"soft_vote": "ensemble"},
    )


@pytest.mark.parametrize("seed", range(5))
def test_errors_are_the_most_confident_wrong_answers_of_their_lesions(seed: int) -> None:
    predictions = table(seed=seed)
    rows = predictions.probabilities["soft_vote"]
    chosen = choose_cases(predictions, "soft_vote", most=7)
    sure = {image: row.max() for image, row in zip(predictions.image_ids, rows, strict=True)}
    wrong = {
        image: lesion
        for image, lesion, row, label in zip(
            predictions.image_ids, predictions.groups, rows, predictions.labels, strict=True
        )
        if row.argmax() != label
    }
    best = {
        lesion: max((image for image in wrong if wrong[image] == lesion), key=lambda image: sure[image])
        for lesion in wrong.values()
    }
    expected = sorted(best.values(), key=lambda image: -sure[image])[:7]
    assert [case.image_id for case in chosen.errors] == expected
    for case in chosen.errors:
        assert case.predicted != case.label
        assert case.probability == sure[case.image_id]
        (claim,) = case.claims
        assert claim.backbones == ("net0", "net1", "net2")
        assert (claim.label, claim.probability) == (case.predicted, case.probability)


@pytest.mark.parametrize("seed", range(5))
def test_disagreements_are_ordered_by_mutual_information(seed: int) -> None:
    predictions = table(seed=seed)
    members = np.stack([predictions.probabilities[f"net{k}"] for k in range(3)], axis=1)
    divided = dict(zip(predictions.image_ids.tolist(), mutual_information(members).tolist(), strict=True))
    row_of = {image: row for row, image in enumerate(predictions.image_ids.tolist())}
    chosen = choose_cases(predictions, "soft_vote", most=9).disagreements
    values = [case.disagreement for case in chosen]
    assert values == sorted(values, reverse=True)
    assert len({case.lesion_id for case in chosen}) == len(chosen) == 9
    assert values[0] == max(divided.values())
    for case in chosen:
        assert case.disagreement == divided[case.image_id]
        inside = members[row_of[case.image_id]]
        first, second = (int(claim.backbones[0][-1]) for claim in case.claims)
        distances = [abs(inside[i] - inside[j]).sum() for i, j in ((0, 1), (0, 2), (1, 2))]
        assert abs(inside[first] - inside[second]).sum() == pytest.approx(max(distances))
        for claim, k in zip(case.claims, (first, second), strict=True):
            assert (claim.label, claim.probability) == (inside[k].argmax(), inside[k].max())


def test_equal_standing_goes_by_image_id() -> None:
    predictions = table()
    same = np.tile([0.6, 0.3, 0.1], (60, 1))
    flat = Predictions(
        **{
            **{name: getattr(predictions, name) for name in ("image_ids", "lesion_ids", "groups", "folds", "labels")},
            "classes": CLASSES,
            "kinds": predictions.kinds,
            "probabilities": dict.fromkeys(predictions.probabilities, frozen(same)),
        }
    )
    chosen = choose_cases(flat, "soft_vote", most=100)
    names = [case.image_id for case in chosen.errors]
    assert names == sorted(names)
    assert {case.label for case in chosen.errors} == {1, 2}
    assert not chosen.disagreements


def test_one_network_disagrees_with_nobody() -> None:
    chosen = choose_cases(table(members=1), "soft_vote", most=5)
    assert len(chosen.errors) == 5
    assert not chosen.disagreements
    alone = choose_cases(table(), "net1", most=2)
    assert {claim.backbones for case in alone.errors for claim in case.claims} == {("net1",)}
