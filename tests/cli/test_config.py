"""The configuration: what is known, what it defaults to, and how the command line overrides it."""

from __future__ import annotations

import json
import math

import pytest
from launch import DEMOS, TINY
from pydantic import ValidationError

from fem_deepest.cli.flow import kind_of
from fem_deepest.configuration.sample import load_sampling
from fem_deepest.configuration.train import Config, load
from fem_deepest.errors import InputError
from fem_deepest.io.rundir import jsonable
from fem_deepest.runs.anneal import load_search
from fem_deepest.runs.train import configuration
from fem_deepest.studies.named import load_study

SECTIONS = {name: field.annotation for name, field in Config.model_fields.items() if name != "seed"}


def test_every_key_says_what_it_is():
    assert SECTIONS.keys() == {"data", "network", "action", "search", "solve", "parallel", "output"}
    for name, section in SECTIONS.items():
        assert section.__doc__.startswith(f"``[{name}]``")
        for key, field in section.model_fields.items():
            assert field.description, f"{name}.{key}"
    assert Config.model_fields["seed"].description


def test_defaults_come_back():
    config = load({})
    assert config == Config()
    assert load(config) == config
    assert load(config.model_dump(by_alias=True)) == config
    assert (
        configuration(json.loads(json.dumps(jsonable(config.model_dump(by_alias=True))))) == config
    )
    assert config.action.R_f == config.action.R_0 == math.inf
    assert config.depth_levels == [2, 4, 8, 16]


def test_values_come_back():
    values = {
        "seed": 3,
        "data": {"name": "file", "path": "a.csv", "target": ["a", 2], "inputs": [1, "b"]},
        "network": {"neurons": 5, "cells": 6, "scheme": "midpoint"},
        "action": {"lambda": 0.5, "R_f": 10},
        "solve": {"levels": [3, 6]},
    }
    config = load(values)
    assert config.action.strength == 0.5
    assert config.depth_levels == [3, 6]
    assert config.data.target == ["a", 2]
    assert load(config) == config
    stored = json.loads(json.dumps(jsonable(config.model_dump(by_alias=True)), allow_nan=False))
    assert configuration(stored) == config
    assert stored["action"]["R_0"] is None


def test_is_frozen():
    config = load({})
    with pytest.raises(ValidationError, match="frozen"):
        config.network.neurons = 3


@pytest.mark.parametrize(
    ("setting", "section", "key", "value"),
    [
        ("network.neurons=7", "network", "neurons", 7),
        ("network.neurons = 7", "network", "neurons", 7),
        ("network.depth=3", "network", "depth", 3.0),
        ("action.lambda=1e-3", "action", "strength", 1e-3),
        ("action.R_f=inf", "action", "R_f", math.inf),
        ("action.R_f=2.5e2", "action", "R_f", 250.0),
        ("network.scheme=midpoint", "network", "scheme", "midpoint"),
        ('network.scheme="midpoint"', "network", "scheme", "midpoint"),
        ("network.scheme='midpoint'", "network", "scheme", "midpoint"),
        ("solve.levels=[4, 16]", "solve", "levels", [4, 16]),
        ("solve.levels=auto", "solve", "levels", "auto"),
        ("solve.polish=true", "solve", "polish", True),
        ("output.directory=/tmp/a b=c", "output", "directory", "/tmp/a b=c"),
        ("output.checkpoint_minutes=0", "output", "checkpoint_minutes", 0.0),
    ],
)
def test_settings(setting, section, key, value):
    config = load({}, [setting])
    found = getattr(getattr(config, section), key)
    assert found == value
    assert type(found) is type(value)


def test_later_settings_win_over_earlier_and_all_over_the_file(tmp_path):
    (tmp_path / "a.toml").write_text(TINY)
    assert load(tmp_path / "a.toml").network.neurons == 4
    config = load(tmp_path / "a.toml", ["network.neurons=5", "seed=9", "network.neurons=6"])
    assert (config.network.neurons, config.network.cells, config.seed) == (6, 4, 9)


def test_does_not_change_what_it_is_given():
    values = {"network": {"neurons": 4}}
    assert load(values, ["network.neurons=5", "data.samples=9"]).network.neurons == 5
    assert values == {"network": {"neurons": 4}}


def test_paths_of_a_file_are_relative_to_it(tmp_path):
    text = '[data]\nname = "file"\npath = "{}"\n'
    (tmp_path / "a.toml").write_text(text.format("own.csv"))
    assert load(tmp_path / "a.toml").data.path == str(tmp_path / "own.csv")
    (tmp_path / "a.toml").write_text(text.format("/somewhere/own.csv"))
    assert load(tmp_path / "a.toml").data.path == "/somewhere/own.csv"
    assert load({"data": {"name": "file", "path": "own.csv"}}).data.path == "own.csv"


@pytest.mark.parametrize(
    ("cells", "levels"),
    [(1, [1]), (2, [2]), (3, [3]), (4, [2, 4]), (12, [3, 6, 12]), (40, [5, 10, 20, 40])],
)
def test_levels_are_halved_while_that_goes(cells, levels):
    assert load({}, [f"network.cells={cells}"]).depth_levels == levels


@pytest.mark.parametrize("levels", ["[2, 8]", "[16, 4]", "[4, 4, 16]", "[]", "[0, 16]", "16"])
def test_levels_must_increase_to_the_cells(levels):
    with pytest.raises(InputError, match="levels"):
        load({}, [f"solve.levels={levels}"])


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("data.sample", "samples"),
        ("data.targets", "target"),
        ("network.N_cells", "cells"),
        ("network.activations", "activation"),
        ("action.strenght", "strength"),
        ("solve.tol", "tolerance"),
        ("output.dir", "directory"),
    ],
)
def test_nearest_key_is_named(key, near):
    if near == "strength":
        near = "R_f|lambda|kappa|ell|loss"  # strength is called lambda in a file
    with pytest.raises(InputError, match=rf"{key}; the nearest known key is '({near})'"):
        load({}, [f"{key}=1"])


def test_first_error_of_several_is_one_line():
    values = {"network": {"neurons": -1, "cells": "x", "other": 1}, "more": 2}
    with pytest.raises(InputError) as error:
        load(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", sorted(DEMOS.glob("*.toml")), ids=lambda path: path.name)
def test_demos_are_configurations(path, tmp_path):
    text = path.read_text()
    assert text.startswith("# ")
    if "[study]" in text:
        data = tmp_path / "data.csv"  # of those that are somebody else's
        data.write_text("t,x0\n")
        assert load_study(path, [f"problem.path={data}"] if "varanneal" in text else []).points()
        return
    if "[anneal]" in text:
        assert load_search(path).anneal.rungs > 0
        return
    if "[chains]" in text:
        assert load_sampling(path).chains
        return
    if any(f"[{section}]" in text for section in ("time", "flow", "contour")):
        assert kind_of(path).load(path, ()).output
        return
    config = load(path)
    assert config.network.cells == config.depth_levels[-1]
