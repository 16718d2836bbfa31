"""Network twins: Levenberg-Marquardt against L-BFGS-B, CasADi + IPOPT and solve_bvp.

    python3 tests/benchmarks/twin.py [--quick]
    FEM_DEEPEST_CASADI_PYTHON=/path/to/python python3 tests/benchmarks/twin.py

The twin of seed s: N neurons (10), K samples (20), depth T = 2, tanh. True weights ``[W | b]`` are P1 on 5
equal nodes with independent N(0, 4/N) entries, ``default_rng(s)``; inputs z ~ N(0, 1), outputs x(T) of RK4 on
200 cells plus N(0, 0.05^2) noise. Action: n equal cells (50), implicit midpoint, clamped inputs, all
neurons observed at T with R_m = 1/0.05^2, prior lambda = 0.01, kappa = 1. Cold start: states on the straight
line from input to output, weights constant in depth, N(0, 0.1^2), ``default_rng(1000 + s)``.

1. Cold start at R_f = 1e4: time until the action is at most 1.5 of the level where the
   Levenberg-Marquardt method ends, on the same compiled action, for it and for SciPy's L-BFGS-B (20 pairs)
   in the state form, which gets 25 times as long and no more.
2. Ladder R_f = 4^0, ..., 4^8, warm starts: time of Levenberg-Marquardt, each rung to a relative dual
   norm of 1e-4 of its start; L-BFGS-B is given the same rungs and stops in each as soon as it has the
   action that Levenberg-Marquardt reached there (within 2 %), or after 40 times its time.
3. CasADi + IPOPT (exact Hessian), R_f = 1e4, seeds 0 to 4, same cold start.
4. solve_bvp on the Euler-Lagrange system of one sample's worth of unknowns, see :func:`boundary_value`.

All times are CPU seconds of one thread.
"""
