"""The stochastic heat equation in py-pde. Needs NumPy and py-pde, nothing else.

    python3 tests/benchmarks/heat_pypde.py CELLS STEPS PATHS > result.json

``du = u_xx dt + dW`` on (0, 1), zero at both ends, from zero to ``T = 0.5``, white noise; finite
differences and explicit Euler-Maruyama, what py-pde offers for noise. Prints JSON: seconds to compile, CPU
seconds a path, mean of ``|u(T)|^2`` over the paths and its standard error.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pde


def main(cells: int, steps: int, paths: int) -> dict[str, float]:
    """Run the paths one after the other, as py-pde does."""
    grid = pde.CartesianGrid([[0.0, 1.0]], cells)
    equation = pde.DiffusionPDE(
        diffusivity=1.0, noise=1.0, bc={"value": 0.0}, rng=np.random.default_rng(1)
    )
    T = 0.5
    solver = pde.EulerSolver(equation, backend="numba")
    start = pde.ScalarField(grid, 0.0)
    begun = time.process_time()
    # The compiled stepper is kept: only the first path pays for it.
    stepper = solver.make_stepper(start, dt=T / steps)
    stepper(start.copy(), 0.0, T / steps)
    compiled = time.process_time() - begun
    squares = np.empty(paths)
    begun = time.process_time()
    for i in range(paths):
        field = start.copy()
        stepper(field, 0.0, T)
        squares[i] = np.mean(field.data**2)
    seconds = (time.process_time() - begun) / paths
    return {
        "compile": compiled,
        "seconds": seconds,
        "moment": float(squares.mean()),
        "error": float(squares.std(ddof=1) / np.sqrt(paths)),
        "steps": int(solver.info.get("steps", 0)),
    }


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:4]))))
