"""Two-dimensional toy sets with an exact law: what is drawn, from where, with what noise.

Sample ``k`` has class ``k mod C``, so every prefix is balanced to one sample. The law draws from
``Philox(seed)``, the noise from the same stream jumped by ``2**128`` draws; both go sample by
sample, so a set with fewer samples is a prefix of a set with more, noise included.

The noise is ``N(0, noise**2)`` in each coordinate, added last. Without noise the classes do not
overlap: the Bayes-optimal accuracy is 1 for every set here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data.dataset import DataSet
from fem_deepest.errors import InputError

__all__ = ["TOYS", "donut", "peaks", "spiral", "squares", "swiss_roll", "toy"]

Floats = NDArray[np.float64]

NOISE = {
    "donut": 0.03,
    "squares": 0.03,
    "spiral": 0.03,
    "peaks": 0.0,
    "swiss_roll": 0.01,
}  # standard deviations
PEAKS_MINIMUM, PEAKS_MAXIMUM = -6.55113333283584, 8.10621358944234  # over [-3, 3]^2
PEAKS_CLASSES = 5
PEAKS_GAP = 0.15  # of the height of a band, left empty on either side of a threshold


def toy(name: str, samples: int = 1000, seed: int = 0, noise: float | None = None) -> DataSet:
    """The toy set of this name.

    Args:
        name: "donut", "squares", "spiral", "peaks" or "swiss_roll".
        samples: Number of samples ``K``, at least one per class.
        seed: Non-negative whole number.
        noise: Standard deviation of the noise; None takes the default of the set.

    Raises:
        InputError: Unknown name, too few samples, negative seed or noise.
    """
    if name not in TOYS:
        near = difflib.get_close_matches(name, TOYS, n=1, cutoff=0.0)[0]
        raise InputError(
            f"there is no toy set '{name}'; did you mean '{near}'? Known: {', '.join(TOYS)}."
        )
    return TOYS[name](samples, seed) if noise is None else TOYS[name](samples, seed, noise)


def donut(samples: int = 1000, seed: int = 0, noise: float = NOISE["donut"]) -> DataSet:
    """A disc (class 0) inside a ring (class 1).

    Uniform by area on ``|x| <= 0.4`` and on ``0.6 <= |x| <= 1``. The shape is "donut 2D" of
    Benning, Celledoni, Ehrhardt, Owren, Schoenlieb, J. Comput. Dyn. 6 (2019) 171-198,
    doi:10.3934/jcd.2019009; their two densities overlap, these are 0.2 apart.
    """
    u = _uniform("donut", samples, seed, classes=2)
    return _finish("donut", donut_law(u, _labels(samples, 2)), 2, seed, noise)


def squares(samples: int = 1000, seed: int = 0, noise: float = NOISE["squares"]) -> DataSet:
    """A 2 by 2 checkerboard: class 1 where ``x_1 x_2 > 0``, class 0 where ``x_1 x_2 < 0``.

    Uniform on the four squares ``0.1 <= |x_i| <= 1``. The shape is "squares" of Benning,
    Celledoni, Ehrhardt, Owren, Schoenlieb (2019), doi:10.3934/jcd.2019009, where the squares
    touch; these are 0.2 apart.
    """
    u = _uniform("squares", samples, seed, classes=2)
    return _finish("squares", squares_law(u, _labels(samples, 2)), 2, seed, noise)


def spiral(samples: int = 1000, seed: int = 0, noise: float = NOISE["spiral"]) -> DataSet:
    """Two spiral arms of one turn, one the other turned by half a turn.

    With ``s`` uniform on ``[0, 1]``: radius ``0.1 + 0.9 s``, angle
    ``0.1 + (2 pi - 0.1) s`` for class 0 and ``pi`` more for class 1. This is "spiral" of Benning,
    Celledoni, Ehrhardt, Owren, Schoenlieb (2019), doi:10.3934/jcd.2019009, with ``s`` random
    instead of equally spaced and noise 0.03 instead of 0.05.
    """
    u = _uniform("spiral", samples, seed, classes=2)
    return _finish("spiral", spiral_law(u, _labels(samples, 2)), 2, seed, noise)


def swiss_roll(samples: int = 1000, seed: int = 0, noise: float = NOISE["swiss_roll"]) -> DataSet:
    """Two arms of two turns, one 0.2 outside the other, scaled into the unit disc.

    With ``theta`` uniform on ``[0, 4 pi]``: angle ``theta``, radius ``theta / (4 pi)`` for
    class 0 and ``theta / (4 pi) + 0.2`` for class 1, both divided by 1.2. Source: E. Haber,
    L. Ruthotto, "Stable architectures for deep neural networks", Inverse Problems 34 (2018)
    014004, doi:10.1088/1361-6420/aa9a90, and its code Meganet, which does not scale and has no
    noise.
    """
    u = _uniform("swiss_roll", samples, seed, classes=2)
    return _finish("swiss_roll", swiss_roll_law(u, _labels(samples, 2)), 2, seed, noise)


def peaks(samples: int = 1000, seed: int = 0, noise: float = NOISE["peaks"]) -> DataSet:
    """Five classes: the bands of MATLAB's peaks function between equally spaced levels.

    With ``z = 3 x`` in ``[-3, 3]^2`` and

        f(z) = 3 (1 - z_1)^2 exp(-z_1^2 - (z_2 + 1)^2)
               - 10 (z_1/5 - z_1^3 - z_2^5) exp(-z_1^2 - z_2^2) - exp(-(z_1 + 1)^2 - z_2^2) / 3,

    class ``c`` is where ``f`` lies in band ``c`` of five of equal height between its minimum and
    its maximum. Points are uniform on the band, the same number for each class. Source: E. Haber,
    L. Ruthotto, Inverse Problems 34 (2018) 014004, doi:10.1088/1361-6420/aa9a90; there the bands
    touch, here 0.15 of the height of a band is left empty on either side of a threshold: 1000
    samples do not settle touching boundaries (a support vector machine then has 0.98 on test
    data, with the gap 0.995).
    """
    _check("peaks", samples, seed, PEAKS_CLASSES)
    wanted = np.bincount(_labels(samples, PEAKS_CLASSES), minlength=PEAKS_CLASSES)
    found: list[list[Floats]] = [[] for _ in range(PEAKS_CLASSES)]
    rng = np.random.Generator(np.random.Philox(seed))
    while any(sum(map(len, found[c])) < wanted[c] for c in range(PEAKS_CLASSES)):
        z = 6.0 * rng.random((4096, 2)) - 3.0
        band = peaks_band(z)
        for c in range(PEAKS_CLASSES):
            found[c].append(z[band == c])
    x = np.empty((samples, 2))
    for c in range(PEAKS_CLASSES):
        x[c::PEAKS_CLASSES] = np.concatenate(found[c])[: wanted[c]] / 3.0
    return _finish("peaks", x, PEAKS_CLASSES, seed, noise)


def peaks_function(z1: Floats, z2: Floats) -> Floats:
    """MATLAB's ``peaks``; minimum -6.5511 at (0.2283, -1.6255), maximum 8.1062 at (0, 1.58)."""
    hills = 3.0 * (1.0 - z1) ** 2 * np.exp(-(z1**2) - (z2 + 1.0) ** 2)
    waves = 10.0 * (z1 / 5.0 - z1**3 - z2**5) * np.exp(-(z1**2) - z2**2)
    dip = np.exp(-((z1 + 1.0) ** 2) - z2**2) / 3.0
    return np.asarray(hills - waves - dip)


