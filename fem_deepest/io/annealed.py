"""An annealed flow as a checkpoint: every column by itself, on any number of ranks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.annealed.flow import FlowState
from fem_deepest.errors import InputError
from fem_deepest.io import checkpoint
from fem_deepest.io.seal import read_table

Array = NDArray[np.float64]
Words = NDArray[np.uint64]

_HALF = np.uint64(32)


def save_flow(
    path: Path,
    state: FlowState,
    names: Words,
    meta: Mapping[str, Any],
    comm: MPI.Intracomm,
    dealt: bool,
) -> None:
    """Write the state of a flow.

    Args:
        path: File; replaced as a whole or not at all.
        state: The state.
        names: Names (n,) of the rows of this rank, the same on any number of ranks.
        meta: What else there is to keep, JSON-able; has at least ``signature``.
        comm: All ranks.
        dealt: Whether the columns are dealt out over the ranks in order; otherwise their rows are.

    Collective on ``comm``.
    """
    counts = comm.allgather(state.U.shape[1])
    first, many = (sum(counts[: comm.rank]), sum(counts)) if dealt else (0, counts[0])
    parts = {}
    for s in range(many):
        own = first <= s < first + state.U.shape[1]
        for label, block in (("u", state.U), ("best", state.best_U)):
            parts[f"{label}{s}"] = block[:, s - first] if own else np.empty(0)
    # PETSc stores doubles: 32 bits of a name are exact in each of two.
    words = names if comm.rank == 0 or not dealt else names[:0]
    parts["high"] = (words >> _HALF).astype(np.float64)
    parts["low"] = (words & np.uint64(0xFFFFFFFF)).astype(np.float64)
    columns = {name: getattr(state, name) for name in ("memory", "best_values", "gradients")}
    if dealt:
        columns = {k: np.concatenate(comm.allgather(v), axis=-1) for k, v in columns.items()}
    vectors = {}
    for name, array in parts.items():
        vectors[name] = PETSc.Vec().createMPI((array.size, PETSc.DETERMINE), comm=comm)
        vectors[name].array_w[...] = array
    flow = {"iteration": state.iteration, **{k: v.tolist() for k, v in columns.items()}}
    checkpoint.write(path, vectors, {**meta, "flow": flow}, comm)
    for vector in vectors.values():
        vector.destroy()


def load_flow(
    path: Path, meta: Mapping[str, Any], names: Words, numbers: NDArray[np.int64]
) -> FlowState:
    """The state that :func:`save_flow` wrote: the columns with these numbers, on these rows.

    Args:
        path: File.
        meta: What :func:`fem_deepest.io.search.find` gave.
        names: Names (n,) of the rows of this rank.
        numbers: Numbers (S,) of the columns of this rank.

    Raises:
        InputError: The rows have other names.

    Not collective.
    """
    table = read_table(path)
    high, low = (
        checkpoint.read_array(path, name, table).astype(np.uint64) for name in ("high", "low")
    )
    stored = (high << _HALF) | low
    order = np.argsort(stored)
    place = np.searchsorted(stored, names, sorter=order)
    found = order[np.minimum(place, stored.size - 1)]
    if (stored[found] != names).any():
        raise InputError(f"{path} holds other unknowns; use the checkpoint of this configuration")
    blocks = [np.empty((names.size, numbers.size)) for _ in range(2)]
    for label, block in zip(("u", "best"), blocks, strict=True):
        for s, number in enumerate(numbers):
            block[:, s] = checkpoint.read_array(path, f"{label}{number}", table)[found]
    flow = meta["flow"]
    shape = len(flow["memory"]), len(flow["gradients"])
    memory = np.array(flow["memory"], dtype=np.float64).reshape(shape)
    best_values, gradients = (
        np.array(flow[name])[numbers] for name in ("best_values", "gradients")
    )
    return FlowState(
        flow["iteration"], blocks[0], memory[:, numbers], best_values, blocks[1], gradients
    )


def row_numbers(comm: MPI.Intracomm, rows: int) -> Words:
    """Numbers of the rows of this rank, names where they do not depend on the ranks. Collective."""
    counts = comm.allgather(rows)
    before = sum(counts[: comm.rank])
    return np.arange(before, before + rows, dtype=np.uint64)
