from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cv_folds.arrays import frozen
from cv_folds.errors import DataError
from ensemble.predictions import Predictions

KINDS = {"resnet50": "backbone", "stack": "ensemble", "soft_vote": "ensemble"}


def table(seed: int = 0, n: int = 12) -> Predictions:
    """Ids that a careless reader takes for numbers, and a class that it takes for a missing value."""
    rng = np.random.default_rng(seed)
    return Predictions(
        image_ids=frozen([f"{index:04d}" for index in range(n)]),
        lesion_ids=frozen([f"{index // 2:03d}" for index in range(n)]),
        groups=frozen([f"{index // 4:03d}" for index in range(n)]),
        folds=frozen(np.arange(n) // 4, np.int64),
        labels=frozen(rng.integers(3, size=n), np.int64),
        classes=("NA", "mel", "nv"),
        probabilities={name: frozen(rng.dirichlet(np.ones(3), size=n)) for name in ("resnet50", "stack")},
        kinds={"resnet50": "backbone", "stack": "ensemble"},
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_file_gives_back_every_bit(tmp_path, seed):
    before = table(seed)
    before.write_csv(tmp_path / "predictions.csv")
    after = Predictions.read_csv(tmp_path / "predictions.csv", KINDS)
    for column in ("image_ids", "lesion_ids", "groups", "folds", "labels"):
        np.testing.assert_array_equal(getattr(after, column), getattr(before, column))
    assert (after.classes, after.kinds) == (before.classes, before.kinds)
    assert list(after.probabilities) == list(before.probabilities)
    for model, rows in before.probabilities.items():
        np.testing.assert_array_equal(after.probabilities[model], rows)


def test_the_columns_are_those_of_the_contract(tmp_path):
    table().write_csv(tmp_path / "predictions.csv")
    header = (tmp_path / "predictions.csv").read_text().splitlines()[0]
    assert header == (
        "image_id,lesion_id,group,fold,label,resnet50/NA,resnet50/mel,resnet50/nv,stack/NA,stack/mel,stack/nv"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.5, 0.5, 0.1], "summing to 1:\n  0003"),
        ([1.2, -0.2, 0.0], "summing to 1:\n  0003"),
        ([np.nan, 0.5, 0.5], "summing to 1:\n  0003"),
    ],
)
def test_rows_that_are_no_probabilities_are_named(row, message):
    good = table()
    rows = good.probabilities["stack"].copy()
    rows[3] = row
    with pytest.raises(DataError, match=f"stack: .*{message}"):
        replace(good, probabilities={"stack": rows})


def test_a_repeated_image_or_a_wrong_shape_is_refused():
    good = table()
    with pytest.raises(DataError, match="predicted twice:\n  0000"):
        replace(good, image_ids=np.array(["0000", *good.image_ids[:-1]]))
    with pytest.raises(DataError, match="stack: probabilities of shape"):
        replace(good, probabilities={"stack": np.ones((12, 1))})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop(columns="group"), "missing columns group"),
        (lambda frame: frame.drop(columns="stack/nv"), "one column a class"),
        (lambda frame: frame.iloc[:, :5], "one column a class"),
        (lambda frame: frame.rename(columns=lambda name: name.replace("stack", "boost")), "unknown models boost"),
        (lambda frame: frame.assign(label="scc"), "labels without a column: scc"),
        (lambda frame: frame.assign(fold="first"), "cannot be read"),
        (lambda frame: frame.assign(**{"stack/nv": "much"}), "cannot be read"),
        (lambda frame: frame.assign(**{"stack/nv": ""}), "cannot be read"),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "predicted twice"),
    ],
)
def test_a_spoilt_file_is_refused(tmp_path, spoil, message):
    path = tmp_path / "predictions.csv"
    table().write_csv(path)
    spoil(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)
    with pytest.raises(DataError, match=message):
        Predictions.read_csv(path, KINDS)


@pytest.mark.parametrize("content", ["", "a,b\n1,2,3\n4\n", "\x00"])
def test_what_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "predictions.csv").write_text(content)
    with pytest.raises(DataError, match=r"predictions\.csv"):
        Predictions.read_csv(tmp_path / "predictions.csv", KINDS)


def test_a_missing_file_tells_what_writes_it(tmp_path):
    with pytest.raises(DataError, match=r"predictions\.csv is missing; `hamcv run` writes it"):
        Predictions.read_csv(tmp_path / "predictions.csv", KINDS)
