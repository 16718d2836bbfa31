# # Which grid for which machine
#
# A network of $n$ layers and $N$ neurons is trained on $K$ samples by $P = P_t P_d$ ranks: the layers in
# $P_t$ slabs, the samples over $P_d$ data ranks. Which of the two? Three numbers decide.
#
# * **Work.** A gradient has three products of an $N \times N$ matrix with every sample in every layer,
#   $6 n K N^2$ operations, and all ranks share it.
# * **The pipeline.** A data rank has $C$ chunks of samples, which go through the slabs one behind the
#   other: of $C + P_t - 1$ steps a slab works in $C$. With $w$ samples in a chunk $C = K / (P_d w)$: many
#   slabs want narrow chunks, and narrow products are slow.
# * **Messages.** The weights of a layer are dealt out over its data ranks. They gather them for each chunk
#   on the way there and on the way back, and reduce the gradient: three times $8 N^2$ bytes for $w$
#   samples. A slab of two layers keeps them, and only reduces. Slabs send the state of a sample down and
#   its costate up, $16 N$ bytes.
#
# `fem-deepest plan` weighs them for a machine. Here is what it says of `large.toml`, a network of 1024
# neurons and 256 layers with a million samples, on nodes of 128 cores:
#
#     docker/run python demos/scaling.py

from __future__ import annotations

import sys
from pathlib import Path

import fem_deepest
from fem_deepest.performance import traffic

DEMOS = Path(__file__).parent

# ## The messages by hand
#
# The model counts messages one by one, and tests compare it with what an evaluation really sends. In the
# mean over the ranks it is close to the rule above; a slab of more than two layers still has two of them
# where a sweep turns, and need not gather these again.


def by_hand(found: fem_deepest.Plan) -> float:
    """Bytes of the messages of a gradient on the best grid."""
    w, grid = found.workload, found.best.layout
    gathers = 2 * grid.chunks if grid.cells > 2 else 1
    matrices = (gathers + grid.chunks) * w.cells * (grid.data - 1) * 8 * w.neurons**2
    states = 16 * w.neurons * w.samples * (grid.slabs - 1)
    return float(matrices + states)


# ## All of it
#
# The figure has the best grid for 1 to 4096 ranks. Along one problem the ranks of a node first share its
# memory: from 64 ranks on matrices come in slowly, and there is less room for wide chunks; the solver
# keeps 58 vectors of all weights. With more nodes there is room again, and in the end the pipeline is what
# costs: of the million samples a data rank has too few chunks to fill all slabs.


def main(ranks: int = 4096, out: Path | None = None) -> float:
    """Messages by the model over those by hand."""
    found = fem_deepest.plan(DEMOS / "large.toml", ranks=ranks, out=out)
    for e in found.estimates[:5]:
        g = e.gradient
        print(
            f"{e.layout.name:8s} chunks of {e.layout.width:4d}: {e.iteration.seconds:7.1f} s a step, "
            f"waiting {g.waiting / g.seconds:4.0%}, messages {g.transfer / g.seconds:4.0%}, "
            f"{e.memory / 1e9:.2f} of {e.available / 1e9:.2f} GB"
        )
    return traffic.total(found.best.layout).bytes / by_hand(found)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "plan")
    print(f"messages, counted / by hand: {main(out=folder):.2f}")
    print(folder / "scaling.png")
