"""Named bridges, for configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.sample.integral import IntegralTarget
from fem_deepest.sample.measure import path_potential
from fem_deepest.spaces.constrained import Clamped
from fem_deepest.spaces.lumped import Lumped
from fem_deepest.spaces.quadrature import Quadrature

_DEGREE = 6  # of the highest power of x in the potentials here


def _drift(x: Any) -> Any:
    return x - x**3


POTENTIALS: dict[str, Callable[[str], Callable[[Any], Any]]] = {
    "double_well": lambda measure: lambda x: (x**2 - 1) ** 2,
    "diffusion": lambda measure: path_potential(_drift, measure),
}
"""Potentials: ``(x^2 - 1)^2`` whatever the measure, and that of ``dx = (x - x^3) dt + dW``."""


def bridge(
    phi: Callable[[Any], Any],
    cells: int,
    depth: float,
    ends: tuple[float, float] = (-1.0, 1.0),
    exact: bool = False,
) -> IntegralTarget:
    """``exp(-1/2 int x'^2 dt - int phi(x) dt)`` on P1 paths between clamped ends.

    Args:
        phi: The potential in UFL, a polynomial of degree 6 at most if it is to be integrated exactly.
        cells: Equal cells.
        depth: ``T``.
        ends: ``x(0)`` and ``x(T)``.
        exact: Integrate ``phi`` exactly instead of by the nodes.

    Raises:
        InputError: There are fewer than two cells.

    Not collective: the mesh lives on one rank.
    """
    if cells < 2:
        raise InputError(f"a bridge of {cells} cells has nothing to vary; give 2 or more")
    domain = mesh.create_interval(MPI.COMM_SELF, cells, (0.0, depth))
    V = fem.functionspace(domain, ("Lagrange", 1))
    x = fem.Function(V)
    x.interpolate(lambda t: ends[0] + (ends[1] - ends[0]) * t[0] / depth)
    clamped = [Clamped(x, "start"), Clamped(x, "end")]
    rule = Quadrature(V, _DEGREE) if exact else Lumped(V)
    return IntegralTarget(x, phi, 0.5 * x.dx(0) ** 2, clamped=clamped, rule=rule)


def double_well(cells: int, depth: float) -> IntegralTarget:
    """Bridge from -1 to 1 with ``phi = (x^2 - 1)^2``."""
    return bridge(POTENTIALS["double_well"]("gibbs"), cells, depth)
