"""Matrices of the stochastic heat equation on uniform meshes, against sums over modes."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.errors import InputError
from fem_deepest.spde.lyapunov import ThetaSteps
from fem_deepest.spde.modal import Grid, ModalHeat
from fem_deepest.spde.uniform import equation, prolongation


@pytest.mark.parametrize(
    "heat",
    [ModalHeat(T=0.1), ModalHeat(a=0.5, T=0.1, modes=50), ModalHeat(nu=0.7, c=2.0, T=0.3)],
    ids=["white", "trace class", "reaction"],
)
@pytest.mark.parametrize("theta", [0.5, 1.0])
def test_fully_discrete_second_moment(heat, theta) -> None:
    """Aliases of the modes on one side, integrals of hat functions on the other."""
    found = ThetaSteps(equation(heat, 12), heat.T, 9, theta).second_moment
    assert found == pytest.approx(heat.second_moment(Grid(12, 9, theta)), abs=1e-12)


def test_nested_meshes_are_nested_exactly() -> None:
    """``P^T M_f P = M_c``, and the same for the stiffness and any covariance of loads."""
    for heat in (ModalHeat(), ModalHeat(a=0.5, modes=40), ModalHeat(a=1.0, modes=3, c=1.0)):
        fine, coarse, P = equation(heat, 12), equation(heat, 4), prolongation(4, 12)
        for f, c in ((fine.M, coarse.M), (fine.A, coarse.A), (fine.Q, coarse.Q)):
            np.testing.assert_allclose(P.T @ f @ P, c, rtol=0, atol=1e-14)


def test_wrong_input() -> None:
    with pytest.raises(InputError, match="infinitely many modes"):
        equation(ModalHeat(a=0.5), 8)
    with pytest.raises(InputError, match="not nested"):
        prolongation(4, 10)
