"""The bijection ``(x, w) <-> (xi, w)`` between the state form and the forcing form of an action."""

from __future__ import annotations

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.states import StateAction


def to_states(action: StateAction, v: PETSc.Vec) -> PETSc.Vec:
    """The states ``(w, x)`` of a control ``(w, xi)`` of ``action.forcing``, by one forward sweep.

    Args:
        action: State form.
        v: Control of the forcing form.

    Returns:
        A new vector of the state form. Collective.
    """
    space, tiles, network = action.forcing.space, action.forcing.tiles, action.network
    u, start = action.create(), 0
    parameters = space.parameters(space.share(v))
    theta = network.stage_parameters(parameters.theta)
    source, target = v.array_r, u.array_w
    states = action.states(target)
    for tile, z in enumerate(tiles.inputs):
        xi0, xi = space.forcing(source, tile)
        x = network.lift(parameters, z)
        if xi0.size:
            x += xi0
        nodes = np.empty((network.depth.cells + 1, *x.shape))
        network.flow(z.shape[1]).forward(theta, x, xi, nodes)
        own = slice(start, start + z.shape[1])
        states[own] = nodes[0 if action.soft else 1 :].transpose(2, 0, 1)
        start = own.stop
    if action.grid.owner:
        size = space.parameter_size
        target[:size] = source[:size]
    return u


def to_forcing(action: StateAction, u: PETSc.Vec) -> PETSc.Vec:
    """The control ``(w, xi)`` of ``action.forcing`` whose states are ``u``: the defects.

    Args:
        action: State form.
        u: Vector of the state form.

    Returns:
        A new control of the forcing form. Collective.
    """
    path, space = action.path(u), action.forcing.space
    v, start = space.create(), 0
    target = v.array_w
    for tile, z in enumerate(action.forcing.tiles.inputs):
        xi0, xi = space.forcing(target, tile)
        own = slice(start, start + z.shape[1])
        xi[...] = path.defect[:, own].transpose(0, 2, 1)
        if xi0.size:
            xi0[...] = path.initial[own].T
        start = own.stop
    if action.grid.owner:
        size = space.parameter_size
        target[:size] = u.array_r[:size]
    return v
