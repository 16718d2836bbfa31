"""One step of an equation with noise as a method of PETSc's TS: what TSPYTHON calls.

TS knows no stochastic equations, and its own methods with noise frozen in the right-hand side are
wrong: a rejected step is tried again inside ``TSStep`` with another ``dt`` and the old noise. So a step is
made here as a whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError


class OneStep(ABC):
    """Context of a TS of type ``python``.

    An exception that unwinds PETSc's stack can take Python with it, so it is kept and TS is stopped. TS
    holds a reference to this, which must not hold one to TS: such a cycle is never collected.
    """

    def __init__(self) -> None:
        self._failure: Exception | None = None

    @abstractmethod
    def advance(self, ts: PETSc.TS) -> None:
        """One step: set solution, time and the length of the next step."""

    @abstractmethod
    def describe(self) -> str:
        """What ``-ts_view`` says, in lines."""

    def step(self, ts: PETSc.TS) -> None:
        """What TS calls."""
        try:
            self.advance(ts)
        except Exception as failure:
            self._failure = failure
            ts.setConvergedReason(PETSc.TS.ConvergedReason.DIVERGED_STEP_REJECTED)

    def rollback(self, ts: PETSc.TS) -> None:  # noqa: B027
        """TS restores the solution itself."""

    def view(self, ts: PETSc.TS, viewer: PETSc.Viewer) -> None:
        """Say what it is."""
        viewer.printfASCII(self.describe())

    def raise_failure(self) -> None:
        """Raise what a step has raised, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def refuse(data: PETSc.Options) -> None:
    """Refuse options that ask for what a path cannot have.

    Args:
        data: Options with the prefix of the TS.

    Raises:
        InputError: There is such an option.
    """
    kind = data.getString("ts_adapt_type", "none")
    if kind != "none":
        raise InputError(
            f"-ts_adapt_type {kind} asks for adaptive steps, but the schemes have no error estimate "
            "that a path may depend on; leave it out"
        )
    kind = data.getString("ts_type", "python")
    if kind != "python":
        raise InputError(
            f"-ts_type {kind} is a method for equations without noise; leave it out, the "
            "scheme is not an option of TS"
        )
    kind = data.getString("ts_exact_final_time", "matchstep")
    if kind != "matchstep":
        raise InputError(
            f"-ts_exact_final_time {kind} was given, but a path ends at its final time, in a shorter step "
            "if need be; leave it out"
        )
