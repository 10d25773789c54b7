"""A settlement's life told to a person, from its dossier and the page alone.

Promises: whatever is said follows from what is recorded; silence is never told as a no, and what may
happen next is read from the page and not from an opinion. The same dossier always gives the same words.
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
"""No more lines are told of a life; a line says so when some are left out."""

SAID: Final = (
    *("code", "text", "rail_reference", "confirmation", "next_opening", "evidence_sha256"),
    "return_reference",
)
"""Details of a move that a sentence quotes."""

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
    """Something that happened, and when."""

    at: datetime
    text: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A life in sentences.

    ``standing`` says why it is where it is, ``next`` what is asked next and when, ``money`` what has
    moved and what would have to happen for money to move or be released, ``who`` who may act.
    """

    headline: str
    story: tuple[Line, ...]
    standing: tuple[str, ...]
    next: tuple[str, ...]
    money: tuple[str, ...]
    who: tuple[str, ...]


def explain(dossier: Dossier) -> Explanation:
    """Tell a life."""
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
    """Show as codes what others wrote and nobody would see."""
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
        "Why it is where it is": told.standing,
        "What is next": told.next,
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
            Line(at, f"{left_out} more proposals that were not approved are not copied here.")
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
    """Tell one move: what happened, in whose words, what was done about it and asked after it."""
    row = LIFE.get(move.from_state, {}).get(move.event)
    text = HAPPENED[move.event]
    words = _words(move)
    if words:
        text += f" ({words})"
    told = [_sentence(text)]
    if row is not None and row.do is not None:
        told.append(_sentence(DID[row.do]))
    if move.to_state is not move.from_state:
        told.append(f"It became {move.to_state.name}.")
    if row is not None and row.ask is not None:
        told.append(_sentence(f"next, {ASKS[row.ask]}"))
    return " ".join(told)


def _words(move: MoveRecord) -> str:
    """Quote whoever answered; a refusal is told as the sentence that callers read."""
    detail = move.detail
    if code := detail.get("refusal"):
        fields = {name: text for name, text in detail.items() if name != "refusal"}
        return f"{code}: {refusal_sentence(code, fields)}"
    said = [f"said {detail['said']}"] if "said" in detail else []
    said += [f"{name.replace('_', ' ')} {detail[name]}" for name in SAID if detail.get(name)]
    return ", ".join(said)


