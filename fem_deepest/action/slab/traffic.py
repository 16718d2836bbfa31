"""What one evaluation sends: counted, and as a formula."""

from __future__ import annotations

from dataclasses import dataclass, fields

KINDS = ("gathers", "reductions", "states", "ghosts", "ends", "sums")


@dataclass
class Traffic:
    """Messages and bytes that this rank sends, as messages from rank to rank.

    A gather of rows on ``P_d`` ranks is ``P_d - 1`` messages with the rows of this rank, and a reduction
    as many with the rows of the others, whatever algorithm the library takes. With a node of ``r`` rows
    and ``c`` columns, ``r_o`` rows of this rank, ``M`` nodes that the cells of the slab need, of which a
    rank keeps ``k`` (2 where a step needs its left node alone, else 3), ``C`` chunks, ``K_o`` samples,
    ``a = min(C, P_t - s)`` and ``f`` points (one, with a direction two), a gradient or a product sends

        gathers     8 f r_o c (P_d - 1) G,   G = M if M <= k, else 2 C M - (2 C + 1 - 2 a) k
        reductions  8 (r - r_o) c C M,       with P_d = 1 neither of the two
        states      8 N K_o times the fields down (f), but in the last slab, and up (1, of the exact
                    Hessian 2), but in the first
        ghosts      8 r_o c times f, but in the first slab, and 1 back, but in the last; none where a step
                    needs its left node alone
        ends        lift and readout as a node that is gathered f times and reduced once
        sums        8 (4 + 2), of a product 8 (4 + 1), on more than one rank

    and a value ``C M`` gathers in place of ``G`` and nothing back. The messages of the prior are not
    counted here.

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
