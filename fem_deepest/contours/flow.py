r"""Stochastic active contours: descent of an energy, shaken along the normal, with simulated annealing.

    du = nu ( Laplace u + (u - u^3)/eps^2 ) dt + G(u) ( F(u) dt + o dW ),

see :mod:`fem_deepest.contours.energy` and :mod:`fem_deepest.contours.noise`. A step is

    u -> relax, heat, relax  (curvature, over nu dt)  -> shift by F dt + dW,

each part solved exactly, so that ``|u| <= 1`` whatever the step is. The shift is the flow of the
Stratonovich equation, so no correction has to be added. To see what the correction does, the equation of
Ito without it can be had: a step then relaxes over the time ``q dt/2`` too.

A step is a proposal, which is accepted with the probability ``min(1, exp(-(E(u') - E(u))/theta))``: what
lowers the energy is always accepted (O. Juan, R. Keriven, G. Postelnicu, Stochastic motion and the level
set method in computer vision: stochastic active contours, Int. J. Comput. Vis. 69 (2006) 7-25,
doi:10.1007/s11263-006-6849-5; A. Lang 2007). ``theta`` decreases. One step costs one evaluation of the
energy: the force is a by-product.

The noise of sample ``s`` in step ``n`` is a function of the seed, ``s`` and ``n`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.flow import Best, FlowState
from fem_deepest.annealed.schedule import Schedule
from fem_deepest.contours.energy import ContourEnergy, Evaluation
from fem_deepest.contours.noise import check_noise
from fem_deepest.contours.profile import relax
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.noise.philox import log_uniforms
from fem_deepest.spde.density import variance_density

Array = NDArray[np.float64]

_DECISIONS = 2**30  # stream of the acceptance


def good_step(energy: ContourEnergy) -> float:
    """A step over which the profile relaxes by about one half, ``eps^2 / (2 nu)``. Not collective."""
    return 0.5 * energy.field.eps**2 / energy.nu


class ContourFlow:
    """Contours that flow side by side, each with its own noise.

    Args:
        energy: Energy of contours.
        U0: Contours to start from, (owned, S), or a state to go on from.
        dt: Length of a step.
        noise: Wiener process on the space of the phase field, or None for the descent alone.
        schedule: Temperatures of the acceptance, or None to accept always.
        samples: Numbers of the samples: they name the noise.
        seed: Seed of the decisions; the noise has its own.
        cooled: Multiply the noise by ``sqrt(theta / theta_0)``, as in the annealed gradient flow; else it
            stays as strong as it is, and cold contours refuse nearly all of it.
        interpretation: "stratonovich"; or "ito", the wrong equation, without the correction.

    Attributes:
        U: The contours, (owned, S).
        step: Steps done; each has cost one evaluation.
        energies: ``E``, (S,).
        best: Lowest iterates so far: ``values``, (S,), and ``U``, (owned, S).
        acceptance: Acceptance probabilities of the last step, (S,).
        accepted: Which samples took the last step, (S,).

    Raises:
        InputError: ``dt`` is not positive, a shape is wrong, or the noise is too rough.
        NumericalFailure: The energy at the start is not finite.

    Collective on the mesh: construction and every method.
    """

    def __init__(
        self,
        energy: ContourEnergy,
        U0: Array | FlowState,
        *,
        dt: float,
        noise: Any = None,
        schedule: Schedule | None = None,
        samples: Sequence[int] = (0,),
        seed: int = 0,
        cooled: bool = False,
        interpretation: Literal["stratonovich", "ito"] = "stratonovich",
    ) -> None:
        if not 0.0 < dt < np.inf:
            raise InputError(f"dt = {dt:g} was given, expected a positive length of step")
        if interpretation == "ito" and schedule is not None:
            raise InputError(
                "a schedule was given with interpretation='ito', which is there to show the law of the "
                "wrong equation; leave out one of the two"
            )
        if noise is not None:
            check_noise(noise)
        self.energy, self.dt, self.noise, self.schedule = energy, dt, noise, schedule
        self.samples, self._seed, self._cooled = tuple(samples), seed, cooled
        self._keys = np.asarray(self.samples, dtype=np.int64)
        start = schedule.start(len(self.samples)) if schedule else np.empty((0, len(self.samples)))
        block = U0.U if isinstance(U0, FlowState) else U0
        shape = (energy.field.blocks.owned, len(self.samples))
        if block.shape != shape:
            raise InputError(
                f"contours of shape {block.shape} were given, expected {shape}: one row for each node of "
                "this rank, one column for each sample"
            )
        self._now = energy.evaluate(block)
        self._check(self._now.value)
        if isinstance(U0, FlowState):
            self.step, self.U, self.memory = U0.iteration, U0.U, U0.memory
            self.best = Best(U0.best_values, U0.best_U)
        else:
            self.step, self.U, self.memory = 0, U0, start
            self.best = Best(self._now.value.copy(), U0)
        self.accepted: NDArray[np.bool_] = np.ones(len(self.samples), dtype=bool)
        self.acceptance: Array = np.ones(len(self.samples))
        self._missing: Array | None = None
        if interpretation == "ito" and noise is not None:
            q = variance_density(noise, noise.quadrature, discrete=False, why="Ito's equation")
            load = noise.quadrature.integrate(q) / energy.field.masses
            self._missing = 0.5 * dt * load

    @property
    def energies(self) -> Array:
        """``E`` of the contours, (S,)."""
        return self._now.value

    @property
    def evaluations(self) -> Array:
        """Evaluations of the energy so far, (S,)."""
        return np.full(len(self.samples), self.step + 1.0)

    @property
    def temperature(self) -> Array:
        """``theta`` of the next step, (S,); infinite if everything is accepted."""
        if self.schedule is None:
            return np.full(len(self.samples), np.inf)
        return self.schedule.temperature(self.step, self.memory)

    @property
    def state(self) -> FlowState:
        """What is needed to go on from here; give it as ``U0``."""
        return FlowState(self.step, self.U, self.memory, *self.best, self.evaluations)

    def advance(self, steps: int = 1) -> None:
        """Take steps.

        Raises:
            NumericalFailure: An energy is not finite; the state is that before it.
        """
        for _ in range(steps):
            U = self._propose()
            new = self.energy.evaluate(U)
            self._check(new.value)
            drop = self._now.value - new.value
            if self.schedule is None:
                self.accepted = np.ones(drop.size, dtype=bool)
            else:
                ratio = drop / self.temperature
                log_u = log_uniforms(self._seed, self.step, _DECISIONS, self._keys)
                self.accepted = log_u < ratio
                self.acceptance = np.exp(np.minimum(ratio, 0.0))
                self.memory = self.schedule.remember(self.memory, self.acceptance)
            take = self.accepted
            self.U = np.where(take, U, self.U)
            self._now = Evaluation(
                np.where(take, new.value, self._now.value),
                np.where(take, new.force, self._now.force),
            )
            lower = self._now.value < self.best.values
            if lower.any():
                values = np.where(lower, self._now.value, self.best.values)
                self.best = Best(values, np.where(lower, self.U, self.best.U))
            self.step += 1

    def _propose(self) -> Array:
        field = self.energy.field
        U = field.straighten(self.U, self.energy.nu * self.dt)
        s = self.dt * self._now.force
        if self.noise is not None:
            s = s + self._scale * self.noise.increment(self.step, self.dt, self.samples).field
        U = field.shift(U, s)
        return U if self._missing is None else relax(U, self._missing, field.eps)

    @property
    def _scale(self) -> Array | float:
        """Of the noise in the next step."""
        if not self._cooled or self.schedule is None:
            return 1.0
        first = self.schedule.temperature(0, self.schedule.start(len(self.samples)))
        return np.sqrt(self.temperature / first)

    @staticmethod
    def _check(values: Array) -> None:
        if not np.isfinite(values).all():
            raise NumericalFailure(
                f"the energy of contour {int(np.argmin(np.isfinite(values)))} is not finite"
            )
