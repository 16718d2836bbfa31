"""Class labels: which there are, in what order, and the numbers of samples in that order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces.tasks import on_all

__all__ = ["Labels", "number_classes", "unique_labels"]

Integers = NDArray[np.int64]

_MOST = 2**16  # classes; more of them are numbers


def unique_labels(path: Path, targets: NDArray[Any], first: int = 0) -> tuple[Integers, list[str]]:
    """Label numbers and labels of an array of targets.

    Args:
        path: Named in errors.
        targets: Whole numbers, text, or numbers that are whole, (k,) or (k, 1).
        first: Number of the first of them in the file, from 0.

    Raises:
        InputError: They are something else, or one is missing.
    """
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim != 1 or targets.dtype.kind not in "iufbUS":
        raise InputError(
            f"{path}: the targets have shape {targets.shape} and type {targets.dtype}; expected "
            "one label per sample (for one-hot rows: targets.argmax(axis=1)), or "
            "kind = 'regression'."
        )
    values, codes = np.unique(targets, return_inverse=True)
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    labels = [str(v).strip() for v in values.tolist()]
    if any(label.lower() in ("", "nan") for label in labels):
        row = next(i for i, c in enumerate(codes) if labels[c].lower() in ("", "nan"))
        raise InputError(
            f"{path}: the class label in row {first + row + 1} is missing; remove the row."
        )
    return codes.astype(np.int64), labels


def number_classes(
    path: Path, codes: Integers, labels: list[str]
) -> tuple[Integers, tuple[str, ...]]:
    """Sort the labels and number the samples by them; ``1`` and ``1.0`` are one class.

    Args:
        path: Named in errors.
        codes: Label numbers.
        labels: The labels.

    Raises:
        InputError: A label is a number that is not whole, or there is only one class.
    """
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        classes = sorted(set(labels))
    else:
        odd = [label for label, number in zip(labels, numbers, strict=True) if number % 1 != 0]
        if odd:
            raise InputError(
                f"{path}: the class label {odd[0]} is not a whole number; use "
                "kind = 'regression', or write the labels as text."
            )
        labels = [str(int(number)) for number in numbers]
        classes = sorted(set(labels), key=int)
    if len(classes) < 2:
        raise InputError(
            f"{path}: all samples have the class '{classes[0]}'; classification needs at least "
            "two: choose another target column, or use kind = 'regression'."
        )
    order = np.array([classes.index(label) for label in labels])
    return order[codes], tuple(classes)


class Labels:
    """The classes of a file that no rank has read as a whole, and the class of each label.

    Args:
        path: Named in errors.
        found: The labels of this rank's part of the file, some at a time.
        comm: The ranks that read parts.

    Attributes:
        classes: All labels of all parts, sorted as those of a small file.

    Raises:
        InputError: As :func:`number_classes`, or there are very many labels; or what reading raised.

    Collective: construction.
    """

    def __init__(self, path: Path, found: Iterable[Iterable[str]], comm: MPI.Intracomm) -> None:
        def own() -> set[str]:
            labels = set[str]()
            for some in found:
                labels.update(some)
                if len(labels) > _MOST:
                    raise InputError(
                        f"{path}: there are more than {_MOST} class labels, '{min(labels)}' one of "
                        "them; use kind = 'regression', or choose another target."
                    )
            return labels

        labels = sorted(set[str]().union(*comm.allgather(on_all(own, comm))))
        numbers, self.classes = number_classes(path, np.arange(len(labels)), labels)
        self.path = path
        self._number = {label: int(n) for label, n in zip(labels, numbers, strict=True)}

    def __call__(self, codes: Integers, labels: list[str]) -> Integers:
        """Class numbers of samples with these label numbers and labels.

        Raises:
            InputError: There was no such label when the file was opened.
        """
        try:
            order = np.array([self._number[label] for label in labels], dtype=np.int64)
        except KeyError as error:
            raise InputError(
                f"{self.path}: the class label {error} was not there when the file was opened; do not "
                "change a file that is in use."
            ) from None
        return order[codes]
