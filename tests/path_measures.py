"""Finite-dimensional bridges without sampling: products of transition kernels on a grid.

The nodes of a P1 path with density ``exp(-1/2 int x'^2 - int V)`` are a Markov chain: the density is a
product of ``exp(-(x - y)^2/(2 h) - c(x, y))`` over the cells, ``c`` the integral of ``V`` on one. On a
uniform grid the trapezoidal rule is spectrally accurate.
"""

from collections.abc import Callable

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.sample.integral import IntegralTarget
from fem_deepest.spaces.constrained import Clamped
from fem_deepest.spaces.lumped import Lumped
from fem_deepest.spaces.quadrature import Quadrature

Density = Callable[..., np.ndarray]


def double_well(x):
    return (x**2 - 1) ** 2


def gibbs(x):
    """``f^2/2`` for ``f = x - x^3``."""
    return 0.5 * (x - x**3) ** 2


def sde(x):
    """``(f^2 + f')/2``."""
    return 0.5 * ((x - x**3) ** 2 + 1 - 3 * x**2)


def marginals(
    V: Density, T: float, cells: int, exact: bool, grid: int = 401, reach: float = 4.0
) -> tuple[np.ndarray, np.ndarray]:
    """Grid (m,), and densities (cells - 1, m) of the inner nodes of the bridge from -1 to 1."""
    h, x = T / cells, np.linspace(-reach, reach, grid)

    def kernel(a, b):
        a, b = a[:, None], b[None, :]
        if exact:
            s, w = np.polynomial.legendre.leggauss(4)
            inside = sum(
                wi / 2 * V(a + (si + 1) / 2 * (b - a)) for si, wi in zip(s, w, strict=True)
            )
        else:
            inside = (V(a) + V(b)) / 2
        return np.exp(-((a - b) ** 2) / (2 * h) - h * inside)

    K = kernel(x, x)
    forward, backward = [kernel(np.array([-1.0]), x)[0]], [kernel(x, np.array([1.0]))[:, 0]]
    for _ in range(cells - 2):
        forward.append(forward[-1] @ K)
        backward.append(K @ backward[-1])
        forward[-1] /= forward[-1].max()
        backward[-1] /= backward[-1].max()
    density = np.array(forward) * np.array(backward[::-1])
    return x, density / (density.sum(axis=1, keepdims=True) * (x[1] - x[0]))


def numbers(V: Density, T: float, cells: int, exact: bool, **more) -> tuple[float, float, float]:
    """``E x(T/4)``, ``E x(T/2)^2`` and ``(1/T) int E x^2`` (trapezoidal rule)."""
    x, p = marginals(V, T, cells, exact, **more)
    dx = x[1] - x[0]
    first, second = p @ x * dx, p @ x**2 * dx
    mean = (second.sum() + 1.0) / cells  # the ends are -1 and 1, half a weight each
    return first[cells // 4 - 1], second[cells // 2 - 1], mean


def bridge(phi, T: float, cells: int, rule: int | None = None) -> IntegralTarget:
    """Bridge from -1 to 1; rule: degree of the quadrature, or the nodes if None."""
    domain = mesh.create_interval(MPI.COMM_SELF, cells, (0.0, T))
    V = fem.functionspace(domain, ("Lagrange", 1))
    u = fem.Function(V)
    u.interpolate(lambda x: 2 * x[0] / T - 1)
    ends = [Clamped(u, "start"), Clamped(u, "end")]
    points = Lumped(V) if rule is None else Quadrature(V, rule)
    return IntegralTarget(u, phi, 0.5 * u.dx(0) ** 2, clamped=ends, rule=points)
