"""Nested iteration against un-nested L-BFGS and against Adam: time to the same action.

    python3 tests/benchmarks/nested.py [--quick]

Digits, 64 neurons, T = 2, tanh, euler, lambda = 1e-4, on the standard objective. All start from the
same Gaussian matrix and take values and gradients from the same code; the clock is the CPU time of
the one thread, construction of all levels included:

* nested: the levels and the tolerances of demos/digits.toml, until the action on the *last* level is
  at the target;
* H1: the same solver on the last level alone, in the H1(depth) metric;
* Euclid: the same solver there with the identity as metric;
* SciPy: ``L-BFGS-B`` there with as many pairs.

The targets are nested/(the faster of Euclid and SciPy), the median over the starts. "gradients" is
the number of gradients in units of one on the last level.

Adam: five settings of rate and batch, against nested runs of four tolerances, on the same clock; the
best of either for each action. ``adam_torch.py`` runs in the interpreter FEM_DEEPEST_TORCH_PYTHON,
or this one if it has PyTorch. Where neither can be had from in here, do it in two steps:

    docker/run python3 tests/benchmarks/nested.py --write-adam-problem digits.npz
    python3 tests/benchmarks/adam_torch.py digits.npz > adam.json      # where PyTorch is
    docker/run python3 tests/benchmarks/nested.py --adam-result adam.json
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from common import Targets, arguments, digits, make_problem, make_schedule, start, table
from scipy.optimize import minimize

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.configuration.train import Config
from fem_deepest.runs.problem import Problem
from fem_deepest.solve.lmvm import Iterate, minimise
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.solve.schedule import Search, Stage
from fem_deepest.spaces import ProcessGrid, Resolution

ACTIONS = {16: 0.0053, 64: 0.0049}  # by number of cells
LIMITS = {16: 0.6, 64: 0.3}
ADAM_ACTIONS = [0.008, 0.006, 0.0053]  # the first has the target
ADAM_LIMIT = 0.15
TOLERANCES = (4e-3, 2e-3, 1e-3, 5e-4)  # of nested runs against Adam
ITERATIONS = 1000


class Reached(Exception):
    """The target is reached."""


class Identity:
    """The Euclidean metric."""

    def apply(self, d, r) -> None:
        d.copy(r)

    def solve(self, r, d) -> None:
        r.copy(d)


class Euclidean:
    """An action in the Euclidean metric."""

    def __init__(self, action: NetworkAction) -> None:
        self._action, self.metric = action, Identity()
        self.create, self.value, self.gradient = action.create, action.value, action.gradient


@dataclass
class Clock:
    """Notes when an action is first seen, and stops the solver at the last one.

    Attributes:
        marks: Actions to note, descending; the last one stops.
        seconds: Time of each, as far as reached.
        action: Smallest action so far.
        evaluations: Gradients by number of cells.
    """

    marks: list[float]
    seconds: dict[float, float] = field(default_factory=dict)
    action: float = np.inf
    evaluations: dict[int, int] = field(default_factory=dict)
    begun: float = field(default_factory=time.process_time)

    def see(self, action: float) -> None:
        self.action = min(self.action, action)
        for mark in self.marks:
            if action <= mark:
                self.seconds.setdefault(mark, time.process_time() - self.begun)
        if action <= self.marks[-1]:
            raise Reached

    @property
    def total(self) -> float:
        """Time to the last mark; infinite if it was not reached."""
        return self.seconds.get(self.marks[-1], np.inf)


Method = Callable[[Problem, Config, list[float]], Clock]


def nested(problem: Problem, config: Config, marks: list[float]) -> Clock:
    """The nested iteration of the project."""
    return _levels(problem, config, marks, config.depth_levels)


def un_nested(problem: Problem, config: Config, marks: list[float]) -> Clock:
    """The same on the last level alone."""
    return _levels(problem, config, marks, [config.network.cells])


def _levels(problem: Problem, config: Config, marks: list[float], levels: list[int]) -> Clock:
    clock, grid = Clock(marks), ProcessGrid.create()

    def on_step(search: Search, action: NetworkAction, iterate: Iterate) -> None:
        clock.evaluations[action.network.depth.cells] = action.evaluations
        if action.network.depth.cells == config.network.cells:
            clock.see(iterate.action)

    def on_stage(search: Search, action: NetworkAction, stage: Stage) -> None:
        clock.evaluations[stage.level.cells] = stage.evaluations

    iteration = NestedIteration(
        lambda level: problem.action(level, grid),
        make_schedule(config, levels),
        on_step,
        on_stage,
    )
    with contextlib.suppress(Reached):
        iteration.run(iteration.begin(lambda action: start(action, config)))
    return clock


def euclidean(problem: Problem, config: Config, marks: list[float]) -> Clock:
    """The same solver in the Euclidean metric."""
    clock = Clock(marks)
    action = problem.action(Resolution(config.network.cells), ProcessGrid.create())
    u, other = start(action, config), Euclidean(action)
    memory = LimitedMemory(other.metric, config.solve.memory)
    with contextlib.suppress(Reached):
        minimise(
            other,
            u,
            memory,
            tolerance=1e-12,
            iterations=ITERATIONS,
            monitor=lambda iterate: clock.see(iterate.action),
        )
    clock.evaluations[config.network.cells] = action.evaluations
    return clock


def scipy(problem: Problem, config: Config, marks: list[float]) -> Clock:
    """SciPy's L-BFGS-B on the same values and gradients."""
    clock = Clock(marks)
    action = problem.action(Resolution(config.network.cells), ProcessGrid.create())
    u, g = start(action, config), action.create()
    last = [np.inf]

    def value_gradient(x):
        u.array_w[...] = x
        last[0] = action.gradient(u, g)
        return last[0], g.array_r.copy()

    options = {"maxcor": config.solve.memory, "maxiter": ITERATIONS, "ftol": 0.0, "gtol": 1e-12}
    with contextlib.suppress(Reached):
        minimize(
            value_gradient,
            u.array_r.copy(),
            jac=True,
            method="L-BFGS-B",
            callback=lambda _: clock.see(last[0]),
            options={**options, "maxfun": 2 * ITERATIONS},
        )
    clock.evaluations[config.network.cells] = action.evaluations
    return clock


