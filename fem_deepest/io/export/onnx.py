"""An ordinary network as an ONNX graph (operator set 13: any runtime since 2020).

Input ``input`` (samples, d), raw. Outputs: of classes ``logits`` and ``probabilities``, both
(samples, C); of a regression ``output`` (samples, C). The metadata has the names of the classes and of
the inputs as JSON. Standard: https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fem_deepest.errors import InputError
from fem_deepest.io.export.ordinary import Array, OrdinaryNetwork

SUFFIX = ".onnx"

_OPSET, _IR = 13, 7
_LARGEST = 2**31 - 2**20  # bytes: a protocol buffer holds less than 2 GiB, graph included


def onnx_files(network: OrdinaryNetwork, path: Path) -> list[tuple[Path, bytes]]:
    """The serialised graph. Not collective.

    Raises:
        InputError: The package ``onnx`` is missing, or the network does not fit into one file.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            "the format onnx needs the Python package onnx, which is not installed; get it with 'pip "
            "install onnx' or, on Debian, 'apt install python3-onnx', or take --format npz or torch"
        ) from None
    size = network.parameters * network.mean.itemsize
    if size > _LARGEST:
        raise InputError(
            f"the network has {network.parameters} parameters, {size / 2**30:.1f} GiB, and an ONNX file "
            "holds less than 2; take fewer --layers or --neurons, or --format npz"
        )
    graph = _Graph(onnx, network)
    outputs = graph.build()
    helper, kind = onnx.helper, graph.kind
    width = network.readout_bias.size
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "network",
            [helper.make_tensor_value_info("input", kind, ["samples", network.mean.size])],
            [helper.make_tensor_value_info(name, kind, ["samples", width]) for name in outputs],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
        producer_name="fem_deepest",
        doc_string=network.origin,
    )
    properties = {"columns": json.dumps(network.columns)}
    if network.classes is not None:
        properties["classes"] = json.dumps(network.classes)
    helper.set_model_props(model, properties)
    return [(path, model.SerializeToString())]


class _Graph:
    """Nodes and constants; every method that adds a node returns the name of its value."""

    def __init__(self, onnx: Any, network: OrdinaryNetwork) -> None:
        self.onnx, self.network, self.type = onnx, network, network.mean.dtype
        self.kind = onnx.helper.np_dtype_to_tensor_dtype(self.type)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._named: dict[str, str] = {}

    def add(self, operator: str, *names: str, out: str = "", **attributes: Any) -> str:
        """Apply an operator to values."""
        name = out or f"{operator.lower()}_{len(self.nodes)}"
        node = self.onnx.helper.make_node(operator, list(names), [name], name, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, name: str, value: Array) -> str:
        """An array."""
        array = np.ascontiguousarray(value, dtype=self.type)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def number(self, value: float) -> str:
        """A number, kept once."""
        key = repr(float(value))
        if key not in self._named:
            self._named[key] = self.constant(f"number_{key}", np.array(value))
        return self._named[key]

    def times(self, number: float, name: str) -> str:
        """``number x``."""
        return name if number == 1.0 else self.add("Mul", name, self.number(number))

    def affine(self, label: str, factors: list[Array], bias: Array) -> list[str]:
        """The constants of an affine map, for :meth:`apply`."""
        parts = enumerate([*factors, bias])
        return [
            self.constant(f"{label}.{'weight' if a.ndim > 1 else 'bias'}.{i}", a) for i, a in parts
        ]

    def apply(self, map_: list[str], name: str) -> str:
        """``x W^T + b`` on rows, the factors of ``W`` from the right."""
        *factors, last, bias = map_[-2::-1] + map_[-1:]
        for factor in factors:
            name = self.add("Gemm", name, factor, transB=1)
        return self.add("Gemm", name, last, bias, transB=1)

    def sigma(self, name: str) -> str:
        """The activation."""
        if self.network.activation != "softplus":
            return self.add({"tanh": "Tanh", "sigmoid": "Sigmoid"}[self.network.activation], name)
        beta = self.network.sharpness
        if self.type == np.float32:
            return self.times(1.0 / beta, self.add("Softplus", self.times(beta, name)))
        # Runtimes have Softplus in single precision only: max(z, 0) + log(1 + exp(-beta |z|)) / beta.
        decay = self.add("Exp", self.times(-beta, self.add("Abs", name)))
        rest = self.add("Log", self.add("Add", decay, self.number(1.0)))
        return self.add("Add", self.add("Relu", name), self.times(1.0 / beta, rest))

    def layer(self, i: int, x: str) -> str:
        """Step of the scheme, as :class:`.OrdinaryNetwork` has it."""
        net, h, slopes = self.network, float(self.network.steps[i]), list[str]()
        maps = [
            self.affine(f"layer_{i + 1}.{s}", [w[i, s] for w in net.weights], net.bias[i, s])
            for s in range(net.bias.shape[1])
        ]
        for j, row in enumerate(net.tableau_a.astype(float)):
            map_, state = maps[net.slot[j]], x
            for weight, slope in zip(row, slopes, strict=False):
                if weight:
                    state = self.add("Add", state, self.times(h * weight, slope))
            base, implicit = state, h * row[j]
            for _ in range(net.turns[i, j]):
                turn = self.times(implicit, self.sigma(self.apply(map_, state)))
                state = self.add("Add", base, turn)
                state = self.times(1.0 / (1.0 + implicit * net.leak), state)
            slope = self.sigma(self.apply(map_, state))
            if net.leak:
                slope = self.add("Sub", slope, self.times(net.leak, state))
            slopes.append(slope)
        for weight, slope in zip(net.tableau_b.astype(float), slopes, strict=True):
            if weight:
                x = self.add("Add", x, self.times(h * weight, slope))
        return x

    def build(self) -> list[str]:
        """All of it; returns the names of the outputs."""
        net = self.network
        x = self.add("Sub", "input", self.constant("mean", net.mean))
        x = self.add("Div", x, self.constant("scale", net.scale))
        x = self.apply(self.affine("lift", [net.lift_weight], net.lift_bias), x)
        for i in range(net.layers):
            x = self.layer(i, x)
        map_ = self.affine("readout", [net.readout_weight], net.readout_bias)
        y = self.apply(map_, x)
        if net.classes is not None:
            self.add("Identity", y, out="logits")
            self.add("Softmax", "logits", out="probabilities", axis=1)
            return ["logits", "probabilities"]
        y = self.add("Mul", y, self.constant("output_scale", net.output_scale))
        self.add("Add", y, self.constant("output_mean", net.output_mean), out="output")
        return ["output"]
