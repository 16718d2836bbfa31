"""Actions written in UFL on a DOLFINx mesh."""

from fem_deepest.action.form.action import Ends, FormAction
from fem_deepest.spaces.constrained import Clamped

__all__ = ["Clamped", "Ends", "FormAction"]
