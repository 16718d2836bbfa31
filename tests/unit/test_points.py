"""Points of a study: computed once, recomputed when they change, never left half written."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.studies.column import Errors
from fem_deepest.studies.points import Points
from fem_deepest.studies.study import compute
from fem_deepest.studies.table import Table


class Counted:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.calls = list[float]()

    def __call__(self, x: float) -> dict[str, object]:
        self.calls.append(x)
        return {"square": x * x, "field": np.arange(3.0) * x}


@pytest.fixture
def points(tmp_path):
    return Points(tmp_path / "points", MPI.COMM_SELF, "1")


def ask(points: Points, function: Counted, x: float, **more: object):
    return points.get({"x": x, **more}, lambda: function(x))


def test_a_point_is_computed_once(points) -> None:
    function = Counted()
    first, second = ask(points, function, 0.3), ask(points, function, 0.3)
    assert function.calls == [0.3]
    assert (first.fresh, second.fresh) == (True, False)
    assert first["square"] == second["square"] == 0.3 * 0.3
    np.testing.assert_array_equal(second.values["field"], [0.0, 0.3, 0.6])
    assert second.seconds == first.seconds
    assert second.converged


def test_a_changed_parameter_is_another_point(points) -> None:
    function = Counted()
    for more in ({}, {"a": 1}, {"a": 2}, {"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, {"a": None}):
        ask(points, function, 2.0, **more)
        ask(points, function, 2.0, **more)
    ask(points, function, 3.0)
    assert function.calls == [2.0] * 6 + [3.0]
    assert len(list(points.folder.iterdir())) == 7


def test_the_order_of_the_parameters_does_not_matter(points) -> None:
    function = Counted()
    points.get({"a": 1, "b": {"c": 2, "d": 3}}, lambda: function(1.0))
    points.get({"b": {"d": 3, "c": 2}, "a": 1}, lambda: function(1.0))
    assert len(function.calls) == 1


def test_another_version_computes_anew(points) -> None:
    function = Counted()
    ask(points, function, 1.0)
    ask(Points(points.folder, MPI.COMM_SELF, "2"), function, 1.0)
    assert len(function.calls) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "other"])
def test_a_damaged_file_is_computed_anew(points, damage) -> None:
    function = Counted()
    ask(points, function, 1.0)
    path = points.path({"x": 1.0})
    content = path.read_bytes()
    if damage == "other":  # the file of another point under this name
        ask(points, function, 2.0)
        content = points.path({"x": 2.0}).read_bytes()
    path.write_bytes(
        {"cut": content[: len(content) // 2], "empty": b"", "text": b"x"}.get(damage, content)
    )
    function.calls.clear()
    assert ask(points, function, 1.0)["square"] == 1.0
    assert function.calls == [1.0]
    assert not ask(points, function, 1.0).fresh


def test_a_point_that_fails_leaves_nothing(points) -> None:
    def fail() -> dict[str, float]:
        raise NumericalFailure("not finite")

    with pytest.raises(NumericalFailure):
        points.get({"x": 1.0}, fail)
    assert not points.folder.exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path) -> None:
    (tmp_path / "points").write_text("a file")
    points = Points(tmp_path / "points", MPI.COMM_SELF)
    with pytest.raises(InputError, match="cannot keep a point of the study"):
        ask(points, Counted(), 1.0)


class Squares:
    """A study of ``1/n^2``."""

    title = "squares"
    columns = ("e",)

    def __init__(self, *values: int) -> None:
        self.values, self.solved = values, list[int]()

    def points(self):
        return [{"n": n} for n in self.values]

    def label(self, parameters):
        return str(parameters["n"])

    def solve(self, parameters, comm):
        self.solved.append(parameters["n"])
        return {"e": parameters["n"] ** -2.0}

    def table(self, points):
        e = np.array([p["e"] for p in points])
        return Table("n", np.array(self.values), {"e": Errors(e, 2.0)}, np.ones(e.size))


def test_a_study_computes_what_is_missing_and_no_more(points) -> None:
    first, longer = Squares(2, 4, 8), Squares(2, 4, 6, 8, 16)
    compute(first, points)
    found = compute(longer, points)
    assert first.solved == [2, 4, 8]
    assert longer.solved == [6, 16]
    assert [p.fresh for p in found] == [False, False, True, False, True]
    np.testing.assert_allclose(longer.table(found).orders("e"), 2.0)


def test_a_study_that_is_stopped_goes_on(points) -> None:
    class Stop(Exception):
        pass

    def stop(point) -> None:
        if point.parameters["n"] == 4:
            raise Stop

    study = Squares(2, 4, 8)
    with pytest.raises(Stop):
        compute(study, points, stop)
    assert study.solved == [2, 4]
    compute(study, points)
    assert study.solved == [2, 4, 8]
