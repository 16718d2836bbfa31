"""Checkpoints that several ranks write are those of one, and each rank looks after its own part."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.cli.interrupt import Interrupt, SharedInterrupt
from fem_deepest.errors import InputError
from fem_deepest.io import checkpoint, succession
from fem_deepest.io.seal import read_table
from fem_deepest.io.search import find

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF
SIZE = 1003
VALUES = np.sin(np.arange(SIZE) ** 2.0)
META = {"signature": {"seed": 1}, "step": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One folder for all ranks."""
    return Path(WORLD.bcast(tmp_path, root=0))


def vector(comm: MPI.Intracomm, sizes: int | None = None) -> PETSc.Vec:
    """The values, dealt out over the ranks; ``sizes``: all of them to this rank."""
    own = PETSc.DECIDE if sizes is None else SIZE * (comm.rank == sizes)
    v = PETSc.Vec().createMPI((own, SIZE), comm=comm)
    v.array_w[...] = VALUES[slice(*v.getOwnershipRange())]
    return v


class Backwards:
    """An order in which the entries of a vector are stored from the last to the first."""

    size = SIZE

    def create(self) -> PETSc.Vec:
        return PETSc.Vec().createMPI(SIZE, comm=WORLD)

    def common(self, u: PETSc.Vec) -> PETSc.Vec:
        v = self.create()
        whole = np.concatenate(WORLD.allgather(u.array_r.copy()))
        v.array_w[...] = whole[::-1][slice(*v.getOwnershipRange())]
        return v

    control = common  # its own inverse


def test_bytes_do_not_depend_on_the_ranks(folder: Path) -> None:
    path, serial = folder / "checkpoint.h5", folder / "serial.h5"
    if WORLD.rank == 0:
        v = vector(SELF)
        checkpoint.write(serial, {"control": v, "s0": v}, META, SELF)
        v.destroy()
    # All entries on the last rank, and none on the others, are as good as a few on each.
    even, last = vector(WORLD), vector(WORLD, WORLD.size - 1)
    checkpoint.write(path, {"control": even, "s0": last}, META, WORLD)
    assert path.read_bytes() == serial.read_bytes()
    found = even.duplicate()
    checkpoint.read(serial, {"control": found}, WORLD)
    assert (found.array_r == even.array_r).all()
    alone = PETSc.Vec().createSeq(SIZE, comm=SELF)
    checkpoint.read(path, {"s0": alone}, SELF)
    assert (alone.array_r == VALUES).all()


def test_vectors_are_stored_in_the_order_that_is_given(folder: Path) -> None:
    path, u = folder / "checkpoint.h5", vector(WORLD)
    checkpoint.write(path, {"control": u}, META, WORLD, Backwards())
    assert (checkpoint.read_array(path, "control") == VALUES[::-1]).all()
    found = u.duplicate()
    checkpoint.read(path, {"control": found}, WORLD, Backwards())
    assert (found.array_r == u.array_r).all()


@pytest.mark.parametrize("entry", [0, SIZE // 2, SIZE - 1])
def test_damage_in_the_part_of_one_rank_is_told_by_all(folder: Path, entry: int) -> None:
    path, u = folder / "checkpoint.h5", vector(WORLD)
    for _ in range(2):
        checkpoint.write(path, {"control": u}, META, WORLD)
    if WORLD.rank == 0:
        content = bytearray(path.read_bytes())
        content[read_table(path).vectors["control"].offset + 8 * entry] ^= 4
        path.unlink()
        path.write_bytes(content)
    WORLD.barrier()
    with pytest.raises(InputError, match="the vector control has changed"):
        checkpoint.read(path, {"control": u.duplicate()}, WORLD)
    notes: list[str] = []
    assert find(path, META["signature"], WORLD, notes.append) == META
    assert len(notes) == 1
    assert "the vector control has changed" in notes[0]
    found = u.duplicate()
    checkpoint.read(path, {"control": found}, WORLD)
    assert (found.array_r == u.array_r).all()


def test_all_ranks_refuse_what_cannot_be_written(folder: Path) -> None:
    path = folder / "missing" / "checkpoint.h5"
    with pytest.raises(InputError, match=r"cannot write .* make room"):
        checkpoint.write(path, {"control": vector(WORLD)}, META, WORLD)
    path = folder / "checkpoint.h5"
    checkpoint.write(path, {"control": vector(WORLD)}, META, WORLD)
    before = path.read_bytes()
    WORLD.barrier()
    if WORLD.rank == 0:
        succession.previous(path).mkdir()  # so that it cannot be replaced
    with pytest.raises(InputError, match=r"cannot write .* make room"):
        checkpoint.write(path, {"control": vector(WORLD)}, {**META, "step": 3}, WORLD)
    assert path.read_bytes() == before


# Signals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2", "SIGXCPU"])
def test_signals_of_batch_systems_may_come_again(name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number), signal.getsignal(signal.SIGINT)
    interrupt = Interrupt()
    with interrupt:
        assert not interrupt.asked
        for _ in range(3):
            os.kill(os.getpid(), number)
            assert interrupt.asked
        assert signal.getsignal(signal.SIGINT) == before[1]  # Ctrl-C ends what takes too long
    assert (signal.getsignal(number), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize("which", ["none", "one", "all", "waiting"])
def test_ranks_on_their_own_hear_of_a_signal(which: str) -> None:
    """Rank 0 works for long, the others wait for it at the end."""
    interrupt = SharedInterrupt(WORLD)
    last = WORLD.size - 1
    with interrupt:
        if which == "all" or (which == "one" and WORLD.rank == last):
            os.kill(os.getpid(), signal.SIGTERM)
        if which == "waiting" and WORLD.rank == last:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        steps = 0
        if WORLD.rank == 0 and not (which == "waiting" and WORLD.size == 1):
            while not interrupt.asked and steps < (5 if which == "none" else 10_000):
                time.sleep(0.002)
                steps += 1
        interrupt.meet()
        if which == "waiting" and WORLD.rank == last:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
        assert steps < 10_000
        assert interrupt.asked == (which != "none") or WORLD.size == 1
