# # Two tables, three models
#
# A network of continuous depth on two small medical data sets that come with scikit-learn: the progression
# of diabetes (442 patients, ten numbers each, a regression) and tumours of the breast (569, thirty numbers
# each, malignant or benign). Does it do better than a linear model, or than the ordinary network of
# scikit-learn? The question is only fair if all of them have the same data, the same scaling, and the same
# chance to be tuned:
#
# * five splits into a training part (80 %) and a test part, the same for all models; inputs and the
#   target of the regression are standardised on the training part;
# * every model has one number to be tuned, the strength $\lambda$ of its quadratic penalty, in the same
#   units: all minimise the mean loss and $\frac\lambda2 |\text{weights}|^2$ (scikit-learn writes
#   $\alpha = K \lambda$, or $C = 1/(K \lambda)$). All have the same five values to choose from;
# * it is chosen on the training part alone: a quarter of that is held back, the model is fitted to the
#   rest, and the $\lambda$ with the smallest mean loss on what was held back is taken (squared error, or
#   minus the logarithm of the probability of the true class). Then the model is fitted to the whole
#   training part. The test part is looked at once;
# * both networks have eight neurons in a layer: `MLP` has one hidden layer, ours is a flow
#   $x' = \tanh(W(t) x + b(t))$ in four layers.
#
# The answer is no: on both tables the means of the three models differ by less than their deviation over
# the splits. These data are nearly linear, and all that a network can do on them is not to do harm, which
# takes a prior and a way to choose its strength.
#
#     docker/run python demos/tables.py

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fem_deepest
from fem_deepest.data import DataSet, Standardiser, load, split
from fem_deepest.figures.style import LINES, MARKERS, styled

Array = NDArray[np.float64]

HELD_BACK = 0.25  # part of the training part that the strength is chosen on
MODELS = ("linear", "MLP", "flow")
DEMOS = Path(__file__).parent


@dataclass(frozen=True)
class Task:
    """A data set with the strengths to choose from.

    Attributes:
        name: Name of the data set and of its configuration.
        score: What the test part is judged by.
        strengths: Values of ``lambda``.
    """

    name: str
    score: str
    strengths: tuple[float, ...]


TASKS = (
    Task("diabetes", "root mean square error", (0.01, 0.03, 0.1, 0.3, 1.0)),
    Task("breast_cancer", "accuracy", (0.001, 0.003, 0.01, 0.03, 0.1)),
)

# ## Three models
#
# Each is a function of a training part, of new inputs and of $\lambda$, and returns predictions for the
# new inputs: numbers, or the probabilities of the classes. It also says whether its solver converged: a
# score of weights on the way is no score of the model, and the table names such fits.


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        predicted: Predictions for the new inputs.
        converged: Whether the solver met its tolerance.
    """

    predicted: Array
    converged: bool


def linear(train: DataSet, inputs: Array, strength: float) -> Fit:
    """Ridge or logistic regression."""
    from sklearn.linear_model import LogisticRegression, Ridge

    scale = Standardiser.fit(train.inputs)
    z, new = scale.apply(train.inputs), scale.apply(inputs)
    if train.is_classification:
        model = LogisticRegression(C=1.0 / (train.samples * strength), max_iter=10_000)
        model.fit(z, train.targets)
        return Fit(np.asarray(model.predict_proba(new)), max(model.n_iter_) < model.max_iter)
    target = Standardiser.fit(train.targets)
    ridge = Ridge(alpha=train.samples * strength).fit(z, target.apply(train.targets))
    return Fit(target.undo(ridge.predict(new).reshape(len(new), -1)), converged=True)


def mlp(train: DataSet, inputs: Array, strength: float) -> Fit:
    """The network of scikit-learn with one hidden layer, by L-BFGS."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    settings = {
        "hidden_layer_sizes": (8,),
        "activation": "tanh",
        "solver": "lbfgs",
        "alpha": train.samples * strength,
        "max_iter": 2000,
        "random_state": 1,
    }
    scale = Standardiser.fit(train.inputs)
    z, new = scale.apply(train.inputs), scale.apply(inputs)
    if train.is_classification:
        classifier = MLPClassifier(**settings).fit(z, train.targets)
        settled = classifier.n_iter_ < classifier.max_iter
        return Fit(np.asarray(classifier.predict_proba(new)), settled)
    target = Standardiser.fit(train.targets)
    network = MLPRegressor(**settings).fit(z, target.apply(train.targets)[:, 0])
    return Fit(target.undo(network.predict(new)[:, None]), network.n_iter_ < network.max_iter)


# Ours is trained by the configuration that is next to this script, on a file with the training part in it.


