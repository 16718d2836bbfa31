"""Exported networks against the model they come from, read as another program would read them."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from dataclasses import replace

import numpy as np
import problems
import pytest
from scipy.integrate import solve_ivp

from fem_deepest.configuration.train import load
from fem_deepest.data import Standardiser
from fem_deepest.errors import InputError
from fem_deepest.io.export import npz, onnx, pytorch
from fem_deepest.io.export.ordinary import replace_files
from fem_deepest.network.coupling.convolution import convolution
from fem_deepest.network.coupling.differential import elliptic, local
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.runs.model import Model
from fem_deepest.runs.network import make_network
from fem_deepest.runs.ordinary import ordinary
from fem_deepest.runs.resampled import resampled
from fem_deepest.spaces import Resolution

SIGMA = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1.0 / (1.0 + np.exp(-z)),
    "softplus": lambda z: np.log1p(np.exp(problems.SHARPNESS * z)) / problems.SHARPNESS,
}
CONFIG = load({})
# Every scheme, activation, lift, readout, index and kind of target is there at least once.
CASES = {
    "euler": {},
    "euler, leak": {"leak": 0.3, "activation_name": "softplus", "classes": False},
    "rk2": {"scheme_name": "rk2", "lift": "linear", "index": "interval", "classes": False},
    "rk4": {"scheme_name": "rk4", "activation_name": "sigmoid", "leak": 0.2, "readout": "observed"},
    "midpoint": {"scheme_name": "midpoint", "leak": 0.4},
    "midpoint, softplus": {"scheme_name": "midpoint", "activation_name": "softplus"},
    "P1": {"index": "consistent", "lift": "linear"},
    "low rank": {"index": "lumped", "coupling": lambda index: LowRank(index, 2)},
    "low rank, midpoint": {"coupling": lambda index: LowRank(index, 1), "scheme_name": "midpoint"},
    "local": {
        "index": "lumped",
        "scheme_name": "rk2",
        "coupling": lambda index: local(index, ["1", "grad"], uniform=True),
    },
    "elliptic": {"index": "lumped", "coupling": lambda index: elliptic(index, ["1", "grad"], 2.0)},
    "convolution": {"index": "interval", "coupling": lambda index: convolution(index, 0.3)},
}


def trained(classes=True, **options):
    """A model with random parameters of the size of trained ones, and scalings in awkward units."""
    network = problems.network(**options)
    random = np.random.default_rng(7)
    flat = 0.6 * random.standard_normal(sum(int(np.prod(shape)) for shape in network.shapes))
    inputs = Standardiser(np.array([285.0, 0.0, -2e-4]), np.array([11.0, 3.0, 1e-4]))
    targets = Standardiser(np.array([1e5, 0.0, 2.0]), np.array([300.0, 1.0, 0.5]))
    if classes:
        targets = Standardiser.identity(3)
    names = ("red", "green", "light blue") if classes else None
    return Model(network, flat, inputs, targets, names, ("a", "b", "c"))


def raw(count=9):
    """Inputs in those units."""
    return np.random.default_rng(1).standard_normal((count, 3)) * [11, 3, 1e-4] + [285, 0, -2e-4]


def read_npz(path, z):
    """Predictions of an archive, from its docstring: for reading, not for speed."""
    with np.load(path) as file:
        f = dict(file)
    sigma, leak = SIGMA[str(f["activation"])], f["leak"]
    x = (z - f["mean"]) / f["scale"] @ f["lift_weight"].T + f["lift_bias"]
    weight = f["weight_1"] @ f["weight_2"] if "weight_2" in f else f["weight_1"]
    for h, W, b, turns in zip(f["steps"], weight, f["bias"], f["turns"], strict=True):
        k = []
        for j, s in enumerate(f["slot"]):
            row = f["tableau_a"][j]
            X = base = x + h * sum(row[l] * k[l] for l in range(j))
            for _ in range(turns[j]):
                X = (base + h * row[j] * sigma(X @ W[s].T + b[s])) / (1 + h * row[j] * leak)
            k.append(sigma(X @ W[s].T + b[s]) - leak * X)
        x = x + h * sum(b_j * k_j for b_j, k_j in zip(f["tableau_b"], k, strict=True))
    y = (x @ f["readout_weight"].T + f["readout_bias"]) * f["output_scale"] + f["output_mean"]
    if not f["classes"].size:
        return y
    p = np.exp(y - y.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def export(model, writer, path, kind="float64"):
    network = ordinary(model, problems.SHARPNESS, kind, "a test")
    replace_files(writer(network, path))
    return network


def off(found, model, z):
    """Largest difference from the predictions of the model, relative to them or their spread."""
    exact = model.predict(z)
    return np.max(np.abs(found - exact) / (np.abs(exact) + model.targets.scale))


@pytest.fixture(params=CASES)
def model(request):
    return trained(**CASES[request.param])


def test_archive_predicts_as_the_model(model, tmp_path):
    export(model, npz.npz_files, tmp_path / "net.npz")
    z = raw()
    assert off(read_npz(tmp_path / "net.npz", z), model, z) < 1e-12
    with np.load(tmp_path / "net.npz") as file:
        assert tuple(file["classes"]) == (model.classes or ())
        assert tuple(file["columns"]) == model.columns


def test_a_wrong_layer_is_seen(tmp_path):
    """The bound of the test above is not one that anything passes."""
    model, z = trained(), raw()
    other = replace(model, flat=model.flat * (1 + 1e-9))
    export(other, npz.npz_files, tmp_path / "net.npz")
    assert off(read_npz(tmp_path / "net.npz", z), model, z) > 1e-11


def run_onnx(runner, path, z):
    """Outputs of a graph by the reference of the standard, or by the runtime that people use."""
    if runner == "onnx":
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(str(path)).run(None, {"input": z})
    runtime = pytest.importorskip(runner, reason="onnxruntime is not installed")
    return runtime.InferenceSession(path).run(None, {"input": z})


@pytest.mark.parametrize("runner", ["onnx", "onnxruntime"])
@pytest.mark.parametrize("kind, bound", [("float32", 1e-5), ("float64", 1e-12)])
def test_onnx_predicts_as_the_model(model, tmp_path, kind, bound, runner):
    package = pytest.importorskip("onnx", reason="the Python package onnx is not installed")
    export(model, onnx.onnx_files, tmp_path / "net.onnx", kind)
    loaded = package.load(tmp_path / "net.onnx")
    package.checker.check_model(loaded, full_check=True)
    z = raw()
    outputs = run_onnx(runner, tmp_path / "net.onnx", z.astype(kind))
    names = [value.name for value in loaded.graph.output]
    properties = {item.key: json.loads(item.value) for item in loaded.metadata_props}
    assert tuple(properties["columns"]) == model.columns
    assert all(value.dtype == kind for value in outputs)
    assert off(outputs[-1], model, z) < bound
    if model.classes is None:
        assert names == ["output"]
        assert "classes" not in properties
    else:
        assert names == ["logits", "probabilities"]
        assert tuple(properties["classes"]) == model.classes
        assert np.max(np.abs(outputs[0] - model.output(z))) < bound


@pytest.mark.parametrize("kind, bound", [("float32", 1e-5), ("float64", 1e-12)])
def test_torch_module_predicts_as_the_model(model, tmp_path, kind, bound):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    export(model, pytorch.torch_files, tmp_path / "net.py", kind)
    spec = importlib.util.spec_from_file_location("net", tmp_path / "net.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net, z = module.Network(), raw()
    assert str(net.dtype) == f"torch.{kind}"
    assert off(net.predict(torch.tensor(z, dtype=net.dtype)).numpy(), model, z) < bound
    y = net(torch.tensor(z, dtype=net.dtype)).detach().numpy()
    expected = model.output(z) if model.classes else model.predict(z)
    assert np.max(np.abs(y - expected) / (np.abs(expected) + model.targets.scale)) < bound
    assert tuple(net.classes) == (model.classes or ())
    # An ordinary module: what it has learnt is trainable, and moves with it.
    count = sum(p.numel() for p in net.parameters())
    assert count == ordinary(model, problems.SHARPNESS).parameters
    assert all(p.requires_grad for p in net.parameters())


def test_torch_module_needs_nothing_of_this_package(tmp_path):
    export(trained(), pytorch.torch_files, tmp_path / "net.py")
    assert {path.name for path in tmp_path.iterdir()} == {"net.py", "net.npz"}
    imported = set()
    for node in ast.walk(ast.parse((tmp_path / "net.py").read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"numpy", "torch"}


# Layers ------------------------------------------------------------------------------------------


def test_weights_of_other_layers_are_the_field_at_their_depths():
    """A field that is linear in the depth is known everywhere; the mesh of the run is uniform."""
    model = trained(grading=1.0, cells=6, depth=1.5)
    theta = model.parameters.theta
    slope = np.random.default_rng(2).standard_normal(theta.shape[1:])
    theta[...] = theta[0] + model.network.depth.nodes[:, None, None] * slope
    for layers in (1, 4, 6, 13):
        fine = resampled(model, CONFIG, layers)
        t = 1.5 * np.arange(layers + 1) / layers
        assert np.max(np.abs(fine.network.depth.nodes - t)) < 1e-15
        exact = theta[0] + t[:, None, None] * slope
        assert np.max(np.abs(fine.parameters.theta - exact)) < 1e-14
        assert np.array_equal(fine.parameters.readout, model.parameters.readout)
        assert np.array_equal(fine.parameters.lift, model.parameters.lift)
        network = ordinary(fine, problems.SHARPNESS)
        assert (network.layers, network.bias.shape) == (layers, (layers, 1, 4))
        assert np.max(np.abs(network.bias[:, 0] - exact[:-1, :, -1])) < 1e-14


def test_nodes_of_other_layers_keep_the_grading():
    model = trained(grading=2.0, cells=4, depth=1.0)
    coarse, fine = resampled(model, CONFIG, 2), resampled(model, CONFIG, 8)
    assert np.allclose(coarse.network.depth.nodes, [0.0, 0.25, 1.0], rtol=0, atol=1e-16)
    assert np.allclose(fine.network.depth.nodes[::2], model.network.depth.nodes, rtol=0, atol=1e-16)
    assert np.allclose(fine.network.depth.nodes[1], 1 / 32, rtol=0, atol=1e-16)
    assert resampled(model, CONFIG, 4) is model
    with pytest.raises(InputError, match="0 layers is none; take --layers 1"):
        resampled(model, CONFIG, 0)


@pytest.mark.parametrize("scheme, order", [("euler", 1), ("rk2", 2), ("midpoint", 2), ("rk4", 4)])
def test_many_layers_converge_to_the_flow_of_the_field(tmp_path, scheme, order):
    """In the order of the scheme, against an adaptive integration of the same field at 1e-12."""
    model = trained(scheme_name=scheme, cells=1, grading=1.0, depth=1.5, classes=False)
    (first, last), z = model.parameters.theta, raw(3)

    def right(t, x):
        theta = first + t / 1.5 * (last - first)
        x = x.reshape(4, -1)
        return np.tanh(theta[:, :-1] @ x + theta[:, -1:]).ravel()

    x0 = np.vstack([model.inputs.apply(z).T, np.zeros(3)])
    x = solve_ivp(right, (0.0, 1.5), x0.ravel(), "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    readout = model.parameters.readout
    exact = (readout[:, :-1] @ x.reshape(4, -1) + readout[:, -1:]).T
    errors = []
    for layers in (8, 16, 32):
        export(resampled(model, CONFIG, layers), npz.npz_files, tmp_path / "net.npz")
        found = model.targets.apply(read_npz(tmp_path / "net.npz", z))
        errors.append(np.max(np.abs(found - exact)))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(slopes - order) < 0.25)


# Neurons -----------------------------------------------------------------------------------------


def on_an_index(inputs=3, outputs=2, cells=2, **network):
    """A model with random parameters on a neuron index with a geometry, and its configuration."""
    data = {"shape": network.pop("pixels")} if "pixels" in network else {}
    config = load({"data": data, "network": {"cells": cells, **network}})
    made = make_network(config, inputs, outputs, Resolution(cells))
    flat = np.random.default_rng(4).standard_normal(sum(int(np.prod(s)) for s in made.shapes))
    scaling = Standardiser.identity(inputs), Standardiser.identity(outputs)
    columns = tuple(f"x{i}" for i in range(inputs))
    return Model(made, flat, *scaling, None, columns), config


@pytest.mark.parametrize(
    "options, finer",
    [
        ({"index": "interval", "neurons": 4, "lift": "linear"}, (12,)),
        ({"index": "interval", "neurons": 6, "channels": 2, "lift": "linear"}, (12,)),
        (
            {
                "index": "interval",
                "neurons": 4,
                "lift": "linear",
                "coupling": "low_rank",
                "rank": 2,
                "grading": 1.5,
            },
            (8,),
        ),
        ({"index": "rectangle", "shape": [2, 3], "element": "P0", "pixels": [2, 3]}, (4, 6)),
    ],
)
def test_more_piecewise_constant_neurons_compute_the_same(tmp_path, options, finer):
    """States that are constant on the cells stay so where these are divided, and all integrals too."""
    pixels = int(np.prod(options.get("pixels", [3])))
    model, config = on_an_index(inputs=pixels, scheme="rk2", **options)
    fine = resampled(model, config, 2, finer)
    channels = options.get("channels", 1) if len(finer) > 1 else 1
    network = export(fine, npz.npz_files, tmp_path / "net.npz")
    assert network.neurons == fine.network.index.neurons == np.prod(finer) * channels
    z = np.random.default_rng(5).standard_normal((4, pixels))
    exact = model.predict(z)
    assert np.max(np.abs(exact)) > 0.1
    assert np.max(np.abs(read_npz(tmp_path / "net.npz", z) - exact)) < 1e-13


def test_more_piecewise_linear_neurons_converge_in_second_order():
    """The fields stay what they are; only sigma, at the nodes, is interpolated ever better."""
    model, config = on_an_index(
        index="interval", neurons=5, element="P1", mass="consistent", lift="linear"
    )
    z = np.random.default_rng(5).standard_normal((4, 3))
    found = [resampled(model, config, None, (n,)).predict(z) for n in (17, 33, 65, 513)]
    errors = [np.max(np.abs(y - found[-1])) for y in found[:-1]]
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[-1] > 1e-9
    assert np.all(np.abs(slopes - 2.0) < 0.15)


@pytest.mark.parametrize(
    "options, neurons, words",
    [
        ({"index": "points", "neurons": 4}, (8,), "has 4 neurons and --neurons is 8, .* 'points'"),
        ({"index": "interval", "neurons": 4}, (8,), "network.lift = 'pad' means single neurons"),
        (
            {"index": "interval", "neurons": 4, "lift": "linear", "readout": "observed"},
            (8,),
            "network.readout = 'observed' means single neurons",
        ),
        (
            {"index": "interval", "neurons": 4, "lift": "linear"},
            (2, 4),
            "is 2x4, expected one number",
        ),
        (
            {"index": "rectangle", "shape": [2, 2], "lift": "linear"},
            (8,),
            "is 8, expected rows and columns",
        ),
    ],
)
def test_neurons_that_cannot_be_had_are_refused(options, neurons, words):
    model, config = on_an_index(**options)
    with pytest.raises(InputError, match=words):
        resampled(model, config, None, neurons)
    assert resampled(model, config, None, (model.network.index.neurons,)) is model


def test_networks_that_are_too_large_are_refused_with_their_size(monkeypatch):
    """Before anything is allocated: a thousand million layers would not fit into any memory."""
    words = r"1000000001 depth nodes with parameters of 4 x 5 take 149.0 GiB, expected at most 2"
    with pytest.raises(InputError, match=words):
        resampled(trained(), CONFIG, 10**9)
    model, config = on_an_index(index="interval", neurons=4, lift="linear")
    with pytest.raises(InputError, match=r"3 depth nodes with parameters of 50000 x 50001 take"):
        resampled(model, config, None, (50000,))
    monkeypatch.setattr("fem_deepest.io.export.ordinary._LARGEST", 511)
    with pytest.raises(InputError, match=r"4 dense matrices of 4 x 4 take .* GiB, expected"):
        ordinary(trained(), problems.SHARPNESS)


# Implicit stages ---------------------------------------------------------------------------------


def test_turns_of_an_implicit_stage_are_enough_and_not_many_more():
    """Of a scalar layer at zero slope is one, so that the bound is the contraction itself."""
    model = trained(scheme_name="midpoint", cells=2, grading=1.0, depth=2.0)
    model.parameters.theta[...] = 0.0
    model.parameters.theta[:, range(4), range(4)] = 0.5  # h/2 |W| = 1/4
    network = ordinary(model, problems.SHARPNESS)
    assert np.all(network.turns == np.ceil(np.log(2.0**-55) / np.log(0.25)))
    assert np.all(ordinary(model, problems.SHARPNESS, "float32").turns == 13)  # 4^-13 = eps/8


def test_implicit_layers_that_are_too_long_are_refused_with_what_helps():
    """Fewer layers may step over the largest weights: the advice is followed until it holds."""
    model = trained(scheme_name="midpoint", cells=2, depth=4.0)
    model.parameters.theta[...] *= 2.0
    layers = [2]
    while len(layers) < 4:
        try:
            ordinary(resampled(model, CONFIG, layers[-1]), problems.SHARPNESS)
            break
        except InputError as error:
            found = re.fullmatch(r".* is implicit .* take --layers (\d+) or more", str(error))
            layers.append(int(found.group(1)))
    assert layers == sorted(set(layers))
    assert 1 < len(layers) < 4


# Files -------------------------------------------------------------------------------------------


def test_files_are_replaced_together_or_not_at_all(tmp_path):
    (tmp_path / "one").write_bytes(b"old")

    def contents():
        yield tmp_path / "one", b"new"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_files(contents())
    assert (tmp_path / "one").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    replace_files([(tmp_path / "one", b"new"), (tmp_path / "two", b"2")])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "one": b"new",
        "two": b"2",
    }


def test_onnx_says_how_to_get_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install onnx.*python3-onnx.*--format npz or torch"):
        export(trained(), onnx.onnx_files, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_onnx_refuses_what_no_file_of_its_holds(tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="the Python package onnx is not installed")
    monkeypatch.setattr(onnx, "_LARGEST", 100)
    with pytest.raises(InputError, match="has 111 parameters"):
        export(trained(), onnx.onnx_files, tmp_path / "net.onnx")
