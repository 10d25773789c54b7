"""A settlement explained in sentences, from its dossier and the state machine alone.

Promises: every sentence follows from a record; a missing response is never described as a rejection; what
may happen next is read from the transition table. The same dossier always gives the same text.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.dossier import decimals_of
from settlement_engine.domain.exceptions import OF_PARKED, MatterKind
from settlement_engine.domain.ledger import Leg
from settlement_engine.domain.lifecycle import (
    ENDS,
    HOLDING,
    LIFE,
    QUESTION,
    RETURNS,
    Do,
    Event,
    State,
)
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.readable import shown
from settlement_engine.domain.returns import read_return
from settlement_engine.domain.sentences import refusal_sentence
from settlement_engine.domain.settlement import Attestation
from settlement_engine.domain.wording import (
    ASKED,
    ASKS,
    CONDITION,
    DID,
    HAPPENED,
    MAY_ACT,
    REPLIED,
    STANDS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from settlement_engine.domain.dossier import (
        AccountRecord,
        AnswerRecord,
        AttemptRecord,
        Dossier,
        ExceptionRecord,
        MoveRecord,
        ProposalRecord,
        StandingRecord,
    )

STORY_MAX: Final = 2_000
"""The most lines of one history; if there are more, a line says how many are left out."""

SAID: Final = (
    *("code", "text", "rail_reference", "confirmation", "next_opening", "evidence_sha256"),
    "return_reference",
)
"""The details of a move that a sentence quotes."""

_LEGS: Final[Mapping[int, str]] = {
    Leg.CASH: "cash",
    Leg.OBLIGATION: "obligation",
    Leg.CASH_RETURNED: "cash returned",
    Leg.OBLIGATION_RESTORED: "obligation restored",
    Leg.LATE_CASH: "late cash",
    Leg.OBLIGATION_SUSPENDED: "obligation suspended",
    Leg.RETURN_CHARGES: "return charges",
}


class Line(msgspec.Struct, frozen=True):
    """One entry of the history: when, and what happened."""

    at: datetime
    text: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The explanation of one settlement.

    ``standing`` says why it is in its state, ``next`` what happens next and when, ``money`` what has moved
    and under which condition money moves or is released, ``who`` who may act.
    """

    headline: str
    story: tuple[Line, ...]
    standing: tuple[str, ...]
    next: tuple[str, ...]
    money: tuple[str, ...]
    who: tuple[str, ...]


def explain(dossier: Dossier) -> Explanation:
    """Explain a settlement."""
    wish, standing = dossier.instruction, dossier.standing
    told = Explanation(
        headline=(
            f"{wish.amount} {wish.currency} from {wish.from_bank} to {wish.to_bank}"
            f" for obligation {wish.obligation_id}: {standing.state.name}"
        ),
        story=_story(dossier),
        standing=tuple(_standing(dossier)),
        next=tuple(_next(dossier)),
        money=tuple(_money(dossier)),
        who=tuple(_who(dossier)),
    )
    return _readable(told)


def _readable(told: Explanation) -> Explanation:
    """Show invisible characters, which others may have written, as their codes."""
    return Explanation(
        headline=shown(told.headline),
        story=tuple(Line(line.at, shown(line.text)) for line in told.story),
        standing=tuple(map(shown, told.standing)),
        next=tuple(map(shown, told.next)),
        money=tuple(map(shown, told.money)),
        who=tuple(map(shown, told.who)),
    )


def as_text(told: Explanation) -> str:
    """Write an explanation as plain text."""
    lines = [_sentence(told.headline), "", "What happened:"]
    lines += [f"  {clock(line.at)}  {line.text}" for line in told.story]
    parts = {
        "Why it is in this state": told.standing,
        "What happens next": told.next,
        "The money": told.money,
        "Who may act": told.who,
    }
    for title, sentences in parts.items():
        lines += ["", f"{title}:", *(f"  {sentence}" for sentence in sentences)]
    return "\n".join(lines) + "\n"


