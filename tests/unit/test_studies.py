"""The studies: their orders in small size, their norms by brute force, what their points depend on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest.configuration.section import reference
from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError
from fem_deepest.runs.network import make_network
from fem_deepest.spaces import DepthMesh, Resolution
from fem_deepest.studies.column import Errors
from fem_deepest.studies.comparison import ComparisonStudy
from fem_deepest.studies.fields import smooth_fields
from fem_deepest.studies.named import STUDIES, load_study
from fem_deepest.studies.points import Points
from fem_deepest.studies.samples import draw
from fem_deepest.studies.study import compute
from fem_deepest.studies.training import depth_norm, field_norms

FILE = Path(__file__).parents[2] / "demos" / "own_data.csv"

DEPTH = {
    "seed": 1,
    "study": {"name": "depth", "values": [4, 8, 16]},
    "data": {"name": "file", "path": str(FILE), "kind": "regression", "test_fraction": 0.8},
    "network": {"neurons": 3, "scheme": "rk2", "depth": 1.0},
    "action": {"lambda": 1e-2},
    "solve": {"polish": True, "polish_tolerance": 1e-9},
}
NEURONS = {"study": {"name": "neurons", "values": [4, 8, 16]}}
LINEAR_FIELDS = {
    "study": {"name": "neurons", "values": [5, 9, 17], "reference": 8, "nested": True},
    "network": {"element": "P1", "mass": "consistent"},
    "action": {"ell": 0.2},
}
ITERATIONS = {
    "seed": 1,
    "study": {"name": "iterations", "refine": "neurons", "values": [17, 33, 65]},
    "data": {"samples": 4},
    "network": {"element": "P1", "mass": "consistent", "cells": 2},
    "action": {"lambda": 1e-3, "ell": 0.3},
    "solve": {"tolerance": 1e-4},
}
SAMPLES = {"study": {"name": "samples", "values": [64, 256], "repetitions": 6}}
LINEAR = {"study": {"name": "weak_constraint", "values": [8, 16, 32]}}
STABILITY = {"study": {"name": "stability", "values": [0.5, 1.0]}}
MULTILEVEL = {"study": {"name": "multilevel", "values": [0.02, 0.01]}}
ALL = {"depth": DEPTH, "neurons": NEURONS, "samples": SAMPLES, "weak_constraint": LINEAR}
ALL |= {name: {"study": {"name": name, "values": [8, 16]}} for name in ("heat_strong", "heat_weak")}
ACCEPTANCE = {"study": {"name": "acceptance", "values": [8, 16], "kernels": ["pcn", "hmc"]}}
ALL |= {"stability": STABILITY, "multilevel": MULTILEVEL, "acceptance": ACCEPTANCE}
ALL |= {
    "sgd_strong": {
        "study": {"name": "sgd_strong", "values": [16, 64], "problems": ["quadratic"]},
    }
}
SGD = {"study": {"name": "sgd_strong", "values": [16, 64], "problems": ["quadratic"]}}
ALL |= {"sgd_strong": SGD}
ALL |= {"iterations": ITERATIONS}
ALL |= {"escape": {"study": {"name": "escape", "values": [7.0, 8.0, 9.0]}}}
# Comparisons refine nothing; their points are tested in test_comparison.py.
REFINED = [name for name in STUDIES if not issubclass(STUDIES[name], ComparisonStudy)]
DETERMINISTIC = ("weak_constraint", "heat_strong", "heat_weak", "stability")


def run(config, folder: Path):
    """Study, points and table, on this rank."""
    study = load_study(config)
    points = compute(study, Points(folder, MPI.COMM_SELF))
    assert all(point.converged for point in points)
    return study, points, study.table(points)


def changed(config, **sections):
    """A configuration with some keys changed."""
    return config | {name: config.get(name, {}) | keys for name, keys in sections.items()}


def test_linear_problem_has_its_orders(tmp_path) -> None:
    study, points, table = run(changed(LINEAR, study={"methods": ["P1", "P2", "gauss2"]}), tmp_path)
    assert len(points) == 9
    assert {name: e.expected for name, e in table.errors.items()} == {
        "P1 L2": 2.0,
        "P1 H1": 1.0,
        "P2 L2": 3.0,
        "P2 H1": 2.0,
        "gauss2 ends": 4.0,
    }
    # The widest is P2 L2, 2.98 on the last step.
    assert table.check(0.03, last=2) == []
    assert tuple(table.errors) == study.columns
    assert study.label(points[-1].parameters) == "gauss2, 32 cells"


@pytest.mark.parametrize("ends", ["natural", "input", "clamped"])
def test_linear_problem_holds_the_ends_that_are_clamped(ends) -> None:
    study = load_study(LINEAR | {"problem": {"ends": ends, "left": 0.3, "right": 0.2}})
    fixed = study.points()[0]["problem"]
    assert fixed["left"] == (None if ends == "natural" else 0.3)
    assert fixed["right"] == (0.2 if ends == "clamped" else None)


def test_depth_of_a_network_of_second_order(tmp_path) -> None:
    study, points, table = run(DEPTH, tmp_path)
    assert [e.expected for e in table.errors.values()] == [2.0, 1.0, 2.0]
    # The reference with four times the cells adds 0.07 at the last row.
    # Measured: 9.7e-5 in the weights.
    assert table.check(0.1, {"weights": 2e-4, "action": 2e-7}) == []
    assert study.label(points[-1].parameters) == "64 cells"
    # The distance of the weights by the trapezoidal rule on many points.
    t, total = np.linspace(0.0, 1.0, 4097), 0.0
    w, reference = (points[i].values["parameters"] for i in (1, 3))
    for i in range(12):
        coarse = np.interp(t, np.linspace(0.0, 1.0, 9), w[: 9 * 12].reshape(9, 12)[:, i])
        fine = np.interp(t, np.linspace(0.0, 1.0, 65), reference[: 65 * 12].reshape(65, 12)[:, i])
        total += np.trapezoid((coarse - fine) ** 2, t)
    assert table.errors["weights"].values[1] == pytest.approx(np.sqrt(total), rel=1e-4)


def test_depth_of_an_ordinary_residual_network(tmp_path) -> None:
    config = changed(DEPTH, study={"reference": 16}, network={"scheme": "euler"})
    _, _, table = run(config, tmp_path)
    assert [e.expected for e in table.errors.values()] == [1.0, 1.0, 1.0]
    # The action changes its sign on the way to its limit; the weights do not.
    for name in ("weights", "weights H1"):
        assert abs(table.fit(name, 2).order - 1.0) < 0.1


@pytest.mark.parametrize(
    ("coupling", "element", "values"),
    [("elliptic", "P1", [5, 9]), ("convolution", "P1", [5, 9]), ("convolution", "P0", [4, 8])],
)
def test_neurons_of_couplings_that_are_no_kernels(tmp_path, coupling, element, values) -> None:
    """Rows or columns of their parameters have nothing to do with the neuron index."""
    network = {"coupling": coupling, "operators": ["1"], "reach": 0.5, "element": element}
    section = {"values": values, "reference": 4}
    _, _, table = run(changed(LINEAR_FIELDS, study=section, network=network), tmp_path)
    for errors in table.errors.values():
        assert errors.values[0] > errors.values[1] > 0.0
    # Of second order; these few neurons tell it within a factor.
    action = table.errors["action"].values
    assert 2.5 < action[0] / action[1] < 8.0


def test_neurons_stand_for_a_field(tmp_path) -> None:
    study, points, table = run(NEURONS, tmp_path)
    assert [e.expected for e in table.errors.values()] == [1.0, 2.0, 2.0]
    assert table.check(0.1) == []
    # The search does not see how many neurons there are, once they are more than a few.
    assert np.ptp(table.others["gradients"][1:]) <= 5
    assert study.label(points[-1].parameters) == "64 neurons"
    # P0 distance and distance of the means, by loops over the cells.
    n, depth = 8, DepthMesh.graded(1.0, 4)
    w, fine = (
        p.values["parameters"].reshape(5, N, N + 1) for p, N in ((points[1], n), (points[3], 64))
    )
    whole = means = 0.0
    for i in range(n):
        for j in range(n):
            block = fine[:, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
            for a in range(8):
                for b in range(8):
                    whole += _square(depth, w[:, i, j] - block[:, a, b]) / 64**2
            means += _square(depth, w[:, i, j] - block.mean(axis=(1, 2))) / n**2
        bias = fine[:, 8 * i : 8 * i + 8, -1]
        whole += sum(_square(depth, w[:, i, -1] - bias[:, a]) for a in range(8)) / 64
        means += _square(depth, w[:, i, -1] - bias.mean(axis=1)) / n
    assert table.errors["weights"].values[1] == pytest.approx(np.sqrt(whole), rel=1e-10)
    assert table.errors["means"].values[1] == pytest.approx(np.sqrt(means), rel=1e-10)


def test_fields_in_piecewise_linears_are_of_second_order(tmp_path) -> None:
    _, points, table = run(LINEAR_FIELDS, tmp_path)
    expected = {"weights": 2.0, "weights H1": 1.0, "action": 2.0}
    assert {name: e.expected for name, e in table.errors.items()} == expected
    assert table.check(0.2, last=2) == []
    # The distance in L2 by Gauss points on the cells of the reference, in t and in both s.
    depth, finest, w = DepthMesh.graded(1.0, 4), np.linspace(0.0, 1.0, 129), []
    for p, N in ((points[1], 9), (points[3], 129)):
        field = p.values["parameters"].reshape(5, N, N + 1)
        s = np.linspace(0.0, 1.0, N)
        gauss = (
            finest[:-1, None] + np.diff(finest)[0] * (0.5 + np.array([-1, 1]) / 12**0.5)
        ).ravel()
        hats = np.array([np.interp(gauss, s, e) for e in np.eye(N)])
        w.append(
            (np.einsum("tij,ia,jb->tab", field[:, :, :-1], hats, hats), field[:, :, -1] @ hats)
        )
    (kernel, bias), (other, base) = w
    whole = np.mean([_square(depth, e) for e in (kernel - other).reshape(5, -1).T])
    whole += np.mean([_square(depth, e) for e in (bias - base).T])
    assert table.errors["weights"].values[1] == pytest.approx(np.sqrt(whole), rel=1e-9)


def test_norms_of_a_field_along_the_index() -> None:
    """``s + 2 s'`` on (0, 1)^2 with the bias ``s``, constant in depth."""
    study = load_study(LINEAR_FIELDS)
    config = Config.model_validate(study.points()[0]["config"])
    network = make_network(config, study._cells, study._cells, Resolution(4))
    s = np.linspace(0.0, 1.0, 5)
    field = np.broadcast_to(np.column_stack([s[:, None] + 2.0 * s, s]), (5, 5, 6))
    found = field_norms(network, field)
    # int (s + 2 s')^2 = 1/3 + 1 + 4/3, int s^2 = 1/3; slopes 1 + 4 and 1.
    np.testing.assert_allclose(found, [np.sqrt(8.0 / 3.0 + 1.0 / 3.0), np.sqrt(6.0)], rtol=1e-13)


