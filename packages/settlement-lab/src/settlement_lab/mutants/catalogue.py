"""Safeguards, taken out one at a time: the same worlds, without one law.

A green simulation says something only because it turns red without any one of these. A mutant changes the
text of a real function, or a row of the page, while worlds are played; ``seed`` names a world that catches
it, and the tests play them all. ``emphasis`` are faults that this world has more of than chance would give
it. When the text is no longer found, the mutant fails: it has to be kept true.

Some guards are second fences, and no world can tell that one of them is missing: the number of the attempt
(a payment has one in this version), owner and epoch (state and sequence turn the same steps down), and that
an old "not found" is no answer to a new question (the bank knows the same bytes again), and that what waited in a
lane is looked at again before it leaves. The unit, contract and model tests hold these: ``test_safeguards.py``,
``test_dispatcher.py``, ``test_store_claims.py``, ``model_mutations.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_lab.mutants.events import EVENTS_MUTANTS
from settlement_lab.mutants.rails import RAILS_MUTANTS
from settlement_lab.mutants.store import STORE_MUTANTS
from settlement_lab.mutants.transitions import TRANSITIONS_MUTANTS

if TYPE_CHECKING:
    from settlement_lab.mutants.patching import Mutant

MUTANTS: Final[dict[str, Mutant]] = {
    **TRANSITIONS_MUTANTS,
    **RAILS_MUTANTS,
    **STORE_MUTANTS,
    **EVENTS_MUTANTS,
}
