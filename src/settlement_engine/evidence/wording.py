"""The state machine in sentences: how each event, action, question and state is described to a reader.

Promises: every event, state, action and question has its text, and a test checks that none is missing.
Must never decide anything.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Ask, Do, Event, State
from settlement_engine.domain.matching.values import Pass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.domain.payment import PaymentDetails, PaymentParty

E, S = Event, State

HAPPENED: Final[Mapping[Event, str]] = MappingProxyType(
    {
        E.ADMITTED: "the instruction was accepted and stored",
        E.CLEARED: "screening cleared it, and our own checks passed",
        E.POSTPONED: "it was cleared, but it has to wait",
        E.PARKED: "screening parked it: two people have to decide",
        E.REFUSED: "we refused it, before any money was held",
        E.CANCELLED: "the caller requested cancellation or recall",
        E.APPROVED: "two people released it",
        E.DECLINED: "two people declined it",
        E.RELEASED: "its waiting time was over",
        E.LAPSED: "it waited longer than allowed",
        E.ACKNOWLEDGED: "the rail acknowledged the payment, which is not final",
        E.SETTLED: "the rail confirmed that the money moved, which is final",
        E.REJECTED: "the rail rejected the payment",
        E.UNDELIVERED: "the payment was never transmitted in this attempt, and this is proved",
        E.ABANDONED: "it was given up: the payment was never transmitted, and this is proved",
        E.NOT_FOUND: "the rail reported that it does not know our reference",
        E.NO_ANSWER: "no response came, so the outcome is unknown",
        E.ATTESTED_SETTLED: "two people attested with evidence that the money had moved",
        E.ATTESTED_NOT_SETTLED: "two people attested with evidence that the money had not moved",
        E.OVERDUE: "the rail's time limit for a final status had passed",
        E.RECALLED: "the rail gave the payment back after our recall",
        E.RECALL_REFUSED: "the rail refused the recall",
        E.RETURNED: "the receiver sent the money back",
        E.PARTLY_RETURNED: "the receiver sent a part of the money back",
        E.PARTLY_UNCOVERED: (
            "the receiver sent a part of the money back, but its account with us does not cover that part"
        ),
        E.AMOUNT_DIFFERED: "the rail reported another amount than the one sent",
        E.UNCOVERED: (
            "the receiver sent the money back, but its account with us does not cover the amount"
        ),
        E.CONTRADICTED: "conflicting bank status after final settlement",
        E.DEBITED_TWICE: "the bank's statement has a second debit of the payment",
        E.COVER_DUE: "the receiving bank has taken the customer's payment, so that its cover may be sent",
        E.DISPROVED: "a later final status of the rail contradicted what two people had attested",
    }
)

IN_A_STATEMENT: Final[Mapping[Event, str]] = MappingProxyType(
    {
        E.SETTLED: "the bank's statement has its booked debit, which is final",
        E.AMOUNT_DIFFERED: "the bank's statement has a debit of another amount than the one sent",
        E.CONTRADICTED: "the bank's statement contradicts the final state",
    }
)
"""What has happened, where an entry of a bank's statement says it, and not the rail."""

BY_A_RULE: Final[Mapping[str, str]] = MappingProxyType(
    {
        Pass.TARIFF.value: (
            "it is more than was sent by a charge of the bank's tariff, which reconciliation books"
        ),
        Pass.TOLERANCE.value: (
            "it differs from what was sent within the tolerance, and reconciliation books the difference"
        ),
    }
)
"""What the rule says because of which a debit of another amount is the payment's."""

CONDITION: Final[Mapping[Event, str]] = MappingProxyType(
    {
        E.CLEARED: "screening clears it and the account covers it",
        E.SETTLED: "the rail confirms that the money moved",
        E.REJECTED: "the rail rejects the payment",
        E.ABANDONED: "it is proved that the payment was never transmitted",
        E.ATTESTED_SETTLED: "two people attest with evidence that the money moved",
        E.ATTESTED_NOT_SETTLED: "two people attest with evidence that the money did not move",
        E.RECALLED: "the rail gives the payment back",
        E.RETURNED: "the receiver sends the money back",
        E.PARTLY_RETURNED: "the receiver sends a part of the money back",
        E.PARTLY_UNCOVERED: (
            "the receiver sends a part of the money back and its account with us does not cover it"
        ),
        E.UNCOVERED: "the receiver sends the money back and its account with us does not cover it",
        E.DISPROVED: "a later final status of the rail contradicts what two people attested",
        E.DEBITED_TWICE: "the bank's statement has a second debit of the payment",
    }
)
"""What must happen before money moves or is released, for each event that does so."""