@pytest.mark.parametrize("refine", ["neurons", "cells"])
def test_iterations_do_not_see_the_mesh(refine, tmp_path) -> None:
    config = changed(ITERATIONS, study={"refine": refine})
    if refine == "cells":
        config = changed(config, study={"values": [16, 32, 64]})
        config["network"] = {"neurons": 17, "element": "P1", "mass": "consistent"}
    study, points, table = run(config, tmp_path)
    assert len(points) == 5
    assert study.failures({"table": table}) == []
    alone, nested = (table.errors[name].values for name in study.columns)
    assert alone.max() <= 1.15 * alone.min()
    assert np.all(nested[1:] < alone[1:])
    # Both ways lead to the same minimum, within the square of the tolerance.
    np.testing.assert_allclose(table.others["action, nested"], table.others["action"], rtol=1e-3)
    worse = replace(
        table, errors={**table.errors, study.columns[0]: Errors([10.0, 13.0, 10.0], 0.0)}
    )
    assert "ratio of 1.3" in study.failures({"table": worse})[0]


def _square(depth: DepthMesh, u: np.ndarray) -> float:
    """``int u^2`` of a P1 function, by Simpson's rule, which is exact."""
    middle = 0.5 * (u[:-1] + u[1:])
    return float(depth.steps @ (u[:-1] ** 2 + 4.0 * middle**2 + u[1:] ** 2) / 6.0)


