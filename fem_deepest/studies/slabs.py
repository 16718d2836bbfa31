"""Iterations of the all-at-once method against the number of slabs of the depth, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.samples import gathered_data
from fem_deepest.action.slab.prior import SlabPrior
from fem_deepest.configuration.section import validate
from fem_deepest.configuration.train import Config
from fem_deepest.runs.problem import Problem, make_schedule
from fem_deepest.runs.start import begin
from fem_deepest.runs.train import load_data
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.solve.newton import polish
from fem_deepest.solve.shooting.blocks import DepthBlocks
from fem_deepest.solve.shooting.newton import Step, solve_saddle
from fem_deepest.solve.shooting.saddle import SlabSaddle
from fem_deepest.spaces import ProcessGrid, SlabSpace
from fem_deepest.studies.column import Errors
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.slabs_config import SlabsConfig
from fem_deepest.studies.study import Study
from fem_deepest.studies.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

ALONE, CHAIN = "decoupled", "frozen"  # of DepthBlocks
CHUNKS = (1, 4, 16)  # of the pipeline that the method is compared with
_STEP = 1e-6  # reduction of the residual in the step whose iterations are counted
_STATIONARY = 1e-9  # dual norm of the gradient of both minimisers
_SAME = 1e-10  # of their actions, relatively


class SlabsStudy(Study):
    """GMRES iterations of one step of :func:`.solve_saddle`, and of the way to the minimiser.

    A network is trained by the quasi-Newton method up to a gradient of ``solve.tolerance``; from there a
    first step is solved to 1e-6, on ``S`` slabs in three ways:

    * ``decoupled``: blocks alone. In a step of the iteration an interface learns of its neighbour, and
      the iterations grow with the slabs: like ``S``;
    * ``frozen``: with a chain of cheap propagators. As many iterations as with one slab, which is the
      reduced method (order of growth zero);
    * the whole way, by Newton's method with the latter, ends at the minimiser of the pipelined action.

    What that is worth (table ``costs``) is counted in sweeps through one cell with all the samples of a
    rank, one after the other, for one such step on as many ranks as slabs. With ``m`` iterations on ``S``
    slabs of ``n / S`` cells, a chain of ``s`` frozen steps (two products with the coupling each way, as
    many as a sweep has in a cell) and states that are kept where the point is linearised,

        all at once      (m + 1) (4 n / S + 2 s)                product and preconditioner, two sweeps each
        pipelined        (m_1 + 1) 2 (n / S) (C + S - 1) / C    conjugate gradients, in C chunks of samples

    With as many samples on a rank as make many chunks, pipelining is the faster one, by two at least: the
    preconditioner doubles the work. All at once is where samples are few: with one chunk the pipeline
    takes as long as one rank does, whatever the slabs. Column ``chunks`` is the number of chunks below
    which all at once is the shorter way, ``(S - 1) / (1 + s S / n)`` where iterations are equal: it needs
    more than two slabs, and cells enough in each to be dearer than the chain.

    The networks are small, and every rank computes all points.
    """

    title = "All slabs at once"
    Config = SlabsConfig
    config: SlabsConfig
    tables_left = ("table", "costs")
    figures_left = ("slabs",)

    def __init__(self, config: SlabsConfig) -> None:
        self.config = config
        for parameters in self.points():
            validate(Config, parameters["config"])

    @property
    def columns(self) -> tuple[str, ...]:
        """Method and problem."""
        return tuple(f"{m}, {c}" for m in (ALONE, CHAIN) for c in map(_case, self.points()))

    def points(self) -> list[dict[str, Any]]:
        """One for each number of cells and precision."""
        base = self.config.model_dump(exclude={"study", "check", "output"}, by_alias=True)
        section = self.config.study
        return [
            {
                "kind": "slabs",
                "slabs": section.values,
                "config": base
                | {"network": base["network"] | {"cells": cells}}
                | {"action": base["action"] | {"R_f": R_f}},
            }
            for cells in section.cells
            for R_f in section.R_f
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        return _case(parameters)

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Iterations and actions for each number of slabs. Not collective."""
        config = Config.model_validate(parameters["config"])
        problem = Problem.create(config, load_data(config)[0], None)
        grid = ProcessGrid.create(MPI.COMM_SELF)
        nested = NestedIteration(lambda level: problem.action(level, grid), make_schedule(config))
        search = begin(nested, config)
        nested.run(search)
        action, u = nested.action(search.level), search.u
        assert isinstance(action, NetworkAction), "one rank has whole weights"
        found: dict[str, list[float]] = {name: [] for name in (ALONE, CHAIN, "chain", "steps")}
        found |= {"all": [], "actions": []}
        converged = True
        for slabs in parameters["slabs"]:
            form, v = _saddle(action, slabs), None
            for name in (ALONE, CHAIN):
                blocks = DepthBlocks(form, name)
                v = form.start(_sharded(form, u))
                r, d = form.create(), form.create()
                form.gradient(v, r)
                step = Step(form, blocks, v)
                count = step.solve(r, d, _STEP)
                found[name].append(float(count) if step.converged else np.nan)
                step.destroy()
            found["chain"].append(float(blocks.chain))
            outcome = solve_saddle(form, v, blocks, tolerance=_STATIONARY)
            found["steps"].append(float(outcome.iterations))
            found["all"].append(float(sum(outcome.linear)))
            # The Lagrangian: the action itself errs by the first power of what the states are off.
            found["actions"].append(form.gradient(v, r))
            converged &= outcome.converged
        reference = polish(action, u, tolerance=_STATIONARY, iterations=100)
        found["action"] = [action.value(u)]
        search.memory.clear()
        return {**found, "converged": converged and reference.converged}

    def table(self, points: list[Point]) -> Table:
        """Iterations of a step; of the whole way, and its action, beside them."""
        errors = {
            f"{name}, {_case(p.parameters)}": Errors(p.values[name], 0.0 if name == CHAIN else None)
            for name in (ALONE, CHAIN)
            for p in points
        }
        others = dict[str, Array]()
        for p in points:
            case, lowest = _case(p.parameters), float(p.values["action"][0])
            others[f"steps, {case}"] = p.values["steps"]
            others[f"all steps, {case}"] = p.values["all"]
            others[f"off the minimum, {case}"] = np.abs(p.values["actions"] / lowest - 1.0)
        slabs = np.array(self.config.study.values)
        return Table("slabs", slabs, errors, np.full(slabs.shape, np.nan), others)

    def further(self, points: list[Point]) -> Mapping[str, Table]:
        """``costs``: sweeps through a cell one after the other, of a step."""
        slabs, others = np.array(self.config.study.values, dtype=np.float64), dict[str, Array]()
        for p in points:
            case, cells = _case(p.parameters), p.parameters["config"]["network"]["cells"]
            own, reduced = cells / slabs, 2.0 * (p.values[CHAIN][0] + 1.0)
            here = (p.values[CHAIN] + 1.0) * (4.0 * own + 0.5 * p.values["chain"])
            others[f"all at once, {case}"] = here
            for chunks in CHUNKS:
                others[f"{chunks} chunks, {case}"] = reduced * own * (chunks + slabs - 1.0) / chunks
            # (C + S - 1) / C is the ratio to a pipeline that never stands still.
            ratio = here / (reduced * own)
            others[f"chunks, {case}"] = (slabs - 1.0) / (ratio - 1.0)
        return {"costs": Table("slabs", slabs, {}, np.full(slabs.shape, np.nan), others)}

    def failures(self, tables: Mapping[str, Any]) -> list[str]:
        """What grows with the slabs though it has a chain, and ends that are no minima. Not collective."""
        found, table = super().failures(tables), tables["table"]
        most = self.config.check.spread
        for name, errors in table.errors.items():
            ratio = errors.values.max() / errors.values[0]
            if name.startswith(CHAIN) and not ratio <= most:
                found.append(
                    f"{name}: {ratio:.3g} times the iterations of one slab, expected {most:g} at most"
                )
        for name, values in table.others.items():
            if name.startswith("off") and not values.max() <= _SAME:
                found.append(f"{name}: {values.max():.1e} relatively, expected {_SAME:g} at most")
        return found

    @classmethod
    def figures(cls, tables: Mapping[str, Any], last: int) -> dict[str, Figure]:
        """Iterations against slabs, and the costs of the last problem. Not collective."""
        from fem_deepest.figures.slabs import slabs  # Matplotlib; see Study.figures

        table, costs = tables["table"], tables["costs"]
        case = [name for name in costs.others if name.startswith("all at once")][-1]
        case = case.removeprefix("all at once, ")
        lines = {name: values for name, values in costs.others.items() if name.endswith(case)}
        counts = {name: errors.values for name, errors in table.errors.items()}
        paths = {n.split(",")[0]: v for n, v in lines.items() if not n.startswith("chunks")}
        return {"slabs": slabs(table.refined, counts, paths, case, cls.title)}


def _case(parameters: Parameters) -> str:
    config = parameters["config"]
    return f"n = {config['network']['cells']}, R_f = {config['action']['R_f']:g}"


def _saddle(action: NetworkAction, slabs: int) -> SlabSaddle:
    """The saddle form of an action on one rank."""
    network, prior = action.network, action.metric
    space = SlabSpace(
        action.grid,
        network.shapes,
        action.samples,
        1,
        initial=bool(np.isfinite(action.input_precision)),
        forced=bool(np.isfinite(action.model_precision)),
        blocks=action.blocks.count,
    )
    metric = SlabPrior(
        space,
        network,
        strength=prior.strength,
        kappa=prior.kappa,
        ell=prior.ell,
        model=action.model_precision,
        initial=action.input_precision,
        samples=action.samples,
    )
    inputs, targets = gathered_data(action)
    return SlabSaddle(space, network, action.loss, inputs, targets.T, metric, slabs)


def _sharded(form: SlabSaddle, u: PETSc.Vec) -> PETSc.Vec:
    """A control of an action on one rank in the layout of its saddle form."""
    w = form.space.create()
    w.array_w[...] = u.array_r[form.space.numbers]
    return w
