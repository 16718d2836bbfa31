"""An ordinary network: the affine maps, and how they are put together, as plain arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[Any]

_LARGEST = 2**31  # bytes of the weights of all layers


@dataclass(frozen=True)
class OrdinaryNetwork:
    """What a network of ``L`` layers and ``N`` neurons computes, for ``d`` inputs and ``C`` outputs.

    Of the raw inputs ``z``, in the units of the data,

        x = E (z - mean) / scale + e,
        for every layer i = 1..L:
            X_j = x + h_i sum_{l <= j} a_jl k_l,   k_j = sigma(W_ij X_j + b_ij) - leak X_j,  j = 1..s
            x <- x + h_i sum_j b_j k_j,
        y = (C x + c) output_scale + output_mean,

    where ``W_ij`` is the product of ``weights[0][i, slot_j] weights[1][i, slot_j] ...``. A stage with
    ``a_jj > 0`` is implicit; it is unrolled as ``turns_ij`` turns of

        X_j <- ( base + h_i a_jj sigma(W_ij X_j + b_ij) ) / (1 + h_i a_jj leak),

    from ``X_j = base``, the known part of the sum. Of classes, ``y`` are logits and ``softmax(y)`` the
    probabilities.

    Attributes:
        mean: ``(d,)``.
        scale: ``(d,)``.
        lift_weight: ``E``, ``(N, d)``.
        lift_bias: ``e``, ``(N,)``.
        steps: ``h``, ``(L,)``.
        weights: Factors of ``W``, each ``(L, S, ., .)``: one, or two of a kernel of low rank.
        bias: ``b``, ``(L, S, N)``.
        turns: ``(L, s)``, 0 for an explicit stage.
        tableau_a: ``a``, ``(s, s)``.
        tableau_b: ``b`` of the scheme, ``(s,)``.
        slot: Which of the ``S`` weights a stage has, ``(s,)``.
        leak: ``leak``.
        activation: "tanh", "sigmoid" or "softplus", ``log(1 + exp(beta z))/beta``.
        sharpness: ``beta``.
        readout_weight: ``C``, ``(C, N)``.
        readout_bias: ``c``, ``(C,)``.
        output_mean: ``(C,)``, zero for classes.
        output_scale: ``(C,)``, one for classes.
        classes: Names of the classes, or none for regression.
        columns: Names of the inputs.
        origin: Where it comes from, for people.
    """

    mean: Array
    scale: Array
    lift_weight: Array
    lift_bias: Array
    steps: Array
    weights: tuple[Array, ...]
    bias: Array
    turns: NDArray[np.int64]
    tableau_a: Array
    tableau_b: Array
    slot: NDArray[np.int64]
    leak: float
    activation: str
    sharpness: float
    readout_weight: Array
    readout_bias: Array
    output_mean: Array
    output_scale: Array
    classes: tuple[str, ...] | None
    columns: tuple[str, ...]
    origin: str = ""

    @property
    def layers(self) -> int:
        """``L``."""
        return self.steps.size

    @property
    def neurons(self) -> int:
        """``N``."""
        return self.lift_bias.size

    @property
    def stages(self) -> int:
        """``s``."""
        return self.slot.size

    @property
    def parameters(self) -> int:
        """Number of weights and biases, lift and readout included."""
        return sum(array.size for array in self._trained())

    def _trained(self) -> Iterator[Array]:
        yield from (self.lift_weight, self.lift_bias, *self.weights, self.bias)
        yield from (self.readout_weight, self.readout_bias)

    def astype(self, kind: str) -> OrdinaryNetwork:
        """The same with all real arrays of this NumPy type."""
        changed: dict[str, Any] = {"weights": tuple(w.astype(kind) for w in self.weights)}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                changed[item.name] = value.astype(kind)
        return replace(self, **changed)


def check_size(count: int, shape: tuple[int, ...], what: str) -> None:
    """Refuse arrays that are too large, before they are allocated.

    Raises:
        InputError: They are; with their size.
    """
    size = 8 * count * prod(shape)
    if size > _LARGEST:
        raise InputError(
            f"{count} {what} of {' x '.join(map(str, shape))} take {size / 2**30:.1f} GiB, expected at "
            f"most {_LARGEST / 2**30:.0f}; take fewer --layers or --neurons"
        )


def replace_files(contents: Iterable[tuple[Path, bytes]]) -> None:
    """Write files, all of them to temporary names before the first is renamed. Not collective."""
    pairs = []
    try:
        for path, content in contents:
            pairs.append((path.with_name(path.name + ".part"), path))
            pairs[-1][0].write_bytes(content)
        for part, path in pairs:
            part.replace(path)
    finally:
        for part, _ in pairs:
            part.unlink(missing_ok=True)
