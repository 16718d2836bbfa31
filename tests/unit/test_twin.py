"""The twin data sets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fem_deepest.data.twin import NEURONS, NOISE, isometric, plateau, published
from fem_deepest.errors import InputError


def test_a_smaller_set_is_a_prefix():
    for make in (published, lambda pairs: isometric(pairs, 7)):
        few, many = make(3), make(8)
        np.testing.assert_array_equal(few.inputs, many.inputs[:3])
        np.testing.assert_array_equal(few.outputs, many.outputs[:3])


@pytest.mark.parametrize("layers", [20, 50, 100])
def test_the_spread_stays_of_order_one(layers):
    spread = isometric(400, layers).spread
    assert spread.shape == (layers + 1,)
    assert 0.3 < spread.min() <= spread.max() < 1.2


def test_layers_converge_with_order_one():
    ends = [isometric(20, n).clean for n in (50, 100, 200, 400)]
    errors = [np.abs(a - b).max() for a, b in pairwise(ends)]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1.0, atol=0.15)


def test_noise():
    for twin in (published(2000), isometric(2000, 20)):
        noise = twin.outputs - twin.clean
        # Standard deviation of a sample one: 1/sqrt(2 n).
        assert noise.std() == pytest.approx(NOISE, rel=4 / np.sqrt(2 * noise.size))


def test_plateau_by_hand():
    y = np.array([[1.0] * NEURONS, [3.0] * NEURONS])
    assert plateau(y, 5.0) == pytest.approx(0.5 * 5.0)


def test_bad_input():
    with pytest.raises(InputError, match="0 pairs"):
        published(0)
    with pytest.raises(InputError, match="'training'"):
        isometric(3, 5, "training")
    with pytest.raises(InputError, match="0 layers"):
        isometric(3, 0)
