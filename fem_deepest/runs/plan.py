"""What a training will cost, and the grid it is best dealt out on, from its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from mpi4py import MPI

from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError
from fem_deepest.performance.choose import Estimate, fitting
from fem_deepest.performance.machine import Machine
from fem_deepest.performance.workload import Workload
from fem_deepest.runs.auto_grid import make_workload
from fem_deepest.runs.network import make_network
from fem_deepest.runs.train import open_data
from fem_deepest.spaces import Resolution


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
    found = fitting(workload, machine, ranks, weights=weights, width=width)
    return Plan(workload, machine, ranks, found, weights, width)


def planned_workload(
    config: Config,
    *,
    samples: int | None = None,
    inputs: int | None = None,
    outputs: int | None = None,
    comm: MPI.Intracomm = MPI.COMM_WORLD,
) -> Workload:
    """The workload of the finest level, of the data or of the sizes that are given in their place.

    Args:
        config: Configuration.
        samples: Training samples; with ``inputs`` and ``outputs`` the data are not read.
        inputs: Numbers of an input.
        outputs: Numbers of an output.
        comm: Ranks that read the data.

    Raises:
        InputError: Wrong data, or a network that does not fit them, or whose neurons are spread.

    Collective on ``comm``.
    """
    if config.network.spread:
        raise InputError(
            "network.spread deals out the neurons over the ranks, expected samples or slabs of the depth, "
            "which are what a plan is about; leave spread out"
        )
    for name, value in (("samples", samples), ("inputs", inputs), ("outputs", outputs)):
        if value is not None and value < 1:
            raise InputError(f"--{name} is {value}, expected at least one; or leave it out")
    if samples is None or inputs is None or outputs is None:
        train, _ = open_data(config, comm)
        samples = train.samples if samples is None else samples
        inputs = train.features if inputs is None else inputs
        outputs = train.outputs if outputs is None else outputs
    network = make_network(config, inputs, outputs, Resolution(*config.levels[-1]))
    return make_workload(network, config, samples)
