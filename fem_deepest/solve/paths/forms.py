"""Precision annealing in the saddle and the forcing form: path by path, by SNES.

These forms take any ``R_f``, the exact model ``1/R_f = 0`` included. They have no bounds and no means
against random starts far from every minimum, so the first rung, and a rung on which a form loses its
branch, is first minimised in the state form (:mod:`fem_deepest.solve.paths.annealing`). What counts is
where the form itself ends: a point has converged if it is stationary in the form's own unknowns, the
inertia of the last system says that it is a minimum, and it lies within the bounds. A minimum that a
bound holds is left as the state form has found it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.paths.weak import WeakPaths
from fem_deepest.action.weak.determined import check_determined
from fem_deepest.action.weak.forms import Form, make_form
from fem_deepest.action.weak.saddle import SaddleForm
from fem_deepest.errors import InputError, Interrupted, NumericalFailure
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.annealing.search import Batch
from fem_deepest.solve.paths.annealing import Annealing
from fem_deepest.solve.paths.newton import NewtonPaths
from fem_deepest.solve.weak.newton import solve

Array = NDArray[np.float64]
Asked = Callable[[], bool]

FORM_KINDS = ("iterations", "linear", "state_iterations")  # of work
_FEW = 15  # steps in which a form should find the minimiser of the next rung
_OUTSIDE = 1e-9  # of the width between the bounds


@dataclass
class _Rung:
    """Where the paths of a batch stand on a rung."""

    u: Array
    record: Array
    converged: NDArray[np.bool_]
    work: NDArray[np.int64]

    @classmethod
    def at(cls, u: Array) -> _Rung:
        """Nothing is known yet but where the paths are."""
        many, kinds = len(u), len(FORM_KINDS)
        none = np.zeros(many, dtype=bool)
        return cls(u.copy(), np.full((many, 4), np.inf), none, np.zeros((many, kinds), np.int64))


class FormAnnealing:
    """Annealing of batches of paths in the saddle or the forcing form.

    Args:
        newton: Newton's method in the state form.
        ladder: The precisions, the last of which may be infinite.
        form: ``"saddle"`` or ``"forcing"``.
        predictor: Whether a rung starts from the tangent predictor.

    Raises:
        InputError: The form cannot say the problem, or the ladder is adaptive.

    Nothing here is collective: every path is solved on one process.
    """

    def __init__(
        self, newton: NewtonPaths, ladder: Ladder, form: str, *, predictor: bool = True
    ) -> None:
        if ladder.adaptive:
            raise InputError(
                f"an adaptive ladder divides rungs in the state form alone, got form = '{form}'; leave "
                "out anneal.adaptive and take a smaller anneal.alpha"
            )
        self.newton, self.ladder, self.form = newton, ladder, form
        self.weak = WeakPaths(newton.paths)
        finite = replace(ladder, exact=False)
        self._state = Annealing(newton, finite, predictor=predictor)
        make_form(
            form, self.weak.problem(ladder.first), MPI.COMM_SELF
        )  # refuses what it cannot say

    def check(self, u: Array) -> None:
        """Refuse a problem that observations, ends and prior do not determine, as seen at ``u`` (size,).

        Raises:
            InputError: What is not determined.
        """
        check_determined(self.weak.problem(self.ladder.first), *self.newton.paths.path(u))

    def climb(self, batch: Batch, asked: Asked = lambda: False) -> Iterator[Batch]:
        """Finish one rung after the other, in place; yields after each.

        Args:
            batch: Where to go on.
            asked: Whether to leave; asked between Newton's steps.

        Raises:
            Interrupted: It was asked to leave; the batch is that of the last finished rung.
            NumericalFailure: The action of a start is not finite, or the path is not determined.
        """
        precisions = self.ladder.precisions
        while batch.rung < precisions.size:
            R_f = precisions[batch.rung]
            last = precisions[batch.rung - 1] if batch.rung else None
            end = self._rung(batch.u, last, R_f, asked)
            batch.finish(end.u, end.record, end.converged, end.work)
            yield batch

    def _rung(self, u: Array, last: float | None, R_f: float, asked: Asked) -> _Rung:
        """From the minimisers at one precision, or cold starts, to those at the next."""
        form = make_form(self.form, self.weak.problem(R_f), MPI.COMM_SELF)
        end, finite = _Rung.at(u), bool(np.isfinite(R_f))
        lost: NDArray[np.int64] = np.arange(len(u))
        if last is not None:
            if finite:
                end.u = self._state.predict(u, np.full(len(u), last), np.full(len(u), R_f))
            # The momenta have a limit, R_f d -> p, so that those of the last rung are near.
            free = np.flatnonzero(~self._held(u)) if finite else lost
            most = min(_FEW, self.newton.iterations) if finite else self.newton.iterations
            self._solve(form, end, free, self._momenta(u, last), most, asked)
            lost = np.flatnonzero(~end.converged)
        if lost.size and finite:
            self._in_state_form(end, u, lost, last, R_f, asked)
            lost = lost[~self._held(end.u[lost])]
            momenta = self._momenta(end.u, R_f)
            self._solve(form, end, lost, momenta, self.newton.iterations, asked)
        return end

    def _held(self, u: Array) -> NDArray[np.bool_]:
        """Whether a bound holds a path, (b,), clamped values left aside."""
        bounds = self.newton.bounds
        loose = bounds.lower < bounds.upper
        held = ((u <= bounds.lower) | (u >= bounds.upper)) & loose
        return np.asarray(held.any(axis=1))

    def _momenta(self, u: Array, R_f: float) -> Array:
        """``p = R_f d`` of the weak problem, (b, n, R, D)."""
        paths = self.newton.paths
        return self.weak.precision(R_f) * paths.defects.value(*paths.path(u))

    def _in_state_form(
        self,
        end: _Rung,
        u: Array,
        some: NDArray[np.int64],
        last: float | None,
        R_f: float,
        asked: Asked,
    ) -> None:
        """Minimise some paths in the state form."""
        found = self._state.rung(u[some], last, R_f, asked)
        p = found.parts
        end.u[some], end.converged[some] = found.u, found.converged
        end.record[some] = np.stack([p.action, p.measurement, p.model, p.prior], axis=1)
        end.work[some, 2] += found.iterations

    def _solve(
        self,
        form: Form,
        end: _Rung,
        some: NDArray[np.int64],
        momenta: Array,
        iterations: int,
        asked: Asked,
    ) -> None:
        """Newton's method in the form, from ``end.u`` and, in the saddle form, the momenta."""
        paths, bounds = self.newton.paths, self.newton.bounds
        slack = _OUTSIDE * np.where(np.isfinite(bounds.upper), bounds.upper - bounds.lower, 1.0)

        def leave(*_: object) -> None:
            if asked():
                raise Interrupted("asked to leave between two steps of Newton's method")

        for k in some:
            leave()
            x, w = paths.path(bounds.project(end.u[k]))
            if isinstance(form, SaddleForm):
                point = form.pack(x, w, momenta[k])
            else:
                point = form.pack(x, w)
            try:
                outcome = solve(form, point, iterations=iterations, monitor=leave)
            except NumericalFailure:
                end.converged[k] = False
                continue
            except InputError as error:
                raise NumericalFailure(str(error)) from None
            x, w, _ = form.unpack(point)
            point.destroy()
            u = paths.join(x[: paths.shapes[0][0]], w)
            inside = (u >= bounds.lower - slack) & (u <= bounds.upper + slack)
            end.u[k] = u
            end.converged[k] = outcome.converged and outcome.index == 0 and bool(inside.all())
            end.work[k, :2] += outcome.iterations, outcome.linear
            p = form.parts
            # The exact model costs nothing: what the multipliers leave is rounding.
            model = p["model"] if np.isfinite(form.problem.precision).all() else 0.0
            terms = [p["measurement"], model, p["prior"] + p["ends"]]
            end.record[k] = self.weak.factor * np.array([sum(terms), *terms])