METHODS: dict[str, Method] = {
    "nested": nested,
    "H1": un_nested,
    "Euclid": euclidean,
    "SciPy": scipy,
}


def compare(cells: int, seeds: list[int], targets: Targets) -> None:
    """One table: all methods from all starts at one number of cells."""
    goal, rows = ACTIONS[cells], []
    ratios: dict[str, list[float]] = {"un-nested L-BFGS": [], "H1": []}
    for seed in seeds:
        config = digits(f"network.cells={cells}", f"seed={seed}")
        problem = make_problem(config)
        clocks = {name: method(problem, config, [goal]) for name, method in METHODS.items()}
        for name, clock in clocks.items():
            levels = ", ".join(f"{n}: {count}" for n, count in clock.evaluations.items())
            equivalent = sum(n * count for n, count in clock.evaluations.items()) / cells
            seconds = f"{clock.total:.2f}"
            if not np.isfinite(clock.total):
                seconds = f"stopped at {clock.action:.5f}"
            rows.append([seed, name, seconds, levels, f"{equivalent:.0f}"])
        rival = min(clocks["Euclid"].total, clocks["SciPy"].total)
        ratios["un-nested L-BFGS"].append(_ratio(clocks["nested"].total, rival))
        ratios["H1"].append(_ratio(clocks["nested"].total, clocks["H1"].total))
    table(
        f"Seconds to the action {goal} at {cells} cells",
        ["start", "method", "seconds", "gradients by cells", "gradients"],
        rows,
    )
    for name, values in ratios.items():
        shown = ", ".join(f"{value:.2f}" for value in values)
        print(f"nested / {name} by start: {shown}")
    targets.at_most(
        f"nested / un-nested L-BFGS, {cells} cells",
        float(np.median(ratios["un-nested L-BFGS"])),
        LIMITS[cells],
    )


def _ratio(time: float, other: float) -> float:
    """``time/other``; infinite if the first was not reached, nought if only the other was not."""
    return np.inf if not np.isfinite(time) else time / other


def write_adam_problem(path: str) -> None:
    """Everything that the same action needs elsewhere, with two values of it to check against."""
    config = digits("network.cells=16")
    problem = make_problem(config)
    action = problem.action(Resolution(16), ProcessGrid.create())
    depth, section = action.network.depth, config.action
    arrays = {
        "inputs": problem.inputs.apply(problem.train.inputs),
        "targets": problem.train.targets,
        "steps": depth.steps,
        "strength": section.strength,
    }
    for i, name in enumerate(("diagonal", "off")):
        arrays[name] = section.strength * (section.kappa**2 * depth.mass[i] + depth.stiffness[i])
    u = start(action, config)
    for point in ("start", "random"):
        parameters = action.space.parameters(u.array_r)
        arrays[f"{point}_theta"] = parameters.theta.copy()
        arrays[f"{point}_readout"] = parameters.readout.copy()
        arrays[f"{point}_action"] = action.value(u)
        u.array_w[...] += 0.1 * np.random.default_rng(0).standard_normal(u.getSize())
    np.savez(path, **arrays)


