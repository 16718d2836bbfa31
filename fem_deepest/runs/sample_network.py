"""The posterior of a trained network, to be sampled, and what it predicts."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest import data
from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.configuration.sample import PosteriorConfig
from fem_deepest.configuration.train import Config
from fem_deepest.data import DataSet
from fem_deepest.errors import InputError, Interrupted
from fem_deepest.io.search import signature
from fem_deepest.io.start import read_start, write_start
from fem_deepest.network.loss import LeastSquares, softmax
from fem_deepest.runs.model import Model, Problem, initial_parameters, make_schedule
from fem_deepest.runs.sample import Table, Values, kernel_maker
from fem_deepest.runs.train import load_data
from fem_deepest.sample.network import NetworkTarget, informed, misfit_curvature, weight_precision
from fem_deepest.sample.predictive import (
    QUANTILES,
    class_scores,
    quantile,
    regression_scores,
    reliability,
)
from fem_deepest.sample.run import Setting
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.spaces import ProcessGrid
from fem_deepest.spaces.tasks import dealt

Array = NDArray[np.float64]

RANK = 500
_TOGETHER = 64  # draws that predict side by side
_MOST = 2000  # draws that the predictions are made of
_WATCHED = 6  # samples whose predictions are judged for convergence


class NetworkPosterior:
    """A :class:`fem_deepest.runs.sample.Sampling` of the weights of a network.

    Args:
        config: The configuration.
        training: That of the network.
        model: The trained network; found by training if None.

    Raises:
        InputError: The data cannot be read, the network has unknown states, its outputs are no
            probabilities, or a key is for paths.
    """

    def __init__(
        self, config: PosteriorConfig, training: Config, model: Model | None = None
    ) -> None:
        section = config.posterior
        if section.R_f is not None:
            raise InputError(
                f"posterior.R_f = {section.R_f:g} is the precision of a path, but this is a network in "
                "the strong constraint; leave it out"
            )
        self.config, self.training, self._trained = config, training, model
        train, test = load_data(training)
        self.problem = Problem.create(training, train, test)
        self.shown, self.part = (train, "train") if test is None else (test, "test")
        if section.fresh is not None:
            self.shown, self.part = _fresh(section.fresh, training, train), "fresh"
        cells = training.network.cells if model is None else model.network.depth.cells
        self.action = self.problem.action(cells, ProcessGrid.create(MPI.COMM_SELF))
        if train.is_classification and isinstance(self.action.loss, LeastSquares):
            raise InputError(
                'action.loss = "least_squares" gives no probabilities of classes; take "cross_entropy"'
            )
        self._replicas = NetworkTarget(self.action).replicas  # refuses unknown states
        self._start: dict[str, Array] | None = None

    @property
    def title(self) -> str:
        """See :class:`Sampling`."""
        train, network = self.problem.train, self.action.network
        return (
            f"{train.name}: {train.samples} training and {self.shown.samples} {self.part} samples; "
            f"{network.index.neurons} neurons, {network.depth.cells} depth cells, "
            f"{network.shapes.size} weights"
        )

    def signature(self) -> dict[str, Any]:
        """See :class:`Sampling`."""
        own = signature(self.training, self.problem.train)
        if self._trained is not None:
            own["checksum of the weights"] = zlib.crc32(self._trained.flat.tobytes())
        return {f"network {key}": value for key, value in own.items()}

    # Start --------------------------------------------------------------------------------------

    def prepare(self, folder: Path, comm: MPI.Intracomm, asked: Callable[[], bool]) -> str:
        """See :class:`Sampling`: train, and see in which directions the data determine the weights."""
        self._start = read_start(folder, comm)
        if self._start is None:
            (self._start,) = dealt([range(1)], lambda _: self._solve(asked), comm)
            write_start(folder, self._start, comm)
        values = self._start["values"]
        return (
            f"start at K A = {self._start['action'][0]:.6g}; the data determine "
            f"{int(np.sum(values > 1.0))} of {self._start['mode'].size} directions, {values.size} kept"
        )

    def _solve(self, asked: Callable[[], bool]) -> dict[str, Array]:
        mode = self._train(asked) if self._trained is None else self._trained.flat
        curvature = misfit_curvature(self.action, mode)
        rank = self.config.posterior.rank or RANK
        vectors, values = informed(curvature, weight_precision(self.action), rank)
        u = self.action.create()
        u.array[...] = mode
        action = self.action.samples * self.action.value(u)
        return {"mode": mode, "vectors": vectors, "values": values, "action": np.full(1, action)}

    def _train(self, asked: Callable[[], bool]) -> Array:
        """The minimiser of the action, on this rank alone."""
        grid = ProcessGrid.create(MPI.COMM_SELF)

        def step(*_: Any) -> None:
            if asked():
                raise Interrupted

        def start(action: NetworkAction) -> PETSc.Vec:
            u = action.create()
            initial_parameters(action.space.parameters(u.array_w), self.training)
            return u

        nested = NestedIteration(
            lambda cells: self.problem.action(cells, grid), make_schedule(self.training), step
        )
        search = nested.begin(start)
        nested.run(search)
        return np.array(search.u.array_r)

    @cached_property
    def setting(self) -> Setting:
        """See :class:`Sampling`."""
        assert self._start is not None, "prepare comes first"
        start = self._start
        T = self.config.posterior.temperature or 1.0
        target = NetworkTarget(self.action, start["mode"], start["vectors"], start["values"], T)

        def parts(v: Array) -> Array:
            found = target.replicas.value(target.weights(v))
            return target.replicas.samples * np.array([found.misfit, found.prior])

        observe = {"weights": lambda v: target.weights(v).T, "parts": parts}
        return Setting(target, kernel_maker(self.config.sampler, target), observe)

    # Draws --------------------------------------------------------------------------------------

    def numbers(self, values: Values) -> dict[str, Array]:
        """See :class:`Sampling`: the parts of ``K A``, and predictions of some samples."""
        shape = values["weights"].shape[:2]
        where = np.linspace(0, self.shown.samples - 1, min(_WATCHED, self.shown.samples))
        few = self.shown.take(where.round().astype(np.int64))
        found = {"misfit": values["parts"][..., 0], "prior": values["parts"][..., 1]}
        for k, one in enumerate(self._predictions(_flat(values), few).T):
            found[f"prediction_{k}"] = np.asarray(one.reshape(shape))
        return found

    def _predictions(self, weights: Array, few: DataSet) -> Array:
        """First output, or probability of the right class, of every draw: (draws, samples)."""
        z = self.problem.inputs.apply(few.inputs).T
        parts = []
        for block in _blocks(weights):
            y = self._replicas.output(block, z)
            if few.is_classification:
                p = np.array([softmax(one) for one in y])
                parts.append(p[:, few.targets, np.arange(few.samples)])
            else:
                parts.append(self._scaled(y)[..., 0])
        return np.concatenate(parts)

    def coordinates(self, values: Values) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """See :class:`Sampling`."""
        axes = {"weight": np.arange(self._replicas.size), "part": np.arange(2)}
        return axes, {"weights": ["weight"], "parts": ["part"]}

    # Predictions --------------------------------------------------------------------------------

    @property
    def sigma(self) -> Array:
        """Deviation of the noise of the targets in their units, (outputs,)."""
        return self.problem.targets.scale / np.sqrt(self.training.action.R_m)

    def curves(self, weights: Array, inputs: Array) -> Array:
        """Predictions (draws, K, outputs) without noise, or the mean probabilities (1, K, C)."""
        z = self.problem.inputs.apply(inputs).T
        outputs = (self._replicas.output(block, z) for block in _blocks(weights))
        if self.shown.is_classification:
            total: Array = np.zeros((self.shown.outputs, len(inputs)))
            for y in outputs:
                total += np.sum([softmax(one) for one in y], axis=0)
            return total.T[None] / len(weights)
        return np.concatenate([self._scaled(y) for y in outputs])

    def _scaled(self, y: Array) -> Array:
        """Outputs (S, outputs, K) as targets (S, K, outputs) in their units."""
        targets = self.problem.targets
        return np.asarray(np.swapaxes(y, 1, 2) * targets.scale + targets.mean)

    def _both(self, values: Values) -> dict[str, Array]:
        assert self._start is not None, "prepare comes first"
        ensembles = {"point": self._start["mode"][None], "posterior": _some(values)}
        return {name: self.curves(w, self.shown.inputs) for name, w in ensembles.items()}

    def findings(self, values: Values) -> tuple[dict[str, float], dict[str, Table]]:
        """See :class:`Sampling`: scores of point estimate and posterior, and all predictions."""
        both, shown, metrics = self._both(values), self.shown, dict[str, float]()
        for name, curves in both.items():
            if shown.is_classification:
                scores = class_scores(curves[0], shown.targets.astype(np.int64))
            else:
                scores = regression_scores(curves, self.sigma, _numbers(shown))
            metrics |= {f"{self.part}_{key}_{name}": value for key, value in scores.items()}
        return metrics, {"predictive.csv": self._table(both)}

    def _table(self, both: dict[str, Array]) -> Table:
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
            parts = [_numbers(shown), point, draws.mean(axis=0), deviation, *bands]
            columns += [part[:, j] for part in parts]
        return head, np.column_stack(columns).tolist()

    def figures(self, values: Values, thin: int) -> dict[str, Any]:
        """``trace`` of the misfit, ``calibration``, and of one input and output the ``predictive``."""
        from fem_deepest.figures import posterior as draw  # Matplotlib; see Study.figures
        from fem_deepest.figures.chains import trace

        parts, shown, both = values["parts"], self.shown, self._both(values)
        iterations = np.arange(1, parts.shape[1] + 1) * thin
        made: dict[str, Any] = {
            "trace": trace(parts[..., 0], iterations, r"$\sum_k \Phi_T$", shown.name)
        }
        if shown.is_classification:
            labels = shown.targets.astype(np.int64)
            bins = {name: reliability(curves[0], labels) for name, curves in both.items()}
            made["calibration"] = draw.reliability(bins, f"{shown.samples} {self.part} samples")
            return made
        made["calibration"] = draw.coverage(both, self.sigma, _numbers(shown))
        if shown.features == shown.outputs == 1:
            train = self.problem.train
            ends = np.concatenate([train.inputs, shown.inputs])
            x = np.linspace(ends.min(), ends.max(), 201)
            assert self._start is not None
            made["predictive"] = draw.bands(
                x,
                self.curves(_some(values), x[:, None])[..., 0],
                self.curves(self._start["mode"][None], x[:, None])[0, :, 0],
                float(self.sigma[0]),
                (train.inputs[:, 0], _numbers(train)[:, 0]),
                (shown.inputs[:, 0], _numbers(shown)[:, 0]) if self.part != "train" else None,
                self.part,
            )
        return made


def _flat(values: Values) -> Array:
    """All draws of the weights, (chains draws, n)."""
    w = values["weights"]
    return w.reshape(-1, w.shape[-1])


def _numbers(shown: DataSet) -> Array:
    """Targets of a regression, (K, outputs)."""
    return np.asarray(shown.targets, dtype=np.float64)


def _some(values: Values) -> Array:
    """Draws for the predictions, evenly taken: more would say nothing that the chains know."""
    w = _flat(values)
    return w[np.linspace(0, len(w) - 1, min(len(w), _MOST)).round().astype(np.int64)]


def _blocks(weights: Array) -> list[Array]:
    return [weights[a : a + _TOGETHER] for a in range(0, len(weights), _TOGETHER)]


def _fresh(path: str, training: Config, train: DataSet) -> DataSet:
    """Samples of a file with the columns and classes of the training part."""
    section = training.data
    kind = "classification" if train.is_classification else "regression"
    fresh = data.load("file", path=path, target=section.target, inputs=section.inputs, kind=kind)
    if (fresh.features, fresh.outputs, fresh.classes) != (
        train.features,
        train.outputs,
        train.classes,
    ):
        raise InputError(
            f"{path} has {fresh.features} inputs and {fresh.outputs} outputs or classes, expected the "
            f"{train.features} and {train.outputs} of {train.name}; give a file with the same columns"
        )
    return fresh
