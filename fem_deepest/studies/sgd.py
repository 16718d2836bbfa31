"""Strong errors of stochastic gradient descent against the number of steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike

from fem_deepest.configuration.section import validate
from fem_deepest.configuration.train import Config
from fem_deepest.runs.network import make_network
from fem_deepest.solve.sgd import Gains
from fem_deepest.spaces import Resolution
from fem_deepest.spaces.tasks import blocks, dealt
from fem_deepest.studies.column import Errors
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.samples import INPUTS
from fem_deepest.studies.sgd_config import SgdConfig
from fem_deepest.studies.sgd_network import towards
from fem_deepest.studies.sgd_quadratic import NoisyQuadratic
from fem_deepest.studies.study import EXACTLY, Study, strays
from fem_deepest.studies.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLOCKS = {"quadratic": 500, "network": 100}  # runs that one rank makes at a time
_LINEARISED = " linearised"
_LINEARISED_P = 2


class SgdStrongStudy(Study):
    """``(E |u_n - u*|^p)^{1/p}`` of ``u_n = u_{n-1} - (eta / n^nu) C G_n(u_{n-1})``, against ``n``.

    Two problems with a known minimiser: a quadratic with noisy curvature and noisy gradient (``C = 1``),
    and a network whose prior makes its action convex (``C = lambda P^{-1}``, batches of its samples; the
    minimiser by Newton's method, gradient 1e-10 of that at the start; errors in the norm of ``P /
    lambda``). For ``nu < 1`` the order is ``nu/2`` for every ``p`` (A. Jentzen, B. Kuckuck, A. Neufeld,
    P. von Wurstemberger, 2018, arXiv:1801.09324); with ``nu = 1`` and ``eta mu < 1/2``, ``mu`` the lowest
    eigenvalue, only ``eta mu``.

    Every number of steps has independent runs of its own, and 95 % intervals. Those of the quadratic
    must be within four standard errors of the exact moments, which follow a recursion; those orders are
    in the table too. Beside the network is the root of the second moment of its linearisation at the
    minimiser, which it approaches.
    """

    title = "Stochastic gradient descent: strong error"
    Config = SgdConfig
    config: SgdConfig

    def __init__(self, config: SgdConfig) -> None:
        self.config = config
        if "network" in config.study.problems:
            # Refuses a network that cannot hold the inputs.
            settled = validate(Config, self._network())
            make_network(settled, INPUTS, 1, Resolution(config.network.cells))

    @property
    def columns(self) -> tuple[str, ...]:
        """Problem and decay of the steps."""
        return tuple(_name(*case) for case in self._cases())

    def points(self) -> list[dict[str, Any]]:
        """One for each number of steps, problem and decay."""
        section, found = self.config.study, []
        for n in section.values:
            for problem, nu, eta in self._cases():
                own: dict[str, Any]
                if problem == "quadratic":
                    own = self.config.quadratic.model_dump(exclude={"eta", "slow"})
                else:
                    own = self.config.sgd.model_dump(exclude={"eta"})
                    own["config"] = self._network()
                case = {"problem": problem, "nu": nu, "eta": eta, "steps": n}
                found.append({**case, **own, "p": section.p, "seed": self.config.seed})
        return found

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        name = _name(parameters["problem"], parameters["nu"], parameters["eta"])
        return f"{name}, {parameters['steps']} steps"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """``errors`` of the runs (S,), spread over the ranks, and ``exact`` or ``linearised``. Collective.

        Raises:
            NotConverged: The minimiser of the network was not found.
            NumericalFailure: A run diverges.
        """
        gains, n = Gains(parameters["eta"], parameters["nu"]), parameters["steps"]
        seed, p = parameters["seed"], parameters["p"]
        beside: dict[str, ArrayLike]
        if parameters["problem"] == "quadratic":
            names = ("curvature", "spread", "noise", "start")
            quadratic = NoisyQuadratic(*(parameters[name] for name in names))
            beside = {"exact": quadratic.strong(gains, n, p)}

            def errors(runs: range) -> np.ndarray:
                return quadratic.errors(gains, n, seed, n, runs)
        else:
            batch = parameters["batch"]
            network = towards(
                json.dumps(parameters["config"]), parameters["samples"], parameters["noise"]
            )
            beside = {"linearised": network.linearised(gains, batch, n)}
            # Other batches for every number of steps.
            own = int(np.random.SeedSequence([seed, n]).generate_state(1)[0])

            def errors(runs: range) -> np.ndarray:
                return network.errors(gains, batch, n, own, runs)

        parts = blocks(range(parameters["runs"]), _BLOCKS[parameters["problem"]])
        return {"errors": np.concatenate(dealt(parts, errors, comm)), **beside}

    def table(self, points: list[Point]) -> Table:
        """Columns ``quadratic, nu 0.5`` and so on, and beside them what is known without samples."""
        errors, others = dict[str, Errors](), dict[str, np.ndarray]()
        section = self.config.study
        seconds = np.zeros(len(section.values))
        for problem, nu, eta in self._cases():
            name = _name(problem, nu, eta)
            own = [p for p in points if _case(p.parameters) == (problem, nu, eta)]
            seconds += [p.seconds for p in own]
            powers = np.array([p.values["errors"] for p in own]) ** section.p
            order = nu / 2.0 if nu < 1.0 else eta * min(self.config.quadratic.curvature)
            errors[name] = Errors.sampled(powers, order).root(section.p)
            if problem == "quadratic":
                errors[name + EXACTLY] = Errors(np.array([p["exact"] for p in own]), order)
            elif section.p == _LINEARISED_P:
                others[name + _LINEARISED] = np.array([p["linearised"] for p in own])
        return Table("steps n", np.array(section.values), errors, seconds, others)

    def failures(self, tables: Mapping[str, Table]) -> list[str]:
        """Orders, and sampled values that are not the exact ones. Not collective."""
        return [*super().failures(tables), *strays(tables["table"])]

    @classmethod
    def figures(cls, tables: Mapping[str, Table], last: int) -> dict[str, Figure]:
        """The sampled errors. Not collective."""
        from fem_deepest.figures import convergence  # Matplotlib; see Study.figures

        table = tables["table"]
        sampled = {n: e for n, e in table.errors.items() if not n.endswith(EXACTLY)}
        part = Table(table.quantity, table.refined, sampled, table.seconds)
        return {"convergence": convergence(part, cls.title, last)}

    def _cases(self) -> list[tuple[str, float, float]]:
        """Problem, ``nu`` and ``eta`` of the columns."""
        section, quadratic = self.config.study, self.config.quadratic
        eta = {"quadratic": quadratic.eta, "network": self.config.sgd.eta}
        cases: list[tuple[str, float, float]]
        cases = [(problem, nu, eta[problem]) for problem in section.problems for nu in section.nu]
        if quadratic.slow is not None and "quadratic" in section.problems:
            cases.append(("quadratic", 1.0, quadratic.slow))
        return cases

    def _network(self) -> dict[str, Any]:
        """The configuration of the network's training."""
        return self.config.model_dump(include={"seed", "network", "action"}, by_alias=True)


def _name(problem: str, nu: float, eta: float) -> str:
    return f"{problem}, nu {nu:g}" + (f", eta {eta:g}" if nu == 1.0 else "")


def _case(parameters: Parameters) -> tuple[str, float, float]:
    return parameters["problem"], parameters["nu"], parameters["eta"]
