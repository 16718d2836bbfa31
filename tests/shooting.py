"""Saddle forms for the tests of multiple shooting, from the same numbers on any grid."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from problems import network_action, samples

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.slab.prior import SlabPrior
from fem_deepest.solve.shooting.saddle import SlabSaddle
from fem_deepest.spaces import ProcessGrid, SlabSpace


def serial(**options) -> NetworkAction:
    """The action on this rank alone."""
    return network_action(**options)


def saddle(action: NetworkAction, slabs: int, comm=MPI.COMM_SELF, depth: int = 1) -> SlabSaddle:
    """The saddle form of an action that was made from samples of ``problems``, on a grid."""
    network, metric = action.network, action.metric
    loss = "cross_entropy" if action.loss.metric == "accuracy" else "least_squares"
    inputs, targets = samples(action.samples, network.inputs, network.outputs, loss)
    space = SlabSpace(
        ProcessGrid.create(comm, depth=depth),
        network.shapes,
        action.samples,
        1,
        initial=bool(np.isfinite(action.input_precision)),
        forced=bool(np.isfinite(action.model_precision)),
    )
    prior = SlabPrior(
        space,
        network,
        strength=metric.strength,
        kappa=metric.kappa,
        ell=metric.ell,
        model=action.model_precision,
        initial=action.input_precision,
        samples=action.samples,
    )
    return SlabSaddle(space, network, action.loss, inputs, targets, prior, slabs)


def to_slabs(form: SlabSaddle, u: PETSc.Vec) -> PETSc.Vec:
    """A control of the action, which every rank has as a whole, in the layout of a saddle form."""
    w = form.space.create()
    w.array_w[...] = u.array_r[form.space.numbers]
    return w
