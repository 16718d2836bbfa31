"""The schemes as a PETSc time stepper: options, monitors and events of TS for one path of an SPDE.

TS knows no stochastic equations, and its own methods with noise frozen in the right-hand side are
wrong: a rejected step is tried again inside ``TSStep`` with another ``dt`` and the old noise. So this is a
TS of type ``python`` that implements ``step`` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from dolfinx import fem

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.spde.advance import attempt
from fem_deepest.spde.onestep import OneStep, refuse
from fem_deepest.spde.path import NEAR, WienerPath
from fem_deepest.spde.schemes.scheme import Scheme, check_step


class TimeStepper:
    """One path of an SPDE by PETSc's TS.

    ``-ts_dt``, ``-ts_max_time``, ``-ts_max_steps``, ``-ts_max_reject``, ``-ts_monitor`` and the other
    monitors, ``-ts_view`` and events (:meth:`events`) work as for any TS. The path is known on the grid of
    multiples of ``dt``. Where TS asks for another time (an event, a last step that is shorter) or
    a step is rejected, it is refined by Brownian bridges, see :class:`WienerPath`; the grid goes on
    afterwards. There is no error estimate, so ``-ts_adapt_type`` other than ``none`` is refused.

    Args:
        scheme: Time scheme with its problem.
        dt: Length of a step.
        T: Final time; the last step ends there.
        u: The solution; the initial value of the problem is copied into it if None is given.
        step: Number of steps done before: a restart at the time ``step * dt`` from the value of ``u``.
        sample: Number of the sample.
        prefix: Prefix of the options of TS.
        refine: Whether steps may be split.

    Attributes:
        ts: The TS; monitors may be added to it.
        u: The solution at the time reached.
        dt: Step of the grid.

    Raises:
        InputError: A length is not positive, an option asks for what cannot be, or a restart has no state.

    Collective on the mesh: construction and every method.
    """

    def __init__(
        self,
        scheme: Scheme,
        dt: float,
        T: float,
        *,
        u: fem.Function | None = None,
        step: int = 0,
        sample: int = 0,
        prefix: str = "",
        refine: bool = True,
    ) -> None:
        check_step(dt)
        problem = scheme.problem
        if step and u is None:
            raise InputError(f"a restart at step {step} needs the state there; give it as u")
        if u is None:
            u = fem.Function(problem.V)
            u.x.array[:] = problem.u0.x.array
        self.scheme, self.u = scheme, u
        self._data = data = PETSc.Options(prefix)
        refuse(data)
        self._context = _Step(scheme)
        self.ts = PETSc.TS().createPython(self._context, comm=problem.V.mesh.comm)
        self.ts.setOptionsPrefix(prefix)
        self.ts.setExactFinalTime(PETSc.TS.ExactFinalTime.MATCHSTEP)
        self.ts.setErrorIfStepFails(False)
        self.ts.setTimeStep(dt)
        self.ts.setMaxTime(T)
        self.ts.setFromOptions()
        self.dt = self.ts.getTimeStep()
        self._context.rejections = data.getInt("ts_max_reject", 10)
        self._context.path = WienerPath(problem.noise, self.dt, (sample,), refine=refine)
        self.ts.setTime(step * self.dt)
        self.ts.setStepNumber(step)
        self.ts.setSolution(u.x.petsc_vec)

    @property
    def time(self) -> float:
        """Time reached."""
        return float(self.ts.getTime())

    @property
    def rejected(self) -> int:
        """Number of steps rejected."""
        return self._context.rejected

    def events(
        self,
        direction: Sequence[int],
        terminate: Sequence[bool],
        indicator: Callable[..., None],
        postevent: Callable[..., None] | None = None,
    ) -> None:
        """Look for zeros of functions of the solution; see ``PETSc.TS.setEventHandler``.

        A path is rough: in a time ``s`` it moves by about ``sqrt(s)``. So a zero is bracketed to
        ``1e-6 dt`` unless ``-ts_event_dt_min`` says otherwise, which cannot be less. TS
        prepares events at its step 0 only: after a restart its steps count from there.

        Args:
            direction: -1 falling, 1 rising, 0 both, for each function.
            terminate: Whether to stop there, for each function.
            indicator: ``indicator(ts, t, x, out)``.
            postevent: ``postevent(ts, events, t, x, forward)``.
        """
        name = "ts_event_dt_min"
        given = self._data.hasName(name)
        least = self._data.getReal(name, 1e-6 * self.dt)
        self._data.setValue(name, max(least, 1e-6 * self.dt))
        self.ts.setStepNumber(0)
        self.ts.setEventHandler(direction, terminate, indicator, postevent)
        if given:
            self._data.setValue(name, least)
        else:
            self._data.delValue(name)

    def solve(self) -> fem.Function:
        """Step to the final time; returns the solution.

        Raises:
            NotConverged: A step failed after all rejections; ``u`` is the last state, at :attr:`time`.
            NumericalFailure: The solution is not finite; ``u`` is the last one that was.
            InputError: The path would have to be refined and must not be.
        """
        self.ts.solve()
        self.u.x.scatter_forward()
        self._context.raise_failure()
        return self.u

    def destroy(self) -> None:
        """Free the TS."""
        self.ts.destroy()


def steps_to(dt: float, T: float) -> int:
    """Number of steps of ``dt`` up to ``T``, which has to be on the grid of the path. Not collective.

    Raises:
        InputError: It is not.
    """
    check_step(dt)
    steps = round(T / dt) if 0.0 < T < np.inf else 0
    if steps < 1 or abs(T / dt - steps) > 1e-6:
        raise InputError(
            f"a step of {dt:g} was given (-ts_dt) to a final time of {T:g}, which is no multiple of it; "
            "give a step that divides the time, or time.steps"
        )
    return steps


class _Step(OneStep):
    """A step of a scheme, along a path."""

    path: WienerPath
    rejections: int

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        self._scheme, self.rejected = scheme, 0

    def describe(self) -> str:
        """Which scheme it is."""
        return f"  scheme: {self._scheme.name}\n  rejected steps: {self.rejected}\n"

    def advance(self, ts: PETSc.TS) -> None:
        """One step of the scheme, as far as it gets."""
        t, last, dt = ts.getTime(), ts.getMaxTime(), self.path.dt
        wanted, end = min(t + ts.getTimeStep(), last), self.path.next(t)
        if wanted < end - NEAR * dt:
            end = self.path.split(t, end, wanted)
        x = ts.getSolution()
        U = x.array_r.reshape(-1, 1).copy()
        U, end, rejected = attempt(self._scheme, self.path, U, t, end, self.rejections)
        self.rejected += rejected
        x.array_w[...] = U[:, 0]
        if abs(end - last) <= NEAR * dt:
            end = last
        ts.setTime(end)
        # The next step ends where the path is known next.
        ts.setTimeStep((min(self.path.next(end), last) if end < last else end + dt) - end)
