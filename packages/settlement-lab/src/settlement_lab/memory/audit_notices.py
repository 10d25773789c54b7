"""The checks of the notices, in memory."""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.announcement import follows
from settlement_lab.memory.notices import recalls_without_notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from settlement_lab.memory.records import Records

    Found = Iterator[tuple[object, object, object]]


def _notices_are_whole(records: Records) -> Found:
    """Positions have no gap in each system epoch, from its first one to the head."""
    places = [0, *(each.position for each in records.notices)]
    is_gapless = all(follows(two, one) for one, two in pairwise(places))
    if not is_gapless or records.notice_head != places[-1]:
        yield "notices", records.notice_head, "gaps"


def _facts_have_notices(records: Records) -> Found:
    """Each step of a recall has its notice; the facts of reconciliation are written by the call that notices them."""
    for name in recalls_without_notice(records):
        yield name, "a notice", "none"


CHECKS: Final[Mapping[str, Callable[[Records], Found]]] = MappingProxyType(
    {"notices_are_whole": _notices_are_whole, "facts_have_notices": _facts_have_notices}
)
