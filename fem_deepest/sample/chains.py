"""Chains side by side: iterations, and the step size tuned before anything is kept.

The noise of chain ``c`` in iteration ``i`` is a function of the seed, ``c`` and ``i`` alone. A restart
needs the place of the chains, the step size and the number of the iteration, and goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.philox import log_uniforms, normals
from fem_deepest.sample.kernel import Kernel, State, metropolis
from fem_deepest.sample.target import Target

Array = NDArray[np.float64]
Observables = Mapping[str, Callable[[Array], Array]]

_PROPOSALS, _DECISIONS, _STARTS = range(3)  # streams of the generator
_DECAY = 0.6  # of the corrections of the step size, in the number of the iteration


class Chains:
    """A block of chains under one kernel.

    Args:
        target: The measure.
        kernel: The kernel; its step size is changed by :meth:`tune` only.
        numbers: Numbers of the chains, (S,): they name the noise.
        seed: Seed.
        v: Where they start, ``u - m``, (n, S); independent draws of the prior if None.

    Attributes:
        state: Where they are.
        iteration: Number of the next iteration.
        gradients: Gradients so far, of each chain.
        accepted: Mean acceptance probability in the last :meth:`draw`, (S,).

    Raises:
        InputError: ``v`` has another shape.
    """

    def __init__(
        self,
        target: Target,
        kernel: Kernel,
        numbers: Sequence[int] | NDArray[np.integer],
        seed: int = 0,
        v: Array | None = None,
    ) -> None:
        self.target, self.kernel, self.seed = target, kernel, seed
        self.numbers = np.asarray(numbers, dtype=np.int64)
        self._keys = np.arange(target.prior.size, dtype=np.uint64)
        shape = (target.prior.size, self.numbers.size)
        if v is None:
            v = target.prior.precision.inverse_root(self._normals(0, _STARTS))
        if v.shape != shape:
            raise InputError(f"chains start at a block of shape {v.shape}, expected {shape}")
        self.iteration = self.gradients = 0
        self.accepted: Array = np.full(self.numbers.size, np.nan)
        self.state: State = kernel.start(v)

    def use(self, kernel: Kernel) -> None:
        """Go on with another kernel."""
        self.kernel, self.state = kernel, kernel.start(self.state.v)

    def advance(self) -> Array:
        """One iteration; acceptance probabilities, (S,)."""
        z = self._normals(self.iteration, _PROPOSALS)
        with np.errstate(over="ignore", invalid="ignore"):  # a wild proposal is refused
            proposal, log_ratio = self.kernel.propose(self.state, z)
        log_uniform = log_uniforms(self.seed, self.iteration, _DECISIONS, self.numbers)
        log_ratio = np.where(np.isnan(log_ratio), -np.inf, log_ratio)
        self.state = metropolis(self.state, proposal, log_ratio, log_uniform)
        self.iteration += 1
        self.gradients += self.kernel.gradients
        return np.exp(np.minimum(log_ratio, 0.0))

    def tune(self, iterations: int, acceptance: float | None = None) -> None:
        """Bring the mean acceptance to a target, then freeze the step size.

        Robbins and Monro (1951), doi:10.1214/aoms/1177729586, in the logarithm of the step, averaged
        over the second half (Polyak). The chains of a block share one step.

        Args:
            iterations: Iterations; these must not be kept.
            acceptance: Target; that of the kernel if None.
        """
        goal = self.kernel.acceptance if acceptance is None else acceptance
        log_step, tail = float(np.log(self.kernel.step)), list[float]()
        for i in range(iterations):
            error = float(self.advance().mean()) - goal
            log_step = min(log_step + 2.0 * error / (1 + i) ** _DECAY, np.log(self.kernel.most))
            self.kernel.step = float(np.exp(log_step))
            if 2 * i >= iterations:
                tail.append(log_step)
        if tail:
            self.kernel.step = float(np.exp(np.mean(tail)))

    def draw(self, iterations: int, observe: Observables, thin: int = 1) -> dict[str, Array]:
        """Iterate with a frozen step.

        Args:
            iterations: Iterations, a multiple of ``thin``.
            observe: By name, functions of a block ``v`` (n, S) that give (S,) or (d, S).
            thin: Keep one of so many.

        Returns:
            By name, (S, draws) or (S, draws, d).

        Raises:
            InputError: Nothing would be kept, or the last iterations not.
        """
        if thin < 1 or iterations < thin or iterations % thin:
            raise InputError(
                f"{iterations} iterations with one of {thin} kept; give a positive multiple of thin"
            )
        kept: dict[str, list[Any]] = {name: [] for name in observe}
        self.accepted = np.zeros(self.numbers.size)
        for i in range(1, iterations + 1):
            self.accepted += self.advance()
            if i % thin == 0:
                for name, function in observe.items():
                    kept[name].append(np.array(function(self.state.v)))
        self.accepted /= iterations
        stacked = {name: np.array(rows) for name, rows in kept.items()}
        return {name: np.moveaxis(values, -1, 0) for name, values in stacked.items()}

    def _normals(self, step: int, stream: int) -> Array:
        return normals(self.seed, self._keys, step, stream, self.numbers)
