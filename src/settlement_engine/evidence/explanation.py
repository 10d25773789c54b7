"""A settlement explained in sentences, from its dossier and the state machine alone.

Promises: every sentence follows from a record; a missing response is never described as a rejection; what
may happen next is read from the transition table. The same dossier always gives the same text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import (
    ENDS,
    HOLDING,
    QUESTION,
    TRANSITIONS,
    Ask,
    Event,
    State,
)
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.payment import Delivery, delivery_of
from settlement_engine.domain.readable import shown
from settlement_engine.domain.routing import read_rejected
from settlement_engine.domain.settlement import Attestation
from settlement_engine.evidence.dossier import decimals_of
from settlement_engine.evidence.explanation_history import ExplanationLine, history_lines
from settlement_engine.evidence.explanation_money import money_sentences
from settlement_engine.evidence.explanation_recall import recall_waits
from settlement_engine.evidence.sentences import as_sentence, clock, counted, refusal_sentence
from settlement_engine.evidence.wording import ASKS, MAY_ACT, STANDS, payment_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from settlement_engine.evidence.dossier import AttemptRecord, Dossier, ExceptionRecord


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The explanation of one settlement.

    ``standing`` says why it is in its state, ``next`` what happens next and when, ``money`` what has moved
    and under which condition money moves or is released, ``who`` who may act.
    """

    headline: str
    story: tuple[ExplanationLine, ...]
    standing: tuple[str, ...]
    next: tuple[str, ...]
    money: tuple[str, ...]
    who: tuple[str, ...]


def explain(dossier: Dossier) -> Explanation:
    """Explain a settlement."""
    instruction, standing = dossier.instruction, dossier.standing
    explanation = Explanation(
        headline=(
            f"{instruction.amount} {instruction.currency} from {instruction.from_bank} to {instruction.to_bank}"
            f" for obligation {instruction.obligation_id}: {standing.state.name}"
        ),
        story=history_lines(dossier),
        standing=tuple(_standing(dossier)),
        next=tuple(_next(dossier)),
        money=tuple(money_sentences(dossier)),
        who=tuple(_who(dossier)),
    )
    return _readable(explanation)


def _readable(explanation: Explanation) -> Explanation:
    """Show invisible characters, which others may have written, as their codes."""
    return Explanation(
        headline=shown(explanation.headline),
        story=tuple(ExplanationLine(line.at, shown(line.text)) for line in explanation.story),
        standing=tuple(map(shown, explanation.standing)),
        next=tuple(map(shown, explanation.next)),
        money=tuple(map(shown, explanation.money)),
        who=tuple(map(shown, explanation.who)),
    )


def as_text(explanation: Explanation) -> str:
    """Write an explanation as plain text."""
    lines = [as_sentence(explanation.headline), "", "What happened:"]
    lines += [f"  {clock(line.at)}  {line.text}" for line in explanation.story]
    parts = {
        "Why it is in this state": explanation.standing,
        "What happens next": explanation.next,
        "The money": explanation.money,
        "Who may act": explanation.who,
    }
    for title, sentences in parts.items():
        lines += ["", f"{title}:", *(f"  {sentence}" for sentence in sentences)]
    return "\n".join(lines) + "\n"


# --- where it stands -------------------------------------------------------------------------------


def _frozen(dossier: Dossier) -> Iterator[str]:
    """Say why it is frozen, if it is."""
    standing = dossier.standing
    if any(each.kind == CaseKind.ALTERED_PAYMENT for each in dossier.exceptions):
        yield (
            "It is frozen: its record was altered in the database. It is not sent and nothing is booked"
            " until a person has decided."
        )
    elif standing.is_frozen and standing.state in ENDS:
        yield "It is frozen: conflicting bank status after final settlement. A person has to decide."
    elif standing.is_frozen:
        yield "It is frozen: the rail reported another amount than was sent. A person has to decide."


def _standing(dossier: Dossier) -> Iterator[str]:
    standing = dossier.standing
    yield STANDS[standing.state]
    yield from _payment(dossier)
    yield from _compensations(dossier)
    if standing.refusal_code:
        detail = standing.refusal_detail
        yield as_sentence(
            f"reason: {standing.refusal_code}: {refusal_sentence(standing.refusal_code, detail)}"
        )
    for attempt in dossier.attempts:
        yield _attempt(attempt)
    yield from _rejected_rails(dossier)
    if standing.rail_reference:
        yield as_sentence(f"the rail's reference is {standing.rail_reference}")
    if standing.confirmation:
        yield as_sentence(f"the rail's confirmation is {standing.confirmation}")
    if standing.attestation is Attestation.STANDS:
        yield "Its final state was attested by two people, with evidence."
    elif standing.attestation is Attestation.DISPROVED:
        yield "Two people attested its final state, and the rail has contradicted them since."
    yield from _frozen(dossier)
    opened = [each for each in dossier.exceptions if each.closed_at is None]
    if opened:
        yield as_sentence(f"{counted(len(opened), 'exception')} open: {_kinds(opened)}")


