"""How much of what callers send is looked at: bounds on bytes, values, depth and items.

Every reader checks them before it works: what is beyond a bound costs a look at its bytes and no more.
"""

from __future__ import annotations

from typing import Final, NamedTuple

KIBIBYTE: Final = 1024

CALL_BYTES_MAX: Final = 256 * KIBIBYTE
"""A single call, and one item of a batch. The largest settlement that can be accepted, with every character
of its metadata escaped, has less than 200 kB as JSON."""

PROPOSAL_BYTES_MAX: Final = 1536 * KIBIBYTE
"""A proposal carries up to 1 MiB of evidence, which base64 makes a third longer."""

VALUES_MAX: Final = 4_096
"""So many values has a single call, or one item of a batch: fields, elements and entries at any depth."""

DEPTH_MAX: Final = 8
"""So deep may objects and lists stand in each other."""


class ReadBounds(NamedTuple):
    """The bounds of one call. ``items_max`` is that of a batch; None means that the call is no batch."""

    bytes_max: int = CALL_BYTES_MAX
    items_max: int | None = None


SINGLE: Final = ReadBounds()
PROPOSAL: Final = ReadBounds(PROPOSAL_BYTES_MAX)
