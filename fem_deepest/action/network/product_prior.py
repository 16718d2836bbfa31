"""What a prior is on any layout of the control: operators of field, readout and lift, scaled forcings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.root import Numbered
from fem_deepest.network.network import Network
from fem_deepest.spaces import ControlSpace, Parameters, SlabSpace
from fem_deepest.spaces.factor import Factor

Array = NDArray[np.float64]
Bands = tuple[Array, Array]  # of a symmetric tridiagonal matrix
Product = tuple[Bands, Bands | None, Factor, Factor]  # A, B, rows and columns


class Precision(Protocol):
    """A positive definite ``P`` on arrays (nodes, ..., rows, columns)."""

    @property
    def is_diagonal(self) -> bool:
        """Whether ``P`` is a matrix in depth times a diagonal one."""

    def apply(self, a: Array, out: Array) -> None:
        """``out = P a``."""

    def solve(self, r: Array, out: Array) -> None:
        """``out = P^{-1} r``."""

    def inverse_root(self, z: Array, out: Array) -> None:
        """``out = R z`` with ``R R^T = P^{-1}``."""


P = TypeVar("P", bound=Precision)
S = TypeVar("S", bound=ControlSpace | SlabSpace)
Operation = Callable[[Precision], Callable[[Array, Array], None]]


class ProductPrior(ABC, Generic[P, S]):
    """Precision ``P`` of the control, with its inverse; see :mod:`.network.prior` for the equation.

    Args:
        space: Layout of the control.
        network: Gives depth mesh, coupling and neuron index.
        strength: ``lambda > 0``.
        kappa: ``kappa > 0``, inverse correlation length in depth.
        ell: ``ell >= 0``, length of the smoothing along the neuron index.
        model: ``R_f``; used where the space has forcings.
        initial: ``R_0`` of the soft input condition.
        samples: ``K``.

    Attributes:
        strength: ``lambda``.
        kappa: ``kappa``.
        ell: ``ell``.
        field: ``P`` on the weight field.
        readout: ``P`` on the readout, and ``lift`` on the lift, as fields of one depth node.
    """

    def __init__(
        self,
        space: S,
        network: Network,
        *,
        strength: float,
        kappa: float,
        ell: float,
        model: float,
        initial: float,
        samples: int,
    ) -> None:
        self.space = space
        self.strength, self.kappa, self.ell = strength, kappa, ell
        mass, stiffness = network.depth.mass, network.depth.stiffness
        zeroth, along = strength * kappa**2, strength * ell**2
        rows, columns = network.coupling.rows, network.coupling.columns
        field = (
            zeroth * mass[0] + strength * stiffness[0],
            zeroth * mass[1] + strength * stiffness[1],
        )
        smooth = (along * mass[0], along * mass[1]) if ell else None
        one, none = np.ones(1), np.empty(0)
        here, beside = (strength * one, none), (along * one, none) if ell else None
        V, shapes = network.index.factor, network.shapes
        outputs, inputs = Factor.plain(shapes.readout[0]), Factor.plain(shapes.lift[1])
        self.field, self.readout, self.lift = self._precisions(
            network,
            (field, smooth, rows, columns),
            (here, beside, outputs, network.readout.columns),
            (here, beside, V, inputs),
        )
        weights = network.index.weights
        steps = network.depth.steps[space.cells.start : space.cells.stop]
        self._model = np.multiply.outer(steps, model * weights / samples)[..., None]
        self._initial = (initial * weights / samples)[:, None]

    @abstractmethod
    def _precisions(
        self, network: Network, field: Product, readout: Product, lift: Product
    ) -> tuple[P, P, P]:
        """The operators with these ``A``, ``B``, rows and columns."""

    @property
    def is_diagonal(self) -> bool:
        """Whether ``P`` is a matrix in depth times a diagonal one, and diagonal on all but the field."""
        return all(part.is_diagonal for part in (self.field, self.readout, self.lift))

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``. Collective."""
        self._on(d, r, attrgetter("apply"), np.multiply, 1.0)

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``. Collective."""
        self._on(r, d, attrgetter("solve"), np.divide, 1.0)

    def inverse_root(self, z: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = R z`` with ``R R^T = P^{-1}``. Collective."""
        self._on(z, d, attrgetter("inverse_root"), np.divide, 0.5)

    @property
    def root(self) -> Numbered:
        """``R``, for draws of the prior. Collective."""
        return Numbered.of(self.space.create, self.inverse_root)

    def _each(self, operation: Operation, a: Parameters, b: Parameters) -> None:
        for precision, source, target in self._parts(a, b):
            operation(precision)(source, target)

    def _parts(self, a: Parameters, b: Parameters) -> Iterator[tuple[P, Array, Array]]:
        yield self.field, a.theta, b.theta
        yield self.readout, a.readout[None], b.readout[None]
        yield self.lift, a.lift[None], b.lift[None]

    def _on(
        self,
        a: PETSc.Vec,
        b: PETSc.Vec,
        operation: Operation,
        scaling: Callable[..., object],
        power: float,
    ) -> None:
        """An operation on the parameters, and on the forcings a scaling by a power of their precision."""
        source, target, space = a.array_r, b.array_w, self.space
        if space.has_parameters:
            self._each(operation, space.parameters(source), space.parameters(target))
        if not space.has_forcings:
            return
        for tile in range(len(space.tiles)):
            (a0, xi), (b0, image) = (space.forcing(x, tile) for x in (source, target))
            if a0.size:
                scaling(a0, self._initial**power, out=b0)
            if xi.size:
                scaling(xi, self._model**power, out=image)
