"""The readout that minimises an action of least squares while all other parameters stay: a regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.errors import InputError
from fem_deepest.network.loss import LeastSquares
from fem_deepest.spaces.factor import Factor

Array = NDArray[np.float64]


def check_regression(action: NetworkAction) -> None:
    """Refuse an action whose readout cannot start at a regression. Not collective.

    Raises:
        InputError: The loss is another, the readout is fixed, or there are forcings.
    """
    if (
        not isinstance(action.loss, LeastSquares)
        or not action.network.linear_readout
        or action.space.has_forcings
    ):
        raise InputError(
            "a readout by regression needs action.loss = 'least_squares', network.readout = 'linear' and "
            "R_f = R_0 = inf; take these, or network.start_readout = 'zero'"
        )


def regress_readout(action: NetworkAction, u: PETSc.Vec) -> None:
    """Replace the readout in ``u`` by the minimiser of ``A`` for the other parameters of ``u``.

    With the last states ``x_k`` and ``f_k = [M_S x_k; 1]`` the action is quadratic in ``[C | c]``, and

        ( R_m/K sum_k f_k f_k^T + lambda (M + ell^2 K) ) [C | c]^T = R_m/K sum_k f_k y_k^T

    with ``M`` and ``K`` those of ``V_S`` and one point is solved by a Cholesky factorisation of ``N + 1``
    unknowns. For random weights this is what is known as random features or an extreme learning
    machine (Rahimi, Recht 2007; Huang, Zhu, Siew 2006, doi:10.1016/j.neucom.2005.12.126): a start
    from which the flow has to learn only what a linear map of its random states does not know.

    Args:
        action: An action of least squares with a trained readout and without forcings.
        u: Control; overwritten.

    Raises:
        InputError: The loss is another, the readout is fixed, or there are forcings, or the index is
            spread over ranks.

    Collective on the grid. The sums have the same bits on any number of ranks.
    """
    check_regression(action)
    action.require_whole_index("a readout by regression")
    network, loss = action.network, action.loss
    assert isinstance(loss, LeastSquares)
    parameters = action.space.parameters(action.space.share(u))
    theta = network.stage_parameters(parameters.theta)
    size, outputs = network.index.neurons + 1, network.outputs
    sums = np.zeros((size, size + outputs))

    def add(block: int, flat: Array) -> None:
        total = flat.reshape(sums.shape)
        total[...] = 0.0
        for tile in action.tiles_of(block):
            z = np.ascontiguousarray(action.tiles.inputs[tile].T).T
            x = network.lift(parameters, z)
            network.flow(x.shape[-1]).forward(theta, x)
            f = np.vstack([network.index.factor.apply_mass(x, 0), np.ones(x.shape[-1])])
            total += f @ np.vstack([f, action.tiles.targets[tile]]).T

    action.blocks.sum(add, sums.reshape(-1))
    if action.grid.owner:
        columns = network.index.factor + Factor.plain(1)
        prior = action.metric
        normal = (loss.precision / action.samples) * sums
        normal[:, :size] += prior.strength * columns.mass.toarray()
        if prior.ell:
            normal[:, :size] += prior.strength * prior.ell**2 * columns.stiffness.toarray()
        readout = solve(normal[:, :size], normal[:, size:], assume_a="pos")
        action.space.parameters(u.array_w).readout[...] = readout.T
