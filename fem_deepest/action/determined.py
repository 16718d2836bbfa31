"""Whether observations and end conditions determine a path: the rank of what they see of it.

The Gauss-Newton matrix is singular exactly if some change of the start and of the weights, carried
along by the linearised dynamics without a forcing, is seen by no measurement, end condition or prior.
That is a small dense question, the same for every form and every ``R_f``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.ends import Clamped, Gaussian
from fem_deepest.action.sweep import Sweep
from fem_deepest.action.weak import WeakProblem
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


def undetermined(problem: WeakProblem, x: Array, w: Array) -> Array:
    """Basis (D + P, k) of the changes of ``(x(0), w)`` that nothing sees, at the path ``x`` (m, D).

    Weights that vary in depth have a prior and are left out: (D, k). Not collective.
    """
    d, count = problem.states, 0 if problem.varying else problem.parameters
    sweep = Sweep(problem.defects())
    sweep.linearise(x, w)
    n = problem.cells
    rows = sweep.defects.transcription.weights.size * d
    source = np.zeros((n, rows, d + count))
    if count:
        source[:, :, d:] = -sweep.by_cell
    tangents = sweep.tangent(np.eye(d, d + count), source)
    seen: list[Array] = [np.zeros((0, d + count))]
    if problem.observations is not None:
        observed = problem.observations.on(problem.defects())
        part = tangents[:, problem.observations.components]
        values = np.einsum("jm,mlk->jlk", observed.matrix.toarray(), part)
        seen.append(values[problem.observations.precision > 0.0])
    conditions = problem.conditions
    for node, condition in ((0, conditions.start), (-1, conditions.end)):
        if isinstance(condition, Clamped):
            seen.append(tangents[node][np.isfinite(condition.z)])
        elif isinstance(condition, Gaussian):
            seen.append(tangents[node])
    if conditions.periodic:
        seen.append(tangents[-1] - tangents[0])
    if count and problem.prior is not None:
        seen.append(np.eye(d + count)[d:])
    # Rows of one size: what is seen weakly is seen all the same.
    matrix = np.concatenate(seen)
    size = np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix = matrix[size[:, 0] > 0.0] / size[size > 0.0][:, None]
    _, values, basis = np.linalg.svd(np.concatenate([matrix, np.zeros((d + count, d + count))]))
    return basis[values <= max(matrix.shape) * np.finfo(np.float64).eps].T


def check_determined(problem: WeakProblem, x: Array, w: Array) -> None:
    """Refuse a problem whose systems are singular.

    Raises:
        InputError: Something is determined neither by observations nor by end conditions.

    Not collective; the same on every rank.
    """
    basis = undetermined(problem, x, w)
    if basis.size:
        names = [f"x_{i}(0)" for i in range(problem.states)]
        names += [] if problem.varying else list(problem.dynamics.parameters)
        size = np.linalg.norm(basis, axis=1)
        worst = ", ".join(names[i] for i in np.argsort(-size)[:3] if size[i] > 1e-8)
        raise InputError(
            f"the system is singular: {basis.shape[1]} directions of start and weights, mostly in "
            f"{worst}, are seen by no observation, end condition or prior; add one of these"
        )
