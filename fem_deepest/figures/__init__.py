"""Figures: plain arrays in, a `matplotlib.figure.Figure` out, `save` writes it.

Needs Matplotlib; import this package only where a figure is wanted.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from fem_deepest.figures.coefficients import coefficients
from fem_deepest.figures.confusion import confusion
from fem_deepest.figures.convergence import convergence
from fem_deepest.figures.features import features
from fem_deepest.figures.history import history
from fem_deepest.figures.levels import levels
from fem_deepest.figures.phase import phase_flow
from fem_deepest.figures.prediction import decision, prediction
from fem_deepest.figures.style import save
from fem_deepest.figures.weights import weights

__all__ = [
    "coefficients",
    "confusion",
    "convergence",
    "decision",
    "features",
    "history",
    "levels",
    "phase_flow",
    "prediction",
    "save",
    "weights",
]
