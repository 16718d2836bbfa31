"""An ordinary network as a NumPy archive: the arrays of :class:`.OrdinaryNetwork` by their names.

The factors of ``W`` are ``weight_1``, ``weight_2``, ... from the left; ``classes`` is empty for
regression. With ``f = numpy.load("network.npz")``, an explicit scheme and one factor this is the whole
network:

    x = (z - f["mean"]) / f["scale"] @ f["lift_weight"].T + f["lift_bias"]
    for h, W, b in zip(f["steps"], f["weight_1"], f["bias"]):
        k = []
        for a, slot in zip(f["tableau_a"], f["slot"]):
            X = x + h * sum(a_l * k_l for a_l, k_l in zip(a, k))
            k.append(numpy.tanh(X @ W[slot].T + b[slot]) - f["leak"] * X)
        x = x + h * sum(b_j * k_j for b_j, k_j in zip(f["tableau_b"], k))
    y = (x @ f["readout_weight"].T + f["readout_bias"]) * f["output_scale"] + f["output_mean"]
"""

from __future__ import annotations

from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fem_deepest.io.export.ordinary import OrdinaryNetwork

SUFFIX = ".npz"


def npz_files(network: OrdinaryNetwork, path: Path) -> list[tuple[Path, bytes]]:
    """The archive. Not collective."""
    arrays: dict[str, Any] = {
        item.name: getattr(network, item.name)
        for item in fields(network)
        if item.name not in ("weights", "classes", "columns")
    }
    arrays |= {f"weight_{i + 1}": weight for i, weight in enumerate(network.weights)}
    # As arrays of text: without pickles the file is data and nothing else.
    arrays["classes"] = np.array(network.classes or (), dtype=np.str_)
    arrays["columns"] = np.array(network.columns, dtype=np.str_)
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return [(path, buffer.getvalue())]