def peaks_band(z: Floats) -> NDArray[np.int64]:
    """The class of points ``z`` of ``[-3, 3]^2``, (k, 2); -1 next to a threshold."""
    height = (PEAKS_MAXIMUM - PEAKS_MINIMUM) / PEAKS_CLASSES
    band = (peaks_function(z[:, 0], z[:, 1]) - PEAKS_MINIMUM) / height
    inside = np.abs(band - np.clip(np.rint(band), 1, PEAKS_CLASSES - 1)) > PEAKS_GAP
    return np.where(inside, np.floor(band), -1).astype(np.int64)


def donut_law(u: Floats, labels: NDArray[np.int64]) -> Floats:
    """Points of :func:`donut` from uniform numbers (k, 2) and classes (k,)."""
    outer = labels == 1
    radius = np.where(outer, np.sqrt(0.36 + 0.64 * u[:, 0]), 0.4 * np.sqrt(u[:, 0]))
    return _polar(radius, 2.0 * np.pi * u[:, 1])


def squares_law(u: Floats, labels: NDArray[np.int64]) -> Floats:
    """Points of :func:`squares` from uniform numbers (k, 2) and classes (k,)."""
    first = 2.0 * u - 1.0  # sign and place in one draw
    x = np.copysign(0.1 + 0.9 * np.abs(first), first)
    # The first coordinate chooses the side, the class the sign of the second.
    x[:, 1] = np.abs(x[:, 1]) * np.where(labels == 1, 1.0, -1.0) * np.sign(x[:, 0])
    return x


