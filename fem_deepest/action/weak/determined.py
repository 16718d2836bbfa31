"""Whether observations and end conditions determine a path.

The Gauss-Newton matrix is singular exactly if some change of the start and of the weights, carried
along by the linearised dynamics without a forcing, is seen by no measurement, end condition or prior.
That is a small dense question, the same for every form and every ``R_f``. The changes are carried
from cell to cell as an orthonormal basis, so that growing directions do not hide the others, and a
direction that is seen leaves the basis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.weak.ends import Clamped, Gaussian
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.action.weak.sweep import Sweep
from fem_deepest.errors import InputError, NumericalFailure

Array = NDArray[np.float64]

_SEEN = 1e-9  # of a direction of length one


def undetermined(problem: WeakProblem, x: Array, w: Array) -> Array:
    """Basis (D + Q, k) of the changes of ``(x, w)`` that nothing sees, at the path ``x`` (m, D).

    ``Q`` weights have no prior; the others do not change. Not collective.

    Raises:
        NumericalFailure: A cell does not determine its right end.
    """
    conditions, d = problem.conditions, problem.states
    sweep = Sweep(problem.defects())
    try:
        sweep.linearise(x, w)
    except np.linalg.LinAlgError:
        raise NumericalFailure(
            "the linearised dynamics cannot be continued through a cell; take more cells"
        ) from None
    columns = np.flatnonzero(problem.loose)
    loose = columns.size
    basis = np.eye(d + loose)
    if isinstance(conditions.start, Gaussian):
        basis = basis[:, d:]
    elif isinstance(conditions.start, Clamped):
        basis = basis[:, np.append(np.isnan(conditions.start.z), np.ones(loose, dtype=bool))]
    local = np.zeros((problem.cells, *2 * problem.transcription.nodes.shape, d))
    if problem.observations is not None:
        local = problem.observations.on(problem.defects()).local
        local = local / np.maximum(local.max(axis=(1, 2), keepdims=True), 1e-300)
    first = basis  # the same changes at the start
    for i in range(problem.cells):
        if not basis.shape[1]:
            return basis
        nodes = sweep.cell_tangent(i, basis[:d], -sweep.by_cell[i][:, columns] @ basis[d:])
        kept = _unseen(np.einsum("abd,bdk->adk", local[i], nodes).reshape(-1, basis.shape[1]))
        basis, growth = np.linalg.qr(np.concatenate([nodes[-1], basis[d:]]) @ kept)
        if conditions.periodic:
            first = np.linalg.solve(growth.T, (first @ kept).T).T
    if conditions.periodic:
        both, _ = np.linalg.qr(np.concatenate([basis, first]))
        basis = both[: d + loose] @ _unseen(both[:d] - both[d + loose : 2 * d + loose])
    elif isinstance(conditions.end, Gaussian):
        basis = basis @ _unseen(basis[:d])
    elif isinstance(conditions.end, Clamped):
        basis = basis @ _unseen(basis[:d][np.isfinite(conditions.end.z)])
    return basis


def _unseen(seen: Array) -> Array:
    """Orthonormal basis (k, l) of the combinations of ``k`` directions that rows (m, k) miss."""
    _, values, combinations = np.linalg.svd(seen, full_matrices=True)
    return combinations[np.count_nonzero(values > _SEEN) :].T


def check_determined(problem: WeakProblem, x: Array, w: Array) -> None:
    """Refuse a problem whose systems are singular.

    Raises:
        InputError: Something is determined neither by observations nor by end conditions.

    Not collective; the same on every rank.
    """
    basis = undetermined(problem, x, w)
    if basis.shape[1]:
        names = [f"x_{i}" for i in range(problem.states)]
        names += [
            f"weight {name}"
            for name, loose in zip(problem.dynamics.parameters, problem.loose, strict=True)
            if loose
        ]
        size = np.linalg.norm(basis, axis=1)
        worst = ", ".join(names[i] for i in np.argsort(-size)[:3] if size[i] > 0.1 * size.max())
        raise InputError(
            f"the system is singular: {basis.shape[1]} directions, mostly in {worst}, are seen by no "
            "observation, end condition or prior; add one of these"
        )
