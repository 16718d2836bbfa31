"""Pointwise variance density ``q(x)`` of a Wiener process: ``Var W(tau, x) = q(x) tau``.

``int q dx`` is the trace of ``Q``, so there is a density only where the noise is of trace class. White
noise has none: what it has on a mesh, ``1/(w_q |J|)`` at a quadrature point, is infinite in the limit,
and so is every Ito correction made of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces.quadrature import Rule

Array = NDArray[np.float64]

_COLUMNS = 64  # columns of the covariance that are in memory together


def variance_density(noise: Any, points: Rule, *, discrete: bool, why: str) -> Array:
    """``q`` at quadrature points, (points, 1).

    A process of finite rank says its own. Of others it is the diagonal of the covariance ``E C E^T``
    of the values at the points, from one application of ``C`` to each basis load: as many solves as
    there are dofs, once.

    Args:
        noise: ``Q``-Wiener process.
        points: Points, those of the noise.
        discrete: Take the density that white noise has on this mesh.
        why: What needs the density, for the error.

    Raises:
        InputError: The noise is not of trace class, and the discrete density was not asked for.

    Collective.
    """
    if hasattr(noise, "density"):
        return np.asarray(noise.density(points))
    covariance, blocks = noise.covariance, points.blocks
    if covariance.trace_class:
        density = np.zeros((points.points, 1))
        for first in range(0, blocks.size, _COLUMNS):
            unit = _basis(blocks, first, min(_COLUMNS, blocks.size - first))
            values = points.evaluate(covariance.apply(unit))
            density[:, 0] += np.einsum("qs,qs->q", values, points.evaluate(unit))
        return density
    if not discrete:
        raise InputError(
            f"the noise is not of trace class (beta = {covariance.beta():g}, expected more than 1), so "
            f"its variance at a point, which {why} needs, is infinite; take smoother noise, or ask for "
            "the density on this mesh with discrete_density=True"
        )
    return np.asarray(1.0 / points.weights[:, None])


def _basis(blocks: Any, first: int, count: int) -> Array:
    """Loads that are one in one dof, for dofs ``first`` to ``first + count`` of all ranks."""
    unit = blocks.zeros(count)
    own = np.arange(max(first, blocks.start), min(first + count, blocks.start + blocks.owned))
    unit[own - blocks.start, own - first] = 1.0
    return unit
