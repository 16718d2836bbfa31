"""What a training will cost, and the grid it is best dealt out on, from its configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mpi4py import MPI

from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError
from fem_deepest.network.network import Network
from fem_deepest.performance.calibration import cores_here
from fem_deepest.performance.choose import Estimate, best_grid, estimates
from fem_deepest.performance.machine import Machine
from fem_deepest.performance.presets import PRESETS
from fem_deepest.performance.workload import Workload
from fem_deepest.runs import memory_estimate
from fem_deepest.runs.network import make_network
from fem_deepest.runs.train import load_data
from fem_deepest.spaces import ProcessGrid, Resolution

_HOST = PRESETS["xeon"]  # rates of a host of which only the sizes are known


@dataclass(frozen=True)
class Plan:
    """What the model says of a training on so many ranks.

    Attributes:
        workload: Sizes of the finest level.
        machine: The nodes.
        ranks: Number of ranks.
        estimates: One for each grid, the fastest one that fits first.
        weights: "whole", "sharded", or "auto" for both.
        width: Samples of a chunk; 0: the best of several.
    """

    workload: Workload
    machine: Machine
    ranks: int
    estimates: list[Estimate]
    weights: str = "auto"
    width: int = 0

    @property
    def best(self) -> Estimate:
        """The fastest grid that fits."""
        return self.estimates[0]


def make_plan(
    workload: Workload, machine: Machine, ranks: int, weights: str = "auto", width: int = 0
) -> Plan:
    """The plan of a workload.

    Raises:
        InputError: No grid of so many ranks fits, with what would.

    Not collective.
    """
    best_grid(workload, machine, ranks, weights=weights, width=width)
    found = estimates(workload, machine, ranks, weights=weights, width=width)
    return Plan(workload, machine, ranks, found, weights, width)


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
        coarsest=config.depth_levels[0],
    )


def planned_workload(
    config: Config,
    *,
    samples: int | None = None,
    inputs: int | None = None,
    outputs: int | None = None,
) -> Workload:
    """The workload of the finest level, of the data or of the sizes that are given in their place.

    Args:
        config: Configuration.
        samples: Training samples; with ``inputs`` and ``outputs`` the data are not read.
        inputs: Numbers of an input.
        outputs: Numbers of an output.

    Raises:
        InputError: Wrong data, or a network that does not fit them, or whose neurons are spread.

    Not collective.
    """
    if config.network.spread:
        raise InputError(
            "network.spread deals out the neurons over the ranks, expected samples or slabs of the depth, "
            "which are what a plan is about; leave spread out"
        )
    if samples is None or inputs is None or outputs is None:
        train, _ = load_data(config)
        samples = train.samples if samples is None else samples
        inputs = train.features if inputs is None else inputs
        outputs = train.outputs if outputs is None else outputs
    network = make_network(config, inputs, outputs, Resolution(*config.levels[-1]))
    return make_workload(network, config, samples)


def host(comm: MPI.Intracomm) -> Machine:
    """The hosts of these ranks: cores, memory and number as they are, rates of a known node.

    Nothing is timed, so that the same job gets the same grid every time. Collective on ``comm``.
    """
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    first, here = node.rank == 0, node.size
    node.Free()
    cores = comm.allreduce(cores_here(), op=MPI.MAX)
    if cores == 1:  # bound ranks see their own core alone
        cores = comm.allreduce(here, op=MPI.MAX)
    return _HOST.model_copy(
        update={
            "name": "the hosts of this job",
            "nodes": comm.allreduce(int(first)),
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


def make_grid(estimate: Estimate, comm: MPI.Intracomm) -> ProcessGrid:
    """The process grid of an estimate. Collective on ``comm``."""
    return ProcessGrid.create(comm, depth=estimate.layout.slabs)
