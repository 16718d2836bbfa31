"""Precision annealing: continuation of many minimisers from small to large precision of the model.

At a small ``R_f`` the data are fitted and the model ignored; the minimiser there is followed up the
ladder ``R_f = R_f0 alpha^beta``. Each rung starts from the tangent predictor

    u(R') = u(R) + log(R'/R) du/dlog R,      A'' du/dlog R = - d(dA/du)/dlog R,

one more linear solve, and is corrected by Newton's method. An adaptive ladder divides a rung where
the corrector needs many steps, and joins what it has divided where it does not, path by path.

A random start is white noise in depth, which the model hardly feels at a small ``R_f``. Its first few
steps are taken at the precision where model and measurements curve the action alike, if that is
larger; they leave a path that is smooth on the scale of the cells.

J. Ye, D. Rey, N. Kadakia, M. Eldridge, U. I. Morone, P. Rozdeba, H. D. I. Abarbanel, J. C. Quinn,
Systematic variational method for statistical nonlinear state and parameter estimation, Phys. Rev. E
92 (2015) 052901, doi:10.1103/PhysRevE.92.052901.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.annealing.search import Batch
from fem_deepest.solve.paths.bounds import Bounds
from fem_deepest.solve.paths.newton import NewtonPaths, PathResult

Array = NDArray[np.float64]

KINDS = ("iterations", "evaluations", "hessians", "factorisations")  # of work
_EASY = 8  # steps of the corrector up to which the predictor was a success
_ON_THE_WAY = 16  # most steps within a rung
_SMOOTHING = 5  # first steps of a cold start
_FINEST = 1.0 / 8.0  # smallest part of a rung


def random_starts(bounds: Bounds, numbers: NDArray[np.int64], seed: int) -> Array:
    """Starts uniform between finite bounds, (b, size); a path has its own stream of numbers.

    Raises:
        InputError: A bound is infinite.
    """
    if not (np.isfinite(bounds.lower).all() and np.isfinite(bounds.upper).all()):
        raise InputError("random starts are uniform between the bounds, but a bound is infinite")
    width = bounds.upper - bounds.lower
    draws = [np.random.default_rng([seed, int(number)]).random(width.size) for number in numbers]
    return bounds.lower + width * np.array(draws)


class After(Protocol):
    """Something that is done to the ends of a rung, such as a search with noise."""

    def __call__(
        self,
        result: PathResult,
        rung: int,
        numbers: NDArray[np.int64],
        asked: Callable[[], bool],
    ) -> PathResult:
        """Ends at the same precision that are no worse.

        Args:
            result: The ends, and the work so far.
            rung: Number of the rung.
            numbers: Numbers of the starts, (B,).
            asked: Whether to leave.

        Raises:
            Interrupted: It was asked to leave.
        """


class Annealing:
    """Annealing of batches of paths; a batch is one task and knows nothing of the others.

    Args:
        newton: Newton's method on the action.
        ladder: The precisions, all finite.
        predictor: Whether a rung starts from the tangent predictor.
        after: What is done to the ends of a rung before the next begins, see :class:`After`.

    Raises:
        InputError: The last precision is infinite.

    Nothing here is collective: ranks take different batches. What a path ends at depends on the
    batch it is in by rounding only, and on nothing else.
    """

    def __init__(
        self,
        newton: NewtonPaths,
        ladder: Ladder,
        *,
        predictor: bool = True,
        after: After | None = None,
    ) -> None:
        if ladder.exact:
            raise InputError(
                "the state form needs a finite R_f and cannot climb a last rung with 1/R_f = 0; take the "
                "saddle or the forcing form"
            )
        self.newton, self.ladder, self.predictor, self.after = newton, ladder, predictor, after
        self._asked: Callable[[], bool] = lambda: False

    def climb(self, batch: Batch, asked: Callable[[], bool] = lambda: False) -> Iterator[Batch]:
        """Finish one rung after the other, in place; yields after each.

        Args:
            batch: Where to go on.
            asked: Whether to leave; asked between Newton's steps.

        Raises:
            Interrupted: It was asked to leave; the batch is that of the last finished rung.
            NumericalFailure: The action of a start is not finite.
        """
        precisions = self.ladder.precisions
        while batch.rung < self.ladder.rungs:
            last = precisions[batch.rung - 1] if batch.rung else None
            result = self.rung(batch.u, last, precisions[batch.rung], asked)
            if self.after is not None:
                result = self.after(result, batch.rung, batch.numbers, asked)
            p = result.parts
            record = np.stack([p.action, p.measurement, p.model, p.prior], axis=1)
            work = np.stack([getattr(result, kind) for kind in KINDS], axis=1)
            batch.finish(result.u, record, result.converged, work)
            yield batch

    def rung(
        self, u: Array, last: float | None, R_f: float, asked: Callable[[], bool] = lambda: False
    ) -> PathResult:
        """Minimisers at ``R_f``, from those at the precision ``last`` or, without, from cold starts.

        Raises:
            Interrupted: It was asked to leave.
            NumericalFailure: The action of a start is not finite.
        """
        self._asked = asked
        return self._first(u, R_f) if last is None else self._rung(u, last, R_f)

    def _first(self, u: Array, R_f: float) -> PathResult:
        """Minimisers at the first precision, from cold starts."""
        paths = self.newton.paths
        t, h = paths.defects.transcription, paths.defects.steps
        slopes = float(np.mean(t.weights @ t.derivative**2))
        balance = self.newton.unit / (2.0 * slopes * float(np.mean(paths.model_weights / h**2)))
        if balance <= R_f:
            return self.newton.minimise(u, R_f, cold=True, asked=self._asked)
        smooth = self.newton.minimise(
            u, balance, cold=True, iterations=_SMOOTHING, asked=self._asked
        )
        result = self.newton.minimise(smooth.u, R_f, asked=self._asked)
        both = {kind: getattr(smooth, kind) + getattr(result, kind) for kind in KINDS}
        return replace(result, **both)

    def _rung(self, u: Array, R_f: float, R_next: float) -> PathResult:
        """From the minimisers at one precision to those at the next."""
        many, u = u.shape[0], u.copy()
        rung = np.log(R_next / R_f)
        place, step = np.zeros(many), np.full(many, 1.0)
        parts, converged = np.empty((4, many)), np.zeros(many, dtype=bool)
        work = np.zeros((4, many), dtype=np.int64)
        live = np.arange(many)
        while live.size:
            target = np.minimum(place[live] + step[live], 1.0)
            at, to = (R_f * np.exp(rung * s) for s in (place[live], target))
            most = np.full(live.size, self.newton.iterations)
            if self.ladder.adaptive:
                # Where a failure can be mended by a smaller step it must not cost much, and a point
                # within a rung is on the way: only the rung itself has to be reached.
                most[target < 1.0] = min(_ON_THE_WAY, self.newton.iterations)
                most[step[live] > _FINEST] = _EASY
            result = self.newton.minimise(
                self.predict(u[live], at, to), to, iterations=most, asked=self._asked
            )
            reached: NDArray[np.bool_] = np.ones(live.size, dtype=bool)
            if self.ladder.adaptive:
                reached = result.converged | (step[live] <= _FINEST)
                easy = result.converged & (result.iterations <= _EASY)
                step[live] *= np.where(easy, 2.0, np.where(reached, 1.0, 0.5))
            done = live[reached]
            u[done], place[done] = result.u[reached], target[reached]
            converged[done] = result.converged[reached]
            p = result.parts
            parts[:, done] = np.stack([p.action, p.measurement, p.model, p.prior])[:, reached]
            work[:, live] += np.stack([getattr(result, kind) for kind in KINDS])
            if self.predictor:
                # The predictor takes Hessian and factors at the old point, and looks at two values.
                work[1:, live] += np.array([[2], [1], [1]])
            live = live[place[live] < 1.0]
        return PathResult(u, type(p)(*parts), converged, *work)

    def predict(self, u: Array, R_f: Array, R_next: Array) -> Array:
        """Tangent predictor where it exists and lowers the action, else the old point."""
        if not self.predictor:
            return u
        newton, paths = self.newton, self.newton.paths
        arrow, free = newton.factorise(u, R_f)
        tangent = -arrow.solve(np.where(free, paths.by_precision(u, R_f), 0.0))
        trial = newton.bounds.project(u + np.log(R_next / R_f)[:, None] * tangent)
        trial = np.where(arrow.positive[:, None] & np.isfinite(trial), trial, u)
        with np.errstate(over="ignore", invalid="ignore"):
            better = paths.value(trial, R_next).action < paths.value(u, R_next).action
        return np.where(better[:, None], trial, u)
