"""States of samples through the layers of a one-stage scheme, with stages and defects.

With ``X_i = (1 - beta) x_i + beta x_{i+1}`` the defect of a cell, its model error, is

    xi_i = (x_{i+1} - x_i)/h_i + a X_i - sigma(W_i X_i + b_i).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.network import Network
from fem_deepest.spaces import Parameters

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Path:
    """States of this rank's samples with what the derivatives need.

    Attributes:
        parameters: Parameters, the same on all ranks.
        theta: Stage matrices ``[W_h | b]``, (n, N, N + 1).
        nodes: States at the nodes, (n + 1, K, N).
        full: ``[X, 1]``, (n, K, N + 1).
        value: ``sigma``, (n, K, N).
        defect: ``xi``, (n, K, N).
        initial: ``x_0 - lift(z)``, (K, N); zero where the input is clamped.
    """

    parameters: Parameters
    theta: Array
    nodes: Array
    full: Array
    value: Array
    defect: Array
    initial: Array


class OneStage:
    """Stages, rates and defects of a network with a one-stage scheme. Nothing here is collective.

    Args:
        network: The network.

    Attributes:
        beta: Where the stage is: 0 for euler, 1/2 for midpoint.

    Raises:
        InputError: The scheme has several stages, or the coupling is not dense.
    """

    def __init__(self, network: Network) -> None:
        require_dense(network, "states as unknowns")
        if network.scheme.stages != 1:
            raise InputError(
                f"states as unknowns got the scheme '{network.scheme.name}', expected a scheme of one "
                "stage: take euler or midpoint"
            )
        self.network, self.beta = network, network.scheme.a[0][0]

    def path(self, parameters: Parameters, nodes: Array, start: Array) -> Path:
        """Path with the states ``nodes`` (n + 1, K, N) and the lifted inputs ``start`` (K, N)."""
        theta = self.network.stage_parameters(parameters.theta)[:, 0]
        full = self.stage(nodes, 1.0)
        value = full @ theta.transpose(0, 2, 1)
        self.network.activation.value(value, value)
        defect = self.rates(nodes, full) - value
        return Path(parameters, theta, nodes, full, value, defect, nodes[0] - start)

    def slope(self, path: Path) -> Array:
        """``sigma'``, (n, K, N)."""
        slope = np.empty_like(path.value)
        self.network.activation.first(path.value, slope)
        return slope

    def stage(self, nodes: Array, one: float) -> Array:
        """``[X, one]`` (n, K, N + 1) of node values (n + 1, K, N)."""
        full = np.empty((nodes.shape[0] - 1, nodes.shape[1], nodes.shape[2] + 1))
        full[..., -1] = one
        if self.beta:
            full[..., :-1] = (1.0 - self.beta) * nodes[:-1] + self.beta * nodes[1:]
        else:
            full[..., :-1] = nodes[:-1]
        return full

    def rates(self, nodes: Array, full: Array) -> Array:
        """``x' + a X`` on the cells, (n, K, N)."""
        rates = (nodes[1:] - nodes[:-1]) / self.network.depth.steps[:, None, None]
        if self.network.leak:
            rates += self.network.leak * full[..., :-1]
        return rates

    def scattered(self, p: Array, wv: Array) -> Array:
        """Derivative in the nodes, (n + 1, K, N), from ``p`` and ``W^T (sigma' p)`` on the cells."""
        at_stage = self.network.leak * p - wv if self.network.leak else -wv
        rate = p / self.network.depth.steps[:, None, None]
        dx = np.zeros((p.shape[0] + 1, *p.shape[1:]))
        dx[1:] = rate + self.beta * at_stage
        dx[:-1] += (1.0 - self.beta) * at_stage - rate
        return dx


def require_dense(network: Network, what: str) -> None:
    """Refuse a coupling that is not a matrix ``[W_h | b]`` for each layer.

    Raises:
        InputError: It is another one.
    """
    if not isinstance(network.coupling, Dense):
        raise InputError(
            f"{what} got the coupling '{type(network.coupling).__name__}', expected a dense one, whose "
            "products with many states are assembled; take network.coupling = 'dense', or train in the "
            "forcing form"
        )
