"""How a training is dealt out over the ranks: shape of the grid, and whole or sharded weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mpi4py import MPI

from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError
from fem_deepest.network.network import Network
from fem_deepest.runs import memory_estimate
from fem_deepest.runs.auto_grid import choose

# Bytes of parameters from which on several ranks share them. A sweep takes some sixteen times as many of
# whole weights on every rank, see `memory_estimate`: a gigabyte.
FEW = 2**26


@dataclass(frozen=True)
class Layout:
    """What ``[parallel]`` comes to.

    Attributes:
        slabs: Slabs of the depth; of a neuron index that is spread over ranks its parts.
        data: Ranks over the samples.
        sharded: Whether each rank has its part of the weights alone.
        chunk: Samples that go through a slab together; 0: from measured costs.
        large: Whether no rank should have all weights, not even at the end.
    """

    slabs: int
    data: int
    sharded: bool
    chunk: int
    large: bool

    @property
    def weights(self) -> str:
        """What every rank has of them: "whole" or "sharded"."""
        return "sharded" if self.sharded else "whole"


def make_layout(
    config: Config, network: Callable[[], Network], samples: int, comm: MPI.Intracomm
) -> Layout:
    """Deal a training out over the ranks as its configuration says, or as its sizes ask for.

    Args:
        config: Configuration.
        network: Makes the network of the last level, its neurons not spread over ranks.
        samples: ``K``.
        comm: All ranks.

    Raises:
        InputError: The grid has another number of ranks, or sharded weights cannot have what is asked
            for.

    Collective on ``comm``.
    """
    section, ranks = config.parallel, comm.size
    shape: tuple[int, int] | None = None
    if section.grid != "auto":
        slabs, width = section.grid.split("x")
        shape = int(slabs), int(width)
    if config.network.spread:
        if shape not in (None, (ranks, 1)) or section.weights == "sharded":
            raise InputError(
                f"parallel.grid = '{section.grid}' and weights = '{section.weights}' were given with "
                f"network.spread = true, which deals out the neurons over {ranks} ranks; take 'auto' for "
                "both, or spread = false"
            )
        return Layout(ranks, 1, False, 0, False)
    if shape is not None and shape[0] * shape[1] != ranks:
        raise InputError(
            f"parallel.grid = '{section.grid}' is for {shape[0] * shape[1]} ranks, but there are {ranks}; "
            f"start mpirun -n {shape[0] * shape[1]}, or take a grid of {ranks}"
        )
    in_depth = 1 if shape is None else shape[0]
    finest = network()
    large = memory_estimate.NUMBER * finest.shapes.size >= FEW
    if section.weights == "whole":
        if in_depth > 1:
            raise InputError(
                f"parallel.grid = '{section.grid}' has {in_depth} slabs of the depth, but parallel"
                f".weights = 'whole' is for one; take grid = '1x{ranks}', or weights = 'sharded'"
            )
        return Layout(1, ranks, False, 0, large)
    what = lacking(config)
    wanted = section.weights == "sharded" or in_depth > 1
    if wanted and what is not None:
        raise InputError(
            f"the weights would be sharded (parallel.grid = '{section.grid}', weights = "
            f"'{section.weights}'), which is not made for {what}, or parallel.weights = 'whole'"
            + (f" with grid = '1x{ranks}'" if in_depth > 1 else "")
        )
    if not wanted and what is None and ranks > 1:
        wanted = large or not memory_estimate.fits(finest, config, samples, comm)
    if not wanted:
        return Layout(1, ranks, False, 0, large)
    if shape is None:
        best = choose(finest, config, samples, comm).layout
        shape = best.slabs, best.data
    return Layout(*shape, True, section.chunk, large)


def lacking(config: Config) -> str | None:
    """What sharded weights are not made for, and what to take in its place; none if all is well."""
    if config.solve.method == "sgd":
        return "solve.method = 'sgd'; take 'lmvm'"
    if config.solve.adapt != "none":
        return f"solve.adapt = '{config.solve.adapt}'; take 'none'"
    if config.search.steps:
        return "a search with noise; take search.steps = 0"
    if config.network.start_readout == "regression":
        return "network.start_readout = 'regression'; take 'zero'"
    return None
