"""What an evaluation of the action of a network consists of, as numbers alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Self

from fem_deepest.network.coupling.dense import Kernel
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import Scheme
from fem_deepest.performance.machine import NUMBER, Machine

TURNS = 10  # of the fixed-point iteration of an implicit stage to rounding; about


@dataclass(frozen=True)
class Workload:
    """Sizes of a network, its samples and its solver.

    Attributes:
        cells: Depth cells ``n``.
        neurons: ``N``.
        rows: Rows of the parameters of the coupling at a depth node.
        columns: Columns.
        inputs: ``d``.
        outputs: Number of outputs.
        samples: ``K``.
        scheme: Depth scheme.
        linear_lift: Whether the lift is trained.
        linear_readout: Whether the readout is trained.
        products: Whether the coupling is made of dense products, else of sums over its columns.
        initial: Whether there is a forcing of the input.
        forced: Whether there are forcings in depth.
        mixed: Whether the prior smooths along the neuron index (``ell > 0``).
        memory: Pairs of the quasi-Newton method.
    """

    cells: int
    neurons: int
    rows: int
    columns: int
    inputs: int
    outputs: int
    samples: int
    scheme: Scheme
    linear_lift: bool = False
    linear_readout: bool = True
    products: bool = True
    initial: bool = False
    forced: bool = False
    mixed: bool = False
    memory: int = 20

    @classmethod
    def of(
        cls,
        network: Network,
        samples: int,
        *,
        memory: int = 20,
        initial: bool = False,
        forced: bool = False,
        mixed: bool = False,
    ) -> Self:
        """The workload of a network on so many samples. Not collective."""
        rows, columns = network.coupling.shape
        return cls(
            cells=network.depth.cells,
            neurons=network.index.neurons,
            rows=rows,
            columns=columns,
            inputs=network.inputs,
            outputs=network.outputs,
            samples=samples,
            scheme=network.scheme,
            linear_lift=network.linear_lift,
            linear_readout=network.linear_readout,
            products=isinstance(network.coupling, Kernel | LowRank),
            initial=initial,
            forced=forced,
            mixed=mixed,
            memory=memory,
        )

    def with_sizes(self, *, cells: int | None = None, samples: int | None = None) -> Self:
        """The same with another depth, or with other samples."""
        return replace(self, cells=cells or self.cells, samples=samples or self.samples)

    @property
    def node(self) -> int:
        """Parameters of the coupling at a depth node."""
        return self.rows * self.columns

    @property
    def readout(self) -> tuple[int, int]:
        """Shape of the readout."""
        return (self.outputs if self.linear_readout else 0), self.neurons + 1

    @property
    def lift(self) -> tuple[int, int]:
        """Shape of the lift."""
        return self.neurons, (self.inputs + 1 if self.linear_lift else 0)

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return (self.cells + 1) * self.node + prod(self.readout) + prod(self.lift)

    @property
    def forcings(self) -> int:
        """Forcings of a sample."""
        return self.neurons * (self.cells * self.forced + self.initial)

    @property
    def slots(self) -> int:
        """Points of a cell where the scheme needs the parameters."""
        return len(self.scheme.abscissae)

    @property
    def stored(self) -> int:
        """Numbers that a forward sweep keeps of a sample in a cell: ``[X; 1]`` and ``sigma``."""
        return self.scheme.stages * (2 * self.neurons + 1)

    def flops(self, products: int = 3) -> float:
        """Operations of the products of an evaluation; a gradient has three for each stage."""
        turns = 1 + _implicit(self) * TURNS / self.scheme.stages
        stages = self.cells * self.scheme.stages
        return 2.0 * products * turns * stages * self.node * self.samples


@dataclass(frozen=True)
class Sweep:
    """Seconds of a core on a workload.

    Attributes:
        workload: Sizes.
        machine: Constants.
        stream: Bytes/s that the core reads, as others leave them.
    """

    workload: Workload
    machine: Machine
    stream: float

    def forward(self, width: float) -> float:
        """A cell and ``width`` samples forward.

        For each stage a product, the activation, and the sums of the stage and of the end of the step.
        """
        w, m = self.workload, self.machine
        numbers, s = w.neurons * width, w.scheme.stages
        seconds = (s + _implicit(w) * TURNS) * self._product(width)
        seconds += (s + _implicit(w) * TURNS) * (m.call + numbers * m.sigma)
        sums = 2 * _entries(w.scheme.a) + 2 * s + (s - 1) + 5 * _implicit(w) * TURNS
        sums += 3 * s * w.forced
        # What is kept is written once, and read by the memory before that.
        return seconds + m.passes(numbers, sums) + 2.0 * NUMBER * w.stored * width / self.stream

    def backward(self, width: float) -> float:
        """The same cell and samples backward: for each stage two products and the sums."""
        w, m = self.workload, self.machine
        numbers, s = w.neurons * width, w.scheme.stages
        seconds = (s + _implicit(w) * TURNS) * self._product(width) + s * self._outer(width)
        sums = 2 * _entries(w.scheme.a) + 5 * s + 5 * _implicit(w) * TURNS + 3 * s * w.forced
        seconds += m.passes(numbers, sums) + self.vectors(w.node, 3 * s)
        return seconds + NUMBER * w.stored * width / self.stream

    def tangent(self, width: float) -> float:
        """The same cell and samples along a direction: for each stage two products and the sums."""
        w, m = self.workload, self.machine
        numbers, s = w.neurons * width, w.scheme.stages
        seconds = (2 * s + _implicit(w) * TURNS) * self._product(width)
        sums = 2 * _entries(w.scheme.a) + 7 * s + 5 * _implicit(w) * TURNS
        return seconds + m.passes(numbers, sums) + 3.0 * NUMBER * w.stored * width / self.stream

    def second_adjoint(self, width: float, exact: bool = True) -> float:
        """The derivative of backward along it: two products for each stage, of the exact one four."""
        w, m = self.workload, self.machine
        numbers, s = w.neurons * width, w.scheme.stages
        each = 2 if exact else 1
        seconds = (each * s + _implicit(w) * TURNS) * self._product(width)
        seconds += each * s * self._outer(width)
        sums = 2 * _entries(w.scheme.a) + (14 if exact else 7) * s + 5 * _implicit(w) * TURNS
        seconds += m.passes(numbers, sums) + self.vectors(w.node, 6 * s)
        return seconds + 2.0 * NUMBER * w.stored * width / self.stream

    def enter(self, width: float) -> float:
        """Lift of ``width`` samples: a product each way where it is trained."""
        w = self.workload
        seconds = self.machine.passes(w.neurons * width, 2)
        if w.linear_lift:
            seconds += 2.0 * self._matmul(w.neurons, w.inputs + 1, width)
        return seconds

    def leave(self, width: float) -> float:
        """Readout, loss and their adjoint, of ``width`` samples."""
        w = self.workload
        seconds = 3.0 * self._matmul(w.outputs, w.neurons + 1, width)
        return seconds + self.machine.passes(w.outputs * width, 12) + 40.0 * self.machine.call

    def vectors(self, numbers: float, reads: float) -> float:
        """``reads`` passes over vectors of so many numbers, from memory."""
        return reads * (self.machine.call + NUMBER * numbers / self.stream)

    def _product(self, width: float) -> float:
        w, m = self.workload, self.machine
        if w.products:
            return self._matmul(w.rows, w.columns, width)
        return m.passes(w.neurons * width, 2 * w.columns)

    def _outer(self, width: float) -> float:
        w = self.workload
        if not w.products:
            return self._product(width)
        return self.machine.outer(w.rows, w.columns, width, self.stream)

    def _matmul(self, rows: int, columns: int, width: float) -> float:
        return self.machine.product(rows, columns, width, self.stream)


def _implicit(workload: Workload) -> int:
    """Number of implicit stages."""
    return sum(1 for j, row in enumerate(workload.scheme.a) if row[j] != 0.0)


def _entries(a: tuple[tuple[float, ...], ...]) -> int:
    """Number of entries below the diagonal."""
    return sum(1 for j, row in enumerate(a) for value in row[:j] if value)
