"""A linear equation with additive noise as matrices: from forms to Lyapunov recursions.

Dense, for meshes of moderate size on one rank: the way to exact second moments of any such equation in
any dimension, without a sample.
"""

from __future__ import annotations

import numpy as np

from fem_deepest.errors import InputError
from fem_deepest.spde.lyapunov import LinearEquation
from fem_deepest.spde.problem import SemilinearSPDE


def linear_equation(problem: SemilinearSPDE) -> LinearEquation:
    """``M``, ``A`` and ``Q = M C M`` of the free dofs, in the order of the blocks.

    Args:
        problem: Equation with ``f = 0``, additive noise, ``G = 1``, on a mesh of one rank.

    Returns:
        Matrices of the dofs that are not in ``problem.fixed``.

    Raises:
        InputError: The equation is not linear, has other noise, or is spread over ranks.

    Not collective.
    """
    ranks = problem.V.mesh.comm.size
    if ranks > 1:
        raise InputError(f"the mesh is spread over {ranks} ranks; make it on MPI.COMM_SELF")
    if problem.f is not None or problem.G is not None or problem.noise is None or problem.lifted:
        raise InputError(
            "a covariance recursion needs f = 0, additive noise with G = 1 and Dirichlet values of zero; "
            "sample the equation instead"
        )
    free = np.setdiff1d(np.arange(problem.blocks.owned), problem.fixed)
    units = np.eye(problem.blocks.owned)
    covariance = problem.noise.covariance
    # The load of the noise knows nothing of the Dirichlet conditions: M and C are those of all dofs.
    whole = covariance.mass(units)
    Q = whole @ covariance.apply(whole)
    pick = np.ix_(free, free)
    M, A = problem.mass(units[:, free])[free], problem.linear(units[:, free])[free]
    return LinearEquation(M, A, 0.5 * (Q + Q.T)[pick])
