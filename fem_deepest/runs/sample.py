"""What a sampling run samples, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fem_deepest.configuration.sample import PosteriorConfig, SampleConfig
from fem_deepest.runs.sample_bridge import BridgeSampling
from fem_deepest.runs.sample_posterior import posterior
from fem_deepest.runs.sampling import Sampling
from fem_deepest.runs.train import EXIT_CODES
from fem_deepest.sample.run import Sample


@dataclass(frozen=True)
class Sampled:
    """What :func:`fem_deepest.cli.sample.sample_posterior` returns.

    Attributes:
        directory: The run directory.
        status: "converged" (R-hat and effective sample sizes as asked for, from a start whose solver has
            converged), "not_converged", "interrupted" or "failed".
        config: The configuration with all defaults filled in.
        diagnostics: By name of the number, see :func:`.summary`, and ``ess_per_gradient``.
        metrics: Mean acceptance, steps, worst R-hat, least effective sample size; scores of the
            predictions.
        seconds: Wall time.
        chains: The chains; none if they are not complete.
    """

    directory: Path
    status: str
    config: SampleConfig | PosteriorConfig
    diagnostics: dict[str, dict[str, float]]
    metrics: dict[str, float]
    seconds: float
    chains: Sample | None = field(repr=False)

    @property
    def exit_code(self) -> int:
        """Exit code of the command for this status."""
        return EXIT_CODES[self.status]


def make_sampling(config: SampleConfig | PosteriorConfig) -> Sampling:
    """The measure of a configuration.

    Raises:
        InputError: What is wrong with the data or does not fit together.

    Not collective, the same on every rank.
    """
    return BridgeSampling(config) if isinstance(config, SampleConfig) else posterior(config)