def _payment(dossier: Dossier) -> Iterator[str]:
    """Say what the caller said about the payment, and how it is delivered if it is paid out."""
    instruction = dossier.instruction
    if instruction.payment is not None:
        yield as_sentence(f"the payment says: {payment_words(instruction.payment)}")
    if instruction.rail:
        yield as_sentence(f"the caller named the rail {instruction.rail}")
    if delivery_of(instruction.delivery, instruction.payment) is Delivery.PAY_OUT:
        yield (
            f"It is paid out: {instruction.from_bank} pays {instruction.to_bank}, or its customer, and the balance"
            f" of {instruction.to_bank} with us ends where it began."
        )


def _compensations(dossier: Dossier) -> Iterator[str]:
    """Say what it compensates, and what compensates it."""
    instruction, links = dossier.instruction, dossier.compensations
    currency, decimals = instruction.currency, decimals_of(instruction)
    if links.compensated is not None:
        before = links.compensated
        settled = format_amount(before.amount_minor, currency, decimals)
        yield (
            f"It compensates settlement {before.settlement_id}, in which {before.from_bank} paid"
            f" {settled} {currency} to {before.to_bank}. Two people have to release it, and neither of"
            " them may have submitted it."
        )
    for each in links.made:
        amount = format_amount(each.amount_minor, currency, decimals)
        yield (
            f"It is compensated by settlement {each.settlement_id}: {amount} {currency},"
            f" {each.state.name}."
        )


def _rejected_rails(dossier: Dossier) -> Iterator[str]:
    """Say why the other rails of the latest route decision were not chosen."""
    decisions = (read_rejected(move.detail) for move in reversed(dossier.moves))
    for each in next((rejected for rejected in decisions if rejected), ()):
        yield as_sentence(f"rail {each.rail} was not chosen ({each.reason}): {each.text}")


def _kinds(opened: Sequence[ExceptionRecord]) -> str:
    return ", ".join(sorted({each.kind for each in opened}))


def _attempt(attempt: AttemptRecord) -> str:
    proved = f", {attempt.undelivered} of these never transmitted" if attempt.undelivered else ""
    trace = f", trace {attempt.trace}" if attempt.trace else ""
    return (
        f"Payment {attempt.number} uses rail {attempt.rail}, UETR {attempt.uetr},"
        f" end-to-end reference {attempt.end_to_end_id}, message {attempt.message_id}{trace}:"
        f" {counted(attempt.sends, 'send intent')} recorded{proved};"
        f" the message is valid until {clock(attempt.valid_until)}."
    )


# --- what comes ------------------------------------------------------------------------------------


def _next(dossier: Dossier) -> Iterator[str]:
    standing = dossier.standing
    for each in _unbookable(dossier):
        happened, why = each.detail.get("happened"), each.detail.get("why", "")
        what = f"the event {happened} cannot be booked" if happened else "nothing can be booked"
        yield as_sentence(f"somebody has to act: {what} until this is repaired: {why}")
    if standing.state in ENDS:
        waits = tuple(recall_waits(dossier))
        yield from waits or ("Nothing: it has ended.",)
        return
    asks = QUESTION.get(standing.state)
    what = ASKS[asks] if asks is not None else "it is checked again"
    if standing.owner:
        yield as_sentence(f"engine {standing.owner} is working on it now: {what}")
    elif standing.next_action_at is not None:
        yield as_sentence(f"at {clock(standing.next_action_at)} {what}{_or_waits(asks)}")
    elif standing.state is State.HELD:
        yield "No time is set: it waits until two people decide."
    else:
        yield "No next action exists. This is a fault: see the alert for stuck settlements."
    if standing.asked:
        received_at = [each.last_at or each.at for each in dossier.answers.latest]
        last = f" (last at {clock(max(received_at))})" if received_at else ""
        enquiries = f"{standing.asked} status enquir{'y' if standing.asked == 1 else 'ies'}"
        is_silent = all(each.event is Event.NO_ANSWER for each in dossier.answers.latest)
        yield f"{enquiries}, no {'response' if is_silent else 'final status'} yet{last}."


def _or_waits(asks: Ask | None) -> str:
    """Say what else happens at the due time: a dossier does not know which questions its rail takes."""
    if asks is not Ask.ENQUIRE:
        return ""
    return (
        ", if it takes enquiries; if not, it waits on for a message of the bank, or until two people"
        " attest"
    )


def _unbookable(dossier: Dossier) -> list[ExceptionRecord]:
    """Choose the open exceptions whose transition the database refuses."""
    kind = CaseKind.CANNOT_BE_BOOKED.value
    return [each for each in dossier.exceptions if each.kind == kind and each.closed_at is None]


def _who(dossier: Dossier) -> Iterator[str]:
    state = dossier.standing.state
    lines = [MAY_ACT[event] for event in MAY_ACT if event in TRANSITIONS[state]]
    if any(each.closed_at is None for each in dossier.exceptions):
        lines.append("A person has to work on its exceptions: `settlement-engine exceptions list`.")
    if _unbookable(dossier):
        lines.append(
            "Somebody who can repair the database has to act: the engine cannot continue alone."
        )
    yield from lines or ["Nobody has to act."]
    if state in HOLDING and Event.CANCELLED not in TRANSITIONS[state]:
        yield "The caller cannot cancel in this state: the rail may have the payment."
