"""How a solver ended, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """End of one solve.

    Attributes:
        converged: Whether the tolerance was reached.
        reason: PETSc's name of the reason, in lower case, e.g. "converged_gatol".
        iterations: Iterations of this solve.
    """

    converged: bool
    reason: str
    iterations: int


def reason_name(reasons: Any, code: int) -> str:
    """Name of a converged reason among the attributes of a petsc4py enumeration."""
    names = [n for n in vars(reasons) if n.isupper() and getattr(reasons, n) == code]
    preferred = [n for n in names if n.startswith(("CONVERGED", "DIVERGED"))]
    return (preferred or names or [f"reason_{code}"])[0].lower()
