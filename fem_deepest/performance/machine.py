"""A machine as the performance model sees it: a handful of rates of cores, nodes and network.

A core multiplies matrices at ``flops``. The product of a matrix (r, c) with ``k`` samples, and the sum of
``k`` outer products, take

    call + 2 r c k / flops + r c max(packing, 8 / stream),    call + 2 r c k / flops + 8 r c / stream:

both slow where ``k`` is small, since the matrix is brought into the order of the kernel, or written. All
ranks of a node share ``node_stream`` and, to other nodes, ``node_link``; ranks beyond the cores share
these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from fem_deepest.configuration.section import Count, Positive, Section, read, validate
from fem_deepest.errors import InputError

NUMBER = 8  # bytes


class Machine(Section):
    """Constants of nodes of one kind; the tables of a node file have these keys."""

    name: str = Field(description="what it is called")
    source: str = Field(description="where the numbers come from")
    cores: Count = Field(description="cores of a node, one rank each")
    nodes: Annotated[int, Field(ge=0)] = Field(
        default=0, description="number of nodes; 0: as many as the ranks take"
    )
    memory: Positive = Field(description="memory of a node, bytes")
    flops: Positive = Field(description="speed of a core in wide products of matrices, 1/s")
    stream: Positive = Field(description="speed at which a core reads memory, bytes/s")
    node_stream: Positive = Field(description="the same for all cores of a node together")
    packing: Positive = Field(
        description="an entry of a matrix before it is multiplied, s, see above"
    )
    call: Positive = Field(description="start of an operation on arrays, s")
    passing: Positive = Field(description="a sum or product of a number in the cache, s")
    sigma: Positive = Field(description="the activation of a number, s")
    latency: Positive = Field(description="a message to a rank of the same node, s")
    link: Positive = Field(description="speed of such a message, bytes/s")
    inside: Positive = Field(description="speed of all messages within a node together, bytes/s")
    node_latency: Positive = Field(description="a message to another node, s")
    node_link: Positive = Field(description="speed of all messages into a node together, bytes/s")
    overlap: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        description="part of the gathers and reductions that goes on behind the computation"
    )
    node_aware: bool = Field(
        default=False, description="whether what all ranks of a node gather comes into it once"
    )

    def product(self, rows: int, columns: int, width: float, stream: float) -> float:
        """Seconds of a product of a matrix with ``width`` samples."""
        entry = max(self.packing, NUMBER / stream)
        return self.call + rows * columns * (2.0 * width / self.flops + entry)

    def outer(self, rows: int, columns: int, width: float, stream: float) -> float:
        """Seconds of a sum of ``width`` outer products."""
        return self.call + rows * columns * (2.0 * width / self.flops + NUMBER / stream)

    def passes(self, numbers: float, count: float) -> float:
        """Seconds of ``count`` sums or products of arrays in the cache."""
        return count * (self.call + numbers * self.passing)


@dataclass(frozen=True)
class Placement:
    """Ranks on the nodes of a machine, neighbours in rank on the same node.

    Attributes:
        machine: The machine.
        ranks: Number of ranks.

    Raises:
        InputError: The machine has nodes for fewer ranks than it needs to have one core each, and is
            no single node (whose ranks would share the cores).
    """

    machine: Machine
    ranks: int

    def __post_init__(self) -> None:
        m = self.machine
        if m.nodes > 1 and self.ranks > m.nodes * m.cores:
            raise InputError(
                f"{self.ranks} ranks were asked for on {m.nodes} nodes '{m.name}' of {m.cores} cores; "
                f"take at most {m.nodes * m.cores} ranks"
            )

    @property
    def here(self) -> int:
        """Ranks on a node."""
        m = self.machine
        return self.ranks if m.nodes == 1 else min(self.ranks, m.cores)

    @property
    def nodes(self) -> int:
        """Nodes in use."""
        return ceil(self.ranks / self.here)

    @property
    def stream(self) -> float:
        """Bytes/s that a rank reads while all others read."""
        m = self.machine
        return min(m.stream, m.node_stream / min(self.here, m.cores))

    @property
    def link(self) -> float:
        """Bytes/s that a rank receives within a node while all others do."""
        m = self.machine
        return min(m.link, m.inside / min(self.here, m.cores))

    def slower(self, active: float) -> float:
        """How much longer a rank takes while ``active`` ranks of a node compute.

        Ranks stay on their cores, and all wait for the core that has most of them.
        """
        return float(max(1, ceil(active / self.machine.cores - 1e-9)))

    def point(self, size: float, apart: int) -> float:
        """Seconds of a message of ``size`` bytes from every rank to the one ``apart`` ranks on."""
        m = self.machine
        if self.nodes == 1:
            return m.latency + size / self.link
        leaving = min(apart, self.here)
        return m.node_latency + size / min(m.link, m.node_link / leaving)

    def collective(self, size: float, width: int) -> float:
        """Seconds of a gather or a reduce-scatter of ``size`` bytes in all over ``width`` ranks.

        Neighbours in rank, all such groups at once. Every rank has a message from every other one.
        """
        m, inside = self.machine, min(width, self.here)
        if width == 1:
            return 0.0
        seconds = (inside - 1) * m.latency + size * (1.0 - 1.0 / width) / self.link
        between = ceil(width / inside)
        if between > 1:
            seconds += (width - inside) * m.node_latency
            copies = 1 if m.node_aware else inside
            seconds += copies * size * (1.0 - 1.0 / between) / m.node_link
        return seconds

    def reduction(self, count: float = 1.0) -> float:
        """Seconds of ``count`` sums of a few numbers over all ranks."""
        if self.ranks == 1:
            return 0.0
        m = self.machine
        steps = ceil(log2(min(self.ranks, self.here))) * m.latency
        return 2.0 * count * (steps + ceil(log2(self.nodes)) * m.node_latency)


def node(source: str | Path | Mapping[str, Any] | Machine, known: Mapping[str, Machine]) -> Machine:
    """A machine by name, from a TOML file, or of a mapping of the same keys. Not collective.

    Args:
        source: Name of a known machine, or a file.
        known: Machines by name.

    Raises:
        InputError: Neither a known name nor a file, or a file that does not say what it should.
    """
    if isinstance(source, Machine):
        return source
    if isinstance(source, str) and source in known:
        return known[source]
    if not isinstance(source, Mapping) and not Path(source).is_file():
        raise InputError(
            f"--node got '{source}', expected 'this', one of {', '.join(known)}, or a TOML file of a node "
            "(fem-deepest plan --save writes one)"
        )
    values, fields = read(source), Machine.model_fields
    missing = [key for key, field in fields.items() if field.is_required() and key not in values]
    filled = {key: "" if fields[key].annotation is str else 1 for key in missing}
    machine = validate(Machine, filled | values)  # says first which keys there are not
    if missing:
        raise InputError(
            f"the node {source} lacks {', '.join(missing)}; give all constants (fem-deepest plan --save "
            "writes a file to begin with)"
        )
    return machine
