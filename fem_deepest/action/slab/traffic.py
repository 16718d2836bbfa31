"""What one evaluation sends: counted, and as a formula."""

from __future__ import annotations

from dataclasses import dataclass, fields

KINDS = ("gathers", "reductions", "states", "ghosts", "ends", "sums")


@dataclass
class Traffic:
    """Messages and bytes that this rank sends, as messages from rank to rank.

    A gather of rows on ``P_d`` ranks is ``P_d - 1`` messages with the rows of this rank, and a reduction
    as many with the rows of the others, whatever algorithm the library takes.

    Attributes:
        messages: Number of messages.
        gathers: Bytes of the weights of cells, for the sweeps.
        reductions: Bytes of the gradients of these.
        states: Bytes of states and costates at the ends of the slab.
        ghosts: Bytes of the weights at the node between two slabs, and of their gradients.
        ends: Bytes of the lift and the readout, there and back.
        sums: Bytes of the sums over all ranks.
    """

    messages: int = 0
    gathers: int = 0
    reductions: int = 0
    states: int = 0
    ghosts: int = 0
    ends: int = 0
    sums: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of all kinds."""
        return sum(int(getattr(self, kind)) for kind in KINDS)

    def count(self, kind: str, size: int, messages: int = 1) -> None:
        """Add messages of ``size`` bytes altogether; no bytes are no message."""
        if size:
            setattr(self, kind, getattr(self, kind) + size)
            self.messages += messages

    def clear(self) -> None:
        """Begin anew."""
        for field in fields(self):
            setattr(self, field.name, 0)
