"""What a flow run solves, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest._compat import JIT_OPTIONS
from fem_deepest.configuration.flow import EquationSection, FlowConfig, MeshSection
from fem_deepest.noise.karhunen_loeve import KarhunenLoeve, PowerLaw
from fem_deepest.noise.matern import WhittleMatern
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener
from fem_deepest.runs.train import EXIT_CODES
from fem_deepest.spaces.domain import create_domain, read_domain
from fem_deepest.spaces.ring import arc_length, create_ring
from fem_deepest.spde import named
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import (
    DriftImplicitEuler,
    EulerMaruyama,
    ExponentialEuler,
    ImexTrapezoidal,
    Milstein,
    Scheme,
    TamedEuler,
    Theta,
)

SCHEMES: dict[str, Callable[[SemilinearSPDE], Scheme]] = {
    "euler_maruyama": EulerMaruyama,
    "crank_nicolson": lambda problem: Theta(problem, 0.5),
    "imex": ImexTrapezoidal,
    "milstein": Milstein,
    "exponential": ExponentialEuler,
    "tamed": TamedEuler,
    "implicit": DriftImplicitEuler,
}


class FlowProblem:
    """A configuration made real.

    Args:
        config: Configuration.
        comm: Communicator of the mesh.

    Attributes:
        scheme: The time scheme with its equation.

    Raises:
        InputError: What is wrong with the mesh, the equation or the noise, or does not fit together.

    Collective: construction and every method.
    """

    def __init__(self, config: FlowConfig, comm: MPI.Intracomm) -> None:
        equation = _equation(config.equation)
        domain = _domain(config.mesh, comm)
        V = fem.functionspace(domain, ("Lagrange", config.mesh.degree))
        u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        u0 = fem.Function(V)
        if equation.initial is None:
            u0.x.array[:] = config.equation.initial
        else:
            u0.interpolate(_along(config.mesh, equation.initial))
        noise = _noise(config, V)
        self.scheme = SCHEMES[config.time.scheme](
            SemilinearSPDE(
                V,
                A=config.equation.diffusion * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx,
                f=equation.f,
                G=None if noise is None else _diffusion(config, equation.G),
                noise=noise,
                interpretation=config.equation.interpretation,
                discrete_density=config.equation.discrete_density,
                bcs=_clamped(V) if config.mesh.boundary == "dirichlet" else (),
                u0=u0,
            )
        )
        self._u = fem.Function(V)
        one = fem.Constant(domain, 1.0)
        energy = named.free_energy(equation, config.equation.diffusion, self._u)
        forms = {
            "volume": one * ufl.dx(domain),
            "mean": self._u * ufl.dx,
            "square": self._u**2 * ufl.dx,
        }
        if energy is not None:
            forms["energy"] = energy
        self._forms = {k: fem.form(form, jit_options=JIT_OPTIONS) for k, form in forms.items()}

    def measure(self, u: fem.Function) -> dict[str, float]:
        """``mean``, ``norm`` in L2, ``energy`` (where it is known), ``min`` and ``max`` of the dofs."""
        self._u.x.array[:] = u.x.array
        self._u.x.scatter_forward()
        comm = u.function_space.mesh.comm
        integral = {k: comm.allreduce(fem.assemble_scalar(f)) for k, f in self._forms.items()}
        own = u.x.array[: self.scheme.problem.blocks.owned]
        low = comm.allreduce(float(own.min(initial=np.inf)), MPI.MIN)
        high = comm.allreduce(float(own.max(initial=-np.inf)), MPI.MAX)
        return {
            "mean": float(integral["mean"] / integral["volume"]),
            "norm": float(np.sqrt(max(integral["square"], 0.0))),
            "energy": float(integral.get("energy", np.nan)),
            "min": low,
            "max": high,
        }


@dataclass(frozen=True)
class Flowed:
    """What :func:`fem_deepest.flow` returns.

    Attributes:
        directory: The run directory.
        status: "converged" (the final time was reached), "not_converged", "interrupted" or "failed".
        config: The configuration with all defaults filled in.
        time: Time reached.
        steps: Steps of the grid done.
        metrics: Measures of the last state.
        seconds: Wall time, that of resumed parts included.
        u: The last state.
    """

    directory: Path
    status: str
    config: FlowConfig
    time: float
    steps: int
    metrics: dict[str, float]
    seconds: float
    u: Any = field(repr=False)

    @property
    def exit_code(self) -> int:
        """Exit code of the command for this status."""
        return EXIT_CODES[self.status]


def _equation(section: EquationSection) -> named.Equation:
    if section.path is not None:
        return named.from_file(section.path)
    equation = {"heat": named.heat, "allen_cahn": named.allen_cahn}[section.name](section.reaction)
    if section.G == "linear":
        return named.Equation(equation.f, named.linear, equation.potential)
    return equation


def _domain(section: MeshSection, comm: MPI.Intracomm) -> Any:
    if section.path is not None:
        return read_domain(comm, section.path)
    size, cells = section.sides
    if section.boundary == "periodic":
        return create_ring(comm, cells[0], size[0])
    return create_domain(comm, size, cells, section.cell == "tensor")


def _along(section: MeshSection, initial: named.Values) -> named.Values:
    """The initial value as a function of coordinates; that on a ring is one of the arc length."""
    if section.boundary != "periodic":
        return initial
    s = arc_length(section.sides[0][0])
    return lambda x: initial(np.stack([s(x), 0.0 * x[0], 0.0 * x[0]]))


def _noise(config: FlowConfig, V: fem.FunctionSpace) -> QWiener | None:
    section, boundary = config.noise, config.mesh.boundary
    if section.covariance == "none":
        return None
    white = WhiteNoise(V, config.seed)
    if section.covariance == "white":
        return QWiener(WhiteCovariance(V), white)
    if section.covariance == "power":
        # On intervals, rectangles and boxes the eigenfunctions are known; a ring has no boundary.
        exact = {"dirichlet": "sine", "neumann": "cosine", "periodic": "neumann"}[boundary]
        basis = exact if config.mesh.path is None else boundary
        shift = 0.0 if boundary == "dirichlet" else 1.0
        law = PowerLaw(section.decay, section.strength**2, shift)
        return QWiener(KarhunenLoeve(V, law, section.modes, basis=basis), white)
    matern = WhittleMatern.with_law(
        V,
        sigma=section.strength,
        length=section.length,
        alpha=section.smoothness + 0.5 * V.mesh.topology.dim,
        boundary={"neumann": "robin", "dirichlet": "dirichlet", "periodic": "neumann"}[boundary],
    )
    return QWiener(matern, white)


def _diffusion(config: FlowConfig, G: named.Density | None) -> named.Density | None:
    """``G`` with the strength of noise that has none of its own."""
    strength = config.noise.strength
    if config.noise.covariance != "white" or strength == 1.0:
        return G
    return (lambda u: strength) if G is None else (lambda u: strength * G(u))


def _clamped(V: fem.FunctionSpace) -> list[Any]:
    """Zero on the whole boundary."""
    domain: mesh.Mesh = V.mesh
    facets_dim = domain.topology.dim - 1
    domain.topology.create_connectivity(facets_dim, domain.topology.dim)
    facets = mesh.exterior_facet_indices(domain.topology)
    return [fem.dirichletbc(0.0, fem.locate_dofs_topological(V, facets_dim, facets), V)]
