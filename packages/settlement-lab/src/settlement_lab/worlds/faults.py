"""The faults of a world: how often each is injected, and how often it occurred.

Each world draws its own rates (swarm testing): in one only the bank's answers are lost, in the next all
faults occur at once. A fault that never occurs proves nothing, so every fault counts its occurrences, and
a run in which one never occurred has failed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

DRAWN: Final = (
    # between engine and database
    "database_slow",
    "database_cut",
    "database_down",
    "commit_never_came",
    "commit_answer_lost",
    "contention",
    # engines
    "crash",
    "crash_in_a_call",
    "restart",
    "freeze",
    "zombie",
    "session_lost",
    "session_outlives",
    "clock_wrong",
    "clock_jump",
    # between engine and bank
    "network_cut",
    "request_lost",
    "request_lingers",
    "request_twice",
    "undelivered",
    "answer_lost",
    "answer_late",
    "answer_twice",
    "rail_raises",
    "message_not_delivered",
    "acknowledgement_lost",
    "lane_waits",
    "breaker_opens",
    # the bank
    "bank_slow",
    "bank_acknowledges",
    "bank_rejects",
    "bank_speaks_unasked",
    "bank_speaks_twice",
    "bank_recognises",
    "bank_forgets",
    "bank_too_late",
    "bank_not_found",
    "bank_refuses_recall",
    "bank_takes_back",
    "bank_contradicts",
    "bank_returns",
    # the bus
    "bus_down",
    "bus_slow",
    "bus_breaks_midway",
    "bus_answer_lost",
    "bus_one_by_one",
    "two_leaders",
    "event_again",
    "event_late_again",
    # callers
    "caller_repeats",
    "caller_changes_content",
    "caller_takes_obligation",
    "caller_cancels",
    "caller_gives_up",
    # the engine's own installation
    "screening_silent",
    "screening_late",
    "screening_refuses",
    "screening_parks",
    "account_switched_off",
    "window_shut",
    "waited_for_window",
    "waited_for_lane",
    "held_back",
    "short_of_funds",
    "attested",
    # operators
    "operator_stops",
    "operator_probes",
    "sending_stopped",
    "waited_for_operator",
)
"""The faults with a rate that each world draws."""

RUSH: Final = "rush"
"""Many payments at once over a narrow rail (``world.RUSH_SECONDS``): a whole world has a rush or has none."""

RECALLS: Final = "recalls"
"""People recall settlements that have completed (``worlds/recalls.py``): a whole world has recalls or has none."""

OF_RECALLS: Final = (
    *("recall_refused", "recall_settled", "recall_returned", "recall_kept", "recall_delayed"),
    *("recall_silent", "recall_overdue"),
)
"""What a bank does with recalls; counted, and drawn apart."""

COMPENSATIONS: Final = "compensations"
"""People have completed settlements paid back (``worlds/compensations.py``): a whole world has such people or none."""

OF_COMPENSATIONS: Final = (
    "compensation_not_left",
    "compensation_completed",
    "compensation_refused",
    "compensation_then_returned",
)
"""What becomes of compensations; counted, and drawn apart."""

PAIRS: Final = "pairs"
"""Some payments are cover payments (``worlds/pairs.py``): a whole world has pairs or none."""

COVER_REFUSED: Final = "cover_refused"
COVER_REPAIRED: Final = "cover_repaired"
COVER_SENT_AGAIN: Final = "cover_sent_again"
REPAIR_REFUSED: Final = "cover_repair_refused"
REFUSED_AFTER_COVER: Final = "payment_refused_after_cover"
LEG_SPEAKS_LATE: Final = "leg_speaks_late"
PAIR_COMPLETED: Final = "pair_completed"
PAIR_RECALLED: Final = "pair_recalled"
PAIR_SENT_BACK: Final = "pair_sent_back"
OF_PAIRS: Final = (
    *(COVER_REFUSED, COVER_REPAIRED, COVER_SENT_AGAIN, REPAIR_REFUSED, REFUSED_AFTER_COVER),
    *(LEG_SPEAKS_LATE, PAIR_COMPLETED, PAIR_RECALLED, PAIR_SENT_BACK),
)
"""What becomes of pairs and of their messages; counted, and drawn apart."""

STATEMENTS: Final = "statements"
"""The bank's statements are read, too (``worlds/statements.py``): only in worlds whose emphasis asks for it."""

