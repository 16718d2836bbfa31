"""Small problems that several tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.network.activation import activation
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.coupling.protocol import Coupling
from fem_deepest.network.loss import CrossEntropy, LeastSquares
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid

Array = NDArray[np.float64]

SCHEMES = ("euler", "rk2", "rk4", "midpoint")
ACTIVATIONS = ("tanh", "sigmoid", "softplus")
SHARPNESS = 3.0  # of softplus; the default of 10 would need finer differences
PRECISION = 2.0  # R_m of the least squares


def neuron_index(kind: str, neurons: int) -> NeuronSpace:
    """Points, P0 on an ``interval``, or P1 on one with the ``lumped`` or ``consistent`` mass."""
    if kind in ("lumped", "consistent"):
        return NeuronSpace.interval(neurons, "P1", kind)
    return {"points": NeuronSpace.points, "interval": NeuronSpace.interval}[kind](neurons)


def p1(nodes: Array) -> tuple[Array, Array]:
    """P1 mass and stiffness by hand."""
    mass, stiffness = np.zeros((2, nodes.size, nodes.size))
    for i, h in enumerate(np.diff(nodes)):
        mass[i : i + 2, i : i + 2] += h / 6 * np.array([[2, 1], [1, 2]])
        stiffness[i : i + 2, i : i + 2] += 1 / h * np.array([[1, -1], [-1, 1]])
    return mass, stiffness


def index_matrices(kind: str, neurons: int) -> tuple[Array, Array]:
    """Mass and stiffness of :func:`neuron_index` by hand; of P0 the fluxes between midpoints."""
    if kind == "points":
        return np.eye(neurons), np.zeros((neurons, neurons))
    if kind == "interval":
        return np.eye(neurons) / neurons, p1((np.arange(neurons) + 0.5) / neurons)[1]
    mass, stiffness = p1(np.linspace(0.0, 1.0, neurons))
    return (np.diag(mass.sum(axis=1)) if kind == "lumped" else mass), stiffness


def network(
    *,
    scheme_name: str = "euler",
    activation_name: str = "tanh",
    leak: float = 0.0,
    lift: str = "pad",
    readout: str = "linear",
    index: str = "points",
    neurons: int = 4,
    inputs: int = 3,
    outputs: int = 3,
    cells: int = 4,
    grading: float = 1.3,
    depth: float = 1.5,
    coupling: Callable[[NeuronSpace], Coupling] = Dense,
) -> Network:
    """Network with few neurons on a graded depth mesh; ``coupling`` makes that of an index.

    See :func:`neuron_index` for ``index``.
    """
    space = neuron_index(index, neurons)
    return Network(
        DepthMesh.graded(depth, cells, grading),
        space,
        scheme(scheme_name),
        activation(activation_name, SHARPNESS),
        inputs,
        outputs,
        leak,
        lift == "linear",
        readout == "linear",
        coupling=coupling(space),
    )


def samples(count: int, inputs: int, outputs: int, loss: str) -> tuple[Array, NDArray]:
    """Random inputs (K, d) and class numbers (K,) or values (K, outputs)."""
    random = np.random.default_rng(3)
    z = random.standard_normal((count, inputs))
    if loss == "cross_entropy":
        return z, random.integers(0, outputs, count)
    return z, random.standard_normal((count, outputs))


def network_action(
    *,
    comm: MPI.Intracomm = MPI.COMM_SELF,
    loss: str = "cross_entropy",
    count: int = 20,
    data: tuple[Array, NDArray] | None = None,
    strength: float = 1e-2,
    kappa: float = 0.7,
    ell: float = 0.0,
    R_f: float = np.inf,
    R_0: float = np.inf,
    **options: Any,
) -> NetworkAction:
    """Action of :func:`network` on random samples, or on ``data``."""
    net = network(**options)
    z, targets = data or samples(count, net.inputs, net.outputs, loss)
    return NetworkAction(
        ProcessGrid.create(comm),
        net,
        CrossEntropy() if loss == "cross_entropy" else LeastSquares(PRECISION),
        z,
        targets,
        strength=strength,
        kappa=kappa,
        ell=ell,
        model_precision=R_f,
        input_precision=R_0,
    )


def random_control(problem: Any, seed: int = 0, scale: float = 0.5) -> PETSc.Vec:
    """Random control that does not depend on the number of ranks: entry ``i`` is drawn ``i``-th."""
    u = problem.create()
    values = np.random.default_rng(seed).standard_normal(u.getSize())
    u.array[...] = scale * values[slice(*u.getOwnershipRange())]
    return u


def dense(apply: Any, problem: Any) -> Array:
    """Matrix of ``apply(d, r)``, column by column. On one rank."""
    d, r = problem.create(), problem.create()
    columns = []
    for i in range(d.getSize()):
        d.array[...] = 0.0
        d.array[i] = 1.0
        apply(d, r)
        columns.append(r.array.copy())
    return np.stack(columns, axis=1)


class Bare:
    """An action that shows nothing but the protocol: no matrix."""

    def __init__(self, action: Any) -> None:
        for name in ("metric", "create", "value", "gradient", "hessian"):
            setattr(self, name, getattr(action, name))


class DiagonalMetric:
    """Riesz map ``P = diag(m)``; ``m`` holds the entries of this rank."""

    def __init__(self, m: Array) -> None:
        self.m = m

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``."""
        r.array[...] = self.m * d.array_r

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``."""
        d.array[...] = r.array_r / self.m


class Quadratic:
    """``A(u) = 1/2 sum_i m_i c_i (u_i - 1)^2 + 3`` with the metric ``diag(m)``; the minimiser is 1.

    In the metric the eigenvalues of ``A''`` are ``c_i``, whatever the scaling ``m``: a good solver
    sees ``c`` alone.

    Args:
        m: Metric.
        c: Curvatures in the metric.
        flat: Give the identity as the metric instead, to show what the metric is good for.
    """

    minimum = 3.0

    def __init__(self, m: Array, c: Array, *, flat: bool = False) -> None:
        self.curvature = m * c
        self.metric = DiagonalMetric(np.ones_like(m) if flat else m)

    def create(self) -> PETSc.Vec:
        """Zero vector."""
        return PETSc.Vec().createMPI((self.curvature.size, PETSc.DETERMINE), comm=MPI.COMM_SELF)

    def value(self, u: PETSc.Vec) -> float:
        """``A(u)``."""
        return float(0.5 * self.curvature @ (u.array_r - 1.0) ** 2 + self.minimum)

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """``g = dA/du``."""
        g.array[...] = self.curvature * (u.array_r - 1.0)
        return self.value(u)

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = A'' d``."""
        r.array[...] = self.curvature * d.array_r


@contextmanager
def petsc_options(**options: Any) -> Iterator[None]:
    """PETSc options for the time of a block; the data base is global to the process."""
    base = PETSc.Options()
    for name, value in options.items():
        base[name] = value
    try:
        yield
    finally:
        for name in options:
            base.delValue(name)
