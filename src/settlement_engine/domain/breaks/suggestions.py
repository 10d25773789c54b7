"""What matching suggests about the open items of a break: a person decides.

Promises: every item of a suggestion that is shown is open. Must never: match an item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.matching.values import Pass

if TYPE_CHECKING:
    from collections.abc import Callable

SUGGESTIONS_MAX: Final = 20
"""The most suggestions that are shown of a break, the latest ones."""


class BreakSuggestion(msgspec.Struct, frozen=True):
    """Items that may belong together, by their names, with the pass that found them and the reason."""

    matched_by: str
    explanation: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


def still_open(found: BreakSuggestion, is_open: Callable[[str], bool]) -> BreakSuggestion | None:
    """Return what is left of a suggestion: None without both sides, or when a sum lacks one of its parts."""
    ours = tuple(sorted(each for each in found.ours if is_open(each)))
    theirs = tuple(sorted(each for each in found.theirs if is_open(each)))
    is_whole = (len(ours), len(theirs)) == (len(found.ours), len(found.theirs))
    if not ours or not theirs or (found.matched_by == Pass.SUM and not is_whole):
        return None
    return msgspec.structs.replace(found, ours=ours, theirs=theirs)
