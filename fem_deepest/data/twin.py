"""Twin experiments: data made by a network, to be explained by another one.

Two generators of ``l`` layers on ``N`` neurons. The published one, ``x <- sigmoid(W x)`` with weights
``U(-0.1, 0.1)``, is that of the example ``nnet_twin`` of varanneal (P. Rozdeba) for Abarbanel, Rozdeba,
Shirman, "Machine learning: deepest learning as statistical data assimilation problems", Neural
Computation 30 (2018), doi:10.1162/neco_a_01094. It contracts: after a dozen layers nothing is left of
the input. The other one, ``x <- x + h (tanh(W x + b) - x/4)`` with antisymmetric ``W``, nearly keeps
distances, at any depth.

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

NEURONS = 10
NOISE = 0.005  # of both twins, in inputs and outputs
SETS = {"train": 43650832, "validation": 69856438, "test": 78943689}
_WEIGHTS, _LAYERS = 17439860, 99
_PUBLISHED_CLIP = (1e-4, 0.9999)
DEPTH = 4.0  # of the twin that keeps distances


@dataclass(frozen=True)
class Twin:
    """Pairs of a twin experiment.

    Attributes:
        inputs: Noisy inputs, (M, N).
        outputs: Noisy outputs, (M, N).
        clean: Outputs without noise, (M, N).
        spread: Standard deviation over the pairs in every layer, the root mean square over the
            neurons, (l + 1,).
    """

    inputs: Array
    outputs: Array
    clean: Array
    spread: Array


def published(pairs: int, name: str = "train") -> Twin:
    """The published twin, number for number (NumPy's legacy generator is frozen).

    Args:
        pairs: ``M``; a smaller set is a prefix of a larger one.
        name: "train", "validation" or "test".

    Raises:
        InputError: No pairs, or no set of that name.
    """
    _check(pairs, name)
    weights = np.random.RandomState(_WEIGHTS)
    layers = [(2.0 * weights.rand(NEURONS, NEURONS) - 1.0) / 10.0 for _ in range(_LAYERS)]
    random = np.random.RandomState(SETS[name])
    inputs, outputs, clean = (np.empty((pairs, NEURONS)) for _ in range(3))
    states = np.empty((_LAYERS + 1, pairs, NEURONS))
    for m in range(pairs):
        y = random.randn(NEURONS)
        states[0, m] = (y - y.mean()) / y.std()
        for i, matrix in enumerate(layers):
            states[i + 1, m] = expit(matrix @ states[i, m])
        clean[m] = states[-1, m]
        inputs[m] = states[0, m] + NOISE * random.randn(NEURONS)
        outputs[m] = np.clip(clean[m] + NOISE * random.randn(NEURONS), *_PUBLISHED_CLIP)
    return Twin(inputs, outputs, clean, _spread(states))


def isometric(pairs: int, layers: int, name: str = "train", seed: int = 0) -> Twin:
    """A twin that does not forget: ``x' = tanh(W(t) x + b(t)) - x/4`` by ``l`` Euler steps to ``T = 4``.

    ``W`` is antisymmetric, so that it neither contracts nor expands (Haber, Ruthotto 2018,
    doi:10.1088/1361-6420/aa9a90), and P1 in depth on 5 nodes, so that networks of different ``l`` are
    discretisations of one another.

    Args:
        pairs: ``M``; a smaller set is a prefix of a larger one.
        layers: ``l``.
        name: "train", "validation" or "test".
        seed: Seed of the weights.

    Raises:
        InputError: No pairs, no layers, or no set of that name.
    """
    _check(pairs, name)
    if layers < 1:
        raise InputError(f"a twin got {layers} layers, expected at least one")
    random = np.random.default_rng(seed)
    knots = random.standard_normal((5, NEURONS, NEURONS + 1))
    matrix = knots[..., :-1] - knots[..., :-1].transpose(0, 2, 1)
    knots = np.concatenate([matrix / np.sqrt(NEURONS), 0.3 * knots[..., -1:]], axis=2)
    h = DEPTH / layers
    data = np.random.default_rng(SETS[name])
    draws = data.standard_normal((pairs, 3, NEURONS))
    states = np.empty((layers + 1, pairs, NEURONS))
    states[0] = draws[:, 0]
    for i in range(layers):
        place = 4.0 * i / layers
        left = min(int(place), 3)
        theta = (left + 1 - place) * knots[left] + (place - left) * knots[left + 1]
        x = states[i]
        states[i + 1] = x + h * (np.tanh(x @ theta[:, :-1].T + theta[:, -1]) - 0.25 * x)
    inputs = states[0] + NOISE * draws[:, 1]
    outputs = states[-1] + NOISE * draws[:, 2]
    return Twin(inputs, outputs, states[-1].copy(), _spread(states))


def plateau(outputs: Array, precision: float) -> float:
    """``R_m sum (y - mean_m y)^2 / (2 N M)``: the action of a constant predictor.

    Args:
        outputs: ``y``, (M, N).
        precision: ``R_m``.
    """
    return float(0.5 * precision * np.mean((outputs - outputs.mean(axis=0)) ** 2))


def _spread(states: Array) -> Array:
    return np.asarray(np.sqrt(states.var(axis=1).mean(axis=1)))


def _check(pairs: int, name: str) -> None:
    if pairs < 1:
        raise InputError(f"a twin got {pairs} pairs, expected at least one")
    if name not in SETS:
        raise InputError(f"a twin got the set '{name}', expected one of {tuple(SETS)}")