def flow(train: DataSet, inputs: Array, strength: float) -> Fit:
    """A network of continuous depth: ``demos/NAME.toml`` with other data and another strength."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.npz"
        labels = train.targets
        if train.is_classification:
            assert train.classes is not None
            labels = np.array(train.classes)[train.targets]
        np.savez(path, inputs=train.inputs, targets=labels)
        run = fem_deepest.train(
            DEMOS / f"{train.name}.toml",
            out=Path(folder) / "run",
            settings=[
                "data.name=file",
                f"data.path={path}",
                f"data.kind={'classification' if train.is_classification else 'regression'}",
                "data.test_fraction=0.0",
                f"action.lambda={strength}",
                "output.figures=false",
                "output.fields=false",
            ],
        )
        found = run.predict(inputs)
        if train.is_classification:  # the classes of a file are sorted by name
            assert train.classes is not None and run.model.classes is not None
            found = found[:, [run.model.classes.index(name) for name in train.classes]]
        return Fit(found, run.status == "converged")


FIT = {"linear": linear, "MLP": mlp, "flow": flow}

# ## Tuning and testing


def loss(data: DataSet, predicted: Array) -> float:
    """Mean squared error, or mean of minus the logarithm of the probability of the true class."""
    if data.is_classification:
        likely = predicted[np.arange(data.samples), data.targets]
        return float(-np.mean(np.log(np.maximum(likely, 1e-12))))
    return float(np.mean((predicted - data.targets) ** 2))


def score(data: DataSet, predicted: Array) -> float:
    """Accuracy, or root mean square error."""
    if data.is_classification:
        return float(np.mean(predicted.argmax(axis=1) == data.targets))
    return float(np.sqrt(loss(data, predicted)))


def chosen(
    model: str, train: DataSet, seed: int, strengths: Sequence[float]
) -> tuple[float, list[str]]:
    """The strength with the smallest loss on a quarter of the training part, and fits that failed."""
    rest, held = split(train, HELD_BACK, seed)
    assert held is not None
    fits = [FIT[model](rest, held.inputs, value) for value in strengths]
    failed = [
        f"{model}, split {seed}, tuning with lambda {value:g}"
        for fit, value in zip(fits, strengths, strict=True)
        if not fit.converged
    ]
    return strengths[int(np.argmin([loss(held, fit.predicted) for fit in fits]))], failed


def compare(task: Task, splits: int) -> dict[str, Array]:
    """Scores (splits,) of every model on the test parts."""
    found: dict[str, list[float]] = {model: [] for model in MODELS}
    picked: dict[str, list[float]] = {model: [] for model in MODELS}
    failed: list[str] = []
    for seed in range(splits):
        train, test = split(load(task.name), 0.2, seed)
        assert test is not None
        for model in MODELS:
            strength, unsettled = chosen(model, train, seed, task.strengths)
            fit = FIT[model](train, test.inputs, strength)
            if not fit.converged:
                unsettled.append(f"{model}, split {seed}, lambda {strength:g}: IN THE SCORES ABOVE")
            failed += unsettled
            picked[model].append(strength)
            found[model].append(score(test, fit.predicted))
    scores = {model: np.array(values) for model, values in found.items()}
    report(task, scores, picked, failed)
    return scores


def report(
    task: Task, scores: dict[str, Array], picked: dict[str, list[float]], failed: Sequence[str]
) -> None:
    """Print the scores, the differences to the linear model on the same split, and failed fits."""
    digits = 4 if task.score == "accuracy" else 2
    print(
        f"{task.name}: {task.score} on the test part, mean and deviation of {len(scores['flow'])} splits"
    )
    print("    model    mean +- deviation    minus linear        lambda")
    for model, values in scores.items():
        gap = values - scores["linear"]
        own = f"{values.mean():.{digits}f} +- {spread(values):.{digits}f}"
        other = f"{gap.mean():+.{digits}f} +- {spread(gap):.{digits}f}"
        print(f"    {model:8s} {own:20s} {other:19s} {', '.join(f'{p:g}' for p in picked[model])}")
    print(f"    not converged: {len(failed) or 'none'}")
    for name in failed:
        print(f"        {name}")


def spread(values: Array) -> float:
    """Standard deviation of a sample."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


# ## The figure


@styled
def draw(results: dict[Task, dict[str, Array]]):  # type: ignore[no-untyped-def]
    """Scores of the splits, one line for each, and their means."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    for axes, (task, scores) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        values = np.array([scores[model] for model in MODELS])
        places = np.arange(len(MODELS))
        for number, split_scores in enumerate(values.T):
            axes.plot(places, split_scores, MARKERS[number] + "-", color="0.6", linewidth=1.2)
        for place, colour in zip(places, LINES, strict=False):
            axes.errorbar(
                place,
                values[place].mean(),
                yerr=spread(values[place]),
                fmt="o",
                color=colour,
                markersize=11,
                capsize=7,
                linewidth=2.5,
                zorder=3,
            )
        axes.set_xticks(
            places, ["logistic" if task.score == "accuracy" else "ridge", "MLP", "flow"]
        )
        axes.set_xlim(-0.4, len(MODELS) - 0.6)
        axes.set_ylabel(f"test {task.score}")
        axes.set_title(task.name.replace("_", " ").capitalize())
    return figure


# ## All of it


def main(
    tasks: Sequence[Task] = TASKS, splits: int = 5, out: Path | None = None
) -> dict[str, dict[str, Array]]:
    """Scores of every model on every data set."""
    warnings.filterwarnings("ignore", message="lbfgs failed to converge")
    results = {task: compare(task, splits) for task in tasks}
    if out is not None:
        from fem_deepest.figures import save

        print(save(draw(results), out))
    return {task.name: scores for task, scores in results.items()}


if __name__ == "__main__":
    main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "tables.png"))