def test_samples_are_half_an_order(tmp_path) -> None:
    study, points, table = run(SAMPLES, tmp_path)
    assert [e.expected for e in table.errors.values()] == [0.5, 0.5]
    assert table.check(0.2) == []
    assert all((e.low < e.values).all() for e in table.errors.values())
    np.testing.assert_array_equal(table.others["repetitions"], [6, 6])
    assert study.label(points[7].parameters) == "256 samples, draw 2"
    assert study.label(points[-1].parameters) == "4096 samples, the reference"
    # The mean of the distances, written out.
    truth = points[-1].values["outputs"][:, 0]
    far = [np.sqrt(np.mean((p.values["outputs"][:, 0] - truth) ** 2)) for p in points[6:12]]
    assert table.errors["predictor"].values[1] == pytest.approx(np.mean(far), rel=1e-12)


def test_law_of_the_samples() -> None:
    """The target without noise is the function; the noise has its deviation."""
    exact, noisy = draw(20000, 0.0, [1, 2]), draw(20000, 0.3, [1, 2])
    z = exact.inputs
    np.testing.assert_array_equal(z, noisy.inputs)
    np.testing.assert_allclose(
        exact.targets[:, 0], np.tanh(z[:, 0] + z[:, 1]) - z[:, 1] / 2, atol=1e-15
    )
    deviation = np.std(noisy.targets - exact.targets)
    assert abs(deviation - 0.3) < 4 * 0.3 / np.sqrt(2 * 20000)
    assert not np.array_equal(draw(5, 0.0, [1, 3]).inputs, z[:5])


