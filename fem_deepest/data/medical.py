"""Two medical tables: the progression of diabetes, and tumours of the breast."""

from __future__ import annotations

import numpy as np

from fem_deepest.data.dataset import DataSet

__all__ = ["breast_cancer", "diabetes"]


def diabetes() -> DataSet:
    """442 patients with diabetes that come with scikit-learn: a regression.

    Ten inputs in their own units (age in years, sex, body mass index, mean blood pressure in mmHg,
    six blood serum measurements), ``(442, 10)``; the target ``(442, 1)`` is a measure of how far
    the disease has progressed a year later, 25 to 346. Nothing is downloaded.

    Source: B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, "Least angle regression", Annals of
    Statistics 32 (2004), 407-499, doi:10.1214/009053604000000067.
    """
    from sklearn.datasets import load_diabetes

    source = load_diabetes(scaled=False)
    return DataSet(
        name="diabetes",
        inputs=source.data,
        targets=source.target,
        columns=tuple(source.feature_names),
    )


def breast_cancer() -> DataSet:
    """569 tumours of the breast that come with scikit-learn: malignant or benign.

    Thirty inputs in their own units: mean, standard error and worst value of ten properties of the
    cell nuclei in an image of a fine needle aspirate, ``(569, 30)``. Nothing is downloaded.

    Source: W. N. Street, W. H. Wolberg, O. L. Mangasarian, "Nuclear feature extraction for breast
    tumor diagnosis", SPIE 1905 (1993), 861-870, doi:10.1117/12.148698; UCI Machine Learning
    Repository, doi:10.24432/C5DW2B.
    """
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer()
    return DataSet(
        name="breast_cancer",
        inputs=source.data,
        targets=source.target.astype(np.int64),
        classes=tuple(str(c) for c in source.target_names),
        columns=tuple(str(c) for c in source.feature_names),
    )
