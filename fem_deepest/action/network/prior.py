"""The prior ``1/2 <u, P u>`` of a control, which is also the metric of the space.

On the weight field, whose rows and columns are finite-element factors (of the dense coupling, ``V_S`` and
``V_S`` with one point for the bias), it is the H1 precision in all directions,

    P = lambda [ (kappa^2 M_t + K_t) (x) M_r (x) M_c + ell^2 M_t (x) (K_r (x) M_c + M_r (x) K_c) ].

A readout ``[C | c]`` has rows that are plain outputs and columns in ``V_S`` with one point, a lift
``[E | e]`` rows in ``V_S`` and plain columns: both have ``lambda (M_r (x) M_c + ell^2 (...))``. The
forcings have the model-error precisions ``R_f h_i M_S / K`` and ``R_0 M_S / K``, ``M_S`` lumped.

A field of amplitude one that varies over a length ``d`` of the index costs ``lambda (kappa^2 + ell^2 /
d^2)`` in place of ``lambda kappa^2``: the correlation length along the index is ``ell/kappa``, as it is
``1/kappa`` in depth. With ``ell = 0`` neurons have nothing to do with each other; with ``ell > 0``
roughness that only the mesh can show is dear, and minimisers are smooth functions of the index. Points
have no neighbours, and there ``ell`` does nothing.

Draws are white along the index for ``ell = 0``. For ``ell > 0`` they are smoother, but no functions in
the limit: in two dimensions or more, depth and index together, the inverse of an H1 precision has no
finite trace, and what has a limit are integrals of a draw against smooth functions.

All of it is inverted exactly, see :class:`.SeparablePrecision` for kernels and :class:`.SparsePrecision`
for parameters that are functions of one point of the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.root import Numbered
from fem_deepest.network.network import Network
from fem_deepest.spaces import ControlSpace, Parameters
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.separable import SeparablePrecision
from fem_deepest.spaces.sparse_precision import SparsePrecision
from fem_deepest.spaces.spread_elliptic import SpreadPrecision

Array = NDArray[np.float64]
Operation = Callable[[SeparablePrecision], Callable[[Array, Array], None]]


class Prior:
    """Precision ``P`` of the control, with its inverse.

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
        space: ControlSpace,
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
        # A kernel has N^2 numbers, and modes of the index no more; else all of it has to be O(N).
        both = rows.has_stiffness and columns.has_stiffness
        precision: type[SeparablePrecision] = SeparablePrecision if both else SparsePrecision
        if network.index.comm is not None:
            precision = SpreadPrecision
        self.field = precision(
            (
                zeroth * mass[0] + strength * stiffness[0],
                zeroth * mass[1] + strength * stiffness[1],
            ),
            (along * mass[0], along * mass[1]) if ell else None,
            rows,
            columns,
        )
        one, none = np.ones(1), np.empty(0)
        here, beside = (strength * one, none), (along * one, none) if ell else None
        V, shapes = network.index.factor, network.shapes
        outputs = Factor.plain(shapes.readout[0])
        self.readout = precision(here, beside, outputs, network.readout.columns)
        self.lift = precision(here, beside, V, Factor.plain(shapes.lift[1]))
        weights = network.index.weights
        self._model = np.multiply.outer(network.depth.steps, model * weights / samples)[..., None]
        self._initial = (initial * weights / samples)[:, None]

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

    def on_parameters(self, a: Parameters, b: Parameters) -> None:
        """``b = P a`` on parameters alone, of one network or of several side by side. Not collective."""
        self._each(attrgetter("apply"), a, b)

    def solve_parameters(self, a: Parameters, b: Parameters) -> None:
        """``b = P^{-1} a``, the inverse of :meth:`on_parameters`. Not collective."""
        self._each(attrgetter("solve"), a, b)

    def root_parameters(self, a: Parameters, b: Parameters) -> None:
        """``b = R a``, as :meth:`inverse_root`. Not collective."""
        self._each(attrgetter("inverse_root"), a, b)

    def _each(self, operation: Operation, a: Parameters, b: Parameters) -> None:
        for precision, source, target in self._parts(a, b):
            operation(precision)(source, target)

    def _parts(
        self, a: Parameters, b: Parameters
    ) -> Iterator[tuple[SeparablePrecision, Array, Array]]:
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
        if space.grid.owner:
            self._each(operation, space.parameters(source), space.parameters(target))
        if not space.has_forcings:
            return
        for tile in range(len(space.tiles)):
            (a0, xi), (b0, image) = (space.forcing(x, tile) for x in (source, target))
            if a0.size:
                scaling(a0, self._initial**power, out=b0)
            if xi.size:
                scaling(xi, self._model**power, out=image)
