"""Schedules, plans and landscapes of annealed flows, out of the sections of configurations."""

from __future__ import annotations

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.minibatch import MinibatchLandscape
from fem_deepest.annealed.schedule import (
    ByAcceptance,
    Constant,
    Geometric,
    Logarithmic,
    Schedule,
)
from fem_deepest.annealed.search import Plan
from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig
from fem_deepest.configuration.noise import TemperatureSection


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
    """The numbers of the noisy part of a flow.

    Raises:
        InputError: The schedule does not decrease.
    """
    section = config.flow
    return Plan(
        schedule=make_schedule(config.temperature, section.steps),
        steps=section.steps,
        step=section.step,
        implicitness=section.implicitness,
        accept=section.accept,
        noise=section.noise,
        look=section.look,
        seed=config.seed,
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
