"""The medical tables, against what their sources publish about them."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.configuration.data import Data
from fem_deepest.configuration.train import load
from fem_deepest.data import breast_cancer, diabetes
from fem_deepest.data import load as load_data
from fem_deepest.runs.problem import Problem
from fem_deepest.runs.train import load_data as parts


def test_diabetes_is_the_table_of_efron_and_others() -> None:
    """Table 1 of Efron et al. (2004) prints the first patients in their own units."""
    data = diabetes()
    assert (data.samples, data.features, data.outputs) == (442, 10, 1)
    assert not data.is_classification
    assert data.columns[:4] == ("age", "sex", "bmi", "bp")
    assert data.inputs[0, :4].tolist() == [59.0, 2.0, 32.1, 101.0]
    assert data.inputs[1, :4].tolist() == [48.0, 1.0, 21.6, 87.0]
    assert data.targets[:3, 0].tolist() == [151.0, 75.0, 141.0]
    assert (data.targets.min(), data.targets.max()) == (25.0, 346.0)


def test_breast_cancer_has_the_published_classes() -> None:
    """212 malignant and 357 benign, says the description of the UCI repository."""
    data = breast_cancer()
    assert (data.samples, data.features, data.outputs) == (569, 30, 2)
    assert data.classes == ("malignant", "benign")
    assert np.bincount(data.targets).tolist() == [212, 357]
    assert data.columns[0] == "mean radius"
    assert data.inputs[0, 0] == 17.99


@pytest.mark.parametrize(("name", "outputs"), [("diabetes", 1), ("breast_cancer", 2)])
def test_columns_with_units_are_standardised_by_default(name: str, outputs: int) -> None:
    assert load_data(name).name == name
    config = load({"data": {"name": name}, "network": {"neurons": 4, "lift": "linear"}})
    train, test = parts(config)
    problem = Problem.create(config, train, test)
    assert train.outputs == outputs
    scaled = problem.inputs.apply(train.inputs)
    # The columns have 353 and 455 samples and numbers up to 4254: rounding of a mean is below 1e-11.
    assert np.abs(scaled.mean(axis=0)).max() < 1e-11
    assert np.abs(scaled.std(axis=0) - 1.0).max() < 1e-11
    if not train.is_classification:
        assert abs(problem.targets.apply(train.targets).std() - 1.0) < 1e-11
    raw = Problem.create(load(config, ["data.standardise=false"]), train, test)
    assert np.array_equal(raw.inputs.apply(train.inputs), train.inputs)
    assert np.array_equal(raw.targets.scale, np.ones(outputs))


def test_only_columns_with_units_are_standardised() -> None:
    names = Data.model_fields["name"].annotation.__args__
    scaled = {name for name in names if name != "file" and Data(name=name).scaled}
    assert scaled == {"diabetes", "breast_cancer"}
    assert Data(name="file", path="x.csv").scaled