DID: Final[Mapping[Do, str]] = MappingProxyType(
    {
        Do.LOCK: "the funds were held and the send intent was recorded, in one commit",
        Do.POST: "the transfers were posted and the hold ended",
        Do.RELEASE: "the hold ended and the funds were released",
        Do.REVERSE: "the reverse transfers were posted",
        Do.EXCEPT: "an exception was opened for a person; no money moved",
        Do.SUSPEND: (
            "an exception was opened for a person, and the amount was booked to the suspense account"
        ),
        Do.COVER: "the send intent of the cover was recorded",
    }
)

ASKED: Final[Mapping[Ask, str]] = MappingProxyType(
    {
        Ask.SCREEN: "compliance and risk were asked",
        Ask.SEND: "the payment was sent to the rail",
        Ask.ENQUIRE: "the rail was asked for the status",
        Ask.RECALL: "the rail was asked to give the payment back",
    }
)

REPLIED: Final[Mapping[Event, str]] = MappingProxyType(
    {
        E.NO_ANSWER: "no response came",
        E.ACKNOWLEDGED: "the response was that it is still in process",
        E.NOT_FOUND: "the response was that our reference is unknown",
        E.UNDELIVERED: "the payment was never transmitted, and this is proved",
    }
)
"""Responses that change no state."""

ASKS: Final[Mapping[Ask, str]] = MappingProxyType(
    {
        Ask.SCREEN: "compliance and risk are asked",
        Ask.SEND: "the recorded payment message is sent to the rail",
        Ask.ENQUIRE: "the rail is asked for the status",
        Ask.RECALL: "the rail is asked to give the payment back",
    }
)

STANDS: Final[Mapping[State, str]] = MappingProxyType(
    {
        S.PENDING: "It is stored, and nothing else has happened yet.",
        S.VALIDATING: "Compliance and risk were asked and have not decided yet. No funds are held.",
        S.HELD: "It is parked until two people decide. No funds are held.",
        S.QUEUED: "It is cleared and waits for its window or for liquidity. No funds are held.",
        S.LOCKED: "The funds are held and the payment is being sent; the rail has not answered yet.",
        S.SENT: "The rail has the payment and has not reported a final status yet.",
        S.IN_DOUBT: (
            "It is not known whether the rail has the payment: there was no response to what was sent."
            " Silence is not a no, so the funds stay held."
        ),
        S.RECALLING: (
            "The rail was asked to give the payment back. Until it confirms, the payment may still settle."
        ),
        S.COMPLETED: "It has ended: the money moved.",
        S.FAILED: "It has ended: no funds were held, and no money moved.",
        S.ROLLED_BACK: "It has ended: the hold was released on evidence, and no money moved.",
        S.RETURNED: "It has ended: the money moved, and came back.",
    }
)

MAY_ACT: Final[Mapping[Event, str]] = MappingProxyType(
    {
        E.CANCELLED: "The caller may request cancellation or recall: `settlement-engine cancel ID`.",
        E.APPROVED: "Two different people may release it: `settlement-engine resolve ID --release`.",
        E.DECLINED: "Two different people may decline it: `settlement-engine resolve ID --decline`.",
        E.ATTESTED_SETTLED: (
            "Two different people may attest with evidence whether the money moved:"
            " `settlement-engine resolve ID`."
        ),
        E.CONTRADICTED: (
            "Nobody can change its final state. A conflicting bank status opens an exception."
        ),
    }
)
"""The events that a person can cause, and how."""


def payment_words(payment: PaymentDetails) -> str:
    """Put into words what a payment says: its parties with their accounts, and what it is for."""
    words = [
        ("debtor", _party_words(payment.debtor)),
        ("creditor", _party_words(payment.creditor)),
        ("remittance", payment.remittance),
        ("creditor reference", payment.creditor_reference),
        ("purpose", payment.purpose),
        ("charge bearer", payment.charge_bearer),
        ("end-to-end reference of the caller", payment.end_to_end_id),
    ]
    return "; ".join(f"{title} {text}" for title, text in words if text)


def _party_words(party: PaymentParty | None) -> str:
    if party is None:
        return ""
    account = party.account
    number = (account.iban or account.other_id) if account is not None else ""
    return ", ".join(part for part in (party.name, number, party.agent_bic, party.lei) if part)
