"""How ranks end together: what fails on one of them ends all, with the message of that rank.

A rank that leaves alone would keep the others waiting for its messages for ever. The command ends with
:class:`Ending`. A script ends with an exception hook, which importing the package installs where there
are several ranks, so that ``mpirun -n P python script.py`` needs no ``-m mpi4py``.
"""

from __future__ import annotations

import sys
import time
import traceback
from types import TracebackType
from typing import NoReturn

from mpi4py import MPI

GRACE = 5.0  # seconds that a failed rank waits for the others to come to the same end
_TELLING = 1.0  # seconds for the other ranks to say what they have to say, before all are ended
_LONGEST_NAP = 0.05  # seconds between two looks


class Ending:
    """Where all ranks of the command meet at its end.

    Args:
        comm: All ranks.

    Collective.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        # Of its own: the others may be anywhere in messages of theirs.
        self._comm = comm.Dup() if comm.size > 1 else comm

    def __call__(self, code: int, message: str = "") -> int:
        """Meet the others, and say on rank 0 once what went wrong; the exit code of all.

        A rank that did well waits as long as it takes. One that failed waits for a short time: then
        it failed alone, says so and ends all ranks.

        Args:
            code: Exit code of this rank.
            message: What went wrong; none if nothing has.

        Returns:
            The largest exit code of all ranks.
        """
        sys.stdout.flush()
        comm = self._comm
        if comm.size == 1:
            _say(message)
            return code
        here = comm.Ibarrier()
        given_up = time.monotonic() + GRACE
        nap = 1e-4
        while not here.Test():
            if code and time.monotonic() > given_up:
                end_all(comm, code, f"rank {comm.rank} of {comm.size} failed alone: {message}")
            time.sleep(nap)
            nap = min(2.0 * nap, _LONGEST_NAP)
        ends = comm.gather((code, message), root=0)
        if ends is not None:
            said = dict[str, list[int]]()
            for rank, (_, text) in enumerate(ends):
                if text:
                    said.setdefault(text, []).append(rank)
            for text, ranks in said.items():
                alone = len(said) > 1 or (len(ranks) < comm.size and ranks != [0])
                _say((f"rank {', '.join(map(str, ranks))}: " if alone else "") + text)
            code = max(code for code, _ in ends)
        return int(comm.bcast(code, root=0))


def end_all(comm: MPI.Intracomm, code: int, message: str) -> NoReturn:
    """Say why on this rank, and end every rank. Not collective."""
    _say(message)
    comm.Abort(code)
    raise SystemExit(code)  # never reached


def hook(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    """Exception hook of a script on several ranks: print the traceback with the rank, end them all."""
    comm = MPI.COMM_WORLD
    lines = "".join(traceback.format_exception(kind, error, place))
    code = getattr(error, "exit_code", 1)
    if MPI.Is_finalized():
        _say(lines)
        return
    _say(f"rank {comm.rank} of {comm.size}: {lines}")
    time.sleep(_TELLING)
    comm.Abort(code if isinstance(code, int) and code else 1)


def install() -> None:
    """Set the hook, where there are several ranks and no other hook. Not collective."""
    if MPI.COMM_WORLD.size > 1 and sys.excepthook is sys.__excepthook__:
        sys.excepthook = hook


def _say(message: str) -> None:
    if message:
        print(message, file=sys.stderr, flush=True)
