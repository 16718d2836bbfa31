"""Numbers as the cells of tables."""

from __future__ import annotations

import numpy as np


def exact(value: float) -> str:
    """Shortest text that gives the number back; nothing for one that is not finite."""
    return repr(float(value)).removesuffix(".0") if np.isfinite(value) else ""


def digits(value: float) -> str:
    """Eight digits."""
    return f"{value:.8g}"


def four(value: float) -> str:
    """Four digits; nothing for what is not finite."""
    return f"{value:.4g}" if np.isfinite(value) else ""


def hundredths(value: float) -> str:
    """Two places; nothing for what is not finite."""
    return f"{value:.2f}" if np.isfinite(value) else ""
