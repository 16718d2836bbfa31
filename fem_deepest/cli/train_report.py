"""What a training tells: what it is, how each stage ended, figures and fields at the end.

Nothing here is collective but where it is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fem_deepest.action.dealt import DealtAction
from fem_deepest.action.slab.action import SlabAction
from fem_deepest.performance.choose import gigabytes
from fem_deepest.runs.model import Problem
from fem_deepest.runs.train import Run
from fem_deepest.runs.training import Training
from fem_deepest.solve.schedule import Stage


def description(training: Training, action: DealtAction) -> str:
    """One line that says what is trained, on what. Collective.

    Args:
        training: The training.
        action: Its action on the finest level.
    """
    problem, grid, network = training.problem, training.grid, action.network
    train, test, ranks = problem.train, problem.test, grid.comm.size
    parameters = grid.index.allreduce(network.shapes.size)
    return (
        f"{train.name}: {train.samples} training"
        + (f" and {test.samples} test" if test else "")
        + f" samples, {train.features} inputs, {train.outputs} outputs; "
        f"{network.index.all_neurons} neurons, {network.depth.cells} depth cells, "
        f"{parameters} parameters: {network.coupling.parameters_text}; "
        f"{ranks} rank{'s' if ranks > 1 else ''}, grid {grid}"
        + (f", sharded weights, chunks of {action.chunk}" if isinstance(action, SlabAction) else "")
    )


def entry(
    stage: Stage, action: DealtAction, R_f: float, reference: float, seconds: float
) -> dict[str, Any]:
    """A stage for ``run.json``.

    Args:
        stage: The stage.
        action: Its action.
        R_f: Precision of the model.
        reference: Dual norm of the gradient at the start of the run.
        seconds: Wall time of the stage.
    """
    indicators = stage.indicators
    return {
        "stage": stage.name,
        "cells": stage.level.cells,
        "neurons": action.network.index.all_neurons,
        "R_f": R_f,
        **asdict(stage.parts),
        "gradient": stage.gradient,
        "gradient_relative": stage.gradient / reference,
        "iterations": stage.outcome.iterations,
        "evaluations": stage.evaluations,
        "hessians": stage.hessians,
        "converged": stage.outcome.converged,
        "reason": stage.outcome.reason,
        "seconds": seconds,
        **({} if indicators is None else indicators.to_dict()),
    }


def line(stage: Stage, reference: float, seconds: float) -> str:
    """One line on a stage, with the wall time of the run so far."""
    verdict = "" if stage.outcome.converged else "  NOT CONVERGED"
    error = "" if stage.indicators is None else f" (error {stage.indicators.error:.1e})"
    shape = stage.level.index
    neurons = f", {' x '.join(map(str, shape))} neurons" if shape else ""
    return (
        f"{stage.name} {stage.level.cells:4d} cells{neurons}: action {stage.parts.action:.6f}{error}, "
        f"|gradient| {stage.gradient / reference:.1e}, {stage.outcome.iterations} iterations, "
        f"{stage.evaluations} gradients, {seconds:.1f} s, {stage.outcome.reason}{verdict}"
    )


def traffic_line(chunk: int, traffic: Mapping[str, int]) -> str:
    """One line on what a gradient on sharded weights sends, against the model."""
    sent, model = (
        f"{traffic[f'{key}messages']} messages, {gigabytes(traffic[f'{key}bytes'])}"
        for key in ("", "model_")
    )
    return f"     a gradient in chunks of {chunk} sends {sent} (model: {model})"


def draw(run: Run, problem: Problem, *, history_alone: bool = False) -> None:
    """Figures and fields, as the configuration wants them. Rank 0 alone.

    Args:
        run: The run.
        problem: Its data.
        history_alone: Leave out what needs the weights.
    """
    from fem_deepest.cli import plot
    from fem_deepest.io.fields import write_fields

    train = problem.train.shown()
    test = None if problem.test is None else problem.test.shown()
    if run.config.output.figures:
        if history_alone:
            plot.draw_history(run)
        else:
            plot.draw(run, train, test)
    if run.config.output.fields and not history_alone:
        write_fields(run.fields, run.model, train)