STATEMENT_RETURNS: Final = "statement_returns"
STATEMENT_SECOND_DEBITS: Final = "statement_second_debits"
STATEMENT_CLOSED: Final = "statement_closed_differences"
OF_STATEMENTS: Final = (STATEMENT_RETURNS, STATEMENT_SECOND_DEBITS, STATEMENT_CLOSED)
"""What only a statement tells; counted, and drawn apart."""

OF_SCHEDULED_STATEMENTS: Final = (
    *("statement_imported_twice", "statement_known", "statement_ended_doubt"),
    *("run_ended", "run_done_before", "run_refused", "run_lock_lost"),
)
"""What happens to statements and reconciliations in schedules; counted, and drawn apart."""

FAULTS: Final = (
    *(*DRAWN, RUSH, RECALLS, *OF_RECALLS, COMPENSATIONS, *OF_COMPENSATIONS, PAIRS, *OF_PAIRS),
)
"""Every fault that must have occurred in a run."""

RUSH_SHARE: Final = 0.2
"""The share of worlds with a rush."""

RECALLS_SHARE: Final = 0.2
"""The share of worlds with recalls."""

COMPENSATIONS_SHARE: Final = 0.15
"""The share of worlds with compensations."""

PAIRS_SHARE: Final = 0.2
"""The share of worlds with pairs."""

QUIET_SHARE: Final = 0.35
"""In about a third of the worlds a given fault does not occur at all."""

RATE_MAX: Final = 0.3


@dataclass(slots=True)
class Faults:
    """The rates of one world. ``cease`` ends all faults; after it every settlement must reach its end."""

    chance: Random
    rates: dict[str, float] = field(default_factory=dict)
    fired: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    @classmethod
    def drawn(cls, chance: Random, emphasis: Mapping[str, float]) -> Faults:
        """Draw the rate of each fault in this world; the rates of ``emphasis`` are given, not drawn."""
        rates = {}
        for name in DRAWN:
            is_quiet = chance.random() < QUIET_SHARE
            rates[name] = 0.0 if is_quiet else RATE_MAX * chance.random() ** 2
        rates |= {RUSH: RUSH_SHARE, RECALLS: RECALLS_SHARE} | dict.fromkeys(OF_RECALLS, 0.0)
        rates |= {STATEMENTS: 0.0, COMPENSATIONS: COMPENSATIONS_SHARE, PAIRS: PAIRS_SHARE}
        rates |= dict.fromkeys(
            (*OF_COMPENSATIONS, *OF_PAIRS, *OF_STATEMENTS, *OF_SCHEDULED_STATEMENTS), 0.0
        )
        assert emphasis.keys() <= rates.keys(), "each emphasis names a fault"
        return cls(chance, {**rates, **emphasis})

    def happens(self, name: str, scale: float = 1.0) -> bool:
        """Draw whether the fault occurs now, and count it."""
        rate = self.rates[name]
        if not rate or self.is_over or self.chance.random() >= rate * scale:
            return False
        self.fired[name] += 1
        return True

    def note(self, name: str) -> None:
        """Count a fault that occurred by itself."""
        assert name in self.rates, name
        self.fired[name] += 1

    def cease(self) -> None:
        """End all faults."""
        self.is_over = True

    def seconds(self, choices: Sequence[float]) -> float:
        """Draw a time in seconds, spread around one of these."""
        return self.pick(choices) * (0.5 + self.chance.random())

    def pick(self, choices: Sequence[float]) -> float:
        """Draw one of these."""
        return choices[int(self.chance.random() * len(choices))]
