"""Convolution: ``z_c(s) = sum_c' int_S w_{c,c'}(t, s - s') x_c'(s') ds' + b_c(t)``.

The kernel is a function of the offset ``s - s'`` on ``[-reach, reach]`` in every direction, P1 on the grid
of the index, with an H1 prior of its own along the offset; states are zero outside of the index. The
integral is a sum over the nodes with their masses. On a grid of pixels this is what convolutional
networks call a kernel of ``2 reach/h + 1`` with padding.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.errors import InputError
from fem_deepest.network.coupling.operators import OperatorCoupling
from fem_deepest.network.coupling.spectral import SpectralConvolution
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.neurons import NeuronSpace

Array = NDArray[np.float64]

_SLACK = 1e-9  # of the distance of nodes: a reach of so little less than a node still has it
_MANY, _WIDE = 512, 56  # neurons and offsets from which on Fourier transforms are faster


class Offsets:
    """The offsets ``s - s'`` of a grid of nodes up to ``reach``, as a P1 space.

    Args:
        index: Neuron index, an interval or a rectangle.
        reach: Greatest offset in every direction.

    Attributes:
        grid: Nodes of the index down and across, or along the line.
        steps: Offsets in nodes, (offsets, directions), in the order of the nodes of ``space``.
        space: P1 on the box of the offsets.

    Raises:
        InputError: The index is not such a grid, or ``reach`` is less than the distance of two nodes.
    """

    def __init__(self, index: NeuronSpace, reach: float) -> None:
        if index.grid is None:
            raise InputError(
                f"a convolution needs a uniform grid of neurons, got an index of kind '{index.kind}'; "
                "take network.index = 'interval' or 'rectangle'"
            )
        self.grid, x = index.grid, index.coordinates
        distance = [
            float(np.ptp(x[:, k])) / max(n - 1, 1) for k, n in enumerate(reversed(self.grid))
        ][::-1]
        most = [int(reach / h + _SLACK) if h else 0 for h in distance]
        if not all(most):
            raise InputError(
                f"network.reach = {reach:g} is less than the distance {max(distance):g} of the neurons, "
                "so that a convolution has no neighbours; take a longer reach or more neurons"
            )
        most = [min(m, n - 1) for m, n in zip(most, self.grid, strict=True)]
        counts = [2 * m + 1 for m in most]
        sides = [2 * m * h for m, h in zip(most, distance, strict=True)]
        self.steps = np.array(list(itertools.product(*(range(-m, m + 1) for m in most))))
        if len(counts) == 1:
            self.space = NeuronSpace.interval(counts[0], "P1", extent=sides[0])
        else:
            self.space = NeuronSpace.rectangle(counts, "P1", extent=sides)

    @property
    def factor(self) -> Factor:
        """Mass and stiffness of the kernel of one pair of channels."""
        return self.space.factor

    def prolongation(self, finer: Offsets) -> sparse.csr_matrix:
        """Interpolation of a kernel to the offsets of a finer grid, (offsets there, here).

        Where one reaches a little farther than the other, for lack of a node at ``reach``, the kernel
        keeps its last value.
        """
        here, there = self.space.coordinates, finer.space.coordinates
        side = here.max(axis=0)
        places = there - 0.5 * there.max(axis=0) + 0.5 * side
        return self.space.evaluate(np.clip(places, 0.0, side))

    def shift(self, step: NDArray[np.int64]) -> sparse.csr_array:
        """``(S x)_i = x_{i - step}``, zero where that is outside of the grid, (nodes, nodes)."""
        shift = sparse.csr_array(np.ones((1, 1)))
        for n, k in zip(self.grid, step, strict=True):
            one = sparse.diags_array([np.ones(n - abs(k))], offsets=[-k], shape=(n, n))
            shift = sparse.csr_array(sparse.kron(shift, one, format="csr"))
        return shift


def convolution(index: NeuronSpace, reach: float) -> OperatorCoupling:
    """The coupling whose operators are the shifts by the offsets times the masses.

    Args:
        index: Neuron index, an interval or a rectangle.
        reach: Greatest offset in every direction.

    Raises:
        InputError: See :class:`Offsets`. Not collective.
    """
    offsets = Offsets(index, reach)
    mass = sparse.diags_array(index.node_weights) if index.lumped else index.field.mass
    shifts = [sparse.csr_array(offsets.shift(step) @ mass) for step in offsets.steps]
    options: dict[str, Any] = {
        "uniform": True,
        "kernel": offsets,
        "text": "kernel w(s - s') and bias b",
    }
    if index.lumped and index.neurons >= _MANY and len(shifts) >= _WIDE:
        options |= {"masses": index.node_weights, "steps": offsets.steps, "grid": offsets.grid}
        return SpectralConvolution(shifts, index, **options)
    return OperatorCoupling(shifts, index, **options)
