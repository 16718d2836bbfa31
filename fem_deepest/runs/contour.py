"""What a run of active contours solves, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._compat import JIT_OPTIONS
from fem_deepest.annealed.flow import FlowState
from fem_deepest.configuration.contour import ContourConfig
from fem_deepest.contours import synthetic
from fem_deepest.contours.descent import Descended, descend
from fem_deepest.contours.energy import ContourEnergy
from fem_deepest.contours.flow import ContourFlow, good_step
from fem_deepest.contours.image import Image, from_array, read_image
from fem_deepest.contours.noise import normal_noise
from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.contours.regions.chan_vese import ChanVese
from fem_deepest.contours.regions.gaussian import Gaussian
from fem_deepest.contours.regions.mixture import Mixture
from fem_deepest.contours.regions.region import Region
from fem_deepest.contours.seen import Seen
from fem_deepest.contours.truth import Truth
from fem_deepest.errors import InputError
from fem_deepest.runs.noise import make_schedule
from fem_deepest.runs.train import EXIT_CODES
from fem_deepest.spaces.box import bounding_box
from fem_deepest.spaces.domain import create_domain, read_domain

Array = NDArray[np.float64]

_WIDTH = 1.5  # cells that eps is long


class ContourProblem:
    """A configuration made real.

    Args:
        config: Configuration.
        comm: Communicator of the mesh.

    Attributes:
        image: The image.
        energy: The energy.
        samples: Numbers of the replicas.
        dt: Length of a step.
        truth: The objects on the image, if they are known.

    Raises:
        InputError: The image or the mesh cannot be read, a schedule does not decrease, or the noise is
            white.

    Collective: construction and every method.
    """

    def __init__(self, config: ContourConfig, comm: MPI.Intracomm) -> None:
        self.config = config
        made = None
        if config.image.path is not None:
            self.image = read_image(config.image.path)
        else:
            assert config.image.name is not None
            made = synthetic.create(config.image.name, config.image.pixels, config.image.seed)
            self.image = made.image
        domain = _domain(config, self.image, comm)
        low, widths = bounding_box(domain)
        V = fem.functionspace(domain, ("Lagrange", 1))
        eps = config.contour.eps
        contours = PhaseField(V, _WIDTH * _cell(domain) if eps is None else eps)
        objects = None if made is None else made.truth
        if config.image.truth is not None:
            objects = from_array(read_image(config.image.truth).grey >= 0.5)
        self.truth = None if objects is None else Truth(contours, objects)
        seen = Seen(contours, self.image)
        self.energy = ContourEnergy(contours, seen, _region(config, seen.grey), config.contour.nu)
        self.dt = config.time.dt or good_step(self.energy)
        self.samples = np.arange(config.replicas.number)
        self._schedule = make_schedule(config.temperature, config.time.steps)
        section = config.noise
        self._noise = None
        if section.covariance != "none":
            self._noise = normal_noise(
                V,
                section.covariance,
                strength=section.strength,
                seed=config.seed,
                length=section.length,
                smoothness=section.smoothness,
            )
        centre, radius = config.contour.centre, config.contour.radius
        if made is not None and centre is None and radius is None:
            if config.mesh.path is not None:  # the synthetic images live on the unit square
                self._start = lambda x: made.start((x - low) / widths) * float(widths.min())
            else:
                self._start = made.start
        else:
            middle = low + 0.5 * widths
            self._start = synthetic.circle(
                (float(middle[0]), float(middle[1])) if centre is None else (centre[0], centre[1]),
                0.25 * float(widths.min()) if radius is None else radius,
            )

    def flow(self, state: FlowState | None = None) -> ContourFlow:
        """The contours at the start, or where an earlier run left them.

        Raises:
            InputError: The start is not on the mesh.
        """
        start = self.energy.field.start(self._start, self.samples.size)
        inside = self.energy.field.sum((start[:, :1] > 0.0).sum(axis=0))
        if float(inside[0]) == 0.0:
            raise InputError(
                "the contour to start from has no node of the mesh inside; give contour.centre and "
                "contour.radius of a circle on the image"
            )
        return ContourFlow(
            self.energy,
            start if state is None else state,
            dt=self.dt,
            noise=self._noise,
            schedule=None if self._noise is None else self._schedule,
            samples=tuple(self.samples.tolist()),
            seed=self.config.seed,
            cooled=self.config.noise.cooled,
        )

    def descend(self, U: Array) -> Descended:
        """Descend to stationary points."""
        section = self.config.time
        return descend(
            self.energy, U, dt=self.dt, tolerance=section.tolerance, most=section.descent
        )

    def measure(self, U: Array) -> dict[str, float]:
        """Area and length of one contour, and Dice's coefficient where the truth is known."""
        phase = self.energy.field
        dice = np.nan if self.truth is None else float(self.truth.dice(U)[0])
        return {
            "area": float(phase.area(U)[0]),
            "length": float(phase.length(U)[0]),
            "dice": dice,
        }


@dataclass(frozen=True)
class Contoured:
    """What :func:`fem_deepest.flow` returns for contours.

    Attributes:
        directory: The run directory.
        status: "converged" (the lowest contour is a stationary point), "not_converged", "interrupted" or
            "failed".
        config: The configuration with all defaults filled in.
        steps: Steps with noise done.
        metrics: Energy, Dice's coefficient, area and length of the lowest contour; evaluations.
        seconds: Wall time, that of resumed parts included.
        energies: Energies at the end, one of each replica.
        u: The lowest contour, a phase field.
    """

    directory: Path
    status: str
    config: ContourConfig
    steps: int
    metrics: dict[str, float]
    seconds: float
    energies: Array = field(repr=False)
    u: Any = field(repr=False)

    @property
    def exit_code(self) -> int:
        """Exit code of the command for this status."""
        return EXIT_CODES[self.status]


def _domain(config: ContourConfig, image: Image, comm: MPI.Intracomm) -> mesh.Mesh:
    if config.mesh.path is not None:
        domain = read_domain(comm, config.mesh.path)
        if domain.topology.dim != 2 or domain.geometry.dim != 2:
            raise InputError(
                f"{config.mesh.path} is a mesh of dimension {domain.topology.dim} in "
                f"{domain.geometry.dim} coordinates; contours are curves in the plane, give a flat mesh"
            )
        return domain
    rows, columns = image.shape
    cells = config.mesh.cells
    return create_domain(
        comm, [columns / rows, 1.0], [max(1, round(cells * columns / rows)), cells]
    )


def _cell(domain: mesh.Mesh) -> float:
    """Side of a square of two mean cells. Collective."""
    one = fem.Constant(domain, 1.0)
    area = domain.comm.allreduce(
        fem.assemble_scalar(fem.form(one * ufl.dx, jit_options=JIT_OPTIONS))
    )
    count = domain.topology.index_map(2).size_global
    per_square = 2.0 if domain.topology.cell_name() == "triangle" else 1.0
    return float(np.sqrt(per_square * area / count))


def _region(config: ContourConfig, grey: Array) -> Region:
    if config.contour.region == "mixture":
        return Mixture(grey, config.contour.components)
    return ChanVese(grey) if config.contour.region == "chan_vese" else Gaussian(grey)
