"""Handwritten digits, 8 by 8 pixels."""

from __future__ import annotations

import numpy as np

from fem_deepest.data.dataset import DataSet

__all__ = ["digits"]


def digits() -> DataSet:
    """The 1797 handwritten digits that come with scikit-learn, ten classes.

    The pixels (whole numbers 0..16) are mapped to ``[-1/2, 1/2]`` by ``x = pixel / 16 - 1/2``.
    Inputs ``(1797, 64)``, pixel ``(i, j)`` in column ``8 i + j``; nothing is downloaded.

    Source: the test part of "Optical recognition of handwritten digits", E. Alpaydin, C. Kaynak,
    UCI Machine Learning Repository (1998), doi:10.24432/C50P49.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    return DataSet(
        name="digits",
        inputs=source.data / 16.0 - 0.5,
        targets=source.target.astype(np.int64),
        classes=tuple(str(c) for c in source.target_names),
        columns=tuple(source.feature_names),
    )
