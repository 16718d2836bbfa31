"""Direct transcription of ``dx/dt = F`` on a cell: its defects as functions of the cell's nodes.

With nodes ``x_a`` (left end first, right end last) a cell of length ``h`` has the defects

    d_r = sum_a D_ra x_a / h - sum_q E_rq F( sum_a B_qa x_a, w(tau_q); t_i + tau_q h ),

and the model-error term of the action is ``R_f/2 sum_cells h sum_r omega_r |d_r|^2``. Collocation at
Gauss points (continuous P_r trial functions, ``E = 1``) is the symplectic Gauss-Legendre method of
order ``2 r`` at the ends of the cells; the left end as the only point is explicit Euler, that is the
action of a network of discrete layers.

J. T. Betts, Practical Methods for Optimal Control and Estimation (2010), doi:10.1137/1.9780898718577;
Hairer, Lubich, Wanner, Geometric Numerical Integration (2006), doi:10.1007/3-540-30666-8.

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Transcription:
    """Defects of a cell of ``A`` nodes, ``Q`` points and ``R`` defects.

    Attributes:
        name: Name in a configuration.
        nodes: Places of the nodes in the cell, (A,), from 0 to 1.
        points: Places ``tau`` where ``F`` is taken, (Q,).
        derivative: ``D``, (R, A).
        rule: ``E``, (R, Q).
        basis: ``B``, (Q, A).
        weights: ``omega``, (R,).
        order: Order at the ends of the cells.
        symplectic: Whether the exact model conserves ``dx.dp``.
    """

    name: str
    nodes: Array
    points: Array
    derivative: Array
    rule: Array
    basis: Array
    weights: Array
    order: int
    symplectic: bool


def _collocation(
    name: str, nodes: Array, points: Array, weights: Array, order: int
) -> Transcription:
    """Continuous polynomials through the nodes, collocated at the points."""
    powers = np.arange(nodes.size)
    inverse = np.linalg.inv(nodes[:, None] ** powers)
    basis = points[:, None] ** powers @ inverse
    slopes = powers * points[:, None] ** np.maximum(powers - 1, 0) @ inverse
    gauss = order == 2 * points.size
    return Transcription(
        name, nodes, points, slopes, np.eye(points.size), basis, weights, order, gauss
    )


_ENDS = np.array([0.0, 1.0])
_THREE = np.array([0.0, 0.5, 1.0])

EULER = _collocation("euler", _ENDS, np.array([0.0]), np.ones(1), 1)
MIDPOINT = _collocation("midpoint", _ENDS, np.array([0.5]), np.ones(1), 2)
GAUSS2 = _collocation(
    "gauss2", _THREE, 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3.0), np.full(2, 0.5), 4
)
# Simpson's rule on the cell and Hermite's interpolation at its middle; both defects count alike, as
# in the programs of Ye et al. (2015), doi:10.1103/PhysRevE.92.052901, and of Rozdeba (varanneal).
SIMPSON_HERMITE = Transcription(
    "simpson_hermite",
    _THREE,
    _THREE,
    np.array([[-1.0, 0.0, 1.0], [-0.5, 1.0, -0.5]]),
    np.array([[1 / 6, 4 / 6, 1 / 6], [1 / 8, 0.0, -1 / 8]]),
    np.eye(3),
    np.ones(2),
    4,
    False,
)

TRANSCRIPTIONS = {t.name: t for t in (EULER, MIDPOINT, GAUSS2, SIMPSON_HERMITE)}


def transcription(name: str) -> Transcription:
    """Transcription of that name.

    Raises:
        InputError: No transcription has that name.
    """
    if name not in TRANSCRIPTIONS:
        raise InputError(f"unknown transcription '{name}', expected one of {tuple(TRANSCRIPTIONS)}")
    return TRANSCRIPTIONS[name]
