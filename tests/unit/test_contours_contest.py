"""The contest of contours: what is counted, and what counts as found."""

from __future__ import annotations

import numpy as np

from fem_deepest.contours import synthetic
from fem_deepest.contours.descent import descend
from fem_deepest.studies.comparison import MULTISTART, NOISE, PLAIN
from fem_deepest.studies.contests.contours_arms import Contours
from fem_deepest.studies.named import load_study

CONFIG = {
    "seed": 3,
    "study": {"name": "compare_contours", "budget": 60, "seeds": 4},
    "problem": {"cells": 16, "nu": 0.003},
    "noise": {"steps": 20, "strength": 0.2},
}


def contest() -> Contours:
    made = load_study(CONFIG).contest()
    assert isinstance(made, Contours)
    return made


def test_arms_keep_to_the_budget_and_do_not_depend_on_their_company() -> None:
    problem = contest()
    numbers = np.arange(3)
    for name in (PLAIN, MULTISTART, NOISE):
        together = problem.arms[name](numbers, 60)
        alone = problem.arms[name](numbers[1:2], 60)
        assert (together.used <= 60).all()
        assert abs(alone.lowest[0] - together.lowest[1]) < 1e-9
        assert alone.used[0] == together.used[1]
        assert alone.hit[0] == together.hit[1]
    assert (problem.arms[MULTISTART](numbers, 60).used == 60).all()
    assert (problem.arms[PLAIN](numbers, 60).used < 60).any()


def test_the_first_start_of_a_seed_is_that_of_all_arms() -> None:
    """Another round is another circle; all of them are whole ones on the image."""
    problem = contest()
    field = problem.energy.field
    first, second = (problem.start(np.arange(4), turn) for turn in (0, 1))
    assert np.array_equal(first[:, 2:3], problem.start(np.array([2]), 0))
    assert np.abs(first - second).max(axis=0).min() > 0.5
    edge = (np.abs(field.x - 0.5) > 0.5 - 1e-9).any(axis=1)
    assert (first[edge] < 0.1).all()


def test_the_truth_is_a_success_and_an_object_alone_is_not() -> None:
    problem = contest()
    field = problem.energy.field
    objects = field.start(synthetic.SYNTHETIC["discs"][0])
    lowest = []
    for start in (objects, field.start(synthetic.circle((0.27, 0.72), 0.14))):
        lowest.append(float(descend(problem.energy, start, dt=0.5).energies[0]))
    assert lowest[0] <= problem.threshold < lowest[1]
