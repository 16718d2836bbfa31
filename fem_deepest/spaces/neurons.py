"""Neuron index ``S``: a set of ``N`` points, or an interval of ``N`` equal cells (P0)."""

from __future__ import annotations

from dataclasses import dataclass

from fem_deepest.errors import InputError


@dataclass(frozen=True)
class NeuronSpace:
    """Space ``V_S`` with lumped mass ``M_S = mass * identity``.

    On points (counting measure, ``mass = 1``) the effective matrix is the kernel, ``W_h = w``. On
    ``N`` cells of the unit interval (``mass = 1/N``) it is ``W_h = w/N``, the mean-field scaling.
    ``||w||`` in ``L2(S x S)`` is the Frobenius norm of ``W_h`` either way.

    Attributes:
        neurons: ``N``.
        mass: Measure of one cell.
    """

    neurons: int
    mass: float = 1.0

    def __post_init__(self) -> None:
        if self.neurons < 1:
            raise InputError(f"a network needs at least one neuron, got {self.neurons}")

    @classmethod
    def points(cls, neurons: int) -> NeuronSpace:
        """``N`` points with the counting measure."""
        return cls(neurons)

    @classmethod
    def interval(cls, neurons: int) -> NeuronSpace:
        """P0 on ``N`` equal cells of (0, 1)."""
        return cls(neurons, 1.0 / max(neurons, 1))
