"""A network exported by fem_deepest, as an ordinary PyTorch module.

Needs NumPy and PyTorch only. It takes its weights from the archive of the same name beside it:

    from network import Network                     # network.py and network.npz

    net = Network()
    net.predict(torch.tensor(rows, dtype=net.dtype))    # probabilities of the classes, or values

The inputs are raw, in the units of the data, one row a sample. Calling the module gives logits for
classes (what ``torch.nn.CrossEntropyLoss`` wants) and values for regression. A layer is the step of a
Runge-Kutta scheme, ``x + h sum_j b_j k_j`` with ``k_j = sigma(W_j X_j + b_j) - leak X_j`` at the stages
``X_j = x + h sum_l a_jl k_l``; of explicit Euler it is ``x + h (sigma(W x + b) - leak x)``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn


def affine(*arrays: np.ndarray) -> nn.Module:
    """Affine map with the matrix ``arrays[0] arrays[1] ...`` and, last, the bias."""
    *factors, bias = (torch.tensor(array) for array in arrays)
    maps = []
    for position, factor in reversed(list(enumerate(factors))):
        map_ = nn.Linear(factor.shape[1], factor.shape[0], bias=position == 0, dtype=factor.dtype)
        with torch.no_grad():
            map_.weight.copy_(factor)
            if position == 0:
                map_.bias.copy_(bias)
        maps.append(map_)
    return maps[0] if len(maps) == 1 else nn.Sequential(*maps)


class Network(nn.Module):
    """The exported network.

    Args:
        weights: The archive; by default the one beside this file.

    Attributes:
        classes: Names of the classes; empty for regression.
        columns: Names of the inputs.
        dtype: Type of the weights.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        path = Path(__file__).with_suffix(".npz") if weights is None else weights
        with np.load(path) as archive:
            file = dict(archive)
        self.classes, self.columns = file["classes"].tolist(), file["columns"].tolist()
        for name in ("mean", "scale", "output_mean", "output_scale"):
            self.register_buffer(name, torch.tensor(file[name]))
        self.steps, self.turns = file["steps"].tolist(), file["turns"].tolist()
        self.a, self.b = file["tableau_a"].tolist(), file["tableau_b"].tolist()
        self.slot, self.leak = file["slot"].tolist(), float(file["leak"])
        self.activation, self.sharpness = str(file["activation"]), float(file["sharpness"])
        factors = [file[name] for name in sorted(file) if name.startswith("weight_")]
        self.lift = affine(file["lift_weight"], file["lift_bias"])
        self.layers = nn.ModuleList(
            nn.ModuleList(
                affine(*(factor[i, s] for factor in factors), file["bias"][i, s])
                for s in range(file["bias"].shape[1])
            )
            for i in range(len(self.steps))
        )
        self.readout = affine(file["readout_weight"], file["readout_bias"])

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.mean.dtype

    def sigma(self, z: torch.Tensor) -> torch.Tensor:
        """The activation."""
        if self.activation == "softplus":
            return nn.functional.softplus(z, beta=self.sharpness, threshold=50.0)
        return {"tanh": torch.tanh, "sigmoid": torch.sigmoid}[self.activation](z)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Logits of the classes (K, C), or values (K, C), of raw inputs (K, d)."""
        x = self.lift((z - self.mean) / self.scale)
        for h, turns, layer in zip(self.steps, self.turns, self.layers, strict=True):
            slopes: list[torch.Tensor] = []
            for j, row in enumerate(self.a):
                map_, state = layer[self.slot[j]], x
                for weight, slope in zip(row, slopes, strict=False):
                    if weight:
                        state = state + h * weight * slope
                base, implicit = state, h * row[j]
                for _ in range(turns[j]):  # the stage is the fixed point of this
                    state = base + implicit * self.sigma(map_(state))
                    state = state / (1.0 + implicit * self.leak)
                slopes.append(self.sigma(map_(state)))
                if self.leak:
                    slopes[-1] = slopes[-1] - self.leak * state
            for weight, slope in zip(self.b, slopes, strict=True):
                if weight:
                    x = x + h * weight * slope
        return self.readout(x) * self.output_scale + self.output_mean

    @torch.no_grad()
    def predict(self, z: torch.Tensor) -> torch.Tensor:
        """Probabilities of the classes (K, C), or values (K, C), of raw inputs (K, d)."""
        y = self(z)
        return torch.softmax(y, dim=1) if self.classes else y
