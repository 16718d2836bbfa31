"""Signals as a question asked between steps, so that a run can leave in good order.

Ctrl-C is SIGINT. Batch systems say with SIGTERM, SIGUSR1, SIGUSR2 or SIGXCPU that the time of a job is
nearly over, which of them and how long before is a matter of the system and of the job. All mean the same
here: write a checkpoint after the step at hand, leave with exit code 130 and the status "interrupted".
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from mpi4py import MPI

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
_POLL = 0.02  # seconds between two looks at the others


class Interrupt:
    """While entered, a signal sets ``asked``; after the first of all, SIGINT acts as usual.

    The others may come again, from the batch system and from mpirun which passes them on: they do not
    end a process that is about to leave, or to write what it has found.
    """

    def __init__(self) -> None:
        self._signalled = False
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether this rank has been asked to leave."""
        return self._signalled

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, self._before.pop(signal.SIGINT))


class SharedInterrupt(Interrupt):
    """One for ranks that work on their own: who has been asked tells the others, who listen when they ask.

    Args:
        comm: All ranks.

    Collective on ``comm``: to enter, and :meth:`meet`.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        super().__init__()
        self._comm = comm
        self._others = [rank for rank in range(comm.size) if rank != comm.rank]
        self._sent: list[MPI.Request] = []
        self._heard: set[int] = set()
        self._listening = False

    def __enter__(self) -> SharedInterrupt:
        super().__enter__()
        self._comm, self._listening = self._comm.Dup(), True
        return self

    @property
    def asked(self) -> bool:
        """Whether this rank or, as far as it has heard, another has been asked to leave."""
        if self._listening:
            if self._signalled and not self._sent and not self._heard:
                self._sent = [self._comm.Isend([None, 0, MPI.BYTE], rank) for rank in self._others]
            status = MPI.Status()
            while self._comm.Iprobe(status=status):
                self._hear(status.Get_source())
        return self._signalled or bool(self._heard)

    def meet(self) -> None:
        """Wait for all ranks, and go on listening meanwhile. Collective; the last call."""
        arrived = self._comm.Ibarrier()
        while not arrived.Test():
            time.sleep(_POLL)
            _ = self.asked
        self._listening = False
        for rank, told in enumerate(self._comm.allgather(bool(self._sent))):
            if told and rank != self._comm.rank and rank not in self._heard:
                self._hear(rank)
        MPI.Request.Waitall(self._sent)
        self._comm.Free()

    def _hear(self, rank: int) -> None:
        self._comm.Recv([None, 0, MPI.BYTE], rank)
        self._heard.add(rank)
