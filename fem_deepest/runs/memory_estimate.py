"""How much memory a training needs, said before any of it is allocated.

Numbers of eight bytes, with ``p`` parameters, of which ``q`` are weight field, ``n`` depth cells, ``s``
stages at ``S`` distinct places, ``N`` neurons, ``K`` samples, and ``m`` pairs of the quasi-Newton memory:

* the solver has ``3 m + 15`` controls: three for each pair, and iterate, gradients, directions; a
  control has ``p`` parameters and, with model errors, up to ``(n + 1) N K`` forcings;
* every rank has a copy of the parameters, and of the weight field at the stages the values, their
  products, and the sums of parts of its samples: ``p + 15 S q``;
* every rank has the states of a tile: ``n s (2 N + 1)`` for each of its samples.

Of sharded weights, on ``P_t x P_d`` ranks, a rank has its part of the controls, the weights of a few cells
while it goes through them, and the states of its slab for the samples in flight, at most ``P_t`` chunks.

The two fifteens are fitted to two peaks, of 256 neurons in 16 layers with model errors and without, which
they meet to about a tenth by construction; elsewhere the estimate is rough.
"""

from __future__ import annotations

import math
import resource
from pathlib import Path

from mpi4py import MPI

from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError
from fem_deepest.network.network import TILE, Network
from fem_deepest.runs.index import make_index
from fem_deepest.spaces import Resolution

NUMBER = 8  # bytes
_CONTROLS = 15  # of a solver, beside the pairs of its memory
_STAGES = 15  # arrays of the weight field at the stages
_CELLS = 15  # weights of a cell while a sweep goes through sharded ones
_NODE = 1000  # bytes of a node of the index
_CGROUP = Path("/sys/fs/cgroup")


