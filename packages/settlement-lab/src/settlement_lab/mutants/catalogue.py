"""The catalogue of mutants: safeguards that are removed one at a time, in the same worlds.

A simulation without violations proves something only because it reports one without any of these
safeguards. A mutant changes the text of a real function, or a transition of the state machine, while
worlds run; ``seed`` names a world that detects it, and the tests run them all. ``emphasis`` raises the
rates of some faults in this world. If the text is not found, the mutant fails, because mutants must
follow the program's changes.

Some safeguards are redundant in a simulation, and no world can detect their removal: the attempt number
(a payment has one attempt in this version); owner and fencing token (state and sequence refuse the same
transitions); that an old *not found* does not answer a new request (the bank recognises the same bytes);
and that a request which waited in a lane is checked again before it leaves. Unit, contract and model
tests cover these: ``test_safeguards.py``, ``test_dispatcher.py``, ``test_store_claims.py``,
``model/mutations.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_lab.mutants.events import EVENTS_MUTANTS
from settlement_lab.mutants.pairs import PAIRS_MUTANTS
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
    **PAIRS_MUTANTS,
}
