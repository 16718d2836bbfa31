"""Weak-constraint problems that several tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.weak.ends import EndConditions
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import transcription

Array = NDArray[np.float64]

FORCING = 8.17  # true parameter of the twin


class Pendulum:
    """``q' = v, v' = -k sin q``."""

    name, states, parameters = "pendulum", 2, ("k",)

    def value(self, t: Array, x: Array, w: Array) -> Array:
        return np.stack(np.broadcast_arrays(x[..., 1], -w[..., 0] * np.sin(x[..., 0])), axis=-1)

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        q, _, k = np.broadcast_arrays(x[..., 0], x[..., 1], w[..., 0])
        f_x = np.zeros((*q.shape, 2, 2))
        f_x[..., 0, 1], f_x[..., 1, 0] = 1.0, -k * np.cos(q)
        f_w = np.zeros((*q.shape, 2, 1))
        f_w[..., 1, 0] = -np.sin(q)
        return f_x, f_w

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        q, k, r = np.broadcast_arrays(x[..., 0], w[..., 0], p[..., 1])
        f_xx, f_xw = np.zeros((*q.shape, 2, 2)), np.zeros((*q.shape, 2, 1))
        f_xx[..., 0, 0], f_xw[..., 0, 0] = r * k * np.sin(q), -r * np.cos(q)
        return f_xx, f_xw, np.zeros((*q.shape, 1, 1))


class Sine:
    """``x' = sin x``: its Euler-Lagrange flow is the pendulum ``theta'' = sin theta``, ``theta = 2x``."""

    name, states, parameters = "sine", 1, ()

    def value(self, t: Array, x: Array, w: Array) -> Array:
        return np.sin(x)

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        return np.cos(x)[..., None], np.zeros((*x.shape, 0))

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        lead = x.shape[:-1]
        return (-p * np.sin(x))[..., None], np.zeros((*lead, 1, 0)), np.zeros((*lead, 0, 0))


class Linear:
    """``x' = M x + w``, without curvature."""

    name = "linear"

    def __init__(self, matrix: Array) -> None:
        self.matrix, self.states = matrix, len(matrix)
        self.parameters = tuple(f"w_{i}" for i in range(self.states))

    def value(self, t: Array, x: Array, w: Array) -> Array:
        return x @ self.matrix.T + w

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        shape = (*x.shape[:-1], self.states, self.states)
        return np.broadcast_to(self.matrix, shape), np.broadcast_to(np.eye(self.states), shape)

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        zero = np.zeros((*x.shape[:-1], self.states, self.states))
        return zero, zero, zero


def true_path(times: Array, states: int, seed: int = 0) -> Array:
    """Lorenz 96 on its attractor by classical Runge-Kutta with small steps, (M, D)."""
    system, w = Lorenz96(states), np.array([FORCING])
    x = FORCING + np.random.default_rng(seed).standard_normal(states)
    zero = np.zeros(())

    def advance(x: Array, length: float, steps: int) -> Array:
        h = length / steps
        for _ in range(steps):
            a = system.value(zero, x, w)
            b = system.value(zero, x + h / 2 * a, w)
            c = system.value(zero, x + h / 2 * b, w)
            x = x + h / 6 * (a + 2 * b + 2 * c + system.value(zero, x + h * c, w))
        return x

    x = advance(x, 10.0, 2000)
    path = [x]
    for length in np.diff(times):
        path.append(advance(path[-1], length, 20) if length else path[-1])
    return np.array(path)


def twin(
    name: str = "midpoint",
    *,
    states: int = 5,
    cells: int = 12,
    depth: float = 0.6,
    R_f: Any = 100.0,
    seed: int = 0,
    **options: Any,
) -> tuple[WeakProblem, Array, Array]:
    """Lorenz 96, three of five components seen at all cell ends with noise; start path and weights."""
    mesh = np.linspace(0.0, depth, cells + 1)
    random = np.random.default_rng(seed + 1)
    path = true_path(mesh, states)
    y = path[:, :3] + 0.3 * random.standard_normal((cells + 1, 3))
    observations = Observations(mesh, y, [0, 1, 2], precision=1 / 0.3**2)
    problem = WeakProblem(
        Lorenz96(states),
        transcription(name),
        mesh,
        observations,
        R_f,
        options.pop("conditions", EndConditions()),
        **options,
    )
    nodes = problem.defects().nodes
    guess = np.stack([np.interp(nodes, mesh, column) for column in path.T], axis=1)
    guess += 0.3 * random.standard_normal(guess.shape)
    shape = (cells + 1, 1) if problem.varying else 1
    return problem, guess, np.full(shape, 7.5)