def torch_python() -> str | None:
    """Interpreter that has PyTorch, if one is known."""
    given = os.environ.get("FEM_DEEPEST_TORCH_PYTHON")
    return given or (sys.executable if importlib.util.find_spec("torch") else None)


def adam_result(given: str | None, seconds: float) -> dict | str:
    """The result of ``adam_torch.py``, or why there is none."""
    if given:
        return json.loads(Path(given).read_text(encoding="utf-8"))
    python = torch_python()
    if python is None:
        return "PyTorch is not installed and FEM_DEEPEST_TORCH_PYTHON is not set"
    # Another interpreter must not see this one's packages.
    outer = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/digits.npz"
        write_adam_problem(file)
        script = str(Path(__file__).with_name("adam_torch.py"))
        command = [python, script, file, "--seconds", str(seconds), "--actions"]
        command += map(str, ADAM_ACTIONS)
        try:
            done = subprocess.run(command, env=outer, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            return f"there is no {python}"
        except subprocess.CalledProcessError as error:
            return f"{python} failed: {error.stderr.strip().splitlines()[-1]}"
    return json.loads(done.stdout)


def compare_adam(given: str | None, seconds: float, targets: Targets) -> None:
    """Nested iteration against the best setting of Adam, both at their best for each action."""
    name = f"nested / Adam to the action {ADAM_ACTIONS[0]}"
    result = adam_result(given, seconds)
    if isinstance(result, str):
        targets.skip(name, result)
        return
    rows, own, other = [], [], []
    for tolerance in TOLERANCES:
        config = digits("network.cells=16", "seed=1", f"solve.tolerance={tolerance}")
        problem = make_problem(config)
        clock = nested(problem, config, ADAM_ACTIONS)
        own.append([clock.seconds.get(mark, np.inf) for mark in ADAM_ACTIONS])
        rows.append([f"nested, tolerance {tolerance:g}", own[-1], clock.action])
    for run in result["runs"]:
        method = f"Adam {run['rate']:g}, batch {run['batch']}, {run['precision']}"
        other.append([np.inf if time is None else time for time in run["seconds"]])
        rows.append([method, other[-1], run["action"]])
    table(
        f"Seconds to an action at 16 cells, PyTorch {result['torch']} (its action differs by "
        f"{result['difference']:.0e}; Adam ends after {result['runs'][0]['spent']:.0f} s)",
        ["method", *map(str, ADAM_ACTIONS), "smallest action"],
        [
            [method, *(f"{t:.2f}" if np.isfinite(t) else "-" for t in times), f"{action:.5f}"]
            for method, times, action in rows
        ],
    )
    for i, mark in enumerate(ADAM_ACTIONS):
        first, second = min(times[i] for times in own), min(times[i] for times in other)
        bound = not np.isfinite(second)
        if bound:
            second = result["runs"][0]["spent"]
        print(f"nested / Adam to {mark}: {'less than ' * bound}{first / second:.3f}")
        if i == 0:
            targets.at_most(name, first / second, ADAM_LIMIT)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--write-adam-problem", metavar="FILE", help="only write this NPZ file")
    parser.add_argument("--adam-result", metavar="FILE", help="result of adam_torch.py")
    parser.add_argument("--only", choices=["lbfgs", "adam"], help="only this part")
    options = parser.parse_args()
    if options.write_adam_problem:
        write_adam_problem(options.write_adam_problem)
        return 0
    targets = Targets()
    warm = digits("network.cells=16")
    for cells in warm.depth_levels:  # compiles the forms, once and for all
        make_problem(warm).action(Resolution(cells), ProcessGrid.create())
    if options.only != "adam":
        for cells in (16,) if options.quick else (16, 64):
            compare(cells, [1] if options.quick else [1, 2, 3], targets)
    if options.only != "lbfgs":
        compare_adam(options.adam_result, 6.0 if options.quick else 20.0, targets)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
