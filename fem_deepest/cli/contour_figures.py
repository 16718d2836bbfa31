"""The figures of active contours, from what their run directory holds."""

from __future__ import annotations

from pathlib import Path

from fem_deepest.contours.image import read_image
from fem_deepest.errors import InputError
from fem_deepest.io.frames import read_frames
from fem_deepest.io.rundir import RunDirectory

IMAGE = "image.png"


def redraw(directory: RunDirectory) -> list[Path]:
    """Draw the figures of a run of contours again from its history, image and frames. Not collective.

    Raises:
        InputError: There are no frames or no image, or they cannot be read.
    """
    from fem_deepest.figures import contour as figures
    from fem_deepest.figures import save

    frames = read_frames(directory.fields)
    if not frames:
        raise InputError(f"{directory.fields} holds no frames; run the flow first")
    image = read_image(directory.path / IMAGE).grey
    return [
        save(figures.cooling(directory.history()), directory.figures / "cooling.png"),
        save(
            figures.segmentation(image, frames[0], frames[-1]),
            directory.figures / "segmentation.png",
        ),
        figures.animate(image, frames, directory.figures / "animation.gif"),
    ]