def _quiet(dossier: Dossier) -> Iterator[Line]:
    """Tell the answers that changed nothing, those of a kind together."""
    moved_at = [move.at for move in dossier.moves]

    def kind(answer: AnswerRecord) -> tuple[object, ...]:
        earlier = sum(at <= answer.at for at in moved_at)
        return answer.state, answer.event, answer.attempt, earlier

    left_out = dossier.answers.total - sum(each.times for each in dossier.answers.latest)
    if left_out > 0 and dossier.answers.latest:
        yield Line(
            dossier.answers.latest[0].at,
            f"{left_out} earlier answers that changed nothing are not copied here.",
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
    """Say why nothing goes on by itself, if it is frozen."""
    standing = dossier.standing
    if any(each.kind == MatterKind.ALTERED_PAYMENT for each in dossier.exceptions):
        yield (
            "It is frozen: what was recorded of it was altered in the database. It is not sent, and"
            " nothing is booked on it, until a person has looked."
        )
    elif standing.is_frozen and standing.state in ENDS:
        yield "It is frozen: word came after its end, and a person has to look."
    elif standing.is_frozen:
        yield "It is frozen: the rail speaks of another amount than was sent, and a person has to look."


def _standing(dossier: Dossier) -> Iterator[str]:
    standing = dossier.standing
    yield STANDS[standing.state]
    if standing.refusal_code:
        detail = standing.refusal_detail
        yield _sentence(
            f"the reason is {standing.refusal_code}:"
            f" {refusal_sentence(standing.refusal_code, detail)}"
        )
    for attempt in dossier.attempts:
        yield _attempt(attempt)
    if standing.rail_reference:
        yield _sentence(f"the rail calls it {standing.rail_reference}")
    if standing.confirmation:
        yield _sentence(f"the rail's confirmation is {standing.confirmation}")
    if standing.attestation is Attestation.STANDS:
        yield "Its end stands on what two people attested with evidence."
    elif standing.attestation is Attestation.DISPROVED:
        yield "Two people attested how it ended, and the rail has proved them wrong since."
    yield from _frozen(dossier)
    opened = [each for each in dossier.exceptions if each.closed_at is None]
    if opened:
        yield _sentence(f"{counted(len(opened), 'exception')} open: {_kinds(opened)}")


def _kinds(opened: Sequence[ExceptionRecord]) -> str:
    return ", ".join(sorted({each.kind for each in opened}))


def _attempt(attempt: AttemptRecord) -> str:
    proved = (
        f", {attempt.undelivered} of these proved not to have left the house"
        if attempt.undelivered
        else ""
    )
    return (
        f"Payment {attempt.number} goes by rail {attempt.rail} under UETR {attempt.uetr},"
        f" end-to-end reference {attempt.end_to_end_id}, message {attempt.message_id}:"
        f" sending permitted {counted(attempt.sends, 'time')}{proved};"
        f" its bytes may be sent until {clock(attempt.valid_until)}."
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
            f"somebody has to act: the event {happened} cannot be booked, and will not be until what is"
            f" wrong is repaired: {why}"
        )
    if standing.state in ENDS:
        yield "Nothing more is asked: it has ended."
        return
    asks = QUESTION.get(standing.state)
    what = ASKS[asks] if asks is not None else "it is looked at again"
    if standing.owner:
        yield _sentence(f"engine {standing.owner} has its question open now: {what}")
    elif standing.next_action_at is not None:
        yield _sentence(f"at {clock(standing.next_action_at)} {what}")
    elif standing.state is State.HELD:
        yield "No time is set: it waits for a person, however long that takes."
    else:
        yield "Nothing will move it by itself. That must not be: see the alert for stuck settlements."
    if standing.asked:
        heard = [each.last_at or each.at for each in dossier.answers.latest]
        last = f", the last time at {clock(max(heard))}" if heard else ""
        yield f"Asked {counted(standing.asked, 'time')} without news so far{last}."


def _money(dossier: Dossier) -> Iterator[str]:
    owners = {account.id: account for account in dossier.accounts}
    hold, digits = dossier.hold, decimals_of(dossier.instruction)
    if hold is not None:
        amount = f"{format_amount(hold.amount_minor, hold.currency, digits)} {hold.currency}"
        where = _account(owners, hold.account_id)
        ended = f"{hold.outcome} at {clock(hold.resolved_at)}" if hold.resolved_at else "it stands"
        yield f"Held: {amount} on {where} since {clock(hold.locked_at)}; {ended}."
    else:
        yield "Nothing was ever held for it."
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
    """Tell each return with its amounts, and what is left; before returns had amounts the transfers say all."""
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
            yield f"Move {move.seq} speaks of a return that cannot be read."
            continue
        left = format_amount(back.left_minor, currency, digits)
        text = f"came back in posting {back.posting}: {format_amount(back.amount_minor, currency, digits)}"
        text += f" {currency}"
        if back.charges_minor:
            text += f", less {format_amount(back.charges_minor, currency, digits)} {currency} of charges"
        text += f", value {back.value_date.isoformat()}" if back.value_date else ""
        yield _sentence(f"{text}; {left} {currency} is left")
    if left is not None and dossier.standing.state is State.COMPLETED:
        yield "Its obligation stays held until all of it has come back."


def _another_amount(move: MoveRecord, currency: str, digits: int) -> Iterator[str]:
    """Tell of which amount the bank has spoken, as it was written down."""
    stated, charges = move.detail.get("amount_minor", ""), move.detail.get("charges_minor", "")
    said = move.detail.get("currency", currency)
    if said == currency and stated.isdecimal() and stated.isascii():
        stated = format_amount(int(stated[:18]), currency, digits)
    less = f", less charges of {charges} in minor units" if charges else ""
    yield f"Not booked: the bank speaks of {stated or 'all'} {said}{less}."


def _ways(standing: StandingRecord) -> Iterator[str]:
    """Say what would have to happen for money to move or be released, as the page has it."""
    state = standing.state
    rows = dict(LIFE[state])
    if standing.attestation is not Attestation.STANDS:
        rows.pop(Event.DISPROVED, None)
    titles = {
        Do.LOCK: "Funds are held when",
        Do.POST: "Money moves when",
        Do.RELEASE: "The held funds are released when",
        Do.REVERSE: "Money comes back when",
        Do.SUSPEND: "What has no other home is booked to suspense when",
    }
    for do, title in titles.items():
        ways = [CONDITION[event] for event, row in rows.items() if row.do is do]
        if ways:
            yield f"{title} {'; or when '.join(ways)}."
    if state in HOLDING:
        yield "Time, silence, a restart or a wish of the caller's releases nothing."


def _account(owners: Mapping[int, AccountRecord], account_id: int) -> str:
    found = owners.get(account_id)
    if found is None:
        return f"account {account_id}"
    return f"account {account_id} ({found.kind.value} of {found.bank}, {found.account_number})"


def _unbookable(dossier: Dossier) -> list[ExceptionRecord]:
    """Choose the open exceptions of steps that the database turns down."""
    kind = MatterKind.CANNOT_BE_BOOKED.value
    return [each for each in dossier.exceptions if each.kind == kind and each.closed_at is None]


def _who(dossier: Dossier) -> Iterator[str]:
    state = dossier.standing.state
    told = [MAY_ACT[event] for event in MAY_ACT if event in LIFE[state]]
    if any(each.closed_at is None for each in dossier.exceptions):
        told.append("A person has to look at what is open: `settlement-engine exceptions list`.")
    if _unbookable(dossier):
        told.append(
            "Somebody who can repair the database has to act: the engine alone cannot go on."
        )
    yield from told or ["Nobody has to act."]
    if state in HOLDING and Event.CANCELLED not in LIFE[state]:
        yield "A wish of the caller's is not heard in this state: the rail may have the payment."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")
