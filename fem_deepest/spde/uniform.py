r"""The stochastic heat equation on a uniform P1 mesh of ``(0,1)``: matrices in closed form.

What :class:`ModalHeat` is for sums over modes, this is for the recursions of
:mod:`fem_deepest.spde.lyapunov`: the same laws, for pairs of meshes and steps that share one noise.
Arrays are dense. Nothing here is collective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spde.lyapunov import LinearEquation
from fem_deepest.spde.modal import ModalHeat

Array = NDArray[np.float64]


def equation(heat: ModalHeat, cells: int) -> LinearEquation:
    """``M``, ``A`` and ``Q`` of the inner nodes, (N - 1, N - 1).

    ``Q_ij = sum_m q_m (phi_i, e_m)(phi_j, e_m)`` with ``(phi_i, e_m) = h sinc^2(m h / 2) e_m(x_i)``, the
    Fourier transform of a hat function; it is ``M`` for white noise.

    Args:
        heat: The equation; noise that is not white has finitely many modes.
        cells: ``N``, 2 or more.

    Raises:
        InputError: The noise is neither white nor of finitely many modes.
    """
    h, inner = 1.0 / cells, cells - 1
    beside = np.eye(inner, k=1) + np.eye(inner, k=-1)
    M = h / 6.0 * (4.0 * np.eye(inner) + beside)
    A = heat.nu / h * (2.0 * np.eye(inner) - beside) + heat.c * M
    if heat.modes is None:
        if heat.a != 0.0:
            raise InputError(
                f"noise with a = {heat.a} has infinitely many modes; give their number"
            )
        return LinearEquation(M, A, M.copy())
    m = np.arange(1, heat.modes + 1, dtype=np.float64)
    x = h * np.arange(1, cells)[:, np.newaxis]
    tested = h * np.sinc(0.5 * m * h) ** 2 * np.sqrt(2.0) * np.sin(np.pi * m * x)
    return LinearEquation(M, A, (tested * heat.q(m)) @ tested.T)


def prolongation(coarse: int, fine: int) -> Array:
    """Coefficients on ``coarse`` cells to those on ``fine`` ones, (N_f - 1, N_c - 1).

    Raises:
        InputError: The meshes are not nested.
    """
    if fine % coarse:
        raise InputError(f"meshes of {coarse} and {fine} cells are not nested; take a multiple")
    x = np.arange(1, fine)[:, np.newaxis] * (coarse / fine)
    return np.maximum(0.0, 1.0 - np.abs(x - np.arange(1, coarse)))