def spiral_law(u: Floats, labels: NDArray[np.int64]) -> Floats:
    """Points of :func:`spiral` from uniform numbers (k, 2), the first of each, and classes (k,)."""
    s = u[:, 0]
    angle = 0.1 + (2.0 * np.pi - 0.1) * s + np.pi * labels
    return _polar(0.1 + 0.9 * s, angle)


def swiss_roll_law(u: Floats, labels: NDArray[np.int64]) -> Floats:
    """Points of :func:`swiss_roll` from uniform numbers (k, 2), the first of each, and classes (k,)."""
    s = u[:, 0]
    return _polar((s + 0.2 * labels) / 1.2, 4.0 * np.pi * s)


LAWS: dict[str, Callable[[Floats, NDArray[np.int64]], Floats]] = {
    "donut": donut_law,
    "squares": squares_law,
    "spiral": spiral_law,
    "swiss_roll": swiss_roll_law,
}

TOYS: dict[str, Callable[..., DataSet]] = {
    "donut": donut,
    "squares": squares,
    "spiral": spiral,
    "peaks": peaks,
    "swiss_roll": swiss_roll,
}


def _labels(samples: int, classes: int) -> NDArray[np.int64]:
    return np.arange(samples, dtype=np.int64) % classes


def _polar(radius: Floats, angle: Floats) -> Floats:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _check(name: str, samples: int, seed: int, classes: int) -> None:
    if samples < classes:
        raise InputError(
            f"{name}: samples is {samples}; expected at least {classes}, one for each class."
        )
    if seed < 0:
        raise InputError(f"{name}: the seed is {seed}; expected a whole number from 0.")


def _uniform(name: str, samples: int, seed: int, classes: int) -> Floats:
    """``(samples, 2)`` uniform numbers of ``[0, 1)``, sample by sample."""
    _check(name, samples, seed, classes)
    return np.random.Generator(np.random.Philox(seed)).random((samples, 2))


def _finish(name: str, x: Floats, classes: int, seed: int, noise: float) -> DataSet:
    """Add the noise and put the labels in."""
    if not (0.0 <= noise < np.inf):
        raise InputError(
            f"{name}: noise is {noise}; expected a standard deviation of 0 or more, such as 0.03."
        )
    rng = np.random.Generator(np.random.Philox(seed).jumped())
    if noise > 0.0:
        x = x + noise * rng.standard_normal(x.shape)
    names = tuple(str(c) for c in range(classes))
    return DataSet(name, x, _labels(len(x), classes), names, ("x1", "x2"))
