"""CasADi and IPOPT on the action of the network twin. Needs NumPy, SciPy and CasADi, nothing else.

    python3 tests/benchmarks/ipopt_casadi.py problem.npz SECONDS > result.json

The problem is what ``twin.py`` writes: the state form of the action, midpoint rule, tanh, clamped
inputs, all neurons observed. Derivatives are exact; the second one is made of the blocks of the cells,
which takes seconds to build where CasADi's own takes minutes. The linear solver is IPOPT's default in the
wheel, MUMPS, with METIS for the ordering. The action is first compared with a recorded value at a random
point. Prints JSON: seconds to build, CPU seconds to solve, the action, iterations and IPOPT's status.
"""

from __future__ import annotations

import json
import sys
import time

import casadi as ca
import numpy as np
import scipy.sparse as sp


def build(data) -> tuple[ca.MX, ca.MX, ca.Function]:
    """Unknowns ``(w, x)``, numbered as the toolkit does, the action and its second derivative."""
    inputs, targets, steps = data["inputs"], data["targets"], data["steps"]
    (samples, neurons), cells = inputs.shape, steps.size
    width = neurons * (neurons + 1)
    weights, states = (cells + 1) * width, samples * cells * neurons
    u = ca.MX.sym("u", weights + states)
    # Numbers of a cell's unknowns; those of the inputs come after all unknowns.
    k, i = (a.ravel() for a in np.meshgrid(np.arange(samples), np.arange(cells), indexing="ij"))
    end = weights + (k * cells + i)[:, None] * neurons + np.arange(neurons)
    start = np.where(
        i[:, None] > 0,
        end - neurons,
        weights + states + k[:, None] * neurons + np.arange(neurons),
    )
    theta = i[:, None] * width + np.arange(width)
    local = np.concatenate([start, end, theta, theta + width], axis=1)

    z, h = ca.SX.sym("z", local.shape[1]), ca.SX.sym("h")
    x0, x1 = z[:neurons], z[neurons : 2 * neurons]
    w0, w1 = z[2 * neurons : 2 * neurons + width], z[2 * neurons + width :]
    matrix = ca.reshape(0.5 * (w0 + w1), neurons + 1, neurons).T
    defect = (x1 - x0) / h - ca.tanh(matrix @ ca.vertcat(0.5 * (x0 + x1), 1.0))
    term = h * ca.sumsqr(defect)
    curvature = ca.triu(ca.hessian(term, z)[0])
    count = local.shape[0]
    terms = ca.Function("cell", [z, h], [term]).map(count)
    curvatures = ca.Function("curvature", [z, h], [curvature.nz[:]]).map(count)

    everything = ca.vertcat(u, ca.DM(inputs.ravel()))
    at = ca.reshape(everything[local.ravel().tolist()], local.shape[1], count)
    lengths = ca.DM(steps[i]).T
    scale = float(data["R_f"]) / samples
    last = end[i == cells - 1].ravel()
    misfit = float(data["R_m"]) / samples * ca.sumsqr(u[last.tolist()] - ca.DM(targets.ravel()))
    fields = ca.reshape(u[:weights], width, cells + 1)
    prior = 0.5 * ca.sum1(fields * fields) @ ca.DM(data["diagonal"])
    prior += ca.sum1(fields[:, :-1] * fields[:, 1:]) @ ca.DM(data["off"])
    action = 0.5 * (scale * ca.sum2(terms(at, lengths)) + misfit) + prior

    # Second derivative: the cells' blocks are added into one sparse upper triangle.
    rows, columns = (np.array(part) for part in curvature.sparsity().get_triplet())
    rows, columns = local[:, rows].ravel(), local[:, columns].ravel()
    free = (rows < u.numel()) & (columns < u.numel())
    place = np.flatnonzero(free)
    rows, columns = np.minimum(rows, columns)[free], np.maximum(rows, columns)[free]
    values = np.full(place.size, 0.5 * scale)
    nodes, entries = np.arange(cells + 1), np.arange(width)
    constant = [
        (last, last, np.full(last.size, float(data["R_m"]) / samples)),
        (
            (nodes[:, None] * width + entries).ravel(),
            (nodes[:, None] * width + entries).ravel(),
            np.repeat(data["diagonal"], width),
        ),
        (
            (nodes[:-1, None] * width + entries).ravel(),
            (nodes[1:, None] * width + entries).ravel(),
            np.repeat(data["off"], width),
        ),
    ]
    total = free.size + 1  # the last column multiplies one
    rows, columns = ([part, *(c[j] for c in constant)] for j, part in enumerate((rows, columns)))
    values = [values, *(c[2] for c in constant)]
    sources = [place, *(np.full(c[2].size, total - 1) for c in constant)]
    key = np.concatenate(columns) * u.numel() + np.concatenate(rows)
    unique, inverse = np.unique(key, return_inverse=True)
    pattern = ca.Sparsity.triplet(
        u.numel(), u.numel(), (unique % u.numel()).tolist(), (unique // u.numel()).tolist()
    )
    gather = sp.csc_matrix(
        (np.concatenate(values), (inverse, np.concatenate(sources))), (unique.size, total)
    )
    gather = ca.DM(gather)
    blocks = ca.vertcat(ca.vec(curvatures(at, lengths)), 1.0)
    factor = ca.MX.sym("lam_f")
    hessian = ca.MX(pattern, factor * (gather @ blocks))
    nothing = ca.MX.sym("p", 0), ca.MX.sym("lam_g", 0)
    second = ca.Function(
        "second",
        [u, nothing[0], factor, nothing[1]],
        [hessian],
        ["x", "p", "lam_f", "lam_g"],
        ["triu_hess_gamma_x_x"],
    )
    return u, action, second


def main() -> None:
    data, limit = np.load(sys.argv[1]), float(sys.argv[2])
    begun = time.process_time()
    u, action, second = build(data)
    value = ca.Function("action", [u], [action])
    error = abs(float(value(data["point"])) / float(data["value"]) - 1.0)
    if error > 1e-10:
        sys.exit(f"the action differs by {error:.1e}")
    options = {
        "print_time": False,
        "hess_lag": second,
        "ipopt": {
            "print_level": 0,
            "sb": "yes",
            "max_iter": 3000,
            "max_cpu_time": limit,
            # METIS orders by depth; the default ordering fills in the weights, ten times slower.
            "mumps_pivot_order": 5,
        },
    }
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
