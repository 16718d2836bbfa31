"""scikit-image's Chan-Vese on images. Needs NumPy and scikit-image, nothing else.

    python3 tests/benchmarks/contours_skimage.py images.npz > result.json

The images, truths and starts are what ``contours.py`` writes. Prints JSON: for each start and price of
length ``mu`` Dice's coefficient on every image (the better of the two parts is the inside), and
iterations.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from skimage.segmentation import chan_vese

PRICES = (0.05, 0.1, 0.25, 0.5, 1.0)  # 0.25 is the default


def dice(inside, truth) -> float:
    """The better of the two parts."""
    return float(max(2.0 * (p & truth).sum() / (p.sum() + truth.sum()) for p in (inside, ~inside)))


def main(path: str) -> None:
    """Segment all images and print what came of it."""
    data = np.load(path)
    results = []
    for start in ("checkerboard", "disk", "ours"):
        for mu in PRICES:
            found = []
            for image, truth, level in zip(
                data["images"], data["truths"], data["levels"], strict=True
            ):
                first = level.copy() if start == "ours" else start
                inside, _, energies = chan_vese(
                    image, mu=mu, init_level_set=first, extended_output=True
                )
                found.append((dice(inside, truth), len(energies)))
            results.append(
                {
                    "start": start,
                    "mu": mu,
                    "dice": [f[0] for f in found],
                    "iterations": [f[1] for f in found],
                }
            )
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
