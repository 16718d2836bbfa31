"""Checkpoints are there as a whole or not at all, and come back to the last bit."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.io import checkpoint

COMM = MPI.COMM_WORLD


def vector(values):
    values = np.asarray(values, dtype=np.float64)
    v = PETSc.Vec().createMPI(values.size, comm=COMM)
    v.setArray(values)
    return v


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.h5"


def test_comes_back_to_the_last_bit(path):
    values = np.array([0.1, -0.0, 1e-310, np.pi * 1e200, 1 / 3])
    meta = {"number": 0.1, "list": [1, None], "text": "β", "long": "x" * 100_000}
    checkpoint.write(path, {"control": vector(values), "s0": vector(-values)}, meta, COMM)
    assert checkpoint.read_meta(path) == meta
    u, s = vector(np.zeros(5)), vector(np.zeros(5))
    u.setName("mine")
    checkpoint.read(path, {"control": u, "s0": s}, COMM)
    assert u.array.tobytes() == values.tobytes()
    assert s.array.tobytes() == (-values).tobytes()
    assert u.getName() == "mine"
    assert checkpoint.read_array(path, "control").tobytes() == values.tobytes()
    with h5py.File(path, "r", driver="sec2") as file:
        assert set(file) == {"control", "s0", "meta"}
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.h5"]


def broken(*_, **__):
    raise OSError("no space left on device")


@pytest.mark.parametrize("place", ["h5py.File", "json.dumps", "os.fsync", "os.replace"])
def test_failure_while_writing_leaves_the_old_one(path, monkeypatch, place):
    checkpoint.write(path, {"control": vector([1.0, 2.0])}, {"step": 1}, COMM)
    before = path.read_bytes()
    module, name = place.split(".")
    monkeypatch.setattr(getattr(checkpoint, module), name, broken)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.write(path, {"control": vector([3.0, 4.0])}, {"step": 2}, COMM)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert checkpoint.read_meta(path) == {"step": 1}
    assert checkpoint.read_array(path, "control").tolist() == [1.0, 2.0]
    # What is left of the failed one does not disturb the next.
    checkpoint.write(path, {"control": vector([5.0, 6.0])}, {"step": 3}, COMM)
    assert checkpoint.read_meta(path) == {"step": 3}
    assert checkpoint.read_array(path, "control").tolist() == [5.0, 6.0]


def test_is_on_disk_before_it_is_renamed(path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("replace"), replace(*a))[1])
    checkpoint.write(path, {"control": vector([1.0])}, {}, COMM)
    assert calls == ["fsync", "replace"]


def test_refuses_what_is_no_checkpoint(path):
    with pytest.raises(InputError, match="there is no checkpoint"):
        checkpoint.read_meta(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="is not a checkpoint"):
        checkpoint.read_meta(path)
    checkpoint.write(path, {"control": vector([1.0, 2.0])}, {}, COMM)
    with pytest.raises(InputError, match="holds no vector other"):
        checkpoint.read_array(path, "other")


def test_refuses_vectors_of_another_size(path):
    checkpoint.write(path, {"control": vector([1.0, 2.0])}, {}, COMM)
    with pytest.raises(
        InputError, match="holds 2 numbers of the vector control and this network needs 3"
    ):
        checkpoint.read(path, {"control": vector([0.0, 0.0, 0.0])}, COMM)
