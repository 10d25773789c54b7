"""What a mention of a payment says: how often its booking was told before, and whether the amount is its own.

Promises: pure. A difference that the rules of matching close without a person is none between a debit and its payment:
one place decides both (``domain/matching/closing.py``). What stands in a statement that is set aside was never told;
but after a debit of such a statement none is a second one, which would be posted without a person. Must never: take a
payment inside a batch for one of another amount that was sent, because matching closes no difference there.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from settlement_engine.domain.matching.closing import closing
from settlement_engine.domain.statement_evidence import (
    OF_THE_AMOUNT,
    EntryEvidence,
    EntrySays,
    MentionKind,
    PaymentEvidence,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.matching.closing import Closing
    from settlement_engine.domain.matching.values import Rules
    from settlement_engine.domain.statement_evidence import (
        Mention,
        MentionedPayment,
        StatementPart,
        Told,
    )


def evidence_in(
    part: StatementPart,
    mentions: Sequence[Mention],
    payments: Mapping[int, MentionedPayment],
    told: Iterable[Told],
    rules: Rules,
) -> list[PaymentEvidence]:
    """Say what the mentions of a part say. ``payments`` are those found, by the mention's place in the list.

    ``rules`` are those of the statement's account.
    """
    counting = MentionCounts(rules, told)
    return [
        counting.evidence(mention, payments[place], part.statement, counts=part.counts)
        for place, mention in enumerate(mentions)
        if place in payments
    ]


class MentionCounts:
    """How often each payment was mentioned so far: in earlier statements, and in this one up to an entry.

    ``rules`` are those by which the entries of the statement's account are matched.
    """

    def __init__(self, rules: Rules, told: Iterable[Told] = ()) -> None:
        self._rules = rules
        self._counted: Counter[tuple[UUID, MentionKind, int]] = Counter()
        self._set_aside: Counter[tuple[UUID, MentionKind, int]] = Counter()
        self._told: set[tuple[UUID, MentionKind, int]] = set()
        for each in told:
            key = _key(each.settlement_id, each.kind, each.amount_minor)
            self._set_aside[key] += each.set_aside
            if each.is_told:
                self._note(each.settlement_id, each.kind, each.amount_minor, each.counted)

    def evidence(
        self, mention: Mention, payment: MentionedPayment, statement: int, *, counts: bool
    ) -> PaymentEvidence:
        """Say what a mention says, and count it. ``counts``: the statement is one whose entries are counted.

        In other statements, what was told before is taken for the same booking told again.
        """
        amount, kind = mention.amount_minor, mention.kind
        key = _key(payment.settlement_id, kind, amount)
        nth = self._counted[key] + 1 if counts else 1
        turn = nth + self._set_aside[key] if counts else 1
        closed = _closing(mention, payment, self._rules)
        says = _says(mention, payment, (nth, turn), is_closed=closed is not None)
        by_rule = closed.by.value if closed is not None and says in OF_THE_AMOUNT else ""
        is_told = (payment.settlement_id, kind, amount) in self._told
        is_known = says is EntrySays.DEBIT and payment.has_moved
        self._note(payment.settlement_id, kind, amount, int(counts))
        found = EntryEvidence(
            says=says,
            statement=statement,
            entry=mention.entry,
            detail=mention.detail,
            nth=nth,
            booking_date=mention.booking_date,
            closed_by=by_rule,
            rules_version=self._rules.full_version if by_rule else "",
        )
        return PaymentEvidence(
            mention=mention,
            payment=payment,
            found=found,
            is_counted=counts,
            is_news=not (is_told and nth == 1) and not is_known,
            turn=turn,
        )

    def _note(self, settlement_id: UUID, kind: MentionKind, amount: int, counted: int) -> None:
        self._told.add((settlement_id, kind, amount))
        self._counted[_key(settlement_id, kind, amount)] += counted


def _key(settlement_id: UUID, kind: MentionKind, amount: int) -> tuple[UUID, MentionKind, int]:
    """Return what is counted together: credits of one amount, and debits and reversals of any."""
    return settlement_id, kind, amount if kind is MentionKind.CREDIT else 0


def _says(
    mention: Mention, payment: MentionedPayment, counted: tuple[int, int], *, is_closed: bool
) -> EntrySays:
    """Say what a mention says; ``counted`` is its number, without those that are set aside and with them."""
    nth, turn = counted
    if mention.kind is MentionKind.REVERSAL:
        return EntrySays.REVERSAL
    if mention.kind is MentionKind.CREDIT:
        return EntrySays.RETURN
    agrees = _is_equal(mention, payment) or is_closed
    if nth == 1:
        return EntrySays.DEBIT if agrees else EntrySays.OTHER_AMOUNT
    is_second = nth == turn == 2 and agrees  # noqa: PLR2004 - the second one
    return EntrySays.SECOND_DEBIT if is_second else EntrySays.FURTHER_DEBIT


def _is_equal(mention: Mention, payment: MentionedPayment) -> bool:
    sent = payment.amount_minor, payment.currency
    return (mention.amount_minor, mention.currency) == sent


def _closing(mention: Mention, payment: MentionedPayment, rules: Rules) -> Closing | None:
    """Return what closes the difference of a debit from its payment, if matching does so without a person."""
    booked = mention.booked_minor
    is_debit = mention.kind is MentionKind.DEBIT and mention.currency == payment.currency
    if booked is None or not is_debit or _is_equal(mention, payment):
        return None
    day = mention.value_date or mention.booking_date
    found = closing(rules, (-payment.amount_minor, booked), payment.currency, day)
    return found if found is not None and found.is_sure else None
