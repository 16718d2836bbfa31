"""What a sampling run samples, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fem_deepest.configuration.sample import SampleConfig
from fem_deepest.runs.train import EXIT_CODES
from fem_deepest.sample.bridge import POTENTIALS, bridge, named_kernel
from fem_deepest.sample.integral import IntegralTarget
from fem_deepest.sample.run import Sample, Setting

LABELS = {
    "quarter": "$x(T/4)$",
    "middle": "$x(T/2)$",
    "middle_square": "$x(T/2)^2$",
    "mean_square": r"$\frac{1}{T}\int x^2\,dt$",
}
"""The numbers of a path that are kept, as a figure writes them."""


@dataclass(frozen=True)
class Sampled:
    """What :func:`fem_deepest.cli.sample.sample_posterior` returns.

    Attributes:
        directory: The run directory.
        status: "converged" (R-hat and effective sample sizes as asked for), "not_converged",
            "interrupted" or "failed".
        config: The configuration with all defaults filled in.
        diagnostics: By name of the number, see :func:`.summary`, and ``ess_per_gradient``.
        metrics: Mean acceptance, steps, worst R-hat and least effective sample size.
        seconds: Wall time.
        chains: The chains; none if they are not complete.
    """

    directory: Path
    status: str
    config: SampleConfig
    diagnostics: dict[str, dict[str, float]]
    metrics: dict[str, float]
    seconds: float
    chains: Sample | None = field(repr=False)

    @property
    def exit_code(self) -> int:
        """Exit code of the command for this status."""
        return EXIT_CODES[self.status]


def target(config: SampleConfig) -> IntegralTarget:
    """The measure of a configuration. Not collective."""
    section = config.bridge
    return bridge(
        POTENTIALS[section.name](section.measure),
        section.cells,
        section.depth,
        (section.start, section.end),
        section.rule == "exact",
    )


def setting(config: SampleConfig) -> Setting:
    """Target, kernel and the numbers kept. Not collective."""
    measure, section, N = target(config), config.sampler, config.bridge.cells
    more: dict[str, Any] = {}
    if section.kernel in ("infinity_mala", "spde_mala"):
        more["theta"] = section.theta
    elif section.kernel == "hmc":
        more["steps"] = section.steps
    ends = 0.5 * (config.bridge.start**2 + config.bridge.end**2)

    def mean_square(v: Any) -> Any:
        x = measure.path(v)[1:-1]
        return (ends + np.sum(x**2, axis=0)) / N

    observe = {
        "quarter": lambda v: measure.path(v)[N // 4],
        "middle": lambda v: measure.path(v)[N // 2],
        "middle_square": lambda v: measure.path(v)[N // 2] ** 2,
        "mean_square": mean_square,
    }
    if config.chains.paths:
        observe["path"] = measure.path
    kernel = lambda: named_kernel(section.kernel, measure, section.step, **more)  # noqa: E731
    return Setting(measure, kernel, observe)