def needed(network: Network, config: Config, samples: int, ranks: int = 1) -> int:
    """Bytes that a training takes on all of its ranks together.

    Args:
        network: The network; nothing of the size of its parameters is made here.
        config: Configuration.
        samples: ``K``.
        ranks: Number of ranks.

    Not collective.
    """
    shapes, n, scheme = network.shapes, network.depth.cells, network.scheme
    neurons = network.index.neurons
    section, forcings = config.action, 0
    if math.isfinite(section.R_f):
        forcings += n * neurons * samples
    if math.isfinite(section.R_0):
        forcings += neurons * samples
    controls = _controls(config) * (shapes.size + forcings)
    stages = _STAGES * len(scheme.abscissae) * math.prod(shapes.theta)
    tile = n * scheme.stages * (2 * neurons + 1) * min(TILE, -(-samples // ranks))
    return NUMBER * (controls + ranks * (shapes.size + stages + tile))


def needed_by_a_rank(
    network: Network, config: Config, samples: int, shape: tuple[int, int], chunk: int = 0
) -> int:
    """Bytes that a training with sharded weights takes on the rank with most of it.

    Args:
        network: The network; nothing of the size of its parameters is made here.
        config: Configuration.
        samples: ``K``.
        shape: Slabs of the depth x ranks over the samples.
        chunk: Samples that go through a slab together; 0: a tile.

    Not collective.
    """
    slabs, width = shape
    (nodes, rows, columns), section = network.shapes.theta, config.action
    cells, own = -(-(nodes - 1) // slabs), -(-samples // width)
    neurons = network.index.neurons
    ends = max(math.prod(network.shapes.readout), math.prod(network.shapes.lift))
    if slabs == 1:
        ends = math.prod(network.shapes.readout) + math.prod(network.shapes.lift)
    control = (cells + 1) * -(-rows // width) * columns + -(-ends // width)
    if math.isfinite(section.R_f):
        control += cells * neurons * own
    if math.isfinite(section.R_0):
        control += neurons * own
    gathered = _CELLS * len(network.scheme.abscissae) * rows * columns + ends
    flying = min(own, slabs * (chunk or TILE))
    states = (cells * network.scheme.stages + 1) * (2 * neurons + 1) * flying
    return NUMBER * (_controls(config) * control + gathered + states)


def _controls(config: Config) -> int:
    """Controls that the solver has."""
    return _CONTROLS + (3 * config.solve.memory if config.solve.method == "lmvm" else 0)


def available() -> int:
    """Bytes that this host still has for a process: free memory, or less where there is a limit."""
    bounds = [sum(_kilobytes("MemAvailable")) * 1024]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        bounds.append(limit)
    try:
        most = (_CGROUP / "memory.max").read_text().strip()
        if most != "max":
            bounds.append(int(most) - int((_CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no limit of that kind
    known = [bound for bound in bounds if bound > 0]
    return min(known) if known else 2**62


def share(comm: MPI.Intracomm) -> int:
    """Bytes of :func:`available` for each of the ranks on this host. Collective on ``comm``."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    here = node.size
    node.Free()
    return available() // here


def _kilobytes(name: str) -> list[int]:
    """The entry of ``/proc/meminfo``, if there is one."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return []
    return [int(line.split()[1]) for line in lines if line.startswith(f"{name}:")]


def require_index(config: Config, level: Resolution, comm: MPI.Intracomm) -> None:
    """Refuse a mesh or a kernel on it that cannot fit into memory, before either is assembled.

    Args:
        config: Configuration.
        level: Resolution.
        comm: All ranks.

    Raises:
        InputError: They are too large, with the numbers; or the index cannot be.

    Collective on ``comm``.
    """
    index = make_index(config, level.index)
    if index.is_points:
        return
    copies = 1 if config.network.spread else comm.size
    need, kernel = copies * _NODE * index.nodes, ""
    section, neurons = config.network, index.neurons
    columns = {
        "dense": neurons + 1,
        "antisymmetric": neurons + 1,
        "low_rank": 2 * section.rank + 1,
    }.get(section.coupling)
    if columns is not None:
        need += NUMBER * _controls(config) * (level.cells + 1) * neurons * columns
        kernel = f" with {level.cells + 1} x {neurons} x {columns} weights"
    _compare(
        f"training on a neuron index of {index.nodes:,} nodes{kernel} needs at least",
        need,
        f"take fewer neurons or cells, or another network.coupling than '{section.coupling}'",
        comm,
    )


def require(
    network: Network,
    config: Config,
    samples: int,
    comm: MPI.Intracomm,
    sharded: tuple[int, int] | None = None,
) -> None:
    """Refuse a network that does not fit into memory.

    Every host must have what the ranks on it need; it is assumed to be the same on every rank.

    Args:
        network: The network.
        config: Configuration.
        samples: ``K`` of all ranks.
        comm: All ranks.
        sharded: Slabs x ranks over the samples of sharded weights; none: every rank has all weights.

    Raises:
        InputError: It is too large, with the numbers.

    Collective on ``comm``.
    """
    rows, columns = network.coupling.shape
    weights = f"{network.depth.cells + 1} x {rows} x {columns} of the weights"
    mend = (
        "take fewer neurons or cells, less memory of the solver, or another network.coupling than "
        f"'{config.network.coupling}'"
    )
    if sharded is not None:
        mend = f"take more ranks or another parallel.grid than {sharded[0]}x{sharded[1]}, or {mend[5:]}"
    elif network.index.comm is None and comm.size > 1:
        mend = f"take parallel.weights = 'sharded', or {mend[5:]}"
    _compare(
        f"training {network.shapes.size:,} parameters ({weights}) with "
        f"{network.index.neurons} neurons, {samples} samples and solve.memory = "
        f"{config.solve.memory} needs",
        _total(network, config, samples, comm, sharded),
        mend,
        comm,
    )


def fits(network: Network, config: Config, samples: int, comm: MPI.Intracomm) -> bool:
    """Whether every host has what the ranks on it need with whole weights. As :func:`require`."""
    need, have, _ = _scarcest(_total(network, config, samples, comm, None), comm)
    return need <= have


def _total(
    network: Network,
    config: Config,
    samples: int,
    comm: MPI.Intracomm,
    sharded: tuple[int, int] | None,
) -> int:
    """Bytes on all ranks."""
    if sharded is not None:
        return comm.size * needed_by_a_rank(
            network, config, samples, sharded, config.parallel.chunk
        )
    if network.index.comm is not None:  # each rank has its neurons and all samples
        return comm.size * needed(network, config, samples)
    return needed(network, config, samples, comm.size)


def _scarcest(total: int, comm: MPI.Intracomm) -> tuple[float, int, int]:
    """What ``total`` asks of a host, what it has, and its ranks, where most is lacking. Collective."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    here = node.size
    node.Free()
    need = total * (here / comm.size)
    return max(comm.allgather((need - available(), need, available(), here)))[1:]


def _compare(what: str, total: int, mend: str, comm: MPI.Intracomm) -> None:
    """Raise if a host has less than its ranks' part of ``total`` bytes. Collective on ``comm``."""
    need, have, here = _scarcest(total, comm)
    if need > have:
        ranks = f" of {here} ranks on a host" if here > 1 else ""
        raise InputError(f"{what} {_text(need)}{ranks}, but {_text(have)} are available; {mend}")


def _text(size: float) -> str:
    value, unit = (size / 2**30, "GiB") if size >= 2**28 else (size / 2**20, "MiB")
    return f"{value:,.0f} {unit}" if value >= 100.0 else f"{value:.3g} {unit}"
