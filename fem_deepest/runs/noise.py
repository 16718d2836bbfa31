"""Schedules, plans and landscapes of annealed flows, out of the sections of configurations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.action.protocol import Action
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.descent import quasi_newton
from fem_deepest.annealed.minibatch import MinibatchLandscape
from fem_deepest.annealed.schedule import (
    ByAcceptance,
    Constant,
    Geometric,
    Logarithmic,
    Schedule,
)
from fem_deepest.annealed.search import Descend, Plan
from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig, DescentSection
from fem_deepest.configuration.noise import TemperatureSection

Array = NDArray[np.float64]


def make_schedule(section: TemperatureSection, steps: int) -> Schedule:
    """The temperatures over so many steps.

    Raises:
        InputError: They do not decrease.
    """
    if section.schedule == "constant":
        return Constant(section.start)
    if section.schedule == "geometric":
        return Geometric(section.start, section.end, steps)
    if section.schedule == "logarithmic":
        return Logarithmic(section.start, section.unit)
    return ByAcceptance(section.start, section.end, section.ratio, section.accepted, section.most)


def make_plan(config: AnnealedFlowConfig) -> Plan:
    """The numbers of the noisy part of a flow; ``-ts_dt`` and ``-ts_max_steps`` come first.

    Raises:
        InputError: The schedule does not decrease.
    """
    section = config.flow
    plan = Plan(
        schedule=Constant(config.temperature.start),
        steps=section.steps,
        step=section.step,
        implicitness=section.implicitness,
        accept=section.accept,
        noise=section.noise,
        look=section.look,
        seed=config.seed,
    ).obeying_options()
    if config.replicas.exchange:
        return replace(plan, schedule=Constant(make_ladder(config)))
    return replace(plan, schedule=make_schedule(config.temperature, plan.steps))


def make_ladder(config: AnnealedFlowConfig) -> Array:
    """Temperatures of replicas that exchange them, increasing, (R,).

    Raises:
        InputError: The last one of the configuration is not below the first.
    """
    theta, many = config.temperature, config.replicas.number
    Geometric(theta.start, theta.end, many)  # refuses what it would as a schedule
    return np.asarray(np.geomspace(theta.end, theta.start, many), dtype=np.float64)


def descent(section: DescentSection, action: Action) -> Descend:
    """Quasi-Newton steps, then Newton's."""
    return quasi_newton(
        action,
        tolerance=section.tolerance,
        iterations=section.iterations,
        newton=section.newton,
    )


def network_landscape(
    action: NetworkAction, minibatch: int | None, seed: int, numbers: range
) -> ActionLandscape:
    """The action of a network, by all samples or by minibatches of so many.

    Raises:
        InputError: There are fewer samples, or the action has forcings.

    Collective.
    """
    if minibatch is None:
        return ActionLandscape(action)
    return MinibatchLandscape(Minibatches(action, minibatch, seed), numbers)
