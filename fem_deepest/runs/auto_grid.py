"""The grid for ``[parallel] grid = "auto"``: the one that the performance model says is fastest."""

from __future__ import annotations

import math

from mpi4py import MPI

from fem_deepest.configuration.train import Config
from fem_deepest.network.network import Network
from fem_deepest.performance.calibration import own_cores
from fem_deepest.performance.choose import Estimate, best_grid
from fem_deepest.performance.layout import Layout
from fem_deepest.performance.machine import Machine
from fem_deepest.performance.presets import PRESETS
from fem_deepest.performance.workload import Workload
from fem_deepest.runs import memory_estimate
from fem_deepest.spaces import ProcessGrid

_HOST = PRESETS["xeon"]  # rates of a host of which only the sizes are known


def make_workload(network: Network, config: Config, samples: int) -> Workload:
    """The workload of a training on a level. Not collective."""
    section = config.action
    return Workload.of(
        network,
        samples,
        memory=config.solve.memory,
        initial=math.isfinite(section.R_0),
        forced=math.isfinite(section.R_f),
        mixed=section.ell > 0.0,
    )


def planned(
    network: Network, config: Config, samples: int, grid: ProcessGrid, width: int
) -> Layout:
    """A training with sharded weights on a process grid, as the model sees it. Not collective.

    Args:
        network: The network.
        config: Configuration.
        samples: ``K``.
        grid: Process grid.
        width: Samples of a chunk.
    """
    return Layout.of_width(make_workload(network, config, samples), *grid.shape, width)


def host(comm: MPI.Intracomm) -> Machine:
    """The hosts of these ranks: cores, memory and number as they are, rates of a known node.

    Nothing is timed, so that the same job gets the same grid every time. Collective on ``comm``.
    """
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    first, here = node.rank == 0, node.size
    # Bound ranks see their own cores alone.
    cores = len(set[int]().union(*node.allgather(own_cores())))
    node.Free()
    nodes = comm.allreduce(int(first))
    if nodes > 1:  # a rank more than there are cores is no reason to refuse a job
        cores = max(cores, here)
    cores = comm.allreduce(cores, op=MPI.MAX)
    return _HOST.model_copy(
        update={
            "name": "the hosts of this job",
            "nodes": nodes,
            "cores": cores,
            "memory": float(comm.allreduce(memory_estimate.available(), op=MPI.MIN)),
        }
    )


def choose(
    network: Network, config: Config, samples: int, comm: MPI.Intracomm, weights: str = "sharded"
) -> Estimate:
    """The grid for ``[parallel] grid = "auto"``: the fastest one that fits, by the model.

    Args:
        network: The network of the level that takes most.
        config: Configuration; its chunk is kept if it gives one.
        samples: ``K`` of all ranks.
        comm: All ranks.
        weights: "whole", "sharded", or "auto" for the faster of them.

    Raises:
        InputError: No grid fits into the memory there is.

    Collective on ``comm``; the same on every rank.
    """
    workload, machine = make_workload(network, config, samples), host(comm)
    return best_grid(workload, machine, comm.size, weights=weights, width=config.parallel.chunk)
