"""The weak-constraint problem: one path of a dynamical system between its model and its observations.

    A(x, w) = 1/2 sum_j R_j (H_j x - y_j)^2 + Phi_0(x(0)) + Phi_T(x(T))
            + sum_cells h sum_r omega_r 1/2 d_r^T R_f d_r + 1/2 <w - w_0, P (w - w_0)>

with the defects ``d_r`` of a transcription, ``d ~ x' - F(x, w)``. The problem is stated once; its
state, saddle and forcing forms are different unknowns for the same minimisation (Y. Tremolet,
Accounting for an imperfect model in 4D-Var, Q. J. R. Meteorol. Soc. 132 (2006),
doi:10.1256/qj.05.224). All terms but the defects are quadratic forms on the cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.paths.prior import PriorByCell, WeightPrior
from fem_deepest.action.weak.ends import EndConditions, Gaussian
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.dynamics import Dynamics
from fem_deepest.dynamics.transcription import Transcription
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WeakProblem:
    """Dynamics, transcription, depth mesh, observations, precisions, prior and end conditions.

    Attributes:
        dynamics: ``F``.
        transcription: Discrete defects.
        mesh: Ends of the cells, (n + 1,).
        observations: What is measured, if anything.
        R_f: Precision of the model: a number or (D,), ``0 < R_f <= inf``; infinite is the strong
            constraint ``d = 0``, which the state form cannot say.
        conditions: End conditions.
        prior: Prior of the weights, if any.
        varying: Whether the weights are P1 in depth.
        precision: ``R_f`` of every component, (D,).

    Raises:
        InputError: Precisions that are not positive, a mesh that does not increase, observations
            off the path, end conditions or a prior of the wrong size, or varying weights without a
            prior.
    """

    dynamics: Dynamics
    transcription: Transcription
    mesh: Array
    observations: Observations | None
    R_f: ArrayLike
    conditions: EndConditions = field(default_factory=EndConditions)
    prior: WeightPrior | None = None
    varying: bool = False
    precision: Array = field(init=False)

    def __post_init__(self) -> None:
        try:
            precision = np.broadcast_to(np.asarray(self.R_f, dtype=np.float64), (self.states,))
        except ValueError:
            raise InputError(
                f"R_f has shape {np.shape(self.R_f)}, expected a number or ({self.states},)"
            ) from None
        if not (precision > 0.0).all():
            raise InputError(f"R_f must be positive (infinity is allowed), got {precision}")
        object.__setattr__(self, "precision", precision)
        object.__setattr__(self, "mesh", np.asarray(self.mesh, dtype=np.float64))
        defects = self.defects()  # refuses a mesh that does not increase
        if self.observations is not None:
            self.observations.on(defects)  # refuses what does not lie on the path
        self.conditions.check(self.states)
        if self.prior is not None:
            self.prior.on(defects)  # refuses what does not have one entry for each weight
        if self.varying and self.loose.any():
            raise InputError(
                "weights that vary in depth are not determined by a path alone; give a prior"
            )

    @property
    def states(self) -> int:
        """``D``."""
        return self.dynamics.states

    @property
    def parameters(self) -> int:
        """``P``."""
        return len(self.dynamics.parameters)

    @property
    def loose(self) -> NDArray[np.bool_]:
        """Weights without a prior, (P,)."""
        strength = 0.0 if self.prior is None else np.asarray(self.prior.strength)
        return np.broadcast_to(strength, (self.parameters,)) == 0.0

    @property
    def cells(self) -> int:
        """``n``."""
        return self.mesh.size - 1

    @property
    def fixed(self) -> Array:
        """Clamped values on all nodes (m, D), NaN where a node is free."""
        nodes = self.cells * (self.transcription.nodes.size - 1) + 1
        return self.conditions.fixed(nodes, self.states)

    def defects(self) -> Defects:
        """Defects on all cells."""
        return Defects(self.dynamics, self.transcription, self.mesh, self.varying)

    def slab(self, first: int, last: int) -> Slab:
        """The terms of the cells ``first <= i < last``."""
        return Slab(self, first, last)


class Slab:
    """The terms of the action that belong to some of the cells.

    Attributes:
        defects: Defects of these cells.
        weight: ``h omega_r`` of every defect, (n, R, 1).
        quadratic: Second derivative of all terms but the model's, (n, L, L).

    Nothing here is collective.
    """

    def __init__(self, problem: WeakProblem, first: int, last: int) -> None:
        self.problem = problem
        mesh, cells = problem.mesh, problem.cells
        self.defects = defects = Defects(
            problem.dynamics, problem.transcription, mesh[first : last + 1], problem.varying
        )
        t, n, states = problem.transcription, last - first, problem.states
        self.weight = (defects.steps[:, None] * t.weights)[..., None]
        self._observed = None
        seen = problem.observations
        if seen is not None:
            cell = np.clip(np.searchsorted(mesh, seen.times, side="right") - 1, 0, cells - 1)
            here = (cell >= first) & (cell < last) & (seen.precision > 0.0).any(axis=1)
            if here.any():
                values = np.where(seen.precision > 0.0, seen.values, np.nan)
                part = Observations(
                    seen.times[here],
                    values[here],
                    list(map(int, seen.components)),
                    seen.precision[here],
                )
                self._observed = part.on(defects)
        conditions = problem.conditions
        self._ends: list[tuple[int, Gaussian]] = []
        if first == 0 and isinstance(conditions.start, Gaussian):
            self._ends.append((0, conditions.start))
        if last == cells and isinstance(conditions.end, Gaussian):
            self._ends.append((-1, conditions.end))
        self._prior: PriorByCell | None = None
        if problem.prior is not None and problem.parameters:
            self._prior = problem.prior.on(defects, 1.0 / cells)
        self.quadratic = self._assemble(n, t.nodes.size, states)

    def _assemble(self, n: int, nodes: int, states: int) -> Array:
        out = np.zeros((n, self.defects.local, self.defects.local))
        cut = nodes * states
        if self._observed is not None:
            block = np.einsum("nabi,ij->naibj", self._observed.local, np.eye(states))
            out[:, :cut, :cut] += block.reshape(n, cut, cut)
        for node, condition in self._ends:
            where = slice(0, states) if node == 0 else slice(cut - states, cut)
            out[node, where, where] += condition.precision
        if self._prior is not None:
            self._prior.add(out[:, cut:, cut:])
        return out

    def terms(self, x: Array, w: Array) -> tuple[dict[str, float], Array, Array]:
        """Measurement, ends and prior at ``x`` (m, D) and ``w``, with the gradients in ``x`` and ``w``."""
        value = {"measurement": 0.0, "ends": 0.0, "prior": 0.0}
        g_x, g_w = np.zeros_like(x), np.zeros_like(w)
        if self._observed is not None:
            residual = self._observed.residual(x[None])
            value["measurement"] = 0.5 * float(self._observed.value(residual)[0])
            g_x += self._observed.gradient(residual, x.shape[1])[0]
        for node, condition in self._ends:
            e = x[node] - condition.z
            force = condition.precision @ e
            value["ends"] += 0.5 * float(e @ force)
            g_x[node] += force
        if self._prior is not None:
            value["prior"] = float(self._prior.value(w))
            force = self._prior.gradient(w)
            if self.defects.varying:
                g_w[:-1] += force[:, : w.shape[1]]
                g_w[1:] += force[:, w.shape[1] :]
            else:
                g_w += force.sum(axis=0)
        return value, g_x, g_w

    def optimality(self, x: Array, w: Array, p: Array, curvature: float = 1.0) -> Array:
        """Cell matrices of the optimality system in the cell's ``(x, w, p)``, (n, L + R D, L + R D).

            [ Q + h omega p . d''    h omega d'^T       ]
            [ h omega d'            -h omega R_f^{-1}   ]

        ``Q`` is the second derivative of the other terms; ``curvature`` scales ``p . d''``.
        """
        _, jacobian = self.defects.linearise(x, w)
        scaled = self.weight[..., None] * jacobian
        n, cut = len(scaled), self.defects.local
        rows = scaled.reshape(n, -1, cut)
        out = np.zeros((n, cut + rows.shape[1], cut + rows.shape[1]))
        out[:, :cut, :cut] = self.quadratic
        if curvature:
            out[:, :cut, :cut] += self.defects.curvature(x, w, curvature * self.weight * p)
        out[:, cut:, :cut] = rows
        out[:, :cut, cut:] = np.swapaxes(rows, 1, 2)
        i = np.arange(cut, out.shape[1])
        out[:, i, i] = -(self.weight / self.problem.precision).reshape(n, -1)
        return out