def test_smooth_fields_are_the_same_functions_on_every_mesh() -> None:
    few, many = smooth_fields(5, 3, 4, 3, 0.1), smooth_fields(15, 3, 4, 3, 0.1)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_allclose(a, b[:, 1::3], atol=1e-14)  # midpoints are midpoints
    still = smooth_fields(5, 3, 4, 3, 0.0)
    np.testing.assert_allclose(still[1], np.sin(still[0]), atol=1e-14)


def test_depth_norm_of_a_line() -> None:
    """``|t|`` in L2(0, 2) is ``sqrt(8/3)``, its slope has ``sqrt(2)``."""
    mesh = DepthMesh.graded(2.0, 5, 1.7)
    field = np.zeros((6, 2, 3))
    field[:, 1, 2] = mesh.nodes
    found = depth_norm(mesh, field, np.array([1.0, 1.0, 4.0]))
    np.testing.assert_allclose(found, [2.0 * np.sqrt(8.0 / 3.0), 2.0 * np.sqrt(2.0)], rtol=1e-13)


# In the study of slabs all values are one point: they share a training.
@pytest.mark.parametrize("name", [name for name in REFINED if name != "slabs"])
def test_points_depend_on_what_they_are_made_of(name, tmp_path) -> None:
    """More values, another check or output: the same points. Another seed, another number: others."""
    store, config = Points(tmp_path, MPI.COMM_SELF), ALL[name]

    def paths(**sections) -> list[Path]:
        return [store.path(p) for p in load_study(changed(config, **sections)).points()]

    first = paths()
    assert len(set(first)) == len(first)
    assert paths(check={"tolerance": 0.01}, output={"figures": False}) == first
    values = config["study"]["values"]
    # The levels of a nested iteration are the smaller values.
    kept = slice(-1) if name == "iterations" else slice(1, None)
    fewer = paths(study={"values": values[kept]})
    assert set(fewer) < set(first)
    number = {
        "depth": {"network": {"leak": 0.1}},
        "neurons": {"data": {"smoothing": 0.2}},
        "samples": {"data": {"noise": 0.1}},
        "iterations": {"study": {"pixels": 32}},
        "weak_constraint": {"problem": {"R_f": 2.0}},
        "heat_strong": {"problem": {"nu": 2.0}},
        "heat_weak": {"problem": {"T": 2.0}},
        "stability": {"study": {"mode": "mc"}},
        "multilevel": {"levels": {"steps": 8}},
        "acceptance": {"bridge": {"depth": 2.0}},
        "sgd_strong": {"quadratic": {"noise": 2.0}},
        "escape": {"problem": {"L": 2.0}},
    }[name]
    assert not set(paths(**number)) & set(first)
    if name not in DETERMINISTIC:
        other = [store.path(p) for p in load_study(config | {"seed": 7}).points()]
        assert not set(other) & set(first)


def test_contents_of_the_data_count_not_only_their_name(tmp_path) -> None:
    store, path = Points(tmp_path, MPI.COMM_SELF), tmp_path / "data.csv"
    config = changed(DEPTH, data={"path": str(path)})
    found = []
    for rows in (190, 200):
        path.write_text("".join(FILE.read_text().splitlines(keepends=True)[: rows + 1]))
        found.append({store.path(p) for p in load_study(config).points()})
    assert not found[0] & found[1]


@pytest.mark.parametrize("name", ["depth", "neurons", "samples"])
def test_a_section_that_is_given_keeps_its_other_defaults(name) -> None:
    """Also where they are not those of a training."""
    plain = load_study(ALL[name]).config
    given = load_study(
        changed(ALL[name], solve={"memory": 20}, network={"leak": 0.0}, action={"kappa": 1.0})
    ).config
    assert given == plain
    assert given.solve.polish
    assert given.network.scheme == "rk2"


