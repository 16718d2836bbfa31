"""An annealed flow as a PETSc time stepper: options and monitors of TS."""

from __future__ import annotations

from collections.abc import Callable

from fem_deepest._petsc import PETSc
from fem_deepest.annealed.flow import AnnealedFlow
from fem_deepest.spde.onestep import OneStep, refuse
from fem_deepest.spde.path import NEAR
from fem_deepest.spde.schemes.scheme import check_step


def stay(flow: AnnealedFlow) -> None:
    """Do nothing after a step."""


class FlowStepper:
    """The columns of an annealed flow by PETSc's TS, whose solution is one behind the other.

    ``-ts_dt`` (the step ``k``), ``-ts_max_steps``, ``-ts_max_time``, ``-ts_monitor`` and the other
    monitors, and ``-ts_view`` work as for any TS. The temperature is a function of the number of the
    step, not of the time. A last step that is shorter has the noise of a shorter step. There is no error
    estimate, so ``-ts_adapt_type`` other than ``none`` is refused.

    Args:
        flow: The flow; its step is the length that ``-ts_dt`` replaces.
        steps: Steps, those that the flow has made included; unless ``-ts_max_steps`` says otherwise.
        prefix: Prefix of the options of TS.
        watch: Told the flow after every step; an exception that it raises leaves :meth:`solve`.

    Attributes:
        flow: The flow.
        ts: The TS; monitors may be added to it.

    Raises:
        InputError: An option asks for what cannot be.

    Collective on the landscape: construction and every method.
    """

    def __init__(
        self,
        flow: AnnealedFlow,
        steps: int,
        prefix: str = "",
        watch: Callable[[AnnealedFlow], None] = stay,
    ) -> None:
        refuse(PETSc.Options(prefix))
        self.flow, comm = flow, flow.landscape.comm
        self._context = _Step(flow, watch)
        self.ts = PETSc.TS().createPython(self._context, comm=comm)
        self.ts.setOptionsPrefix(prefix)
        self.ts.setExactFinalTime(PETSc.TS.ExactFinalTime.MATCHSTEP)
        self.ts.setErrorIfStepFails(False)
        self.ts.setTimeStep(flow.step)
        self.ts.setMaxSteps(steps)
        self.ts.setFromOptions()
        flow.step = self.ts.getTimeStep()
        check_step(flow.step)
        self.ts.setTime(flow.iteration * flow.step)
        self.ts.setStepNumber(flow.iteration)
        self._u = PETSc.Vec().createMPI((flow.U.size, PETSc.DETERMINE), comm=comm)
        self._u.array[...] = flow.U.ravel(order="F")
        self.ts.setSolution(self._u)

    @property
    def time(self) -> float:
        """Time reached."""
        return float(self.ts.getTime())

    def solve(self) -> AnnealedFlow:
        """Step to the last step, or to the final time; returns the flow.

        Raises:
            Exception: What a step or ``watch`` has raised.
        """
        self.ts.solve()
        self._context.raise_failure()
        return self.flow

    def destroy(self) -> None:
        """Free the TS and its solution."""
        self.ts.destroy()
        self._u.destroy()


class _Step(OneStep):
    """A step of the flow."""

    def __init__(self, flow: AnnealedFlow, watch: Callable[[AnnealedFlow], None]) -> None:
        super().__init__()
        self._flow, self._watch = flow, watch

    def describe(self) -> str:
        """Rule of acceptance and temperature."""
        flow = self._flow
        return f"  accept: {flow.accept}\n  temperature: {float(flow.temperature.mean()):g}\n"

    def advance(self, ts: PETSc.TS) -> None:
        """One step of the flow, shorter where the final time is near."""
        flow, last = self._flow, ts.getMaxTime()
        # Not the sum of the steps, which would round otherwise after a restart.
        t, end = flow.iteration * flow.step, min((flow.iteration + 1) * flow.step, last)
        if last - end < NEAR * flow.step:
            end = last
        flow.advance(end - t if abs(end - t - flow.step) > NEAR * flow.step else None)
        ts.getSolution().array_w[...] = flow.U.ravel(order="F")
        ts.setTime(end)
        ts.setTimeStep(flow.step)
        self._watch(flow)
