"""Operators on grids of P1 and Q1 by hand, in the order of the nodes of a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def differences(n: int, length: float = 1.0) -> tuple[Array, Array, Array]:
    """Central difference, second difference with ``du/dn = 0``, and mass over lumped mass, on a line."""
    h = length / (n - 1)
    grad, laplace, mass = (np.zeros((n, n)) for _ in range(3))
    for i in range(n):
        left, right = max(i - 1, 0), min(i + 1, n - 1)
        grad[i, right] += 1 / ((right - left) * h)
        grad[i, left] -= 1 / ((right - left) * h)
        for j in (i - 1, i + 1):
            if 0 <= j < n:
                weight = 1.0 if 0 < i < n - 1 else 2.0
                laplace[i, j] += weight / h**2
                laplace[i, i] -= weight / h**2
                mass[i, j] += weight / 6
        mass[i, i] = 4 / 6
    return grad, laplace, mass


def plane(shape: tuple[int, int], lengths: tuple[float, float]) -> dict[str, list[Array]]:
    """Operators of Q1 on a rectangle as products of those on lines, nodes row by row from the top."""
    (gy, ly, my), (gx, lx, mx) = (differences(n, s) for n, s in zip(shape, lengths, strict=True))
    gy, ly, my = (a[::-1, ::-1] for a in (gy, ly, my))  # rows are counted downwards, y upwards
    return {
        "1": [np.eye(shape[0] * shape[1])],
        "grad": [np.kron(my, gx), np.kron(gy, mx)],
        "laplace": [np.kron(my, lx) + np.kron(ly, mx)],
    }
