"""Verifies evidence, with the rails whose messages can be read to compare them with the instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine import __version__
from settlement_engine.evidence.verification import verify
from settlement_engine.rails import ach, iso20022, mock_message
from settlement_engine.rails.ach.orders import read_terms as read_ach_terms
from settlement_engine.rails.iso20022.orders import read_terms
from settlement_engine.rails.mock import MockRail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.evidence.verification import Verified

READERS: Final = {
    MockRail.name: mock_message.read_terms,
    **dict.fromkeys((*iso20022.RAIL_NAMES, iso20022.SWIFT_COVER), read_terms),
    ach.RAIL_NAME: read_ach_terms,
}
"""By rail, what reads the terms in the bytes of an attempt."""


def verify_evidence(files: Mapping[str, bytes], root_sha256: str) -> Verified:
    """Verify the files of an export; without a root hash nothing is compared with it."""
    return verify(files, __version__, root_sha256, READERS)
