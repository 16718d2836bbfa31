"""Time schemes for semilinear SPDEs, each with its orders, its noise and its mean-square stability."""

from fem_deepest.spde.schemes.exponential import ExponentialEuler
from fem_deepest.spde.schemes.imex import ImexTrapezoidal
from fem_deepest.spde.schemes.implicit import DriftImplicitEuler
from fem_deepest.spde.schemes.milstein import Milstein
from fem_deepest.spde.schemes.scheme import Scheme, StabilityWarning
from fem_deepest.spde.schemes.tamed import TamedEuler
from fem_deepest.spde.schemes.theta import EulerMaruyama, Theta

__all__ = [
    "Scheme",
    "Theta",
    "EulerMaruyama",
    "ImexTrapezoidal",
    "Milstein",
    "ExponentialEuler",
    "TamedEuler",
    "DriftImplicitEuler",
    "StabilityWarning",
]
