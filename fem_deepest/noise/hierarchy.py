"""Nested meshes: one noise on all levels.

If every function of the coarse space is one of the fine space, ``P`` the matrix of that embedding, then
``P^T M_f P = M_c``, and the load of the fine noise tested with coarse functions,

    b_c = P^T b_f ~ N(0, dt P^T M_f P) = N(0, dt M_c),

is white noise of the coarse space, exactly, and of the same path. The noise is drawn on the finest mesh.

Cliffe, Giles, Scheichl, Teckentrup, Multilevel Monte Carlo methods and applications to elliptic PDEs with
random coefficients (2011), doi:10.1007/s00791-011-0160-x.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dolfinx import mesh
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces.interpolation import Interpolation
from fem_deepest.spaces.quadrature import Quadrature

Array = NDArray[np.float64]

_NESTED = 1e-10


def refine(domain: mesh.Mesh) -> mesh.Mesh:
    """The mesh with all edges halved, distributed as DOLFINx does.

    Vertices of the coarse mesh keep the keys of their noise.

    Args:
        domain: Mesh of intervals, triangles or tetrahedra; others are created anew, twice as fine.

    Raises:
        InputError: DOLFINx cannot refine the cells.

    Collective.
    """
    cell = domain.topology.cell_name()
    if cell not in ("interval", "triangle", "tetrahedron"):
        raise InputError(
            f"a mesh of {cell}s was given to refine, expected intervals, triangles or tetrahedra; "
            "create it anew with twice as many cells in each direction"
        )
    domain.topology.create_entities(1)
    return mesh.refine(domain)[0]


class Nested(Interpolation):
    """A coarse space within a fine one: fields go up, loads come down.

    Args:
        coarse: Lagrange space.
        fine: Lagrange space of a mesh that refines the coarse one, of the same or a higher degree.

    Raises:
        InputError: The coarse space is not contained in the fine one.

    Collective: construction and every method.
    """

    def __init__(self, coarse: Any, fine: Any) -> None:
        super().__init__(coarse, fine)
        # An embedding keeps the norm; for a function that is none of the fine space a change of norm
        # that cancels to ten digits would be an accident.
        rows = self.source.start + np.arange(self.source.owned)
        r = np.sin(1e4 * np.sin(1.0 + rows)).reshape(-1, 1)
        norms = [_squared_norm(V, u) for V, u in ((coarse, r), (fine, self.prolong(r)))]
        if abs(norms[0] - norms[1]) > _NESTED * norms[0]:
            raise InputError(
                f"the coarse space ({self.source.size} unknowns) is not contained in the fine one "
                f"({self.target.size}): a function changes its squared norm from {norms[0]:.6e} to "
                f"{norms[1]:.6e}; give a mesh whose cells are parts of coarse ones"
            )


def _squared_norm(V: Any, block: Array) -> float:
    rule = Quadrature(V)
    values = rule.evaluate(block).reshape(rule.points, -1)
    return float(V.mesh.comm.allreduce(float(rule.weights @ (values**2).sum(axis=1))))
