"""Which of the newest checkpoint and the one before a run goes on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.io.seal import Damaged
from fem_deepest.io.succession import previous, step_back
from fem_deepest.spaces.tasks import on_root

T = TypeVar("T")


def recover(
    path: Path, look: Callable[[Path], T | None], comm: MPI.Intracomm
) -> tuple[T | None, str]:
    """What is in the newest checkpoint, or nothing where there is none.

    Where the newest is damaged, the previous one takes its place, if that is good; the damaged one is put
    aside. One that is refused for another reason, because it is of another run, stays where it is.

    Args:
        path: The newest checkpoint.
        look: Looks at a file; nothing where there is none. Collective on ``comm``.
        comm: Ranks that need it.

    Returns:
        What ``look`` gave, and a sentence if it is about the previous one.

    Raises:
        InputError: What ``look`` raised, about the newest or about both.

    Collective on ``comm``.
    """
    before = previous(path)
    try:
        found = look(path)
        if found is not None or not on_root(before.exists, comm):
            return found, ""
        broken = f"there is no {path}"
    except Damaged as error:
        if not on_root(before.exists, comm):
            raise
        broken = error.what
    try:
        found = look(before)
    except InputError as error:
        raise InputError(f"{broken}; and the one before: {error}") from None
    on_root(lambda: step_back(path), comm)
    return found, f"{broken}; going on from the one before it, {before}"
