"""What all kernels share: the state of a block of chains, and one Metropolis-Hastings step."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class State(NamedTuple):
    """Chains side by side.

    Attributes:
        v: ``u - m``, (n, S).
        potential: ``Phi``, (S,).
        gradient: ``dPhi/du``, (n, S), or none for a kernel that does not look at it.
    """

    v: Array
    potential: Array
    gradient: Array | None = None


class Kernel(Protocol):
    """A Markov kernel that leaves ``exp(-A)`` invariant.

    Attributes:
        acceptance: Acceptance that its step is tuned to.
        step: Step size, the same for all columns.
    """

    acceptance: ClassVar[float]
    step: float

    @property
    def most(self) -> float:
        """Largest step."""

    @property
    def gradients(self) -> int:
        """Gradients of ``Phi`` in one iteration."""

    def start(self, v: Array) -> State:
        """The state at a block."""

    def propose(self, state: State, z: Array) -> tuple[State, Array]:
        """Proposals and the logarithms of the Metropolis-Hastings ratios, (S,).

        Args:
            state: Where the chains are.
            z: Standard normals, (n, S).
        """


def metropolis(state: State, proposal: State, log_ratio: Array, log_uniform: Array) -> State:
    """Take each proposal with probability ``min(1, exp(log_ratio))``; what is not a number is refused."""
    take = log_uniform < log_ratio
    potential = np.where(take, proposal.potential, state.potential)
    gradient = None
    if proposal.gradient is not None and state.gradient is not None:
        gradient = np.where(take, proposal.gradient, state.gradient)
    return State(np.where(take, proposal.v, state.v), potential, gradient)
