"""Exceptions and proposals as text.

Promises: the engine's texts are printed unchanged; our record and the bank's status stand one below the
other.
"""

from __future__ import annotations

from typing import Any, Final

from settlement_engine.cli.messages import day_and_time
from settlement_engine.cli.output import BAD, WARN, counted, mark, say
from settlement_engine.proto import settlement_pb2 as wire

KIND_PREFIX: Final = "EXCEPTION_KIND_"
SIGNS: Final = {
    wire.EXCEPTION_SEVERITY_CRITICAL: BAD,
    wire.EXCEPTION_SEVERITY_HIGH: WARN,
    wire.EXCEPTION_SEVERITY_NORMAL: WARN,
}
FINDINGS: Final = {
    wire.RESOLUTION_FINDING_SETTLED: "the money moved",
    wire.RESOLUTION_FINDING_NOT_SETTLED: "the money did not move",
    wire.RESOLUTION_FINDING_RELEASE: "it may continue",
    wire.RESOLUTION_FINDING_DECLINE: "it must end",
}
DOUBTS: Final = frozenset({wire.EXCEPTION_KIND_IN_DOUBT, wire.EXCEPTION_KIND_OVERDUE})


def _kind(found: wire.SettlementException) -> str:
    name = wire.ExceptionKind.Name(found.kind).removeprefix(KIND_PREFIX)
    return name.lower().replace("_", " ")


def _severity(found: wire.SettlementException) -> str:
    name = wire.ExceptionSeverity.Name(found.severity)
    return name.removeprefix("EXCEPTION_SEVERITY_").lower()


def _age(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def row(found: wire.SettlementException) -> tuple[str, ...]:
    """Write an exception as a row of a table."""
    return (
        found.id,
        _severity(found),
        _kind(found) + (" (closed)" if found.closed_by else ""),
        found.settlement_id or found.end_to_end_id,
        found.state,
        found.amount,
        found.currency,
        _age(found.age_seconds),
        found.acknowledged_by,
    )


def print_exception(found: wire.SettlementException) -> None:
    """Print an exception with all its details."""
    mark(SIGNS.get(found.severity, WARN), f"{_severity(found)}: {_kind(found)}")
    for title, text in _facts(found):
        if text:
            say(f"  {title:<13} {text}")
    if found.HasField("believed"):
        move = found.believed
        say(f"  {'our record':<13} {_words(move.detail, f'{move.event} → {move.to_state}')}")
    if found.kind in DOUBTS:
        say(f"  {'payment':<13} recorded at {found.said.get('since', '')}, no final status since")
    else:
        say(f"  {'bank status':<13} {_words(found.said, '')}")
    for title, sentences in (("safe to do now", found.safe), ("not safe", found.unsafe)):
        say(f"\n  {title}:")
        for sentence in sentences:
            say(f"    - {sentence}")
    for proposal in found.proposals:
        say(f"\n  proposal {proposal.id}: {FINDINGS.get(proposal.finding, '?')}")
        print_proposal(proposal)


def _facts(found: wire.SettlementException) -> list[tuple[str, str]]:
    asked = ""
    if found.last_question:
        at = day_and_time(found.last_answer_time)
        asked = f"{found.last_question}, answered {found.last_answer} at {at}"
    due = found.next_question
    if due and found.asked_now:
        due = f"{due}, now"
    elif due and found.HasField("next_question_time"):
        due = f"{due}, at {day_and_time(found.next_question_time)}"
    account = f", account {found.account_id}" if found.account_id else ""
    between = f"  {found.from_bank} → {found.to_bank}" if found.from_bank else ""
    closed = f"by {found.closed_by}: {found.close_reason}" if found.closed_by else ""
    return [
        ("settlement", found.settlement_id),
        ("obligation", found.obligation_id),
        ("state", found.state + (", frozen" if found.is_frozen else "")),
        ("exposure", f"{found.amount} {found.currency}{between}{account}"),
        ("rail", f"{found.rail} {found.end_to_end_id} {found.uetr}".strip()),
        ("was open for" if found.closed_by else "open for", _age(found.age_seconds)),
        ("last question", asked),
        ("next question", due),
        ("acknowledged", f"by {found.acknowledged_by}" if found.acknowledged_by else ""),
        ("closed", closed),
    ]


def _words(detail: Any, first: str) -> str:  # noqa: ANN401 -- a map of protobuf
    said = [f"{name} {text}" for name, text in sorted(detail.items()) if text]
    return " · ".join([first, *said] if first else said)


def status_word(found: wire.ResolutionProposal) -> str:
    """Return the status of a proposal in lower case."""
    name = wire.ProposalStatus.Name(found.status)
    return name.removeprefix("PROPOSAL_STATUS_").lower()


def print_proposal(found: wire.ResolutionProposal) -> None:
    """Print a proposal and its status."""
    status = status_word(found)
    decided = f" by {found.decided_by}" if found.decided_by else ""
    facts = [
        ("settlement", found.settlement_id),
        ("reason", found.reason),
        ("evidence", f"{found.evidence_name}, {counted(found.evidence_bytes, 'byte')}"),
        ("sha256", found.evidence_sha256),
        ("proposed", f"by {found.proposed_by} at {day_and_time(found.proposed_time)}"),
        ("status", f"{status}{decided}; expires {day_and_time(found.expires_time)}"),
        ("fingerprint", found.content_sha256),
    ]
    for title, text in facts:
        say(f"    {title:<11} {text}")
