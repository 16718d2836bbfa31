"""Studies of the stochastic heat equation and of stability: orders, intervals, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.spde.modal import Grid, ModalHeat
from fem_deepest.studies.named import load_study
from fem_deepest.studies.points import Points
from fem_deepest.studies.study import compute

SAMPLED = {"mode": "mc", "values": [4, 8], "beta": [0.5], "refine": ["h"]}


def outcome(config, folder):
    """Tables and failures of a study."""
    study = load_study(config)
    points = compute(study, Points(folder, MPI.COMM_SELF))
    tables = {study.tables_left[0]: study.table(points), **study.further(points)}
    return tables, study.failures(tables), points


@pytest.mark.parametrize(("error", "power"), [("strong", 1.0), ("weak", 2.0)])
def test_exact_orders_are_those_of_theory(tmp_path, error, power) -> None:
    config = {
        "study": {"name": f"heat_{error}", "values": [16, 32, 64], "beta": [0.5, 1.5]},
        "check": {"tolerance": 0.15, "last": 2},
    }
    tables, failures, _ = outcome(config, tmp_path)
    table = tables["table"]
    assert failures == []
    assert list(table.errors) == ["beta 0.5, h", "beta 1.5, h", "beta 0.5, k", "beta 1.5, k"]
    expected = [errors.expected for errors in table.errors.values()]
    assert expected == [min(power * b, 2.0) * s for s in (1.0, 0.5) for b in (0.5, 1.5)]
    value = getattr(ModalHeat(), f"{error}_error")
    assert table.errors["beta 0.5, h"].values[1] == value(Grid(cells=32))
    assert table.errors["beta 0.5, k"].values[2] == value(Grid(steps=64))


def test_any_regularity_finds_its_points(tmp_path) -> None:
    """0.1 - 0.5 + 0.5 is not 0.1."""
    config = {"study": {"name": "heat_strong", "values": [8, 16], "beta": [0.1, 0.7]}}
    tables, _, _ = outcome(config | {"check": {"tolerance": 1.0}}, tmp_path)
    assert np.all(tables["table"].orders("beta 0.1, h") > 0.0)


@pytest.mark.parametrize("error", ["strong", "weak"])
def test_sampled_errors_have_intervals_around_the_exact_ones(tmp_path, error) -> None:
    config = {
        "study": {**SAMPLED, "name": f"heat_{error}", "refine": ["h", "k"]},
        "problem": {"T": 0.02},
        "sampling": {"samples": 400, "batch": 200, "steps": 64, "cells": 16},
        "check": {"tolerance": 0.3},
    }
    tables, failures, points = outcome(config, tmp_path)
    assert failures == []
    assert len(points) == 2 + 2 * 2
    for axis in ("h", "k"):
        errors = tables["table"].errors[f"beta 0.5, {axis}"]
        exact = tables["table"].others[f"beta 0.5, {axis} exactly"]
        assert np.all(errors.low < errors.values)
        assert np.all(errors.values < errors.high)
        assert np.all(np.abs(errors.values - exact) < 2.1 * (errors.high - errors.low))


def test_wrong_exact_values_are_told(tmp_path) -> None:
    """Samples of another equation must not pass."""
    config = {
        "study": {**SAMPLED, "name": "heat_strong"},
        "problem": {"T": 0.02},
        "sampling": {"samples": 400, "batch": 400, "steps": 64},
        "check": {"tolerance": 1.0},
    }
    study = load_study(config)
    points = compute(study, Points(tmp_path, MPI.COMM_SELF))
    points[1].values["strong"] *= 1.5
    found = study.failures({"table": study.table(points)})
    assert len(found) == 1
    assert "standard errors off the exact one" in found[0]


def test_more_samples_are_all_that_is_computed(tmp_path) -> None:
    config = {
        "study": {**SAMPLED, "name": "heat_weak"},
        "problem": {"T": 0.02},
        "sampling": {"samples": 100, "batch": 50, "steps": 16},
    }
    _, _, first = outcome(config, tmp_path)
    config["sampling"]["samples"] = 150
    _, _, second = outcome(config, tmp_path)
    assert [point.fresh for point in first] == [True] * 3
    assert [point.fresh for point in second] == [False] * 3 + [True]
    np.testing.assert_array_equal(first[2].values["weak"], second[2].values["weak"])


@pytest.mark.parametrize("mode", ["exact", "mc"])
def test_boundaries_of_stability(tmp_path, mode) -> None:
    config = {"study": {"name": "stability", "mode": mode, "values": [0.5, 1.0], "samples": 2000}}
    tables, failures, _ = outcome(config, tmp_path)
    table = tables["table"]
    assert failures == []
    np.testing.assert_allclose(table.others["backward_euler"], [2.5, 3.0], rtol=1e-12)
    np.testing.assert_allclose(table.others["crank_nicolson"], [2.0, 2.0], rtol=1e-12)
    assert ("milstein sampled step" in table.others) == (mode == "mc")


def test_a_boundary_that_is_not_the_closed_one_is_told(tmp_path) -> None:
    study = load_study(
        {"study": {"name": "stability", "mode": "mc", "values": [1.0], "samples": 500}}
    )
    points = compute(study, Points(tmp_path, MPI.COMM_SELF))
    points[2].values["closed"] += 1e-6
    points[3].values["mean"] += 1.0
    found = study.failures({"table": study.table(points)})
    assert [sentence.split(":")[0] for sentence in found] == ["backward_euler", "crank_nicolson"]


@pytest.mark.parametrize(
    ("section", "fragment"),
    [
        ({"beta": [0.5, 0.5]}, "names one twice"),
        ({"values": [4, 6], "mode": "mc"}, "multiple of the one before"),
        ({"beta": [-1.0]}, r"study\.beta"),
        ({"values": [1, 2]}, r"study\.values"),
    ],
)
def test_wrong_input(section, fragment) -> None:
    with pytest.raises(InputError, match=fragment):
        load_study({"study": {"name": "heat_strong", **section}})
    with pytest.raises(InputError, match="names a scheme twice"):
        load_study({"study": {"name": "stability", "schemes": ["exact", "exact"]}})
