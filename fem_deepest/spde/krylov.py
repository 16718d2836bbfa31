"""Krylov methods for many right-hand sides side by side: columns share the operator, not the space.

Every operation acts on whole blocks (owned, S); inner products are (S,), the same on all ranks. All
functions are collective where the operators and the inner product are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import NotConverged

Array = NDArray[np.float64]
Operator = Callable[[Array], Array]
Inner = Callable[[Array, Array], Array]

_MOST = 200  # conjugate gradient iterations
_DIMENSION = 100  # of a rational Krylov space
_ROUNDING = 1e-10  # of its projections, whose norm is 1


def conjugate_gradients(
    A: Operator, precondition: Operator, b: Array, inner: Inner, rtol: float
) -> Array:
    """``A x = b`` for symmetric positive definite ``A``, preconditioned.

    Args:
        A: Operator on blocks.
        precondition: Symmetric positive definite approximation of its inverse.
        b: Right-hand sides; columns that are zero have the solution zero.
        inner: Inner product of the columns.
        rtol: Tolerance of ``(r, P r)^{1/2}`` relative to the first.

    Raises:
        NotConverged: ``A`` is not positive in a direction, or there are too many iterations.
    """
    x, r = np.zeros_like(b), b.copy()
    z = precondition(r)
    p, rho = z.copy(), inner(r, z)
    goal = rtol**2 * rho
    for _ in range(_MOST):
        active = rho > goal
        if not active.any():
            return x
        Ap = A(p)
        curvature = inner(p, Ap)
        if (curvature[active] <= 0.0).any() or not np.isfinite(curvature).all():
            raise NotConverged("the linearised step is not positive definite; take a shorter step")
        alpha = np.where(active, rho / np.where(active, curvature, 1.0), 0.0)
        x += alpha * p
        r -= alpha * Ap
        z = precondition(r)
        new = inner(r, z)
        p = z + np.where(active, new / np.where(active, rho, 1.0), 0.0) * p
        rho = np.where(active, new, 0.0)
    raise NotConverged(f"conjugate gradients needed more than {_MOST} iterations")


def rational_lanczos(
    shifted: Operator,
    mass: Operator,
    inner: Inner,
    v: Array,
    functions: Sequence[Callable[[Array], Array]],
    gamma: float,
    tolerance: float,
) -> tuple[Array, int]:
    """``f(M^{-1} K) v`` in the Krylov space of ``(M + gamma K)^{-1} M``, orthonormal in ``M``.

    With ``T`` the projection of that operator, ``f(M^{-1} K) v`` is ``|v| V f((T^{-1} - 1)/gamma) e_1``.
    Convergence does not depend on the size of ``K`` (van den Eshof and Hochbruck 2006). It is taken as
    reached when two successive changes are below the tolerance.

    Args:
        shifted: ``(M + gamma K)^{-1} M`` on blocks.
        mass: ``M``, with zero rows and columns where the unknown is fixed.
        inner: Euclidean inner product of columns.
        v: (owned, S).
        functions: Functions of the eigenvalues of ``M^{-1} K``, bounded on ``[-1/gamma, inf)``, of which
            each is for an equal share of the columns, in order.
        gamma: The pole is ``-1/gamma``, below all eigenvalues.
        tolerance: Of the result, relative to ``|v|`` in ``M``.

    Returns:
        The block, and the dimension of the space.

    Raises:
        NotConverged: The space got too large, or an eigenvalue lies below the pole.
    """
    samples = v.shape[1]
    share = samples // len(functions)
    norm: Array = np.sqrt(inner(v, mass(v)))
    basis = [v * _inverse(norm)]
    dual = [mass(basis[0])]
    T = np.zeros((samples, _DIMENSION, _DIMENSION))
    last, quiet = np.zeros((samples, 0)), 0
    for m in range(1, _DIMENSION + 1):
        w = shifted(basis[-1])
        for _ in range(2):  # orthogonal to rounding, the second time
            for i, Mq in enumerate(dual):
                h = inner(Mq, w)
                w -= h * basis[i]
                T[:, i, m - 1] += h
        # Of the projection, symmetric up to rounding, the upper triangle is used.
        tau, Y = np.linalg.eigh(T[:, :m, :m], UPLO="U")
        if tau.min() < -_ROUNDING:
            raise NotConverged(
                f"an eigenvalue of the linear part is below {-1.0 / gamma:.3g}, the pole of the rational "
                "functions; take a shorter step"
            )
        # Above 1 is what grows: eigenvalues that are negative.
        lam = np.asarray((1.0 / np.maximum(tau, 1e-300) - 1.0) / gamma, dtype=np.float64)
        f = np.concatenate(
            [g(lam[k * share : (k + 1) * share]) for k, g in enumerate(functions)], axis=0
        )
        c = np.einsum("sij,sj,sj->si", Y, f, Y[:, 0, :])
        change = np.sqrt(((c - np.pad(last, ((0, 0), (0, 1)))) ** 2).sum(axis=1)).max()
        quiet = quiet + 1 if change <= tolerance else 0
        if quiet == 2:
            out = np.zeros_like(v)
            for q, row in zip(basis, c.T, strict=True):
                out += (norm * row) * q
            return out, m
        last = c
        Mw = mass(w)
        length = np.sqrt(np.maximum(inner(w, Mw), 0.0))
        scale = _inverse(np.where(length > 1e-14, length, 0.0))
        basis.append(w * scale)
        dual.append(Mw * scale)
    raise NotConverged(
        f"the matrix exponential needs a Krylov space of more than {_DIMENSION} dimensions for the "
        f"tolerance {tolerance:.0e}; take a larger one"
    )


def _inverse(norm: Array) -> Array:
    return np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0.0)
