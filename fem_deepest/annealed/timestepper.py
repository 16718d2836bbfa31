"""An annealed flow as a PETSc time stepper: options and monitors of TS for one column."""

from __future__ import annotations

from fem_deepest._petsc import PETSc
from fem_deepest.annealed.flow import AnnealedFlow
from fem_deepest.errors import InputError
from fem_deepest.spde.onestep import OneStep, refuse
from fem_deepest.spde.path import NEAR
from fem_deepest.spde.schemes.scheme import check_step


class FlowStepper:
    """One column of an annealed flow by PETSc's TS.

    ``-ts_dt`` (the step ``k``), ``-ts_max_steps``, ``-ts_max_time``, ``-ts_monitor`` and the other
    monitors, and ``-ts_view`` work as for any TS. The temperature is a function of the number of the
    step, not of the time. A last step that is shorter has the noise of a shorter step. There is no error
    estimate, so ``-ts_adapt_type`` other than ``none`` is refused.

    Args:
        flow: The flow, of one column; its step is the length that ``-ts_dt`` replaces.
        steps: Steps, the ones that the flow has made included; unless ``-ts_max_steps`` says otherwise.
        prefix: Prefix of the options of TS.

    Attributes:
        flow: The flow.
        ts: The TS; monitors may be added to it.

    Raises:
        InputError: The flow has another number of columns, or an option asks for what cannot be.

    Collective on the landscape: construction and every method.
    """

    def __init__(self, flow: AnnealedFlow, steps: int, prefix: str = "") -> None:
        if flow.numbers.size != 1:
            raise InputError(
                f"a flow of {flow.numbers.size} columns was given to a time stepper, expected one: TS "
                "knows one solution; step many with advance()"
            )
        data = PETSc.Options(prefix)
        refuse(data)
        self.flow, comm = flow, flow.landscape.comm
        self._context = _Step(flow)
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
        u = PETSc.Vec().createMPI((flow.landscape.rows, PETSc.DETERMINE), comm=comm)
        u.array[...] = flow.U[:, 0]
        self.ts.setSolution(u)

    @property
    def time(self) -> float:
        """Time reached."""
        return float(self.ts.getTime())

    def solve(self) -> AnnealedFlow:
        """Step to the last step, or to the final time; returns the flow.

        Raises:
            NumericalFailure: A minibatch has no finite action.
        """
        self.ts.solve()
        self._context.raise_failure()
        return self.flow

    def destroy(self) -> None:
        """Free the TS."""
        self.ts.destroy()


class _Step(OneStep):
    """A step of the flow."""

    def __init__(self, flow: AnnealedFlow) -> None:
        super().__init__()
        self._flow = flow

    def describe(self) -> str:
        """Rule of acceptance and temperature."""
        flow = self._flow
        return f"  accept: {flow.accept}\n  temperature: {float(flow.temperature[0]):g}\n"

    def advance(self, ts: PETSc.TS) -> None:
        """One step of the flow, shorter where the final time is near."""
        flow, t, last = self._flow, ts.getTime(), ts.getMaxTime()
        end = min(t + flow.step, last)
        if last - end < NEAR * flow.step:
            end = last
        flow.advance(end - t if abs(end - t - flow.step) > NEAR * flow.step else None)
        ts.getSolution().array_w[...] = flow.U[:, 0]
        ts.setTime(end)
        ts.setTimeStep(flow.step)
