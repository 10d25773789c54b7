"""The money of an explanation: what is held, what has moved, what came back, and what would move it.

Promises: amounts are those that were booked; the conditions are read from the transition table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.ledger import Leg
from settlement_engine.domain.lifecycle import HOLDING, RETURNS, TRANSITIONS, Do, Event, State
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.returns import read_return
from settlement_engine.domain.settlement import Attestation
from settlement_engine.evidence.dossier import decimals_of
from settlement_engine.evidence.sentences import as_sentence, clock
from settlement_engine.evidence.wording import CONDITION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from settlement_engine.evidence.dossier import (
        AccountRecord,
        Dossier,
        MoveRecord,
        StandingRecord,
    )

_LEGS: Final[Mapping[int, str]] = {
    Leg.CASH: "cash",
    Leg.OBLIGATION: "obligation",
    Leg.CASH_RETURNED: "cash returned",
    Leg.OBLIGATION_RESTORED: "obligation restored",
    Leg.LATE_CASH: "late cash",
    Leg.OBLIGATION_SUSPENDED: "obligation suspended",
    Leg.RETURN_CHARGES: "return charges",
    Leg.PAID_OUT: "paid out",
    Leg.PAID_OUT_RETURNED: "payout returned",
    Leg.SECOND_DEBIT: "second debit",
    Leg.CHARGES_REBILLED: "charges billed",
}


def money_sentences(dossier: Dossier) -> Iterator[str]:
    """Describe the hold, the transfers and the returns, and under which conditions money moves."""
    owners = {account.id: account for account in dossier.accounts}
    hold, digits = dossier.hold, decimals_of(dossier.instruction)
    if hold is not None:
        amount = f"{format_amount(hold.amount_minor, hold.currency, digits)} {hold.currency}"
        where = _account(owners, hold.account_id)
        ended = f"{hold.outcome} at {clock(hold.resolved_at)}" if hold.resolved_at else "still held"
        yield f"Held: {amount} on {where} since {clock(hold.locked_at)}; {ended}."
    else:
        yield "No funds were ever held."
    for transfer in dossier.transfers:
        amount = format_amount(transfer.amount_minor, transfer.currency, digits)
        yield (
            f"Moved ({_LEGS.get(transfer.leg, f'leg {transfer.leg}')}): {amount} {transfer.currency},"
            f" debit {_account(owners, transfer.debit_id)},"
            f" credit {_account(owners, transfer.credit_id)}, at {clock(transfer.at)}."
        )
    yield from _returned(dossier)
    yield from _ways(dossier.standing)


def _returned(dossier: Dossier) -> Iterator[str]:
    """Describe each return with its amounts, and what is left.

    Returns recorded by old versions have no amounts; their transfers are listed anyway.
    """
    currency, digits = dossier.instruction.currency, decimals_of(dossier.instruction)
    left = None
    for move in dossier.moves:
        if move.detail.get("exception") == CaseKind.AMOUNT_DIFFERS:
            yield from _another_amount(move, currency, digits)
        if move.event not in RETURNS or "posting" not in move.detail:
            continue
        try:
            back = read_return(move.detail, dossier.instruction.amount_minor)
        except ValueError:
            yield f"Move {move.seq} records a return that cannot be read."
            continue
        left = format_amount(back.left_minor, currency, digits)
        text = f"came back in posting {back.posting}: {format_amount(back.amount_minor, currency, digits)}"
        text += f" {currency}"
        if back.charges_minor:
            text += f", less {format_amount(back.charges_minor, currency, digits)} {currency} of charges"
        if back.rebilled_minor:
            billed = format_amount(back.rebilled_minor, currency, digits)
            text += f", of which {billed} {currency} is billed to {dossier.instruction.from_bank}"
        text += f", value {back.value_date.isoformat()}" if back.value_date else ""
        yield as_sentence(f"{text}; {left} {currency} is left")
    if left is not None and dossier.standing.state is State.COMPLETED:
        yield "Its obligation stays held until the whole amount has been returned."


def _another_amount(move: MoveRecord, currency: str, digits: int) -> Iterator[str]:
    """Say which amount the bank reported, as it was recorded."""
    stated, charges = move.detail.get("amount_minor", ""), move.detail.get("charges_minor", "")
    said = move.detail.get("currency", currency)
    if said == currency and stated.isdecimal() and stated.isascii():
        stated = format_amount(int(stated[:18]), currency, digits)
    less = f", less charges of {charges} in minor units" if charges else ""
    yield f"Not booked: the bank reported {stated or 'the whole amount'} in {said}{less}."


def _ways(standing: StandingRecord) -> Iterator[str]:
    """Say under which conditions money moves or is released, as the transition table has it."""
    state = standing.state
    rows = dict(TRANSITIONS[state])
    if standing.attestation is not Attestation.STANDS:
        rows.pop(Event.DISPROVED, None)
    titles = {
        Do.LOCK: "Funds are held when",
        Do.POST: "Money moves when",
        Do.RELEASE: "The held funds are released when",
        Do.REVERSE: "Money comes back when",
        Do.SUSPEND: "The amount is booked to suspense when",
    }
    for do, title in titles.items():
        ways = [CONDITION[event] for event, row in rows.items() if row.do is do]
        if ways:
            yield f"{title} {'; or when '.join(ways)}."
    if state in HOLDING:
        yield "A time-out, a missing response, a restart or a caller's request never releases the funds."


def _account(owners: Mapping[int, AccountRecord], account_id: int) -> str:
    found = owners.get(account_id)
    if found is None:
        return f"account {account_id}"
    return f"account {account_id} ({found.kind.value} of {found.bank}, {found.account_number})"
