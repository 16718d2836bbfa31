"""Action written in UFL on a DOLFINx mesh whose first coordinate is the depth.

    A(u) = int L(t, u, u') + Phi_0(u(0)) + Phi_T(u(T)) + further terms,

with the Euler-Lagrange residual and the second variation from ``ufl.derivative``. End conditions:

* *natural*: say nothing; the momentum ``dL/du'`` vanishes at that end;
* *soft* or *background*: an end-point term, such as ``R_m/2 |x - y|^2`` or ``1/2 |x - x_b|^2 / s^2``;
* *clamped*: the unknown, or a component, keeps the values it has;
* *periodic*: the dofs at ``t = T`` are those at ``t = 0``.

An unknown may vary in depth or be *constant*, that is a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.form import wellposed
from fem_deepest.action.form.cells import FormLoads, by_cells
from fem_deepest.action.form.functional import Functional
from fem_deepest.action.form.riesz import RieszMap
from fem_deepest.spaces.axis import END, START, DepthAxis, points_of
from fem_deepest.spaces.constrained import Clamped, ConstrainedSpace, components

__all__ = ["Clamped", "Ends", "FormAction"]

Scalar = Any  # a UFL expression of shape ()


class Ends(NamedTuple):
    """Terms at the two ends, each a scalar UFL expression or none.

    Attributes:
        start: ``Phi_0``, integrated over the side ``t = 0`` (on an interval: taken there).
        end: ``Phi_T``, likewise at ``t = T``.
    """

    start: Scalar | None = None
    end: Scalar | None = None


class FormAction:
    """Action of one or several unknown functions; fulfils :class:`fem_deepest.action.protocol.Action`.

    The free unknowns are one PETSc vector; clamped dofs are not among them. The mesh is distributed
    over its communicator. All forms are compiled once, when first needed. The time for that grows with
    the number of components: for many samples, or many neurons with dense coupling, take
    :class:`fem_deepest.action.network.action.NetworkAction`.

    Args:
        L: Lagrangian density, a scalar UFL expression of the unknowns; ``x.dx(0)`` is ``dx/dt``.
        unknowns: Functions, all on one mesh. Their values are the start (:meth:`pack`) and the
            clamped values; solvers do not change them, :meth:`unpack` does.
        ends: End-point terms.
        clamped: Conditions that hold exactly.
        periodic: Identify ``t = T`` with ``t = 0`` for all unknowns.
        constant: Unknowns that have one value everywhere: parameters. They cannot be clamped too.
        terms: Further terms, a UFL form with measures of its own: a prior that has to be integrated
            exactly, observations on interior facets.
        metric: Positive definite quadratic density (or form) in the unknowns whose second derivative
            is ``P``; by default ``1/2 (|u|^2 + |grad u|^2)``. It is integrated exactly.
        points: Gauss points in the depth of a cell; by default the highest polynomial degree, which
            makes the method symplectic. On triangles and tetrahedra, where there is no such rule, it
            gives the degree ``2 points``.
        measure: What the Lagrangian is integrated by in place of these Gauss points, see
            :meth:`.DepthAxis.product`.

    Attributes:
        space: Free unknowns.
        axis: Depth axis of the mesh.
        metric: Riesz map ``P``.
        constant: Numbers of the components that are constant.
        field: The unknown that the forms see, clamped values included.
        evaluations: Gradients so far.
        hessians: Hessian products and matrices so far.

    Raises:
        InputError: The Lagrangian or a term is not a scalar, an unknown or a component does not
            appear, the metric is not quadratic or not positive, or no end condition fixes an unknown
            to which a constant can be added (the second variation would be singular everywhere).

    Collective on the mesh: construction and every method.
    """

    def __init__(
        self,
        L: Scalar,
        unknowns: fem.Function | Sequence[fem.Function],
        *,
        ends: Ends | tuple[Scalar | None, Scalar | None] = (None, None),
        clamped: Sequence[Clamped] = (),
        periodic: bool = False,
        constant: Sequence[fem.Function] = (),
        terms: ufl.Form | None = None,
        metric: Scalar | ufl.Form | None = None,
        points: int | None = None,
        measure: ufl.Measure | None = None,
    ) -> None:
        self.unknowns = (unknowns,) if isinstance(unknowns, fem.Function) else tuple(unknowns)
        ends = Ends(*ends)
        wellposed.check_terms(L, self.unknowns, ends, terms)
        domain = self.unknowns[0].function_space.mesh
        self.comm: MPI.Intracomm = domain.comm
        self.axis = DepthAxis(domain)
        points = points or max(points_of(u.function_space) for u in self.unknowns)
        self.points = points
        if len(self.unknowns) == 1:
            space = self.unknowns[0].function_space
            self.field = fem.Function(space)
            names = {self.unknowns[0]: self.field}
        else:
            elements = [u.function_space.ufl_element() for u in self.unknowns]
            space = fem.functionspace(domain, basix.ufl.mixed_element(elements))
            self.field = fem.Function(space)
            names = dict(zip(self.unknowns, ufl.split(self.field), strict=True))
        form = ufl.as_ufl(L) * (self.axis.gauss(points) if measure is None else measure)
        for place, term in zip((START, END), ends, strict=True):
            if term is not None:
                form += ufl.as_ufl(term) * self.axis.end(place, 2 * points)
        if terms is not None:
            form += terms
        # Constrained before anything is compiled: wrong conditions are told at once.
        self._counts = [len(list(components(u.function_space))) for u in self.unknowns]
        places, self.constant = self._numbers(clamped), self._constants(constant, clamped)
        self.space = ConstrainedSpace(space, self.axis, places, periodic, self.constant)
        self._load_unknowns()
        self.space.hold(self.field)
        self._functional = Functional(ufl.replace(form, names), self.field)
        self._reduced: PETSc.Mat | None = None
        self.metric = self._riesz(metric, names)
        self.evaluations = self.hessians = 0
        wellposed.check_conditions(self)
        self.evaluations = 0

    def create(self) -> PETSc.Vec:
        """Zero vector of the free unknowns."""
        return self.space.create()

    def pack(self) -> PETSc.Vec:
        """New vector of the values that the unknown functions have now."""
        v = self.create()
        self._load_unknowns()
        self.space.pick(self.field, v)
        return v

    def unpack(self, u: PETSc.Vec) -> None:
        """Write ``u``, clamped values included, into the unknown functions."""
        self.space.expand(u, self.field)
        for unknown, (whole, part) in zip(self.unknowns, self._pairs, strict=True):
            unknown.x.array[part] = self.field.x.array[whole]

    def value(self, u: PETSc.Vec) -> float:
        """``A(u)``, the same on every rank."""
        self.space.expand(u, self.field)
        return self._functional.value()

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """Euler-Lagrange residual ``g = dA/du``, a dual vector; returns ``A(u)``."""
        self.evaluations += 1
        self.space.expand(u, self.field)
        self.space.restrict(self._functional.gradient(), g)
        return self._functional.value()

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """Second variation ``r = A''(u) d``, a dual vector, without a matrix."""
        self.hessians += 1
        self.space.expand(u, self.field)
        self.space.expand(d, self._functional.direction, homogeneous=True)
        self.space.restrict(self._functional.product(), r)

    def second_variation(self, u: PETSc.Vec) -> PETSc.Mat:
        """``A''(u)`` assembled; the next call overwrites the same matrix."""
        self.hessians += 1
        whole = self.natural(u)
        if self._reduced is None:
            self._reduced = whole.ptap(self.space.injection)
        else:
            whole.ptap(self.space.injection, result=self._reduced)
        return self._reduced

    def natural(self, u: PETSc.Vec) -> PETSc.Mat:
        """``A''(u)`` on the whole space, clamped and identified dofs included."""
        self.space.expand(u, self.field)
        return self._functional.hessian()

    def _numbers(
        self, clamped: Sequence[Clamped]
    ) -> list[tuple[int, str | Callable[[NDArray[np.float64]], NDArray[np.bool_]]]]:
        """Clamped components by their number among all components."""
        chosen = []
        for condition in clamped:
            wellposed.check_clamped(condition, self.unknowns, self._counts)
            own = self._parts(condition.unknown)
            which = own if condition.component is None else [own[condition.component]]
            chosen += [(part, condition.where) for part in which]
        return chosen

    def _constants(self, constant: Sequence[fem.Function], clamped: Sequence[Clamped]) -> list[int]:
        """Numbers of the components of constant unknowns."""
        wellposed.check_constant(constant, self.unknowns, clamped)
        return [part for unknown in constant for part in self._parts(unknown)]

    def _parts(self, unknown: fem.Function) -> range:
        """Numbers of the components of an unknown among all components."""
        i = next(i for i, u in enumerate(self.unknowns) if u is unknown)
        first = sum(self._counts[:i])
        return range(first, first + self._counts[i])

    @cached_property
    def _pairs(self) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """For every unknown the same dofs in the whole field and in the unknown, cell by cell."""
        pairs = []
        for unknown in self.unknowns:
            own = list(components(unknown.function_space))
            whole = [self.space.parts[part] for part in self._parts(unknown)]
            same = [
                [part.dofs[part.space.dofmap.list].ravel() for part in parts]
                for parts in (whole, own)
            ]
            pairs.append((np.concatenate(same[0]), np.concatenate(same[1])))
        return pairs

    def _load_unknowns(self) -> None:
        for unknown, (whole, part) in zip(self.unknowns, self._pairs, strict=True):
            self.field.x.array[whole] = unknown.x.array[part]
        self.field.x.scatter_forward()

    def _riesz(self, metric: Any, names: dict[fem.Function, Any]) -> RieszMap:
        if metric is None:
            u = self.field
            metric = 0.5 * (ufl.inner(u, u) + ufl.inner(ufl.grad(u), ufl.grad(u)))
        form = metric if isinstance(metric, ufl.Form) else metric * ufl.dx(self.axis.domain)
        form = ufl.replace(form, names)
        energy = Functional(form, self.field)
        wellposed.check_metric(energy.second_derivatives, self.field)
        cellwise = by_cells(form, self.field.function_space.ufl_element())
        return RieszMap(
            energy.hessian().ptap(self.space.injection),
            (lambda: FormLoads(form, self.field, self.space)) if cellwise else None,
        )
