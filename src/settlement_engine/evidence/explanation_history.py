"""The history of an explanation: one line for each thing that happened, in the order of time.

Promises: every line follows from a record; a missing response is never described as a rejection; beyond the bound
a line says how many are left out.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.compensation_checks import COMPENSATION
from settlement_engine.domain.lifecycle import QUESTION, TRANSITIONS, Ask
from settlement_engine.domain.proposals import OF_PARKED
from settlement_engine.evidence.explanation_recall import recall_lines
from settlement_engine.evidence.sentences import as_sentence, clock, refusal_sentence
from settlement_engine.evidence.wording import (
    ASKED,
    ASKS,
    BY_A_RULE,
    DID,
    HAPPENED,
    IN_A_STATEMENT,
    REPLIED,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from settlement_engine.evidence.dossier import (
        AnswerRecord,
        Dossier,
        ExceptionRecord,
        MoveRecord,
        ProposalRecord,
    )

STORY_MAX: Final = 2_000
"""The most lines of one history; if there are more, a line says how many are left out."""

SAID: Final = (
    *("code", "text", "rail_reference", "confirmation", "next_opening", "evidence_sha256"),
    "return_reference",
)
"""The details of a move that a sentence quotes."""


class ExplanationLine(msgspec.Struct, frozen=True):
    """One entry of the history: when, and what happened."""

    at: datetime
    text: str


def history_lines(dossier: Dossier) -> tuple[ExplanationLine, ...]:
    """Describe everything that happened, in the order of time, within the bound."""
    lines = [*_moves(dossier), *_quiet(dossier)]
    lines += [line for each in dossier.exceptions for line in _exception(each)]
    lines += [line for each in dossier.proposals for line in _proposal(each)]
    lines += [ExplanationLine(at, text) for at, text in recall_lines(dossier)]
    left_out = dossier.standing.proposals - len(dossier.proposals)
    if left_out and dossier.proposals:
        at = dossier.proposals[0].proposed_at
        lines.append(
            ExplanationLine(
                at, f"{left_out} more proposals were not approved and are not listed here."
            )
        )
    lines.sort(key=lambda line: line.at)
    if len(lines) > STORY_MAX:
        left_out = len(lines) - STORY_MAX
        half = STORY_MAX // 2
        gap = ExplanationLine(lines[half].at, f"… {left_out} more lines are left out here.")
        lines = [*lines[:half], gap, *lines[half + left_out :]]
    return tuple(lines)


def _moves(dossier: Dossier) -> Iterator[ExplanationLine]:
    for move in dossier.moves:
        yield ExplanationLine(move.at, tell_move(move))


def tell_move(move: MoveRecord) -> str:
    """Describe one move: what happened, what the other side said, what was done and asked next."""
    row = TRANSITIONS.get(move.from_state, {}).get(move.event)
    text = HAPPENED[move.event]
    if "statement" in move.detail:
        text = IN_A_STATEMENT.get(move.event, text)
    if move.detail.get("code") == COMPENSATION:
        text = "it was parked, because two people have to release a compensation"
    words = _words(move)
    if words:
        text += f" ({words})"
    sentences = [as_sentence(text)]
    if rule := BY_A_RULE.get(move.detail.get("statement_closed_by", "")):
        sentences.append(as_sentence(rule))
    if row is not None and row.do is not None:
        sentences.append(as_sentence(DID[row.do]))
    if move.to_state is not move.from_state:
        sentences.append(f"The state became {move.to_state.name}.")
    if row is not None and row.ask is not None:
        # No record says whether the rail takes enquiries; on one that only sends, nobody is asked.
        condition = ", if it takes enquiries" if row.ask is Ask.ENQUIRE else ""
        sentences.append(as_sentence(f"next, {ASKS[row.ask]}{condition}"))
    return " ".join(sentences)


def _words(move: MoveRecord) -> str:
    """Quote the other side; a refusal is written as the sentence that callers read."""
    detail = move.detail
    if code := detail.get("refusal"):
        fields = {name: text for name, text in detail.items() if name != "refusal"}
        return f"{code}: {refusal_sentence(code, fields)}"
    said = [f"said {detail['said']}"] if "said" in detail else []
    if statement := detail.get("statement"):
        entry = detail.get("statement_entry")
        said.append(f"statement {statement}" + (f", entry {entry}" if entry else ""))
    said += [f"{name.replace('_', ' ')} {detail[name]}" for name in SAID if detail.get(name)]
    return ", ".join(said)


def _quiet(dossier: Dossier) -> Iterator[ExplanationLine]:
    """Describe the responses that changed no state; equal ones become one line."""
    moved_at = [move.at for move in dossier.moves]

    def kind(answer: AnswerRecord) -> tuple[object, ...]:
        earlier = sum(at <= answer.at for at in moved_at)
        return answer.state, answer.event, answer.attempt, earlier

    left_out = dossier.answers.total - sum(each.times for each in dossier.answers.latest)
    if left_out > 0 and dossier.answers.latest:
        yield ExplanationLine(
            dossier.answers.latest[0].at,
            f"{left_out} earlier responses changed no state and are not listed here.",
        )
    for _, group in groupby(dossier.answers.latest, key=kind):
        yield _told_together(list(group))


def _told_together(answers: list[AnswerRecord]) -> ExplanationLine:
    first, last_at = answers[0], max(each.last_at or each.at for each in answers)
    question = as_sentence(ASKED[QUESTION[first.state]]).removesuffix(".")
    reply = REPLIED[first.event]
    count = sum(each.times for each in answers)
    if count == 1:
        return ExplanationLine(first.at, f"{question}; {reply}.")
    times = f"{count} times between {clock(first.at)} and {clock(last_at)}"
    return ExplanationLine(first.at, f"{question} {times}; {reply}.")


def _exception(case: ExceptionRecord) -> Iterator[ExplanationLine]:
    name = f"exception {case.id} ({case.kind})"
    yield ExplanationLine(case.opened_at, as_sentence(f"{name} was opened for a person"))
    if case.acknowledged_at is not None:
        text = f"{name} was acknowledged by {case.acknowledged_by}"
        yield ExplanationLine(case.acknowledged_at, as_sentence(text))
    if case.closed_at is not None:
        text = f"{name} was closed by {case.closed_by}: {case.close_reason}"
        yield ExplanationLine(case.closed_at, as_sentence(text))


def _proposal(proposal: ProposalRecord) -> Iterator[ExplanationLine]:
    name = f"proposal {proposal.id}"
    verb = "proposed to" if proposal.finding in OF_PARKED else "attested"
    text = f"{name}: {proposal.proposed_by} {verb} {proposal.finding}, {proposal.reason}"
    yield ExplanationLine(proposal.proposed_at, as_sentence(text))
    if proposal.decided_at is not None:
        text = f"{name} was {proposal.decision} by {proposal.decided_by}"
        yield ExplanationLine(proposal.decided_at, as_sentence(text))
    if proposal.finished_at is not None:
        text = f"{name} was carried out: {proposal.ending}"
        yield ExplanationLine(proposal.finished_at, as_sentence(text))
