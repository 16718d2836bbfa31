"""What an ensemble of weights predicts of some samples, and how well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.replicas import Replicas
from fem_deepest.data import DataSet
from fem_deepest.network.loss import softmax
from fem_deepest.runs.model import Problem
from fem_deepest.runs.sampling import Table
from fem_deepest.sample.predictive import (
    QUANTILES,
    cdf,
    class_scores,
    quantile,
    regression_scores,
    reliability,
)

Array = NDArray[np.float64]

_TOGETHER = 64  # networks that predict side by side
_WATCHED = 6  # samples whose predictions are judged for convergence
_FINE = 201  # inputs of a band


class Predictions:
    """Predictive distributions of ensembles of weights (S, n).

    Args:
        problem: Data with their scalings.
        replicas: The network.
        shown: What is predicted.
        part: What that is: "train", "test" or "fresh".

    Nothing here is collective.
    """

    def __init__(self, problem: Problem, replicas: Replicas, shown: DataSet, part: str) -> None:
        self.problem, self.replicas, self.shown, self.part = problem, replicas, shown, part

    @property
    def sigma(self) -> Array:
        """Deviation of the noise of the targets in their units, (outputs,)."""
        return self.problem.targets.scale / np.sqrt(self.problem.config.action.R_m)

    def curves(self, weights: Array, inputs: Array) -> Array:
        """Predictions (S, K, outputs) without noise, or the mean probabilities (1, K, C)."""
        outputs = self._outputs(weights, inputs)
        if not self.shown.is_classification:
            return np.concatenate(list(outputs))
        total: Array = np.zeros((len(inputs), self.shown.outputs))
        for p in outputs:
            total += p.sum(axis=0)
        return total[None] / len(weights)

    def watched(self, weights: Array) -> Array:
        """Of a few samples the first output, or the probability of the right class: (S, few)."""
        where = np.linspace(0, self.shown.samples - 1, min(_WATCHED, self.shown.samples))
        few = self.shown.take(where.round().astype(np.int64))
        column = few.targets if few.is_classification else 0
        outputs = self._outputs(weights, few.inputs)
        return np.concatenate([y[:, np.arange(few.samples), column] for y in outputs])

    def _outputs(self, weights: Array, inputs: Array) -> Iterator[Array]:
        """Values in the units of the targets, or probabilities, (s, K, outputs), block by block."""
        z, targets = self.problem.inputs.apply(inputs).T, self.problem.targets
        for a in range(0, len(weights), _TOGETHER):
            y = self.replicas.output(weights[a : a + _TOGETHER], z)
            if self.shown.is_classification:
                yield np.array([softmax(one).T for one in y])
            else:
                yield np.swapaxes(y, 1, 2) * targets.scale + targets.mean

    def _numbers(self) -> Array:
        """Targets of a regression, (K, outputs)."""
        return np.asarray(self.shown.targets, dtype=np.float64)

    def findings(self, ensembles: Mapping[str, Array]) -> tuple[dict[str, float], Table]:
        """Scores of "point" and "posterior" by the names of metrics, and all predictions."""
        shown, metrics = self.shown, dict[str, float]()
        both = {name: self.curves(w, shown.inputs) for name, w in ensembles.items()}
        for name, curves in both.items():
            if shown.is_classification:
                scores = class_scores(curves[0], shown.targets.astype(np.int64))
            else:
                scores = regression_scores(curves, self.sigma, self._numbers())
            metrics |= {f"{self.part}_{key}_{name}": value for key, value in scores.items()}
        return metrics, self._table(both)

    def _table(self, both: Mapping[str, Array]) -> Table:
        shown = self.shown
        if shown.classes is not None:
            names = [f"{kind} {c}" for kind in both for c in shown.classes]
            rows = np.concatenate([curves[0] for curves in both.values()], axis=1)
            right = [shown.classes[int(label)] for label in shown.targets]
            table = [[c, *row] for c, row in zip(right, rows.tolist(), strict=True)]
            return ["class", *names], table
        point, draws = both["point"][0], both["posterior"]
        head, columns = list(shown.columns), [*shown.inputs.T]
        bands = [quantile(draws, self.sigma, p) for p in QUANTILES]
        deviation = np.sqrt(draws.var(axis=0) + self.sigma**2)
        for j in range(shown.outputs):
            mark = str(j + 1) if shown.outputs > 1 else ""
            head += [f"target{mark}", f"point{mark}", f"mean{mark}", f"deviation{mark}"]
            head += [f"q{100 * p:02.0f}{mark}" for p in QUANTILES]
            parts = [self._numbers(), point, draws.mean(axis=0), deviation, *bands]
            columns += [part[:, j] for part in parts]
        return head, np.column_stack(columns).tolist()

    def figures(self, ensembles: Mapping[str, Array]) -> dict[str, Any]:
        """``calibration``, and for one input and one output the bands: ``predictive``."""
        from fem_deepest.figures import posterior as draw  # Matplotlib; see Study.figures

        shown, made = self.shown, dict[str, Any]()
        both = {name: self.curves(w, shown.inputs) for name, w in ensembles.items()}
        if shown.is_classification:
            labels = shown.targets.astype(np.int64)
            bins = {name: reliability(curves[0], labels) for name, curves in both.items()}
            made["calibration"] = draw.reliability(bins, f"{shown.samples} {self.part} samples")
            return made
        seen = self._numbers()
        below = {name: cdf(curves, self.sigma, seen) for name, curves in both.items()}
        made["calibration"] = draw.coverage(below)
        if shown.features == shown.outputs == 1:
            train = self.problem.training_set
            ends = np.concatenate([train.inputs, shown.inputs])
            x = np.linspace(ends.min(), ends.max(), _FINE)
            curves = {name: self.curves(w, x[:, None])[..., 0] for name, w in ensembles.items()}
            learnt = train.inputs[:, 0], np.asarray(train.targets, dtype=np.float64)[:, 0]
            other = None if self.part == "train" else (shown.inputs[:, 0], seen[:, 0])
            sigma = float(self.sigma[0])
            made["predictive"] = draw.bands(x, curves, sigma, learnt, other, self.part)
        return made
