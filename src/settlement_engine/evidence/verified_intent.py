"""Checks of evidence for the payment itself: instruction, send intent and message agree.

Promises: the bytes of each attempt are compared with the hash in the move that held the funds; its route with
that move and with the instruction's banks; and, if the rail's messages can be read, the content of the bytes
with the instruction. Old moves have no hash; for them the other comparisons are made.
"""

from __future__ import annotations

import hashlib
from datetime import UTC
from typing import TYPE_CHECKING, NamedTuple

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.identifiers import References, content_hash
from settlement_engine.domain.intent import (
    DELIVERY,
    PAYLOAD_SHA256,
    ROUTE,
    TRACE,
    VALID_UNTIL,
    PaymentTerms,
)
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Do
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.payment import Delivery, delivery_of, payment_content
from settlement_engine.evidence.dossier import decimals_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from settlement_engine.evidence.bundle import TransitionRow
    from settlement_engine.evidence.dossier import AttemptRecord, Dossier, MoveRecord

    StateMachine = Mapping[tuple[str, str], TransitionRow]
    Readers = Mapping[str, Callable[[bytes], PaymentTerms | None]]


class Sides(NamedTuple):
    """An account as a route names it."""

    kind: AccountKind
    bank: str
    currency: str


def instruction_faults(dossier: Dossier, _state_machine: StateMachine) -> Iterator[str]:
    """Recompute the fingerprint of the instruction, and its amount in minor units."""
    instruction = dossier.instruction
    content: dict[str, object] = {
        "obligation_id": instruction.obligation_id,
        "from_bank": instruction.from_bank,
        "to_bank": instruction.to_bank,
        "amount": instruction.amount_minor,
        "currency": instruction.currency,
        "settlement_date": instruction.value_date.isoformat() if instruction.value_date else None,
        "priority": instruction.priority,
        "metadata": instruction.metadata,
    }
    if instruction.payment is not None:
        content["payment"] = payment_content(instruction.payment)
    if instruction.rail:
        content["rail"] = instruction.rail
    if instruction.delivery is not None:
        content["delivery"] = instruction.delivery.value
    if instruction.compensates is not None:
        content["compensates"] = str(instruction.compensates)
    if content_hash(content).hex() != instruction.content_sha256:
        yield "the instruction's fingerprint is not that of its content"
    if (
        format_amount(instruction.amount_minor, instruction.currency, decimals_of(instruction))
        != instruction.amount
    ):
        yield f"{instruction.amount_minor} minor units are not {instruction.amount} {instruction.currency}"


def lock_faults(dossier: Dossier, state_machine: StateMachine) -> Iterator[str]:
    """Compare each attempt with the move that locked its funds."""
    locks = [
        move
        for move in dossier.moves
        if (row := state_machine.get((move.from_state.value, move.event.value)))
        and row.do == Do.LOCK
    ]
    if len(locks) != len(dossier.attempts):
        yield f"{len(dossier.attempts)} attempts, and {len(locks)} moves that locked funds"
        return
    for attempt, lock in zip(dossier.attempts, locks, strict=True):
        yield from _intent_faults(dossier, attempt, lock)


def _intent_faults(dossier: Dossier, attempt: AttemptRecord, lock: MoveRecord) -> Iterator[str]:
    accounts = (attempt.source_id, attempt.agent_id, attempt.clearing_id, attempt.target_id)
    payload = dossier.payloads.get(attempt.number, b"")
    made = {
        PAYLOAD_SHA256: hashlib.sha256(payload).hexdigest(),
        ROUTE: " ".join([attempt.rail, *map(str, accounts)]),
        VALID_UNTIL: attempt.valid_until.astimezone(UTC).isoformat(),
    }
    for name, found in made.items():
        recorded = lock.detail.get(name, found)
        if recorded != found:
            yield f"attempt {attempt.number} has {name} {found}, and was locked with {recorded}"
    trace = lock.detail.get(TRACE, "")
    if trace != attempt.trace:
        yield f"attempt {attempt.number} has trace {attempt.trace!r}, and was locked with {trace!r}"
    instruction = dossier.instruction
    recorded = lock.detail.get(DELIVERY, Delivery.BOOK.value)
    for whose, delivery in (
        (f"attempt {attempt.number}", attempt.delivery),
        ("the instruction", delivery_of(instruction.delivery, instruction.payment)),
    ):
        if delivery != recorded:
            yield f"{whose} has delivery {delivery.value}, and was locked with {recorded}"


def route_faults(dossier: Dossier, _state_machine: StateMachine) -> Iterator[str]:
    """Compare the accounts of each attempt with the banks of the instruction and the rail."""
    instruction = dossier.instruction
    known = {
        each.id: Sides(each.kind, folded_bank(each.bank), each.currency)
        for each in dossier.accounts
    }
    payer, payee = folded_bank(instruction.from_bank), folded_bank(instruction.to_bank)
    for attempt in dossier.attempts:
        expected = {
            attempt.source_id: Sides(AccountKind.NOSTRO, payer, instruction.currency),
            attempt.agent_id: Sides(
                AccountKind.SETTLEMENT, folded_bank(attempt.rail), instruction.currency
            ),
            attempt.clearing_id: Sides(AccountKind.CLEARING, payer, instruction.currency),
            attempt.target_id: Sides(AccountKind.VOSTRO, payee, instruction.currency),
        }
        named = (attempt.source_id, attempt.agent_id, attempt.clearing_id, attempt.target_id)
        if len(set(named)) != len(named):
            yield f"attempt {attempt.number} names an account twice"
        for account_id, sides in expected.items():
            found = known.get(account_id)
            if found is not None and found != sides:
                yield (
                    f"account {account_id} is {found.kind} of {found.bank} in {found.currency},"
                    f" not {sides.kind} of {sides.bank} in {sides.currency}"
                )


def terms_faults(dossier: Dossier, readers: Readers) -> Iterator[str]:
    """Compare what the bytes say with the instruction, for rails whose messages can be read."""
    instruction = dossier.instruction
    asked = {
        "from_bank": instruction.from_bank,
        "to_bank": instruction.to_bank,
        "amount": instruction.amount,
        "currency": instruction.currency,
    }
    for attempt in dossier.attempts:
        read = readers.get(attempt.rail)
        payload = dossier.payloads.get(attempt.number)
        if read is None or payload is None:
            continue
        terms = read(payload)
        if terms is None:
            yield f"the bytes of attempt {attempt.number} cannot be read"
            continue
        for name, text in asked.items():
            found = getattr(terms, name)
            if name == "to_bank" and not found and attempt.delivery is Delivery.BOOK:
                continue  # our own money goes to our own account, and no other bank is named
            if found != text:
                yield f"the bytes of attempt {attempt.number} say {name} {found!r}, not {text!r}"
        names = References(
            uetr=attempt.uetr, end_to_end_id=attempt.end_to_end_id, message_id=attempt.message_id
        )
        if terms.references is not None and terms.references != names:
            yield f"the bytes of attempt {attempt.number} have other references"


def unread_rails(dossier: Dossier, readers: Readers) -> list[str]:
    """Return the rails whose messages cannot be read here."""
    return sorted({attempt.rail for attempt in dossier.attempts} - readers.keys())
