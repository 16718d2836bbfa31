"""The three forms of the weak-constraint problem by name."""

from __future__ import annotations

from mpi4py import MPI

from fem_deepest.action.weak.forcing import ForcingForm
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.action.weak.saddle import SaddleForm
from fem_deepest.action.weak.state import StateForm
from fem_deepest.errors import InputError

Form = StateForm | SaddleForm | ForcingForm

FORMS: dict[str, type[StateForm] | type[SaddleForm] | type[ForcingForm]] = {
    "state": StateForm,
    "saddle": SaddleForm,
    "forcing": ForcingForm,
}


def make_form(form: str, problem: WeakProblem, comm: MPI.Intracomm = MPI.COMM_WORLD) -> Form:
    """State form (x, w), saddle form (x, p, w) or forcing form (xi, w) of the same problem.

    Raises:
        InputError: No form has that name, or this one cannot say the problem.

    Collective.
    """
    if form not in FORMS:
        raise InputError(f"unknown form '{form}', expected one of {tuple(FORMS)}")
    return FORMS[form](problem, comm)
