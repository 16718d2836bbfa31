"""Annealed gradient flow: descent in the metric of an action, with noise that is cooled.

    du = -C grad A(u) dtau + sqrt(2 theta(tau)) C^{1/2} dW,      C = P^{-1},

by a theta-scheme of implicitness ``vartheta`` for the prior part, see :mod:`fem_deepest.annealed.move`.
``vartheta = 1/2`` leaves ``exp(-A/theta)`` exactly invariant at every step size where ``A`` is quadratic
with ``A'' = P``. A move ``u'`` is accepted

* ``always``: the flow is the discretised equation;
* ``metropolis``: so that ``exp(-A/theta)`` is invariant at every step size for any action; the ratio is
  that of the Langevin proposals of :mod:`fem_deepest.sample.langevin`, divided by the temperature;
* ``contour``: with probability ``min(1, exp(-(A(u') - A(u))/theta))``, the rule of stochastic active
  contours: what lowers the action is accepted, the density of the proposal is not corrected for. O.
  Juan, R. Keriven, G. Postelnicu, Int. J. Comput. Vis. 69 (2006) 7-25, doi:10.1007/s11263-006-6849-5.

A move to where the action is not finite is refused by all of them. The noise of column ``s`` in step
``n`` is a function of the seed, ``numbers[s]`` and ``n`` alone, so a flow that was interrupted goes on bit
for bit.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.landscape import Landscape, Minibatched, Numbers
from fem_deepest.annealed.move import ByMass, ByPrior, Noise
from fem_deepest.annealed.schedule import Schedule
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.noise.philox import log_uniforms
from fem_deepest.sample.langevin import log_ratio

Array = NDArray[np.float64]
Accept = Literal["always", "metropolis", "contour"]
NOISES: dict[str, type[ByPrior] | type[ByMass]] = {"prior": ByPrior, "white": ByMass}

_MOVES, _DECISIONS = range(2)  # streams of the generator


class Best(NamedTuple):
    """The lowest iterate so far of each column.

    Attributes:
        values: Its action, (S,).
        U: The iterate, (n, S).
    """

    values: Array
    U: Array


class FlowState(NamedTuple):
    """All that a flow needs to go on bit for bit; only arrays and a number.

    Attributes:
        iteration: Number of the next step, which names its noise.
        U: Where it is, (n, S).
        memory: What the schedule remembers, (p, S).
        best_values: Lowest action so far, (S,).
        best_U: Where that was, (n, S).
        gradients: Gradients so far, (S,).
    """

    iteration: int
    U: Array
    memory: Array
    best_values: Array
    best_U: Array
    gradients: Array


class AnnealedFlow:
    """Columns that flow side by side, each with its own noise.

    Args:
        landscape: The action on blocks.
        schedule: Temperatures.
        step: ``k``.
        implicitness: ``vartheta``; 1/2 if you do not know better.
        accept: Rule of acceptance, see the module.
        noise: "prior" for the covariance ``C``; "white" for none, ``N = M``, in one dimension only.
        numbers: Numbers of the columns, (S,): they name the noise.
        seed: Seed.
        U0: Where the columns start, (n, S), or a state to go on from.
        look: With minibatches the action of all data is taken once in so many steps, to keep the
            best iterate by.

    Attributes:
        U: Where the columns are, (n, S).
        values: ``A``, (S,); with minibatches of the last minibatch.
        best: Lowest iterates so far.
        gradients: Gradients of each column so far in units of a full one, (S,); looks are not among them.
        iteration: Number of the next step.
        memory: What the schedule remembers.
        acceptance: Acceptance probabilities of the last step, (S,).

    Raises:
        InputError: A number, a rule or a shape is wrong, or white noise is ill-posed.
        NumericalFailure: The action of a start is not finite.

    Collective: construction and every method.
    """

    def __init__(
        self,
        landscape: Landscape,
        schedule: Schedule,
        *,
        step: float,
        U0: Array | FlowState,
        implicitness: float = 0.5,
        accept: Accept = "always",
        noise: Literal["prior", "white"] = "prior",
        numbers: Numbers = (0,),
        seed: int = 0,
        look: int = 1,
    ) -> None:
        self.numbers = np.asarray(numbers, dtype=np.int64)
        self.landscape, self.schedule, self.seed = landscape, schedule, seed
        self.step, self.implicitness, self.accept, self.look = step, implicitness, accept, look
        self._batches = isinstance(landscape, Minibatched)
        self._cost = landscape.fraction if isinstance(landscape, Minibatched) else 1.0
        self._check(noise)
        self._noise: Noise = NOISES[noise](landscape, implicitness)
        if isinstance(U0, FlowState):
            self.iteration, self.U, self.memory = U0.iteration, U0.U, U0.memory
            self.gradients = U0.gradients.copy()
            self.best = Best(U0.best_values, U0.best_U)
        else:
            self.iteration, self.U = 0, np.array(U0, dtype=np.float64)
            self.memory = schedule.start(self.numbers.size)
            self.gradients = np.full(self.numbers.size, self._cost)
        shape = (landscape.rows, self.numbers.size)
        if self.U.shape != shape:
            raise InputError(
                f"a flow starts at a block of shape {self.U.shape}, expected {shape}: a row for each "
                "unknown of this rank, a column for each number"
            )
        self.values, self._G = landscape.gradient(self.U, self.iteration)
        if not isinstance(U0, FlowState):
            values = self._full(self.U, self.values)
            self.best = Best(values.copy(), self.U.copy())
            if not np.isfinite(values).all():
                raise NumericalFailure(
                    f"the action of column {int(np.argmin(np.isfinite(values)))} is not finite where the "
                    "flow starts"
                )
        self._riesz = self._noise.riesz(self._G)
        self.acceptance: Array = np.ones(self.numbers.size)

    @property
    def temperature(self) -> Array:
        """``theta`` of the next step, (S,)."""
        return self.schedule.temperature(self.iteration, self.memory)

    @property
    def state(self) -> FlowState:
        """What is needed to go on from here; give it as ``U0``."""
        return FlowState(self.iteration, self.U, self.memory, *self.best, self.gradients.copy())

    def advance(self, step: float | None = None) -> None:
        """One step of length ``k``.

        Args:
            step: Another length for this step.
        """
        k = self.step if step is None else step
        theta, number = self.temperature, self.iteration
        b = self._noise.draw(self.seed, number, self.numbers, _MOVES)
        d = self._noise.move(self._G, self._riesz, b, k, np.sqrt(2.0 * k * theta))
        U = self.U + d
        values, G = self.landscape.gradient(U, number + 1)
        self.gradients += self._cost
        riesz = self._noise.riesz(G)
        if self.accept == "always":
            ratio = np.where(np.isfinite(values), 0.0, -np.inf)
            take = ratio == 0.0
        else:
            ratio = self._log_ratio(k, d, values, G, riesz) / theta
            ratio = np.where(np.isfinite(values) & ~np.isnan(ratio), ratio, -np.inf)
            take = log_uniforms(self.seed, number, _DECISIONS, self.numbers) < ratio
        if take.all():
            self.U, self.values, self._G, self._riesz = U, values, G, riesz
        elif self._batches:  # also where it stays it has to see the next minibatch
            self.U = np.where(take, U, self.U)
            self.gradients += np.where(take, 0.0, self._cost)
            self.values, self._G = self.landscape.gradient(self.U, number + 1)
            self._riesz = self._noise.riesz(self._G)
        elif take.any():
            self.U, self.values = np.where(take, U, self.U), np.where(take, values, self.values)
            self._G, self._riesz = np.where(take, G, self._G), np.where(take, riesz, self._riesz)
        self.acceptance = np.exp(np.minimum(ratio, 0.0))
        self.memory = self.schedule.remember(self.memory, self.acceptance)
        self.iteration += 1
        if not self._batches or self.iteration % self.look == 0:
            self._keep()

    def _log_ratio(self, k: float, d: Array, values: Array, G: Array, riesz: Array) -> Array:
        """At the temperature one; the symmetric terms of the prior cancel in ``A`` and its gradient."""
        drop = self.values - values
        if self.accept == "contour":
            return drop
        bend = self._G - G + 2.0 * self.implicitness * self.landscape.apply(d)
        return log_ratio(k, drop, d, self._G + G, bend, self._riesz + riesz, self.landscape.inner)

    def _full(self, U: Array, values: Array) -> Array:
        return self.landscape.value(U) if self._batches else values

    def _keep(self) -> None:
        """Keep the best iterates."""
        values = self._full(self.U, self.values)
        lower = values < self.best.values
        if lower.any():
            self.best = Best(
                np.where(lower, values, self.best.values), np.where(lower, self.U, self.best.U)
            )

    def _check(self, noise: str) -> None:
        if noise not in NOISES:
            raise InputError(f"there is no noise '{noise}', expected one of {', '.join(NOISES)}")
        if self.accept not in get_args(Accept):
            raise InputError(
                f"there is no rule of acceptance '{self.accept}', expected one of "
                f"{', '.join(get_args(Accept))}"
            )
        if self._batches and self.accept != "always":
            raise InputError(
                f"the rule '{self.accept}' compares actions, but those of minibatches are not comparable; "
                "accept always, or take all of the data"
            )
        if not 0.0 < self.step < np.inf:
            raise InputError(f"the step of the flow is {self.step}, expected a positive number")
        if not 0.0 <= self.implicitness <= 1.0:
            raise InputError(
                f"the implicitness is {self.implicitness}, expected a number from 0 to 1; take 1/2"
            )
        if self.look < 1:
            raise InputError(f"a flow looks once in {self.look} steps, expected 1 or more")
