"""Factors of tensor products: matrices along an axis, direct sums, modes."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.errors import InputError
from fem_deepest.spaces import NeuronSpace
from fem_deepest.spaces.factor import Factor

FACTORS = [
    Factor.plain(5),
    NeuronSpace.interval(5).factor,
    NeuronSpace.interval(5, "P1").factor,
    NeuronSpace.interval(5, "P1", "consistent").factor,
    NeuronSpace.interval(4, "P1").factor + Factor.plain(1),
    NeuronSpace.rectangle((2, 2), "P1", "consistent", channels=2).factor + Factor.plain(2),
]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("factor", FACTORS)
def test_matrices_act_along_an_axis(factor: Factor, axis: int) -> None:
    random = np.random.default_rng(0)
    shape = [2, 3, 4]
    shape[axis] = factor.size
    a = random.standard_normal(shape)
    kept = a.copy()
    for action, matrix in (
        (factor.apply_mass, factor.mass.toarray()),
        (factor.apply_stiffness, factor.stiffness.toarray()),
        (factor.solve_mass, np.linalg.inv(factor.mass.toarray())),
    ):
        expected = np.moveaxis(np.tensordot(matrix, a, axes=(1, axis)), 0, axis)
        out = action(a, axis)
        np.testing.assert_allclose(out, expected, atol=1e-11 * max(np.abs(expected).max(), 1.0))
        assert not np.shares_memory(out, a)
    np.testing.assert_array_equal(a, kept)


@pytest.mark.parametrize("factor", FACTORS)
def test_modes_diagonalise_both_matrices(factor: Factor) -> None:
    mu, phi = factor.modes
    M, K = factor.mass.toarray(), factor.stiffness.toarray()
    np.testing.assert_allclose(phi.T @ M @ phi, np.eye(factor.size), atol=1e-12)
    np.testing.assert_allclose(K @ phi, M @ phi * mu, atol=1e-12 * max(np.abs(K).max(), 1.0) * 10)
    assert mu.min() >= 0.0


def test_what_a_factor_knows_of_itself() -> None:
    plain, cells, nodes = (FACTORS[i] for i in (0, 1, 2))
    assert (plain.is_plain, plain.uniform, plain.has_stiffness) == (True, 1.0, False)
    assert (cells.is_plain, cells.uniform, cells.has_stiffness) == (False, 0.2, True)
    assert (nodes.uniform, nodes.mass_lumped) == (None, True)
    assert (plain + Factor.plain(2)).is_plain
    assert (cells + Factor.plain(1)).uniform is None
    assert len((cells + Factor.plain(1) + cells).parts) == 3
    np.testing.assert_array_equal((cells + Factor.plain(1)).weights, [0.2] * 5 + [1.0])


def test_a_sum_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        Factor.sum([])
