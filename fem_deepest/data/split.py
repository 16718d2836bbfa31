"""Training and test part of a data set, and the scaling learned from the training part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.data.dataset import DataSet
from fem_deepest.data.rows import Rows
from fem_deepest.errors import InputError

__all__ = ["Standardiser", "split"]

Floats = NDArray[np.float64]


def split(data: DataSet, test_fraction: float, seed: int) -> tuple[DataSet, DataSet | None]:
    """Deal the samples into a training and a test part.

    Of ``K`` samples ``ceil(test_fraction K)`` go to the test part. Classification is stratified:
    every class has the same share in both parts, up to one sample. The deal is that of
    ``sklearn.model_selection.train_test_split(..., stratify=y, random_state=seed)``, order
    included, so that accuracies can be compared with published scikit-learn ones.

    Args:
        data: All samples.
        test_fraction: In ``[0, 1)``; 0 keeps every sample for training, in its order.
        seed: ``0 <= seed < 2**32``.

    Returns:
        The training part and the test part; the test part is None when ``test_fraction`` is 0.

    Raises:
        InputError: The fraction or the seed is out of range, or the samples do not suffice.
    """
    if not 0.0 <= test_fraction < 1.0:
        raise InputError(
            f"test_fraction is {test_fraction}; expected a number from 0 to below 1, such as 0.2."
        )
    if not 0 <= seed < 2**32:
        raise InputError(f"the seed is {seed}; expected a whole number from 0 to {2**32 - 1}.")
    if test_fraction == 0.0:
        return data, None
    tests = math.ceil(test_fraction * data.samples)
    if tests >= data.samples:
        raise InputError(
            f"{data.name}: test_fraction {test_fraction} of {data.samples} samples leaves none "
            "for training; give more samples or a smaller test_fraction."
        )
    if data.is_classification:
        _check_classes(data, tests, test_fraction)

    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(data.samples),
        test_size=test_fraction,
        stratify=data.targets if data.is_classification else None,
        random_state=seed,
    )
    return data.take(train), data.take(test)


def _check_classes(data: DataSet, tests: int, test_fraction: float) -> None:
    """Refuse what cannot be stratified."""
    assert data.classes is not None
    counts = np.bincount(data.targets.astype(np.int64), minlength=len(data.classes))
    single = np.flatnonzero(counts == 1)
    if single.size:
        raise InputError(
            f"{data.name}: class '{data.classes[single[0]]}' has one sample only, so it cannot be "
            "in both parts; add samples of this class, remove it, or set test_fraction = 0."
        )
    present = int(np.count_nonzero(counts))
    for part, size in (("test", tests), ("training", data.samples - tests)):
        if size < present:
            raise InputError(
                f"{data.name}: test_fraction {test_fraction} of {data.samples} samples gives a "
                f"{part} part of {size}, fewer than the {present} classes; give more samples or "
                f"a {'larger' if part == 'test' else 'smaller'} test_fraction."
            )


@dataclass(frozen=True, eq=False)
class Standardiser:
    """The affine map ``z = (x - mean) / scale``, column by column.

    It is fitted on the training part alone and kept with the model, so that nothing of the test
    part leaks into training and a prediction scales new inputs as training did.

    Attributes:
        mean: ``(d,)``, in the units of the data.
        scale: ``(d,)``, positive, in the units of the data.
    """

    mean: Floats
    scale: Floats

    def __post_init__(self) -> None:
        """Bring both to ``(d,)`` float64 arrays and check them."""
        for name in ("mean", "scale"):
            values = np.atleast_1d(np.array(getattr(self, name), dtype=np.float64))
            object.__setattr__(self, name, values)
        if self.mean.ndim != 1 or self.mean.shape != self.scale.shape:
            raise InputError(
                f"the standardiser has mean of shape {self.mean.shape} and scale of shape "
                f"{self.scale.shape}; expected one number per column in both."
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.scale).all()):
            raise InputError(
                "the mean or the standard deviation of a column is not finite; rescale columns "
                "with values beyond about 1e150 before training."
            )
        if not (self.scale > 0.0).all():
            raise InputError(
                f"the standardiser has scale {self.scale.min()}; expected positive numbers."
            )

    @classmethod
    def fit(cls, train: ArrayLike) -> Standardiser:
        """Mean and standard deviation (divisor ``K``) of each column; constant columns get 1.

        Args:
            train: ``(K, d)``, the training part alone.
        """
        values = np.asarray(train, dtype=np.float64)
        if values.ndim != 2 or len(values) == 0:
            raise InputError(
                f"the training values have shape {values.shape}; expected (samples, columns) "
                "with at least one sample."
            )
        constant = values.max(axis=0) == values.min(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.where(constant, values[0], values.mean(axis=0))
            scale = np.where(constant, 1.0, values.std(axis=0))
        # The spread of nearly equal tiny numbers underflows; such a column is constant too.
        return cls(mean, np.where(scale == 0.0, 1.0, scale))

    @classmethod
    def identity(cls, columns: int) -> Standardiser:
        """The map that changes nothing, for data that is scaled already."""
        return cls(np.zeros(columns), np.ones(columns))

    @overload
    def apply(self, values: Rows) -> Rows: ...
    @overload
    def apply(self, values: ArrayLike) -> Floats: ...
    def apply(self, values: ArrayLike | Rows) -> Floats | Rows:
        """``(x - mean) / scale`` for ``(K, d)`` values; where these are read, when they are."""
        if isinstance(values, Rows):
            return values.map(self.apply)
        scaled = self._columns(values) - self.mean
        scaled /= self.scale
        return scaled

    def undo(self, values: ArrayLike) -> Floats:
        """``z scale + mean``: back to the units of the data, for ``(K, d)`` values."""
        return self._columns(values) * self.scale + self.mean

    def _columns(self, values: ArrayLike) -> Floats:
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != self.mean.size:
            raise InputError(
                f"the values have shape {array.shape}; expected (samples, {self.mean.size}), "
                "the columns that the model was trained with."
            )
        return array

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists for JSON; the numbers survive it to the last bit."""
        return {"mean": list(map(float, self.mean)), "scale": list(map(float, self.scale))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Standardiser:
        """The inverse of `to_dict`."""
        missing = {"mean", "scale"} - set(values)
        if missing:
            raise InputError(
                f"the standardiser has no '{min(missing)}'; expected the lists 'mean' and 'scale'."
            )
        return cls(np.asarray(values["mean"]), np.asarray(values["scale"]))
