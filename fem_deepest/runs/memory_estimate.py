"""How much memory a training needs, said before any of it is allocated.

Numbers of eight bytes, with ``p`` parameters, of which ``q`` are weight field, ``n`` depth cells, ``s``
stages at ``S`` distinct places, ``N`` neurons, ``K`` samples, and ``m`` pairs of the quasi-Newton memory:

* the solver has ``3 m + 15`` controls: three for each pair, and iterate, gradients, directions; a
  control has ``p`` parameters and, with model errors, up to ``(n + 1) N K`` forcings;
* every rank has a copy of the parameters, and of the weight field at the stages the values, their
  products, and the sums of parts of its samples: ``p + 15 S q``;
* every rank has the states of a tile: ``n s (2 N + 1)`` for each of its samples.

For sharded weights see :mod:`fem_deepest.performance.memory`.

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
from fem_deepest.spaces.grid import ranks_on_host

NUMBER = 8  # bytes
_CONTROLS = 15  # of a solver, beside the pairs of its memory
_STAGES = 15  # arrays of the weight field at the stages
_NODE = 1000  # bytes of a node of the index
_MEND = "fewer neurons or cells, less memory of the solver, or another network.coupling than '{}'"
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
    return available() // ranks_on_host(comm)


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


def require(network: Network, config: Config, samples: int, comm: MPI.Intracomm) -> None:
    """Refuse a network that does not fit into memory, every rank having all of its weights.

    Every host must have what the ranks on it need; it is assumed to be the same on every rank.

    Args:
        network: The network.
        config: Configuration.
        samples: ``K`` of all ranks.
        comm: All ranks.

    Raises:
        InputError: It is too large, with the numbers.

    Collective on ``comm``.
    """
    mend = _MEND.format(config.network.coupling)
    if network.index.comm is None and comm.size > 1:
        mend = f"parallel.weights = 'sharded', or {mend}"
    _require(network, config, samples, _total(network, config, samples, comm), mend, comm)


def require_sharded(
    network: Network, config: Config, samples: int, comm: MPI.Intracomm, grid: str, need: float
) -> None:
    """Refuse a network that does not fit with sharded weights. As :func:`require`.

    Args:
        network: The network.
        config: Configuration.
        samples: ``K`` of all ranks.
        comm: All ranks.
        grid: Name of the process grid.
        need: Bytes of a rank.
    """
    mend = _MEND.format(config.network.coupling)
    mend = f"more ranks or another parallel.grid than {grid}, or {mend}"
    _require(network, config, samples, comm.size * int(need), mend, comm)


def _require(
    network: Network, config: Config, samples: int, total: int, mend: str, comm: MPI.Intracomm
) -> None:
    rows, columns = network.coupling.shape
    weights = f"{network.depth.cells + 1} x {rows} x {columns} of the weights"
    _compare(
        f"training {network.shapes.size:,} parameters ({weights}) with "
        f"{network.index.neurons} neurons, {samples} samples and solve.memory = "
        f"{config.solve.memory} needs",
        total,
        f"take {mend}",
        comm,
    )


def fits(network: Network, config: Config, samples: int, comm: MPI.Intracomm) -> bool:
    """Whether every host has what the ranks on it need with whole weights. As :func:`require`."""
    need, have, _ = _scarcest(_total(network, config, samples, comm), comm)
    return need <= have


def _total(network: Network, config: Config, samples: int, comm: MPI.Intracomm) -> int:
    """Bytes of whole weights on all ranks."""
    if network.index.comm is not None:  # each rank has its neurons and all samples
        return comm.size * needed(network, config, samples)
    return needed(network, config, samples, comm.size)


def _scarcest(total: int, comm: MPI.Intracomm) -> tuple[float, int, int]:
    """What ``total`` asks of a host, what it has, and its ranks, where most is lacking. Collective."""
    here = ranks_on_host(comm)
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
