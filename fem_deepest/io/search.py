"""A search as a checkpoint: where a run stands, stored and found again bit for bit."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from fem_deepest.action.dealt import DealtAction
from fem_deepest.action.network.numbering import Numbering
from fem_deepest.configuration.train import Config
from fem_deepest.data import DataSet, Samples
from fem_deepest.errors import InputError
from fem_deepest.io import checkpoint
from fem_deepest.io.recovery import recover
from fem_deepest.io.rundir import jsonable
from fem_deepest.io.seal import Table, fingerprint, read_table
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.solve.schedule import Search
from fem_deepest.spaces import Resolution
from fem_deepest.spaces.tasks import on_root


def signature(config: Config, data: DataSet | Samples) -> dict[str, Any]:
    """What a checkpoint and a configuration with its training data must agree in, in plain types.

    Tolerances and limits are left out: a run may be resumed with others.
    """
    values = config.model_dump(mode="python", by_alias=True)
    values.pop("output"), values.pop("parallel")
    values["network"].pop("spread")
    solve = values.pop("solve")
    values["levels"], values["memory"] = config.depth_levels, solve["memory"]
    values["neurons of the levels"] = solve["neurons"]
    values["method"], values["adapt"] = solve["method"], solve["adapt"]
    if solve["method"] == "sgd":
        values |= {name: solve[name] for name in ("eta", "nu", "batch", "gradient")}
    values["samples"] = data.samples
    values["data"].pop("memory")
    if isinstance(data, Samples):
        values["checksum of the data"] = data.checksum
    else:
        x, y = np.ascontiguousarray(data.inputs), np.ascontiguousarray(data.targets)
        values["checksum of the data"] = zlib.crc32(x.tobytes() + y.tobytes())
    for name in ("mesh", "depth_mesh"):
        if (file := getattr(config.network, name)) is not None:
            values[f"checksum of {name}"] = zlib.crc32(Path(file).read_bytes())
    return dict(jsonable(values))


def save(
    path: Path,
    search: Search,
    meta: Mapping[str, Any],
    comm: MPI.Intracomm,
    numbering: Numbering | None = None,
) -> None:
    """Write a search with whatever else belongs to it. Collective.

    Args:
        path: Checkpoint file; replaced as a whole or not at all.
        search: Where the run stands.
        meta: More, JSON-able; has at least ``signature``.
        comm: All ranks.
        numbering: Of an index that is spread over ranks, for an order that does not depend on them.
    """
    vectors = {"control": search.u}
    for i, (s, y) in enumerate(zip(search.memory.s, search.memory.y, strict=True)):
        vectors[f"s{i}"], vectors[f"y{i}"] = s, y
    state = {
        "stage": search.stage,
        "method": search.method,
        "level": search.level.to_dict(),
        "iteration": search.iteration,
        "evaluations": search.evaluations,
        "own": list(search.own),
        "reference": search.reference,
        "pairs": len(search.memory.s),
        "scale": search.memory.scale,
    }
    checkpoint.write(path, vectors, {**meta, "search": state}, comm, numbering)


def find(
    path: Path, wanted: Mapping[str, Any], comm: MPI.Intracomm, note: Callable[[str], object]
) -> dict[str, Any] | None:
    """What a checkpoint holds beside its vectors, or nothing where there is none.

    Where the newest is damaged, the previous one takes its place, if that is whole and of this run; the
    damaged one is put aside.

    Args:
        path: Checkpoint file.
        wanted: The signature that it must have.
        comm: All ranks.
        note: Told that the previous one has taken the place.

    Raises:
        InputError: It is one of another run, or there are only damaged ones.

    Collective.
    """
    found, told = recover(path, lambda at: _whole(at, wanted, comm), comm)
    if told:
        note(told)
    return found


def _whole(path: Path, wanted: Mapping[str, Any], comm: MPI.Intracomm) -> dict[str, Any] | None:
    """What a checkpoint holds; foreign ones are refused before their vectors are read. Collective."""

    def read() -> Table | None:
        if not path.exists():
            return None
        table = read_table(path)
        if table.signature != fingerprint(wanted):
            _check(table.meta.get("signature", {}), wanted)
        return table

    table = on_root(read, comm)
    if table is None:
        return None
    checkpoint.verify(path, table, comm)
    return table.meta


def restore(
    path: Path, meta: Mapping[str, Any], action: DealtAction, size: int, comm: MPI.Intracomm
) -> Search:
    """The search of a checkpoint. Collective.

    Args:
        path: Checkpoint file.
        meta: What :func:`find` gave.
        action: The action of the level that the search stands at.
        size: Pairs of the quasi-Newton memory.
        comm: All ranks.

    Raises:
        InputError: The vectors do not fit.
    """
    state = meta["search"]
    memory = LimitedMemory(action.metric, size)
    numbering = Numbering.of(action)
    names = ["control", *(f"{kind}{i}" for i in range(state["pairs"]) for kind in "sy")]
    vectors = {name: action.create() for name in names}
    checkpoint.read(path, vectors, comm, numbering)
    if numbering is not None:
        numbering.destroy()
    for i in range(state["pairs"]):
        memory.push(vectors[f"s{i}"], vectors[f"y{i}"])
    memory.scale = state["scale"]
    return Search(
        stage=state["stage"],
        method=state["method"],
        level=level_of(meta),
        iteration=state["iteration"],
        evaluations=state["evaluations"],
        own=(state["own"][0], state["own"][1]),
        reference=state["reference"],
        u=vectors["control"],
        memory=memory,
    )


def level_of(meta: Mapping[str, Any]) -> Resolution:
    """The level at which the search of a checkpoint stands. Not collective.

    Args:
        meta: What :func:`find` gave.
    """
    return Resolution.from_dict(meta["search"]["level"])


def check_signature(
    path: Path, wanted: Mapping[str, Any], missing: str, comm: MPI.Intracomm
) -> None:
    """Refuse to go on with what another configuration has left. Collective.

    Args:
        path: JSON file with the signature of what is there.
        wanted: The signature that it must have.
        missing: What to say where there is no such file.
        comm: All ranks.

    Raises:
        InputError: There is none, it cannot be read, or it is another one.
    """

    def read() -> None:
        try:
            kept = dict(json.loads(path.read_text()))
        except FileNotFoundError:
            raise InputError(missing) from None
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"cannot read {path} ({error}); begin again with --force") from None
        _check(kept, wanted)

    on_root(read, comm)


def _check(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    problem = difference(old, new)
    if problem:
        raise InputError(problem)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Sentence on the first key in which a checkpoint and a configuration differ, if any."""
    for section in {**new, **old}:
        one, other = old.get(section), new.get(section)
        pairs = [("", one, other)]
        if isinstance(one, dict) and isinstance(other, dict):
            pairs = [(f".{key}", one.get(key), other.get(key)) for key in {**other, **one}]
        for key, found, wanted in pairs:
            if found != wanted:
                return (
                    f"the checkpoint belongs to another run: it has {section}{key} = {found}, the "
                    f"configuration {wanted}; use the configuration it was made with, or "
                    "another --out"
                )
    return None
