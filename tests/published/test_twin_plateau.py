"""The plateau of the published network twin: its closed form, and the annealed action that reaches it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fem_deepest.data.twin import NOISE, plateau, published

DEMO = Path(__file__).resolve().parents[2] / "demos" / "twin.py"
# Recomputed from the published example nnet_twin (varanneal) without this package.
PLATEAU = {1: 0.0, 2: 0.26035, 10: 0.33489, 100: 0.513855}
VALIDATION = {2: 0.00181, 10: 0.00119}


@pytest.mark.parametrize("pairs", PLATEAU)
def test_closed_form(pairs):
    """The data are the published ones: five digits of a sum over their noise."""
    value = plateau(published(pairs).outputs, 1.0 / NOISE**2)
    assert value == pytest.approx(PLATEAU[pairs], abs=0.6e-5)


def test_the_generator_forgets_its_input():
    spread = published(100).spread
    np.testing.assert_array_less(spread[1:8], 0.1 * spread[:7])
    assert spread[12] < 1e-14


@pytest.mark.parametrize("pairs", VALIDATION)
def test_annealing_ends_on_the_plateau(pairs):
    spec = importlib.util.spec_from_file_location("twin", DEMO)
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    levels, flat, error, constant = demo.annealed_published(pairs, 1e-2)
    # R_f = 1e11 is 1e-6 short of the limit.
    assert levels[-1, 1] == pytest.approx(PLATEAU[pairs], abs=1e-5)
    assert levels[-1, 1] < flat
    assert np.all(np.diff(levels[:, 1]) > 0.0)
    assert error == pytest.approx(VALIDATION[pairs], abs=0.6e-5)
    assert constant == pytest.approx(VALIDATION[pairs], abs=0.6e-5)
