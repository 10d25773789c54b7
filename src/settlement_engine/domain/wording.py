"""The page in words: what each event, each piece of work and each question is called in a sentence.

Nothing is decided here. Every event, state, piece of work and question of the page has its words, and a
test walks the page to see that none is missing.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Ask, Do, Event, State

if TYPE_CHECKING:
    from collections.abc import Mapping

E, S = Event, State

HAPPENED: Final[Mapping[Event, str]] = MappingProxyType(
    {
        E.ADMITTED: "the instruction was accepted and written down",
        E.CLEARED: "screening cleared it, and our own preconditions held",
        E.POSTPONED: "it was cleared, but has to wait",
        E.PARKED: "it was parked: a person has to look at it first",
        E.REFUSED: "we refused it, before any money was held",
        E.CANCELLED: "the caller asked for it not to be made",
        E.APPROVED: "two people released it",
        E.DECLINED: "two people declined it",
        E.RELEASED: "its wait was over",
        E.LAPSED: "it had waited too long",
        E.ACKNOWLEDGED: "the rail said that it has the payment, which is not final",
        E.SETTLED: "the rail said that the money moved, which is final",
        E.REJECTED: "the rail said a definite no",
        E.UNDELIVERED: "it was proved that not a byte of this sending had left the house",
        E.ABANDONED: "it was given up: every sending was proved not to have left the house",
        E.NOT_FOUND: "the rail said that it does not know our reference",
        E.NO_ANSWER: "no answer came, which says neither yes nor no",
        E.ATTESTED_SETTLED: "two people attested with evidence that the money had moved",
        E.ATTESTED_NOT_SETTLED: "two people attested with evidence that the money had not moved",
        E.OVERDUE: "the rail's own limit had passed",
        E.RECALLED: "the rail gave the payment back",
        E.RECALL_REFUSED: "the rail refused to give the payment back",
        E.RETURNED: "the receiver sent the money back",
        E.PARTLY_RETURNED: "the receiver sent a part of the money back",
        E.PARTLY_UNCOVERED: (
            "the receiver sent a part of the money back, and its account with us no longer covers that"
        ),
        E.AMOUNT_DIFFERED: "the rail said that another amount had moved than was sent",
        E.UNCOVERED: (
            "the receiver sent the money back, and its account with us no longer covers that"
        ),
        E.CONTRADICTED: "late word came that contradicts how it had ended",
        E.DISPROVED: "late definite word of the rail proved wrong what two people had attested",
    }
)

CONDITION: Final[Mapping[Event, str]] = MappingProxyType(
    {
        E.CLEARED: "screening clears it and the account covers it",
        E.SETTLED: "the rail says that the money moved",
        E.REJECTED: "the rail says a definite no",
        E.ABANDONED: "every sending is proved not to have left the house",
        E.ATTESTED_SETTLED: "two people attest with evidence that the money moved",
        E.ATTESTED_NOT_SETTLED: "two people attest with evidence that the money did not move",
        E.RECALLED: "the rail gives the payment back",
        E.RETURNED: "the receiver sends the money back",
        E.PARTLY_RETURNED: "the receiver sends a part of the money back",
        E.PARTLY_UNCOVERED: (
            "the receiver sends a part of the money back and its account with us does not cover it"
        ),
        E.UNCOVERED: "the receiver sends the money back and its account with us does not cover it",
        E.DISPROVED: "late definite word of the rail proves wrong what two people attested",
    }
)
"""What would have to happen, for the events whose rows move or release money."""

DID: Final[Mapping[Do, str]] = MappingProxyType(
    {
        Do.LOCK: "the funds were held and the intent to send was recorded, in one commit",
        Do.POST: "the transfers were made and the hold ended",
        Do.RELEASE: "the hold ended and the funds were given back",
        Do.REVERSE: "the transfers were made the other way round",
        Do.EXCEPT: "an exception was opened for a person; no money was touched",
        Do.SUSPEND: (
            "an exception was opened for a person, and what has no other home was booked to suspense"
        ),
    }
)

ASKED: Final[Mapping[Ask, str]] = MappingProxyType(
    {
        Ask.SCREEN: "compliance and risk were asked",
        Ask.SEND: "the payment was sent to the rail",
        Ask.ENQUIRE: "the rail was asked what had become of it",
        Ask.RECALL: "the rail was asked to give it back",
    }
)

REPLIED: Final[Mapping[Event, str]] = MappingProxyType(
    {
        E.NO_ANSWER: "no answer came",
        E.ACKNOWLEDGED: "the answer was that it is still in process",
        E.NOT_FOUND: "the answer was that our reference is not known",
        E.UNDELIVERED: "it was proved that not a byte had left the house",
    }
)
"""Answers that change no state."""

ASKS: Final[Mapping[Ask, str]] = MappingProxyType(
    {
        Ask.SCREEN: "compliance and risk are asked",
        Ask.SEND: "its recorded bytes are sent to the rail",
        Ask.ENQUIRE: "the rail is asked what became of it",
        Ask.RECALL: "the rail is asked to give it back",
    }
)

STANDS: Final[Mapping[State, str]] = MappingProxyType(
    {
        S.PENDING: "It is written down and nothing is promised.",
        S.VALIDATING: "Compliance and risk have been asked and have not decided. Nothing is held.",
        S.HELD: "It is parked until a person decides. Nothing is held.",
        S.QUEUED: "It is cleared and waits for its window or for liquidity. Nothing is held.",
        S.LOCKED: "The funds are held and the payment is on its way; the rail has not answered yet.",
        S.SENT: "The rail has the payment and has not said yet that it is final.",
        S.IN_DOUBT: (
            "The rail may have the payment or not: no answer came to what was sent."
            " Silence is not a no, so the funds stay held."
        ),
        S.RECALLING: "The rail was asked to give the payment back; until it says so, it may be paid.",
        S.COMPLETED: "It has ended: the money moved.",
        S.FAILED: "It has ended: nothing was ever held, and no money moved.",
        S.ROLLED_BACK: "It has ended: the hold was released on evidence, and no money moved.",
        S.RETURNED: "It has ended: the money moved, and came back.",
    }
)

MAY_ACT: Final[Mapping[Event, str]] = MappingProxyType(
    {
        E.CANCELLED: "The caller may ask for it not to be made: `settlement-engine cancel ID`.",
        E.APPROVED: (
            "Two people, never the same one twice, may release it:"
            " `settlement-engine resolve ID --release`."
        ),
        E.DECLINED: "Two people may decline it: `settlement-engine resolve ID --decline`.",
        E.ATTESTED_SETTLED: (
            "Two people, never the same one twice, may attest with evidence what became of it:"
            " `settlement-engine resolve ID`."
        ),
        E.CONTRADICTED: (
            "Nobody changes how it ended. Late word that contradicts it opens an exception."
        ),
    }
)
"""Events that a person brings about, and how."""
