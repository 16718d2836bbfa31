"""Synthetic sets of any size, made where they are needed: toy sets, and those of a teacher.

Sample ``k`` depends on its number, the seed and the settings alone: a smaller set is a prefix of a larger
one, and any rank makes any part. A toy set has the law of that of the same name in :mod:`.toy`, whose
noise cannot be drawn out of order, so its numbers are others. Samples are made in blocks of 1024 that
begin at multiples of it, also where a part of a block is asked for: products of matrices of one shape, so
that the last bit does not depend on the division either.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data.counters import gaussians, uniforms
from fem_deepest.data.source import Floats, Source, Targets
from fem_deepest.data.teacher import Teacher
from fem_deepest.data.toy import LAWS, NOISE, PEAKS_CLASSES, peaks_band
from fem_deepest.errors import InputError

__all__ = ["SYNTHETIC", "Generated", "Taught", "Toys", "generated"]

SYNTHETIC = (*NOISE, "teacher")

_BLOCK = 1024
_LAW, _NOISE, _INPUTS, _ERRORS = 16, 17, 18, 19  # streams; a teacher has those below
_TEACHER_NOISE = 0.1
_TRIES = 16  # points of a sample of peaks that are looked at together


def generated(
    name: str,
    samples: int,
    seed: int = 0,
    noise: float | None = None,
    features: int = 2,
    outputs: int = 2,
    kind: str = "classification",
) -> Source:
    """A synthetic set.

    Args:
        name: A toy set or "teacher".
        samples: Number of samples.
        seed: Below 2^32.
        noise: Standard deviation; None takes that of the set.
        features: Teacher: number of inputs.
        outputs: Teacher: number of classes or values.
        kind: Teacher: "classification" or "regression".

    Raises:
        InputError: Unknown name, or a number out of range.
    """
    if name not in SYNTHETIC:
        near = difflib.get_close_matches(name, SYNTHETIC, n=1, cutoff=0.0)[0]
        raise InputError(
            f"there is no synthetic set '{name}'; did you mean '{near}'? Known: "
            f"{', '.join(SYNTHETIC)}."
        )
    if not 0 <= seed < 2**32:
        raise InputError(
            f"{name}: the seed is {seed}; expected a whole number from 0 to {2**32 - 1}."
        )
    level = NOISE.get(name, _TEACHER_NOISE) if noise is None else noise
    if not 0.0 <= level < np.inf:
        raise InputError(
            f"{name}: noise is {level}; expected a standard deviation of 0 or more, such as 0.03."
        )
    if name == "teacher":
        return Taught(samples, features, outputs, seed, level, kind)
    return Toys(name, samples, seed, level)


class Generated(ABC):
    """A source whose samples are made block by block; see :class:`.Source`.

    Args:
        name: Of the set.
        samples: ``K``.
        features: Number of inputs.
        outputs: Number of classes or values.
        classification: Whether the targets are classes.
    """

    concurrent = quick = True

    def __init__(
        self, name: str, samples: int, features: int, outputs: int, classification: bool
    ) -> None:
        self.name, self.samples, self.features, self.outputs = name, samples, features, outputs
        least = outputs if classification else 1
        if samples < least:
            raise InputError(f"{name}: samples is {samples}; expected at least {least}.")
        self.classes = tuple(str(c) for c in range(outputs)) if classification else None
        self.columns = tuple(f"x{i + 1}" for i in range(features))

    @abstractmethod
    def block(self, numbers: NDArray[np.int64]) -> tuple[Floats, Targets]:
        """Inputs and targets of samples with these numbers."""

    def read(self, first: int, last: int) -> tuple[Floats, Targets]:
        """See :meth:`.Source.read`."""
        x = np.empty((last - first, self.features))
        y: Targets = np.empty(last - first, dtype=np.int64)
        if self.classes is None:
            y = np.empty((last - first, self.outputs))
        for begin in range(first // _BLOCK * _BLOCK, last, _BLOCK):
            found = self.block(np.arange(begin, begin + _BLOCK))
            low, high = max(begin, first), min(begin + _BLOCK, last)
            for target, made in zip((x, y), found, strict=True):
                target[low - first : high - first] = made[low - begin : high - begin]
        return x, y


class Toys(Generated):
    """A toy set; class ``k mod C`` as in :mod:`.toy`."""

    def __init__(self, name: str, samples: int, seed: int, noise: float) -> None:
        super().__init__(name, samples, 2, PEAKS_CLASSES if name == "peaks" else 2, True)
        self._seed, self._noise = seed, noise

    def block(self, numbers: NDArray[np.int64]) -> tuple[Floats, Targets]:
        """See :meth:`Generated.block`."""
        labels = numbers % self.outputs
        if self.name == "peaks":
            x = self._peaks(numbers, labels)
        else:
            x = LAWS[self.name](uniforms(self._seed, _LAW, numbers), labels)
        return x + self._noise * gaussians(self._seed, _NOISE, numbers, 2), labels

    def _peaks(self, numbers: NDArray[np.int64], labels: NDArray[np.int64]) -> Floats:
        """Every sample tries points of the square until one is in its band."""
        x, missing, attempt = np.empty((numbers.size, 2)), np.arange(numbers.size), 0
        while missing.size:
            tries = np.tile(np.arange(attempt, attempt + _TRIES), missing.size)
            which = np.repeat(missing, _TRIES)
            z = 6.0 * uniforms(self._seed, _LAW, numbers[which], tries) - 3.0
            hits = (peaks_band(z) == labels[which]).reshape(-1, _TRIES)
            hit, first = hits.any(axis=1), hits.argmax(axis=1)
            x[missing[hit]] = z.reshape(-1, _TRIES, 2)[hit, first[hit]] / 3.0
            missing, attempt = missing[~hit], attempt + _TRIES
        return x


class Taught(Generated):
    """The set of a teacher, whose answers without noise are :attr:`teacher` of the inputs."""

    def __init__(
        self, samples: int, features: int, outputs: int, seed: int, noise: float, kind: str
    ) -> None:
        if kind not in ("classification", "regression"):
            raise InputError(
                f"teacher: kind is '{kind}'; expected 'classification' or 'regression'."
            )
        least = 2 if kind == "classification" else 1
        if features < 1 or outputs < least:
            raise InputError(
                f"teacher: {features} features and {outputs} outputs; expected at least 1 and {least} "
                f"for {kind}."
            )
        super().__init__("teacher", samples, features, outputs, kind == "classification")
        self.teacher = Teacher(features, outputs, seed)
        self._seed, self._noise = seed, noise

    def block(self, numbers: NDArray[np.int64]) -> tuple[Floats, Targets]:
        """See :meth:`Generated.block`."""
        z = gaussians(self._seed, _INPUTS, numbers, self.features)
        y = self.teacher(z)
        y += self._noise * gaussians(self._seed, _ERRORS, numbers, self.outputs)
        return z, y if self.classes is None else y.argmax(axis=1)
