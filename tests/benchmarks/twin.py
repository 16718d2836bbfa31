"""Network twins: Levenberg-Marquardt against L-BFGS-B, solve_bvp, and CasADi with IPOPT.

    python3 tests/benchmarks/twin.py [--quick] [--part cold|begin|ladder|bvp|ipopt ...]
    FEM_DEEPEST_CASADI_PYTHON=/path/to/python python3 tests/benchmarks/twin.py --part ipopt

The twin of seed s: N neurons (10), K samples (20), depth T = 2, tanh. True weights ``[W | b]`` are P1 on
5 equal nodes with independent N(0, 4/N) entries, ``default_rng(s)``; inputs z ~ N(0, 1); outputs are
x(T) by RK4 on 200 cells plus N(0, 0.05^2) noise. Action: n equal cells (50), implicit midpoint, clamped
inputs, all neurons observed at T with R_m = 1/0.05^2, prior lambda = 0.01, kappa = 1. Cold start: states
on the straight line from input to output, weights constant in depth, N(0, 0.1^2),
``default_rng(1000 + s)``.

cold    R_f = 1e4: time until the action is at most 1.5 times where Levenberg-Marquardt ends. L-BFGS-B
        (SciPy, 20 pairs) works on the same action and gradient in the state form, and is given up
        after 25 times the other's time: the ratio is then a lower bound.
begin   R_f = 1, 10, 100, 1e4, to a ten-thousandth: the quasi-Newton method in the depth metric alone
        (3000 steps) beside Levenberg-Marquardt, which begins with a hundred of its steps where the
        gain ratio is poor. Seconds until the action is within 10 % of the better end of the two.
ladder  R_f = 4^0, ..., 4^8, each rung from the end of the one before, until two steps win less than a
        thousandth of the action. L-BFGS-B ends a rung when it has come within 2 % of the action that
        Levenberg-Marquardt has there, or after 30 times its time (at least 9 s).
bvp     Euler-Lagrange system at R_f = 100 as a boundary value problem in x, p, w, w' of dimension 2 K N +
        2 N (N + 1): N = 4, K = 8 (104) and N = 6, K = 16 (276). Same cold start, 51 nodes, tol 1e-3, at
        most 1000 nodes (the defaults) for ``scipy.integrate.solve_bvp``; success is its own word. Ours is
        the dual norm of the gradient falling to 1e-8 of its start within 500 steps.
ipopt   R_f = 1e4, CPU time of the solve alone (exact Hessian, see ``ipopt_casadi.py``) from the cold
        start. Ours: eight cold starts, ``default_rng(1000 + s + 10 j)``, to a thousandth, and the
        best of them to 3e-4; all times added. Seeds 10 to 14 of the twin N = 6, K = 12, n = 30, which
        IPOPT solves to the end; neither the method nor the number of starts was chosen on them. And
        seed 0 of the full twin, where IPOPT is stopped after --limit seconds (an iteration takes
        three).

All times are CPU seconds of one thread, and the action reached stands beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import Targets, arguments, table
from scipy.integrate import solve_bvp
from scipy.optimize import minimize

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.states import StateAction
from fem_deepest.network.activation import activation
from fem_deepest.network.loss import LeastSquares
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.solve.lmvm import minimise as quasi_newton_in_metric
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.network.levenberg import levenberg
from fem_deepest.spaces import DepthMesh, NeuronSpace, Parameters, ProcessGrid

DEPTH, NOISE, STRENGTH, KAPPA = 2.0, 0.05, 1e-2, 1.0
LADDER = [4.0**beta for beta in range(9)]
CLOSE = 1.5  # times the final action: where a cold start counts as arrived
WITHIN = 1.02  # of the rung's action


def network_twin(
    seed: int, precision: float, *, neurons: int = 10, samples: int = 20, cells: int = 50
) -> NetworkAction:
    """The twin of the docstring in the forcing form."""
    random = np.random.default_rng(seed)

    def network(depth: DepthMesh, name: str) -> Network:
        index = NeuronSpace.points(neurons)
        return Network(
            depth, index, scheme(name), activation("tanh"), neurons, neurons, 0.0, False, False
        )

    knots, fine = DepthMesh.graded(DEPTH, 4), DepthMesh.graded(DEPTH, 200)
    shape = (5, neurons, neurons + 1)
    theta = knots.prolong(fine, random.standard_normal(shape) * 2.0 / np.sqrt(neurons))
    truth = Parameters(theta, np.empty((0, neurons + 1)), np.empty((neurons, 0)))
    z = random.standard_normal((samples, neurons))
    y = network(fine, "rk4").output(truth, z.T).T
    y += NOISE * random.standard_normal(y.shape)
    return NetworkAction(
        ProcessGrid.create(),
        network(DepthMesh.graded(DEPTH, cells), "midpoint"),
        LeastSquares(1.0 / NOISE**2),
        z,
        y,
        strength=STRENGTH,
        kappa=KAPPA,
        model_precision=precision,
    )


def cold_start(action: StateAction, seed: int) -> PETSc.Vec:
    """Straight lines and small constant weights."""
    u, random = action.create(), np.random.default_rng(1000 + seed)
    array, nodes = u.array_w, action.network.depth.nodes
    shape = action.network.shapes.theta[1:]
    weights = 0.1 * random.standard_normal(shape)
    if action.grid.owner:
        action.space.parameters(array).theta[...] = weights
    way = (nodes[1:] / nodes[-1])[None, :, None]
    z, y = action.inputs[:, None], action.targets.T[:, None]
    action.states(array)[...] = z + way * (y - z)
    return u


class Arrived(Exception):
    """Ends a minimisation by SciPy."""


def quasi_newton(
    action: StateAction, start: np.ndarray, goal: float, limit: float
) -> tuple[float, int, float, np.ndarray]:
    """L-BFGS-B to an action or for a time: seconds, gradients, least action and its point."""
    u, g = action.create(), action.create()
    best, count, begun = (np.inf, start), 0, time.process_time()

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best, count
        u.array[...] = x
        value = action.gradient(u, g)
        count += 1
        if value < best[0]:
            best = value, x.copy()
        if value <= goal or time.process_time() - begun > limit:
            raise Arrived
        return value, g.array.copy()

    options = {"maxiter": 10**6, "maxfun": 10**6, "maxcor": 20, "ftol": 0.0, "gtol": 0.0}
    with contextlib.suppress(Arrived):
        minimize(function, start, jac=True, method="L-BFGS-B", options=options)
    return time.process_time() - begun, count, *best


def cold(targets: Targets, seeds: list[int]) -> None:
    """Time to 1.5 times the final action at R_f = 1e4."""
    rows, ratios = [], []
    for seed in seeds:
        action = StateAction(network_twin(seed, 1e4))
        u = cold_start(action, seed)
        start, seen, begun = u.array.copy(), [], time.process_time()

        def monitor(iterate, seen=seen, begun=begun) -> None:
            seen.append((time.process_time() - begun, iterate.action))

        outcome = levenberg(
            action, u, tolerance=0.0, decrease=1e-4, iterations=500, monitor=monitor
        )
        seconds, final = seen[-1]
        goal = CLOSE * final
        arrived = next(t for t, value in seen if value <= goal)
        other, count, least, _ = quasi_newton(action, start, goal, 25.0 * arrived)
        ratios.append(other / arrived)
        sign = "" if least <= goal else "> "
        rows.append(
            [
                *(seed, f"{goal:.4f}", f"{arrived:.2f}", f"{sign}{other:.1f}", count),
                *(f"{least:.4f}", f"{sign}{ratios[-1]:.0f}"),
                *(f"{final:.4f}", outcome.iterations, f"{seconds:.2f}"),
            ]
        )
    head = ["seed", "action to reach", "LM s", "L-BFGS-B s", "gradients", "its action", "ratio"]
    table("Cold start at R_f = 1e4", [*head, "LM ends at", "steps", "s"], rows)
    targets.at_least("cold start, L-BFGS-B / LM, median", float(np.median(ratios)), 20.0)


def begin(targets: Targets, seeds: list[int]) -> None:
    """Cold starts at small and large R_f: what to begin with."""
    rows, good = [], []
    for precision in (1.0, 10.0, 100.0, 1e4):
        for seed in seeds:
            seen: dict[str, list[tuple[float, float]]] = {"ours": [], "quasi": []}
            for name, own in seen.items():
                action = StateAction(network_twin(seed, precision))
                u, begun = cold_start(action, seed), time.process_time()

                def monitor(iterate, own=own, begun=begun) -> None:
                    own.append((time.process_time() - begun, iterate.action))

                if name == "ours":
                    levenberg(
                        action, u, tolerance=0.0, decrease=1e-4, iterations=500, monitor=monitor
                    )
                else:
                    memory = LimitedMemory(action.metric, 20)
                    quasi_newton_in_metric(
                        action, u, memory, tolerance=0.0, iterations=3000, monitor=monitor
                    )
            best = min(own[-1][1] for own in seen.values())
            row = [f"{precision:g}", seed]
            for own in seen.values():
                near = next((f"{t:.2f}" for t, value in own if value <= 1.1 * best), "-")
                row += [near, f"{own[-1][0]:.2f}", len(own) - 1, f"{own[-1][1]:.4f}"]
            rows.append(row)
            good.append(seen["ours"][-1][1] <= 1.05 * best)
    head = ["R_f", "seed", "ours within 10 % s", "all s", "steps", "action"]
    head += ["L-BFGS within 10 % s", "all s", "steps", "action"]
    table("Cold starts", head, rows)
    targets.at_least("share of cold starts within 5 % of the better", float(np.mean(good)), 0.9)


def anneal(seed: int, ladder: list[float]) -> list[tuple[float, float, int]]:
    """Rungs as (seconds, action, steps)."""
    found, u = [], None
    for precision in ladder:
        action = StateAction(network_twin(seed, precision))
        if u is None:
            u = cold_start(action, seed)
        begun = time.process_time()
        outcome = levenberg(action, u, tolerance=0.0, decrease=1e-3, iterations=500)
        seconds = time.process_time() - begun
        found.append((seconds, action.value(u), outcome.iterations))
    return found


def ladder(targets: Targets, seeds: list[int]) -> None:
    """Time of the whole ladder."""
    ratios, rungs = [], LADDER
    for seed in seeds:
        found = anneal(seed, rungs)
        rows, spent, x = [], 0.0, None
        for precision, (seconds, goal, steps) in zip(rungs, found, strict=True):
            action = StateAction(network_twin(seed, precision))
            x = cold_start(action, seed).array.copy() if x is None else x
            other, count, least, x = quasi_newton(
                action, x, WITHIN * goal, 30.0 * max(seconds, 0.3)
            )
            spent += other
            rows.append(
                [
                    *(f"{precision:g}", f"{seconds:.2f}", steps, f"{goal:.4f}"),
                    *(f"{other:.1f}", count, f"{least:.4f}"),
                ]
            )
        total = sum(seconds for seconds, *_ in found)
        rows.append(["all", f"{total:.2f}", "", "", f"{spent:.1f}", "", ""])
        head = ["R_f", "LM s", "steps", "action", "L-BFGS-B s", "gradients", "action"]
        table(f"Ladder, seed {seed}", head, rows)
        ratios.append(spent / total)
    targets.at_least("ladder, L-BFGS-B / LM, median", float(np.median(ratios)), 5.0)


def boundary_value(action: StateAction, start: PETSc.Vec) -> tuple[bool, float, str]:
    """``solve_bvp`` on the Euler-Lagrange system in ``(x, p, w, w')``: success, seconds, message."""
    network, precision = action.network, action.forcing.model_precision
    n, k = network.index.neurons, action.samples
    width = n * (n + 1)
    z, y, r_m = action.inputs, action.targets.T, action.loss.precision

    def split(u: np.ndarray) -> tuple[np.ndarray, ...]:
        m = u.shape[1]
        x, p = (part.reshape(k, n, m) for part in (u[: k * n], u[k * n : 2 * k * n]))
        return x, p, u[2 * k * n : -width].reshape(n, n + 1, m), u[-width:].reshape(n, n + 1, m)

    def rates(_: np.ndarray, u: np.ndarray) -> np.ndarray:
        x, p, w, v = split(u)
        s = np.tanh(np.einsum("ijm,kjm->kim", w[:, :n], x) + w[None, :, n])
        q = (1.0 - s * s) * p
        full = np.concatenate([x, np.ones((k, 1, x.shape[2]))], axis=1)
        source = np.einsum("kim,kjm->ijm", q, full) / k
        parts = (
            s + p / precision,
            -np.einsum("ijm,kim->kjm", w[:, :n], q),
            v,
            KAPPA**2 * w - source / STRENGTH,
        )
        return np.concatenate([part.reshape(-1, x.shape[2]) for part in parts])

    def ends(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        x0, _, _, v0 = split(a[:, None])
        x1, p1, _, v1 = split(b[:, None])
        parts = (x0[..., 0] - z, p1[..., 0] + r_m * (x1[..., 0] - y), v0, v1)
        return np.concatenate([part.ravel() for part in parts])

    path = action.path(start)
    nodes = network.depth.nodes
    theta = action.space.parameters(start.array_r).theta.reshape(nodes.size, -1).T
    x = path.nodes.transpose(1, 2, 0).reshape(k * n, -1)
    p = np.concatenate([path.defect, path.defect[-1:]]) * precision
    p = p.transpose(1, 2, 0).reshape(k * n, -1)
    guess = np.concatenate([x, p, theta, np.zeros_like(theta)])
    begun = time.process_time()
    with np.errstate(all="ignore"):
        found = solve_bvp(rates, ends, nodes, guess, tol=1e-3)
    return bool(found.success), time.process_time() - begun, found.message.split(".")[0]


def bvp(targets: Targets, sizes: list[tuple[int, int, int, int]]) -> None:
    """Cold success on many seeds."""
    rows = []
    for neurons, samples, seeds, tried in sizes:
        dimension = 2 * samples * neurons + 2 * neurons * (neurons + 1)
        good, spent, theirs, lost, why = 0, 0.0, 0, 0.0, set()
        for seed in range(seeds):
            action = StateAction(network_twin(seed, 100.0, neurons=neurons, samples=samples))
            u, g = cold_start(action, seed), action.create()
            if seed < tried:
                success, seconds, message = boundary_value(action, u)
                theirs, lost = theirs + success, lost + seconds
                why.add(message)
            action.gradient(u, g)
            goal, begun = 1e-8 * dual_norm(action.metric, g), time.process_time()
            good += levenberg(action, u, tolerance=goal, iterations=500).converged
            spent += time.process_time() - begun
        rows.append(
            [
                *(dimension, f"{good} of {seeds}", f"{spent / seeds:.2f}"),
                *(f"{theirs} of {tried}", f"{lost / tried:.1f}", "; ".join(sorted(why))),
            ]
        )
        targets.at_least(f"cold success of 10 at dimension {dimension}", 10 * good / seeds, 9.0)
    head = ["dimension", "LM", "s each", "solve_bvp", "s each", "its message"]
    table("Cold start of the boundary value problem, R_f = 100", head, rows)


def several(seed: int, precision: float, size: dict[str, int]) -> tuple[float, float]:
    """Best of eight cold starts: seconds of all, action."""
    begun, best = time.process_time(), []
    action = StateAction(network_twin(seed, precision, **size))
    for other in range(0, 80, 10):
        u = cold_start(action, seed + other)
        levenberg(action, u, tolerance=0.0, decrease=1e-3, iterations=500)
        best.append((action.value(u), other, u))
    u = min(best)[2]
    levenberg(action, u, tolerance=0.0, decrease=3e-4, iterations=500)
    return time.process_time() - begun, action.value(u)


def ipopt(targets: Targets, cases: list[tuple[int, dict[str, int], float]]) -> None:
    """CasADi and IPOPT in another interpreter."""
    python = os.environ.get("FEM_DEEPEST_CASADI_PYTHON")
    what = "solve time of IPOPT over ours, and its action"
    if not python:
        targets.skip(what, "FEM_DEEPEST_CASADI_PYTHON names no interpreter with CasADi")
        return
    rows, ratios, close = [], [], []
    for seed, size, limit in cases:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "twin.npz"
            write_problem(file, seed, 1e4, size)
            script = Path(__file__).with_name("ipopt_casadi.py")
            command = [python, str(script), str(file), str(limit)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        seconds, action = several(seed, 1e4, size)
        ratios.append(found["solve"] / seconds)
        if found["status"] == "Solve_Succeeded":
            close.append(action <= 1.05 * found["action"])
        rows.append(
            [
                *(" ".join(map(str, size.values())), seed, f"{seconds:.2f}", f"{action:.4f}"),
                *(f"{found['solve']:.1f}", f"{found['action']:.4f}", found["iterations"]),
                *(found["status"], f"{found['build']:.1f}", f"{ratios[-1]:.0f}"),
            ]
        )
    head = ["N K n", "seed", "ours s", "action", "IPOPT s", "action", "iterations", "status"]
    table("CasADi and IPOPT at R_f = 1e4", [*head, "build s", "ratio"], rows)
    targets.at_least("solve time of IPOPT over ours, least", min(ratios), 10.0)
    targets.at_least("share of seeds with an action at most 5 % above", float(np.mean(close)), 0.8)


def write_problem(file: Path, seed: int, precision: float, size: dict[str, int]) -> None:
    """What ``ipopt_casadi.py`` reads."""
    action = StateAction(network_twin(seed, precision, **size))
    point = action.create()
    point.array[...] = 0.3 * np.random.default_rng(0).standard_normal(point.getSize())
    diagonal, off = action.prior.field.depth
    np.savez(
        file,
        inputs=action.inputs,
        targets=action.targets.T,
        steps=action.network.depth.steps,
        diagonal=diagonal,
        off=off,
        R_f=precision,
        R_m=action.loss.precision,
        point=point.array,
        value=action.value(point),
        start=cold_start(action, seed).array,
    )


def main() -> int:
    parser = arguments(__doc__)
    parts = ("cold", "begin", "ladder", "bvp", "ipopt")
    parser.add_argument("--part", action="append", choices=parts, help="all by default")
    parser.add_argument(
        "--limit", type=float, default=300.0, help="CPU seconds of IPOPT on the full twin"
    )
    options = parser.parse_args()
    targets, wanted, quick = Targets(), options.part or parts, options.quick
    if "cold" in wanted:
        cold(targets, [0] if quick else [0, 1, 2])
    if "begin" in wanted:
        begin(targets, [0] if quick else [0, 1, 2, 3, 4])
    if "ladder" in wanted:
        ladder(targets, [0] if quick else [0, 1, 2])
    if "bvp" in wanted:
        bvp(targets, [(4, 8, 3, 1)] if quick else [(4, 8, 10, 3), (6, 16, 10, 1)])
    if "ipopt" in wanted:
        small = {"neurons": 6, "samples": 12, "cells": 30}
        full = {"neurons": 10, "samples": 20, "cells": 50}
        cases = [(seed, small, 300.0) for seed in ((10,) if quick else range(10, 15))]
        if not quick and options.limit > 0.0:
            cases.append((0, full, options.limit))
        ipopt(targets, cases)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
