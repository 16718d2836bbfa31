"""Stochastic active contours against those without noise, and against scikit-image's Chan-Vese.

    docker/run python3 tests/benchmarks/contours.py
    FEM_DEEPEST_SKIMAGE_PYTHON=/path/to/python python3 tests/benchmarks/contours.py

The three images of ``demos/contours.py``, each with several draws of its grey values. Each method starts
from the same small circle in one of the objects; scikit-image starts from a checkerboard and from a
large disc too, which are its own, and with five prices of length, of which the best is shown. Its level
set feels the image everywhere (the delta function has tails), ours along the contour only.
``contours_skimage.py`` runs in the interpreter FEM_DEEPEST_SKIMAGE_PYTHON, which needs scikit-image (on
PyPI).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
from common import Targets, arguments, table

from fem_deepest.contours import synthetic

HERE = Path(__file__).parent


def demo() -> ModuleType:
    """``demos/contours.py`` as a module."""
    path = HERE.parents[1] / "demos" / "contours.py"
    spec = importlib.util.spec_from_file_location("contours_demo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its data classes look themselves up
    spec.loader.exec_module(module)
    return module


def skimage(name: str, draws: int) -> list[dict]:
    """What scikit-image makes of the draws of an image; nothing where it is not there."""
    python = os.environ.get("FEM_DEEPEST_SKIMAGE_PYTHON")
    if not python:
        return []
    made = [synthetic.create(name, seed=seed) for seed in range(draws)]
    n = made[0].image.shape[0]
    centres = (np.arange(n) + 0.5) / n
    x, y = np.meshgrid(centres, centres[::-1])
    level = made[0].start(np.column_stack([x.ravel(), y.ravel()])).reshape(n, n)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npz"
        np.savez(
            path,
            images=[m.image.grey for m in made],
            truths=[m.truth.pixels > 0 for m in made],
            levels=[level] * draws,
        )
        ended = subprocess.run(
            [python, str(HERE / "contours_skimage.py"), str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
    return list(json.loads(ended.stdout))


def main() -> int:
    """Run all images and print the tables."""
    given = arguments(__doc__).parse_args()
    draws, seeds, cells = (2, 4, 32) if given.quick else (5, 10, 48)
    module, targets = demo(), Targets()
    for task in module.TASKS:
        trials = [module.segment(task, seeds, cells, draw) for draw in range(draws)]
        alone = np.array([trial.alone[1] for trial in trials])
        noisy = np.concatenate([trial.dice for trial in trials])
        known = np.array([trial.known_dice for trial in trials])
        rows = [
            ["descent from the truth", f"{np.median(known):.3f}", "", ""],
            [
                "without noise",
                f"{np.median(alone):.3f}",
                f"{(alone >= 0.9).mean():.2f}",
                f"{np.median([t.alone[2] for t in trials]):.0f}",
            ],
            [
                "with noise",
                f"{np.median(noisy):.3f}",
                f"{(noisy >= 0.9).mean():.2f}",
                f"{np.median([t.evaluations for t in trials]):.0f}",
            ],
        ]
        found = skimage(task.name, draws)
        for start in dict.fromkeys(result["start"] for result in found):
            best = max(
                (r for r in found if r["start"] == start), key=lambda r: float(np.median(r["dice"]))
            )
            dice = np.array(best["dice"])
            rows.append(
                [
                    f"scikit-image, {start}, mu = {best['mu']:g}",
                    f"{np.median(dice):.3f}",
                    f"{(dice >= 0.9).mean():.2f}",
                    f"{np.median(best['iterations']):.0f}",
                ]
            )
        head = ["contour", "Dice, median", "share with Dice >= 0.9", "evaluations"]
        table(f"{task.name}: {draws} images, {seeds} seeds each", head, rows)
        gain = float(np.median(noisy) - np.median(alone))
        targets.at_least(f"{task.name}: Dice that noise wins", gain, 0.2)
        if not found:
            targets.skip(task.name, "FEM_DEEPEST_SKIMAGE_PYTHON names no interpreter")
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