def clock(at: datetime) -> str:
    """Write an instant for a person: to the millisecond, in UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d} UTC"


# --- what happened ---------------------------------------------------------------------------------


def _story(dossier: Dossier) -> tuple[Line, ...]:
    lines = [*_moves(dossier), *_quiet(dossier)]
    lines += [line for each in dossier.exceptions for line in _exception(each)]
    lines += [line for each in dossier.proposals for line in _proposal(each)]
    left_out = dossier.standing.proposals - len(dossier.proposals)
    if left_out and dossier.proposals:
        at = dossier.proposals[0].proposed_at
        lines.append(
            Line(at, f"{left_out} more proposals were not approved and are not listed here.")
        )
    lines.sort(key=lambda line: line.at)
    if len(lines) > STORY_MAX:
        left_out = len(lines) - STORY_MAX
        half = STORY_MAX // 2
        gap = Line(lines[half].at, f"… {left_out} more lines are left out here.")
        lines = [*lines[:half], gap, *lines[half + left_out :]]
    return tuple(lines)


def _moves(dossier: Dossier) -> Iterator[Line]:
    for move in dossier.moves:
        yield Line(move.at, tell_move(move))


def tell_move(move: MoveRecord) -> str:
    """Describe one move: what happened, what the other side said, what was done and asked next."""
    row = LIFE.get(move.from_state, {}).get(move.event)
    text = HAPPENED[move.event]
    words = _words(move)
    if words:
        text += f" ({words})"
    told = [_sentence(text)]
    if row is not None and row.do is not None:
        told.append(_sentence(DID[row.do]))
    if move.to_state is not move.from_state:
        told.append(f"The state became {move.to_state.name}.")
    if row is not None and row.ask is not None:
        told.append(_sentence(f"next, {ASKS[row.ask]}"))
    return " ".join(told)


def _words(move: MoveRecord) -> str:
    """Quote the other side; a refusal is written as the sentence that callers read."""
    detail = move.detail
    if code := detail.get("refusal"):
        fields = {name: text for name, text in detail.items() if name != "refusal"}
        return f"{code}: {refusal_sentence(code, fields)}"
    said = [f"said {detail['said']}"] if "said" in detail else []
    said += [f"{name.replace('_', ' ')} {detail[name]}" for name in SAID if detail.get(name)]
    return ", ".join(said)


def _quiet(dossier: Dossier) -> Iterator[Line]:
    """Describe the responses that changed no state; equal ones become one line."""
    moved_at = [move.at for move in dossier.moves]

    def kind(answer: AnswerRecord) -> tuple[object, ...]:
        earlier = sum(at <= answer.at for at in moved_at)
        return answer.state, answer.event, answer.attempt, earlier

    left_out = dossier.answers.total - sum(each.times for each in dossier.answers.latest)
    if left_out > 0 and dossier.answers.latest:
        yield Line(
            dossier.answers.latest[0].at,
            f"{left_out} earlier responses changed no state and are not listed here.",
        )
    for _, group in groupby(dossier.answers.latest, key=kind):
        yield _told_together(list(group))


def _told_together(answers: list[AnswerRecord]) -> Line:
    first, last_at = answers[0], max(each.last_at or each.at for each in answers)
    question = _sentence(ASKED[QUESTION[first.state]]).removesuffix(".")
    reply = REPLIED[first.event]
    count = sum(each.times for each in answers)
    if count == 1:
        return Line(first.at, f"{question}; {reply}.")
    times = f"{count} times between {clock(first.at)} and {clock(last_at)}"
    return Line(first.at, f"{question} {times}; {reply}.")


def _exception(matter: ExceptionRecord) -> Iterator[Line]:
    name = f"exception {matter.id} ({matter.kind})"
    yield Line(matter.opened_at, _sentence(f"{name} was opened for a person"))
    if matter.acknowledged_at is not None:
        text = f"{name} was acknowledged by {matter.acknowledged_by}"
        yield Line(matter.acknowledged_at, _sentence(text))
    if matter.closed_at is not None:
        text = f"{name} was closed by {matter.closed_by}: {matter.close_reason}"
        yield Line(matter.closed_at, _sentence(text))


def _proposal(proposal: ProposalRecord) -> Iterator[Line]:
    name = f"proposal {proposal.id}"
    verb = "proposed to" if proposal.finding in OF_PARKED else "attested"
    text = f"{name}: {proposal.proposed_by} {verb} {proposal.finding}, {proposal.reason}"
    yield Line(proposal.proposed_at, _sentence(text))
    if proposal.decided_at is not None:
        text = f"{name} was {proposal.decision} by {proposal.decided_by}"
        yield Line(proposal.decided_at, _sentence(text))
    if proposal.finished_at is not None:
        text = f"{name} was carried out: {proposal.ending}"
        yield Line(proposal.finished_at, _sentence(text))


# --- where it stands -------------------------------------------------------------------------------


def _frozen(dossier: Dossier) -> Iterator[str]:
    """Say why it is frozen, if it is."""
    standing = dossier.standing
    if any(each.kind == MatterKind.ALTERED_PAYMENT for each in dossier.exceptions):
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
    if standing.refusal_code:
        detail = standing.refusal_detail
        yield _sentence(
            f"reason: {standing.refusal_code}: {refusal_sentence(standing.refusal_code, detail)}"
        )
    for attempt in dossier.attempts:
        yield _attempt(attempt)
    if standing.rail_reference:
        yield _sentence(f"the rail's reference is {standing.rail_reference}")
    if standing.confirmation:
        yield _sentence(f"the rail's confirmation is {standing.confirmation}")
    if standing.attestation is Attestation.STANDS:
        yield "Its final state was attested by two people, with evidence."
    elif standing.attestation is Attestation.DISPROVED:
        yield "Two people attested its final state, and the rail has contradicted them since."
    yield from _frozen(dossier)
    opened = [each for each in dossier.exceptions if each.closed_at is None]
    if opened:
        yield _sentence(f"{counted(len(opened), 'exception')} open: {_kinds(opened)}")


def _kinds(opened: Sequence[ExceptionRecord]) -> str:
    return ", ".join(sorted({each.kind for each in opened}))


def _attempt(attempt: AttemptRecord) -> str:
    proved = f", {attempt.undelivered} of these never transmitted" if attempt.undelivered else ""
    return (
        f"Payment {attempt.number} uses rail {attempt.rail}, UETR {attempt.uetr},"
        f" end-to-end reference {attempt.end_to_end_id}, message {attempt.message_id}:"
        f" {counted(attempt.sends, 'send intent')} recorded{proved};"
        f" the message is valid until {clock(attempt.valid_until)}."
    )


def counted(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# --- what comes ------------------------------------------------------------------------------------


def _next(dossier: Dossier) -> Iterator[str]:
    standing = dossier.standing
    for each in _unbookable(dossier):
        happened, why = each.detail.get("happened", ""), each.detail.get("why", "")
        yield _sentence(
            f"somebody has to act: the event {happened} cannot be booked until this is repaired: {why}"
        )
    if standing.state in ENDS:
        yield "Nothing: it has ended."
        return
    asks = QUESTION.get(standing.state)
    what = ASKS[asks] if asks is not None else "it is checked again"
    if standing.owner:
        yield _sentence(f"engine {standing.owner} is working on it now: {what}")
    elif standing.next_action_at is not None:
        yield _sentence(f"at {clock(standing.next_action_at)} {what}")
    elif standing.state is State.HELD:
        yield "No time is set: it waits until two people decide."
    else:
        yield "No next action exists. This is a fault: see the alert for stuck settlements."
    if standing.asked:
        heard = [each.last_at or each.at for each in dossier.answers.latest]
        last = f" (last at {clock(max(heard))})" if heard else ""
        enquiries = f"{standing.asked} status enquir{'y' if standing.asked == 1 else 'ies'}"
        is_silent = all(each.event is Event.NO_ANSWER for each in dossier.answers.latest)
        yield f"{enquiries}, no {'response' if is_silent else 'final status'} yet{last}."


def _money(dossier: Dossier) -> Iterator[str]:
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
        if move.detail.get("exception") == MatterKind.AMOUNT_DIFFERS:
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
        text += f", value {back.value_date.isoformat()}" if back.value_date else ""
        yield _sentence(f"{text}; {left} {currency} is left")
    if left is not None and dossier.standing.state is State.COMPLETED:
        yield "Its obligation stays settled until the whole amount has come back."


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
    rows = dict(LIFE[state])
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


def _unbookable(dossier: Dossier) -> list[ExceptionRecord]:
    """Choose the open exceptions whose transition the database refuses."""
    kind = MatterKind.CANNOT_BE_BOOKED.value
    return [each for each in dossier.exceptions if each.kind == kind and each.closed_at is None]


def _who(dossier: Dossier) -> Iterator[str]:
    state = dossier.standing.state
    told = [MAY_ACT[event] for event in MAY_ACT if event in LIFE[state]]
    if any(each.closed_at is None for each in dossier.exceptions):
        told.append("A person has to work on its exceptions: `settlement-engine exceptions list`.")
    if _unbookable(dossier):
        told.append(
            "Somebody who can repair the database has to act: the engine cannot continue alone."
        )
    yield from told or ["Nobody has to act."]
    if state in HOLDING and Event.CANCELLED not in LIFE[state]:
        yield "The caller cannot cancel in this state: the rail may have the payment."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")
