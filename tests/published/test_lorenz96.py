"""Action levels of Lorenz 96 that other people's programs found in their data.

The data came with those programs and are not part of this repository: they lie beside the checkout,
or where FEM_DEEPEST_DATA says.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.normalisation import normalisation
from fem_deepest.action.paths.observations import Observations
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.annealing.levels import levels
from fem_deepest.solve.annealing.search import Batch
from fem_deepest.solve.paths.annealing import Annealing, random_starts
from fem_deepest.solve.paths.bounds import Bounds
from fem_deepest.solve.paths.newton import NewtonPaths

DATA = Path(
    os.environ.get("FEM_DEEPEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)


def read(name: str) -> np.ndarray:
    path = DATA / "lorenz96" / name
    if not path.exists():
        pytest.skip(f"there is no {name} of the published programs beside the checkout")
    return np.loadtxt(path, delimiter=",", skiprows=1)


def lorenz(
    states: int, table: np.ndarray, components: list[int], name: str, precision: float
) -> Paths:
    """Simpson-Hermite cells over two steps of the data, in a published normalisation."""
    columns = [1 + c for c in components] if table.shape[1] == states + 1 else slice(1, None)
    return Paths(
        Defects(Lorenz96(states), transcription("simpson_hermite"), table[::2, 0]),
        Observations(table[:, 0], table[:, columns], components, precision),
        normalisation=normalisation(name),
    )


def anneal(paths: Paths, ladder: Ladder, starts: int) -> tuple[np.ndarray, np.ndarray]:
    """Records (paths, rungs, 4) and unknowns, from starts uniform in the bounds."""
    newton = NewtonPaths(paths, Bounds.of(paths, (-15.0, 15.0), (0.0, 20.0)))
    batches = []
    for numbers in np.split(np.arange(starts), range(25, starts, 25)):
        batch = Batch(numbers, random_starts(newton.bounds, numbers, 0))
        for _ in Annealing(newton, ladder).climb(batch):
            pass
        assert np.array(batch.converged).all()
        batches.append(batch)
    record = np.concatenate([np.array(b.record).swapaxes(0, 1) for b in batches])
    return record, np.concatenate([b.u for b in batches])


@pytest.fixture(scope="module")
def minaone() -> Paths:
    return lorenz(10, read("minaone_d10_set1.csv"), [0, 1, 2, 3], "minaone", 1.0)


def test_levels_of_minaone_up_the_published_ladder(minaone: Paths) -> None:
    record, u = anneal(minaone, Ladder(0.01, 2.0, 30), 10)
    published = {
        0: 0.0708933,
        5: 1.32405,
        10: 3.6426,
        15: 4.10935,
        20: 4.15937,
        25: 4.1621,
        29: 4.16218,
    }
    lowest = record[:, :, 0].min(axis=0)
    for beta, level in published.items():
        # As many digits as are published.
        assert lowest[beta] == pytest.approx(
            level, abs=0.5 * 10.0 ** -len(str(level).split(".")[1])
        )
    action = record[:, -1, 0]
    assert np.abs(action - 9.9106).min() < 5e-5
    assert u[np.argmin(action), -1] == pytest.approx(8.36997, abs=5e-6)


def test_sixty_of_a_hundred_random_starts_reach_the_lowest_level(minaone: Paths) -> None:
    """From the first to the last precision of the published ladder, with rungs six times as long."""
    ladder = Ladder(0.01, 2.0**5.8, 6)
    record, _ = anneal(minaone, ladder, 100)
    last = levels(ladder.precisions, *np.moveaxis(record[:, :, :3], 2, 0))
    found = {round(v.action, 4): v.count for v in last if v.beta == 5}
    assert min(found) == 4.1622
    assert found[4.1622] >= 60
    assert found[9.9106] >= 1


def test_level_of_varanneal() -> None:
    """D = 20, ten components observed."""
    paths = lorenz(20, read("varanneal_d20.csv"), list(range(0, 20, 2)), "varanneal", 4.0)
    ladder = Ladder(4e-6, 1.5**10, 8, adaptive=True)
    record, u = anneal(paths, ladder, 3)
    action = record[:, -1, 0]
    assert action.min() == pytest.approx(0.9660, abs=5e-5)
    assert u[np.argmin(action), -1] == pytest.approx(8.1629, abs=5e-5)
