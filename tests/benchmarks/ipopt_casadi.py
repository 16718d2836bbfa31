"""CasADi and IPOPT on the action of the network twin. Needs NumPy and CasADi, nothing else.

    python3 tests/benchmarks/ipopt_casadi.py problem.npz > result.json

The problem is what ``twin.py`` writes: the state form of the action, midpoint rule, tanh, clamped
inputs, all neurons observed. The defects are mapped over cells and samples, derivatives are exact
(second ones too), the linear solver is IPOPT's default in the wheel, MUMPS. The action is first
compared with a recorded value at a random point. Prints JSON: seconds to build, CPU seconds to solve, the
action, iterations and IPOPT's status.
"""

from __future__ import annotations

import json
import sys
import time

import casadi as ca
import numpy as np


def build(data) -> tuple[ca.MX, ca.MX]:
    """Unknowns ``(w, x)``, numbered as the toolkit does, and the action."""
    inputs, targets, steps = data["inputs"], data["targets"], data["steps"]
    diagonal, off = data["diagonal"], data["off"]
    (samples, neurons), cells = inputs.shape, steps.size
    width = neurons * (neurons + 1)
    u = ca.MX.sym("u", (cells + 1) * width + samples * cells * neurons)
    fields = ca.reshape(u[: (cells + 1) * width], width, cells + 1)
    states = u[(cells + 1) * width :]

    x0, x1 = ca.SX.sym("x0", neurons), ca.SX.sym("x1", neurons)
    w0, w1, h = ca.SX.sym("w0", width), ca.SX.sym("w1", width), ca.SX.sym("h")
    matrix = ca.reshape(0.5 * (w0 + w1), neurons + 1, neurons).T
    stage = ca.vertcat(0.5 * (x0 + x1), 1.0)
    defect = (x1 - x0) / h - ca.tanh(matrix @ stage)
    cell = ca.Function("cell", [x0, x1, w0, w1, h], [h * ca.sumsqr(defect)])
    model = 0.0
    every = cell.map(cells)
    for k in range(samples):
        own = states[k * cells * neurons : (k + 1) * cells * neurons]
        path = ca.horzcat(ca.DM(inputs[k]), ca.reshape(own, neurons, cells))
        terms = every(path[:, :-1], path[:, 1:], fields[:, :-1], fields[:, 1:], ca.DM(steps).T)
        last = path[:, -1] - ca.DM(targets[k])
        model += float(data["R_f"]) * ca.sum2(terms) + float(data["R_m"]) * ca.sumsqr(last)
    squares = ca.sum1(fields * fields)
    products = ca.sum1(fields[:, :-1] * fields[:, 1:])
    prior = 0.5 * squares @ ca.DM(diagonal) + products @ ca.DM(off)
    return u, 0.5 * model / samples + prior


def main() -> None:
    data = np.load(sys.argv[1])
    begun = time.process_time()
    u, action = build(data)
    value = ca.Function("action", [u], [action])
    error = abs(float(value(data["point"])) / float(data["value"]) - 1.0)
    if error > 1e-10:
        sys.exit(f"the action differs by {error:.1e}")
    options = {
        "print_time": False,
        "ipopt": {"print_level": 0, "sb": "yes", "max_iter": 1000, "max_cpu_time": 600.0},
    }
    if len(sys.argv) > 2:
        options["ipopt"]["max_cpu_time"] = float(sys.argv[2])
    solver = ca.nlpsol("solver", "ipopt", {"x": u, "f": action}, options)
    built = time.process_time() - begun
    begun = time.process_time()
    found = solver(x0=data["start"])
    spent = time.process_time() - begun
    stats = solver.stats()
    result = {
        "build": built,
        "solve": spent,
        "action": float(found["f"]),
        "iterations": int(stats["iter_count"]),
        "status": stats["return_status"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
