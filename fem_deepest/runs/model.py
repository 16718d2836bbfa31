"""A trained network with the scaling of its data: what a run keeps and a prediction needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.configuration.train import Config
from fem_deepest.data import DataSet, Samples, Standardiser
from fem_deepest.data.survey import sum_over
from fem_deepest.network.loss import softmax
from fem_deepest.network.network import Network
from fem_deepest.runs.network import make_network
from fem_deepest.spaces import Parameters, Resolution

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """Network, parameters and scaling.

    Attributes:
        network: The network.
        flat: Its parameters, flat, in the order theta, readout, lift.
        inputs: Scaling of the inputs.
        targets: Scaling of the targets (identity for classes).
        classes: Names of the classes, or none for regression.
        columns: Names of the inputs.

    Nothing here is collective.
    """

    network: Network
    flat: Array
    inputs: Standardiser
    targets: Standardiser
    classes: tuple[str, ...] | None
    columns: tuple[str, ...]

    @property
    def parameters(self) -> Parameters:
        """Views of the parameters."""
        return Parameters.view(self.flat, self.network.shapes)

    def output(self, z: Array) -> Array:
        """Network outputs (K, outputs) of raw inputs ``z`` (K, d)."""
        return self.network.output(self.parameters, self.inputs.apply(z).T).T

    def predict(self, z: Array) -> Array:
        """Class probabilities (K, C), or values (K, outputs), of raw inputs ``z`` (K, d)."""
        y = self.output(z)
        if self.classes is not None:
            return softmax(y.T).T
        return self.targets.undo(y)

    def states(self, z: Array) -> Array:
        """States at all depth nodes, (n + 1, N, K), of raw inputs ``z`` (K, d)."""
        return self.network.states(self.parameters, self.inputs.apply(z).T)

    def score(self, data: DataSet | Samples) -> tuple[str, float]:
        """("accuracy", fraction right) or ("rmse", root mean square error in the data's units).

        Collective on the ranks of the data where each reads its part.
        """
        if isinstance(data, Samples):
            return self._score_of_parts(data)
        y = self.predict(data.inputs)
        if self.classes is not None:
            return "accuracy", float(np.mean(y.argmax(axis=1) == data.targets))
        return "rmse", float(np.sqrt(np.mean((y - data.targets) ** 2)))

    def _score_of_parts(self, data: Samples) -> tuple[str, float]:
        def add(x: Array, target: NDArray, total: Array, _: int) -> None:
            y = self.predict(x)
            if self.classes is not None:
                total += np.count_nonzero(y.argmax(axis=1) == target)
            else:
                total += np.sum((y - target) ** 2)

        total = float(sum_over(data, add, 1)[0])
        if self.classes is not None:
            return "accuracy", total / data.samples
        return "rmse", float(np.sqrt(total / (data.samples * data.outputs)))

    def scaling(self) -> dict[str, Any]:
        """Everything but network and parameters, in plain types for a checkpoint."""
        return {
            "inputs": self.inputs.to_dict(),
            "targets": self.targets.to_dict(),
            "classes": None if self.classes is None else list(self.classes),
            "columns": list(self.columns),
            "sizes": [self.network.inputs, self.network.outputs],
            "index": self.network.index.to_dict(),
            "depth": self.network.depth.nodes.tolist(),
        }

    @classmethod
    def restore(
        cls, config: Config, level: Resolution, flat: Array, scaling: Mapping[str, Any]
    ) -> Model:
        """The model of a checkpoint, from :meth:`scaling` and the parameters."""
        classes, (inputs, outputs) = scaling["classes"], scaling["sizes"]
        if config.network.depth_mesh is not None:  # the file may be gone
            level = Resolution(tuple(scaling["depth"]), level.index)
        network = make_network(config, inputs, outputs, level, scaling.get("index"))
        return cls(
            network,
            flat[: network.shapes.size].copy(),  # without the forcings
            Standardiser.from_dict(scaling["inputs"]),
            Standardiser.from_dict(scaling["targets"]),
            None if classes is None else tuple(classes),
            tuple(scaling["columns"]),
        )
