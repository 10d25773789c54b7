"""Limits on the requests of callers: bytes, values, nesting depth and items of a batch.

Promises: every reader checks these limits before it decodes, so that a request beyond a limit costs one scan
of its bytes and nothing more.
"""

from __future__ import annotations

from typing import Final, NamedTuple

KIBIBYTE: Final = 1024

CALL_BYTES_MAX: Final = 256 * KIBIBYTE
"""Limit of a single call, and of one item of a batch. The largest valid settlement, with every character of
its metadata and payment details escaped, takes less than 230 kB of JSON."""

PROPOSAL_BYTES_MAX: Final = 1536 * KIBIBYTE
"""A proposal carries up to 1 MiB of evidence; base64 adds a third to that."""

VALUES_MAX: Final = 4_096
"""Limit of values (fields, elements and map entries at any depth) in a single call or one item of a batch."""

DEPTH_MAX: Final = 8
"""Limit of nested objects and lists."""


class ReadBounds(NamedTuple):
    """The limits of one call. ``items_max`` is the limit of a batch; None means that the call is no batch."""

    bytes_max: int = CALL_BYTES_MAX
    items_max: int | None = None


SINGLE: Final = ReadBounds()
PROPOSAL: Final = ReadBounds(PROPOSAL_BYTES_MAX)
