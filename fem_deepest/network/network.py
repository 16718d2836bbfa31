"""A network of continuous depth: lift, flow, readout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.network.activation import Activation
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.coupling.protocol import Coupling
from fem_deepest.network.flow import Flow
from fem_deepest.network.readout import Readout
from fem_deepest.network.scheme import Scheme
from fem_deepest.network.variation import Variation
from fem_deepest.spaces import DepthMesh, NeuronSpace, Parameters, Shapes
from fem_deepest.spaces.grid import TILE as TILE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Network:
    """``x(0) = lift(z)``, ``x' = -a x + sigma(B(theta(t); [x; 1]))``, ``y = readout(x(T))``.

    Attributes:
        depth: Depth mesh.
        index: Neuron index.
        scheme: Depth scheme.
        activation: ``sigma``.
        inputs: Number of inputs ``d`` of the data.
        outputs: Number of outputs.
        leak: ``a``.
        linear_lift: ``x(0) = E z + e`` with trained ``E, e``; else ``x(0) = (z, 0)``, zero-padded.
        linear_readout: ``y = C M_S x(T) + c`` with trained ``C, c``; else ``y`` is the first neurons.
        coupling: ``B``; without one it is the dense coupling ``W_h x + b`` of the index.
        enter: ``x(0) = enter z`` in place of padding, (N, d): a projection, see :mod:`.pixels`.
        leave: ``y = leave x(T)`` in place of the first neurons, (outputs, N): cell means.
    """

    depth: DepthMesh
    index: NeuronSpace
    scheme: Scheme
    activation: Activation
    inputs: int
    outputs: int
    leak: float = 0.0
    linear_lift: bool = False
    linear_readout: bool = True
    coupling: Coupling = None  # type: ignore[assignment]
    enter: Array | None = None
    leave: Array | None = None
    _flows: dict[tuple[int, ...], Flow] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _variations: dict[int, Variation] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        n = self.index.neurons
        if self.coupling is None:
            object.__setattr__(self, "coupling", Dense(self.index))
        if self.coupling.neurons != n:
            raise InputError(
                f"the coupling is one of {self.coupling.neurons} neurons, but the index has {n}; make "
                "both of the same index"
            )
        if self.index.comm is not None:
            self._check_spread()
        if self.enter is None and not self.linear_lift and n < self.inputs:
            raise InputError(
                f"{n} neurons cannot hold {self.inputs} inputs by zero-padding; take at least "
                f'{self.inputs} neurons or lift = "linear"'
            )
        if self.leave is None and not self.linear_readout and n < self.outputs:
            raise InputError(
                f"{n} neurons cannot show {self.outputs} outputs; take at least {self.outputs} "
                'neurons or readout = "linear"'
            )

    def _check_spread(self) -> None:
        """Refuse what an index that is spread over ranks cannot have."""
        if self.coupling.comm is None:
            raise InputError(
                "the neuron index is spread over ranks, but its coupling is not; take the local or the "
                "elliptic coupling of that index"
            )
        if any(row[j] for j, row in enumerate(self.scheme.a)):
            raise InputError(
                "an implicit scheme was asked for on a neuron index that is spread over ranks, whose "
                "stages are solved on one rank; take an explicit scheme ('euler', 'rk2', 'rk4')"
            )
        padded = self.enter is None and not self.linear_lift
        if padded or (self.leave is None and not self.linear_readout):
            raise InputError(
                "the first neurons of an index that is spread over ranks were asked for as "
                f"{'inputs' if padded else 'outputs'}, which belong to one rank; take 'linear' or "
                "'project'"
            )

    @property
    def shapes(self) -> Shapes:
        """Shapes of the parameters."""
        n = self.index.neurons
        return Shapes(
            theta=(self.depth.cells + 1, *self.coupling.shape),
            readout=self.readout.shape,
            lift=(n, self.inputs + 1 if self.linear_lift else 0),
        )

    @cached_property
    def readout(self) -> Readout:
        """The readout."""
        return Readout(
            self.index.factor, self.outputs, self.linear_readout, self.leave, self.index.comm
        )

    def stage_parameters(self, theta: Array) -> Array:
        """Effective parameters of the coupling where a step needs them, (n, S, rows, columns).

        For a dense coupling these are the matrices ``[W_h | b]``.
        """
        return self.depth.at_stages(self.scheme.abscissae, self.coupling.effective(theta))

    def stage_parameters_transposed(self, stages: Array, out: Array) -> None:
        """Transpose of :meth:`stage_parameters`, written to ``out`` (n + 1, rows, columns)."""
        out[...] = 0.0
        self.depth.at_stages_transposed(self.scheme.abscissae, stages, out)
        self.coupling.effective_transposed(out)

    def bias(self, theta: Array) -> Array:
        """``z`` of a state that vanishes, (..., N), of effective parameters (..., rows, columns)."""
        lead, n = theta.shape[:-2], self.index.neurons
        full, z = np.zeros((*lead, n + 1, 1)), np.empty((*lead, n, 1))
        full[..., -1, :] = 1.0
        self.coupling.value(theta, full, z, self.coupling.buffers(1, lead))
        return z[..., 0]

    def flow(self, width: int, lead: tuple[int, ...] = ()) -> Flow:
        """Sweeps for tiles of ``width`` samples, see :class:`.Flow`; made once for each width."""
        key = (*lead, width)
        if key not in self._flows:
            self._flows[key] = Flow(
                self.depth.steps,
                self.coupling,
                width,
                self.scheme,
                self.activation,
                self.leak,
                lead,
            )
        return self._flows[key]

    def variation(self, width: int) -> Variation:
        """Second variation of :meth:`flow`, see :class:`.Variation`; made once for each width."""
        if width not in self._variations:
            self._variations[width] = Variation(self.flow(width))
        return self._variations[width]

    def lift(self, parameters: Parameters, z: Array) -> Array:
        """``x(0)``, shape (..., N, K), of the inputs ``z``, shape (d, K) or (..., d, K)."""
        if self.linear_lift:
            return parameters.lift[..., :-1] @ z + parameters.lift[..., -1:]
        if self.enter is not None:
            x = self.enter @ z
            return np.broadcast_to(x, np.broadcast_shapes(x.shape, (*parameters.lead, 1, 1))).copy()
        x = np.zeros((*parameters.lead, self.index.neurons, z.shape[-1]))
        x[..., : self.inputs, :] = z
        return x

    def read(self, parameters: Parameters, x: Array) -> Array:
        """Output ``y``, shape (..., outputs, K), of the last states ``x``, shape (..., N, K)."""
        return self.readout.value(parameters, x)

    def output(self, parameters: Parameters, z: Array) -> Array:
        """Outputs (..., outputs, K) of the inputs ``z`` (d, K). Not collective."""
        return np.concatenate([y for _, y in self._sweep(parameters, z, False)], axis=-1)

    def states(self, parameters: Parameters, z: Array) -> Array:
        """States at all depth nodes, (n + 1, ..., N, K), of the inputs ``z`` (d, K). Not collective."""
        return np.concatenate([x for x, _ in self._sweep(parameters, z, True)], axis=-1)

    def _sweep(self, parameters: Parameters, z: Array, keep: bool) -> Iterator[tuple[Array, Array]]:
        theta = self.stage_parameters(parameters.theta)
        for start in range(0, max(z.shape[1], 1), TILE):
            x = self.lift(parameters, z[:, start : start + TILE])
            nodes = np.empty((self.depth.cells + 1, *x.shape)) if keep else np.empty(0)
            flow = self.flow(x.shape[-1], parameters.lead)
            flow.forward(theta, x, nodes=nodes if keep else None)
            yield nodes, self.read(parameters, x)