REFUSED = [
    ({}, "study.name is missing"),
    ({"study": {"name": 3}}, "study.name is missing"),
    ({"study": "depth"}, "study.name is missing"),
    ({"study": {"name": "dept"}}, "no study 'dept'; did you mean 'depth'"),
    (changed(LINEAR, study={"values": []}), "study.values: got [], expected numbers that increase"),
    (changed(LINEAR, study={"values": [8, 4]}), "got [8, 4]"),
    (changed(LINEAR, study={"values": [0, 4]}), "study.values: got 0"),
    (changed(LINEAR, study={"value": [4]}), "the nearest known key is 'values'"),
    (changed(LINEAR, study={"methods": ["P1", "P1"]}), "names a method twice"),
    (changed(LINEAR, study={"methods": []}), "study.methods: got []"),
    (changed(LINEAR, study={"methods": ["P9"]}), "study.methods: got 'P9'"),
    (changed(LINEAR, problem={"R_f": 0.0}), "problem.R_f: got 0.0"),
    (changed(LINEAR, problem={"lamda": 1.0}), "the nearest known key is 'lambda'"),
    (changed(LINEAR, problem={"ends": "free"}), "problem.ends: got 'free'"),
    (LINEAR | {"network": {}}, "unknown key network"),
    (
        changed(LINEAR, check={"caps": {"P1 L3": 1.0}}),
        "names 'P1 L3', but the errors of this study",
    ),
    (changed(LINEAR, check={"last": 1}), "check.last: got 1"),
    (changed(DEPTH, study={"values": [5, 8]}), "values has 5, whose mesh is not nested"),
    (changed(DEPTH, study={"reference": 1}), "study.reference: got 1"),
    (changed(DEPTH, network={"cells": 4}), "network.cells is what the study refines"),
    (changed(DEPTH, solve={"levels": [4]}), "solve.levels is chosen for each value"),
    (changed(DEPTH, network={"neurons": 1}), "1 neurons cannot hold 2 inputs"),
    (changed(DEPTH, data={"path": "/nowhere.csv"}), "nowhere.csv"),
    (changed(DEPTH, action={"loss": "cross_entropy"}), "action.loss is 'cross_entropy'"),
    (changed(NEURONS, study={"values": [5, 8]}), "values has 5, whose cells are not unions"),
    (changed(LINEAR_FIELDS, study={"values": [6, 8]}), "take divisors of it, plus one"),
    (changed(NEURONS, solve={"neurons": [4]}), "solve.neurons is chosen for each value"),
    (changed(ITERATIONS, network={"neurons": 4}), "network.neurons is what the study refines"),
    (changed(ITERATIONS, network={"lift": "pad"}), "network.lift is decided by the study"),
    (changed(NEURONS, network={"neurons": 4}), "network.neurons is decided by the study"),
    (changed(NEURONS, network={"index": "points"}), "network.index is decided by the study"),
    (changed(NEURONS, network={"coupling": "low_rank"}), "'low_rank' cannot start at zero"),
    (changed(NEURONS, action={"loss": "cross_entropy"}), "must be 'least_squares' in this study"),
    (changed(NEURONS, solve={"levels": [3]}), "must increase and end with network.cells = 4"),
    (changed(SAMPLES, solve={"levels": [3]}), "must increase and end with network.cells = 2"),
    (changed(NEURONS, data={"samples": 0}), "data.samples: got 0"),
    (changed(SAMPLES, study={"repetitions": 1}), "study.repetitions: got 1"),
    (changed(SAMPLES, data={"noise": -1.0}), "data.noise: got -1.0"),
    (changed(SAMPLES, network={"neurons": 1}), "1 neurons cannot hold 2 inputs"),
    (changed(SAMPLES, action={"loss": "cross_entropy"}), "must be 'least_squares' in this study"),
]


@pytest.mark.parametrize(("config", "sentence"), REFUSED, ids=[s for _, s in REFUSED])
def test_wrong_input_is_refused_in_one_sentence(config, sentence) -> None:
    with pytest.raises(InputError) as error:
        load_study(config)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", STUDIES)
def test_every_key_has_a_meaning(name) -> None:
    """The table of keys that a reader gets."""
    rows = [line.split(" | ") for line in reference(STUDIES[name].Config).splitlines()[2:]]
    keys = [row[0].strip("| `") for row in rows]
    number = "study.values" if name in REFINED else "study.budget"
    assert {"seed", "study.name", number, "check.caps", "output.figures"} <= set(keys)
    assert len(set(keys)) == len(keys)
    for key, default, meaning in rows:
        assert len(meaning.rstrip("|").strip()) > 2, key
        assert "Undefined" not in default
