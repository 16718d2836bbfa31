"""Sweeps through one slab of the depth, and its linearisation: what multiple shooting shoots with.

A slab takes the states at its left end, the weights at its nodes and its forcing to the states at its
right end, ``x_right = Phi(x_left, w, xi)``. It is a network of its own on the cells between its ends. It
keeps the stages of all its samples where it was linearised, so that a product is one tangent sweep and
one adjoint sweep, and no forward sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fem_deepest.network.network import Network
from fem_deepest.spaces import DepthMesh

Array = NDArray[np.float64]


def between(network: Network, nodes: Sequence[int]) -> Network:
    """The same network on some of its depth nodes, which become a depth mesh of their own.

    Args:
        network: The network.
        nodes: Numbers of the nodes, increasing.
    """
    depth = network.depth.nodes[np.asarray(nodes)]
    return replace(network, depth=DepthMesh(depth - depth[0]))


class Slab:
    """The cells ``cells`` of a network, with ``width`` samples.

    Args:
        network: The whole network.
        cells: Cells of the slab, contiguous.
        width: Samples ``K`` of this rank.

    Attributes:
        cells: The same cells.
        width: ``K``.
        network: The network between the ends, with ``m`` cells.

    States, costates and their directions are (N, K), weights (m + 1, rows, columns), forcings (m, N, K)
    or none. Nothing here is collective.
    """

    def __init__(self, network: Network, cells: range, width: int) -> None:
        self.cells, self.width = cells, width
        self.network = between(network, range(cells.start, cells.stop + 1))
        self._second = self.network.variation(width)
        self._flow = self._second.flow
        shape = (len(cells), len(network.scheme.abscissae), *network.coupling.shape)
        self._stages: Array = np.zeros(shape)
        self._direction: Array = np.zeros(shape)
        self._sums = np.empty(shape)
        self._kappa = np.empty_like(self._second.costates)

    def forward(self, theta: Array, x: Array, xi: Array | None) -> Array:
        """``Phi(x, w, xi)``; the point of all the other sweeps.

        Raises:
            NumericalFailure: An implicit stage did not converge.
        """
        self._stages = self.network.stage_parameters(theta)
        end = x.copy()
        self._flow.forward(self._stages, end, xi)
        return end

    def adjoint(self, costate: Array, weights: Array, xi: Array | None) -> Array:
        """``Phi_x^T lambda``; adds ``sum_k Phi_w^T lambda_k``, and writes ``Phi_xi^T lambda``.

        The costates are those that an exact :meth:`second_adjoint` is taken at.
        """
        start = costate.copy()
        self._flow.adjoint(self._stages, start, self._sums, xi, self._second.costates, fresh=True)
        self._add(weights)
        return start

    def tangent(self, d_theta: Array | None, dx: Array, d_xi: Array | None) -> Array:
        """``Phi_x dx + Phi_w dw + Phi_xi dxi``, the weights kept as they are without a direction."""
        if d_theta is None:
            self._direction = np.zeros_like(self._stages)
        else:
            self._direction = self.network.stage_parameters(d_theta)
        end = dx.copy()
        self._second.tangent(self._stages, self._direction, end, d_xi)
        return end

    def second_adjoint(
        self, d_costate: Array, weights: Array, xi: Array | None, exact: bool
    ) -> Array:
        """:meth:`adjoint` of ``d_costate`` and, if ``exact``, its derivative along the last tangent."""
        start = d_costate.copy()
        self._sums[...] = 0.0
        self._second.second_adjoint(self._stages, self._direction, start, self._sums, xi, exact)
        self._add(weights)
        return start

    def sensitivity(self, costate: Array) -> tuple[Array, Array]:
        """``Phi_x^T lambda`` and the duals ``kappa`` of the slopes at the stages, (m, s, N, K).

        Sample by sample, where :meth:`adjoint` sums: the sum of ``kappa`` over the stages is
        ``Phi_xi^T lambda``, and ``sigma' kappa [X; 1]^T`` is what a stage adds to ``Phi_w^T lambda``.
        """
        start = costate.copy()
        self._flow.adjoint(self._stages, start, costates=self._kappa)
        return start, self._kappa

    def stages(self) -> tuple[Array, Array]:
        """``[X; 1]`` (m, s, N + 1, K) and ``sigma'`` (m, s, N, K) at the stages."""
        slope = np.empty_like(self._flow.value)
        self.network.activation.first(self._flow.value, slope)
        return self._flow.full, slope

    def derivative(self, cell: int) -> tuple[Array, Array]:
        """Weights and ``sigma'`` at the stage of a cell that is nearest to its middle.

        ``F_x = sigma' B_x - a`` there.
        """
        scheme = self.network.scheme
        stage = int(np.argmin(np.abs(np.subtract(scheme.c, 0.5))))
        slope = np.empty_like(self._flow.value[cell, stage])
        self.network.activation.first(self._flow.value[cell, stage], slope)
        return self._stages[cell, scheme.slot[stage]], slope

    def _add(self, weights: Array) -> None:
        part = np.empty_like(weights)
        self.network.stage_parameters_transposed(self._sums, part)
        weights += part
