"""Verifies evidence from its files alone, without an engine and without a database.

Promises: a changed byte, and a missing or added file, fails a check; everything that can be recomputed
(references, transfers, announcements, the path through the state machine) is recomputed and compared. A good
result means that the files are consistent. Only a root hash that was kept elsewhere proves that they are
unchanged.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.announcement import announcement_type, event_id
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.lifecycle import ENDS, HOLDING, Do, State
from settlement_engine.domain.proposals import ATTESTED, Decision, Finding, content_sha256
from settlement_engine.domain.settlement import Moved
from settlement_engine.errors import CorruptRecord
from settlement_engine.evidence import bundle
from settlement_engine.evidence.dossier import PROPOSALS_MAX
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.evidence.verified_compensations import compensation_faults
from settlement_engine.evidence.verified_entries import entry_faults
from settlement_engine.evidence.verified_intent import (
    instruction_faults,
    lock_faults,
    route_faults,
    terms_faults,
    unread_rails,
)
from settlement_engine.evidence.verified_messages import cover_faults, message_faults
from settlement_engine.evidence.verified_postings import (
    done_at,
    return_faults,
    route_of,
    transfer_faults,
)
from settlement_engine.evidence.verified_recall import recall_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from settlement_engine.evidence.bundle import About, TransitionRow
    from settlement_engine.evidence.dossier import Dossier
    from settlement_engine.evidence.verified_intent import Readers

    StateMachine = Mapping[tuple[str, str], TransitionRow]

FAULTS_MAX: Final = 10
"""The most faults that are listed for each check."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check: what was checked, its faults (empty if it passed), and what was found."""

    title: str
    faults: tuple[str, ...] = ()
    note: str = ""

    @property
    def is_good(self) -> bool:
        """Say whether the check passed."""
        return not self.faults


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The result of verifying. ``root_sha256`` is computed from the files; ``settlement_id`` may be unknown."""

    checks: tuple[Check, ...]
    root_sha256: str
    settlement_id: str = ""

    @property
    def is_good(self) -> bool:
        """Say whether every check passed."""
        return all(check.is_good for check in self.checks)


def verify(
    files: Mapping[str, bytes],
    engine_version: str,
    root_sha256: str = "",
    readers: Readers = MappingProxyType({}),
) -> Verified:
    """Run all checks; those that depend on an unreadable file are left out.

    ``root_sha256`` is the root that was noted when the evidence was made, if it was. ``readers`` read the
    messages of rails, by the rail's name.
    """
    made = bundle.manifest_of(files)
    checks = [Check(title="files and their hashes", faults=tuple(_manifest(files, made)))]
    if root_sha256:
        is_same = root_sha256.lower() == made.root_sha256
        fault = f"the files have the root {made.root_sha256}, not {root_sha256}"
        checks.append(Check(title="root hash", faults=() if is_same else (fault,)))
    try:
        about = bundle.read_file(files, bundle.ABOUT, bundle.About)
        rows = bundle.read_file(files, bundle.STATE_MACHINE, tuple[bundle.TransitionRow, ...])
        dossier = bundle.read(files)
    except CorruptRecord as fault:
        words = " ".join(part for part in (f"{fault}", fault.why) if part)
        checks.append(Check(title="canonical form", faults=(words,)))
        return Verified(checks=tuple(checks), root_sha256=made.root_sha256)
    checks.append(Check(title="canonical form"))
    state_machine = {(row.state, row.event): row for row in rows}
    checks.append(_state_machine_check(about, files[bundle.STATE_MACHINE]))
    for title, check in _CHECKS.items():
        found = tuple(check(dossier, state_machine))
        checks.append(Check(title=title, faults=found[:FAULTS_MAX]))
    checks.append(_terms(dossier, readers))
    checks.append(_names(dossier, about, files))
    if all(check.is_good for check in checks):  # an inconsistent dossier cannot be explained
        checks.append(_explanation(dossier, about, files, engine_version))
    return Verified(
        checks=tuple(checks),
        root_sha256=made.root_sha256,
        settlement_id=str(dossier.standing.settlement_id),
    )


def _manifest(files: Mapping[str, bytes], made: bundle.Manifest) -> Iterator[str]:
    try:
        manifest = bundle.read_file(files, bundle.MANIFEST, bundle.Manifest)
    except CorruptRecord as fault:
        yield str(fault)
        return
    if manifest.format != bundle.FORMAT:
        yield f"the format is {manifest.format!r}, not {bundle.FORMAT!r}"
    names = [each.name for each in manifest.files]
    if names != sorted(set(names)):
        yield "the manifest does not list each file once, in order"
    listed = {each.name: each for each in manifest.files}
    found = {each.name: each for each in made.files}
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in listed:
            yield f"{name} is not in the manifest"
        elif listed[name] != found[name]:
            yield f"{name} was changed: its hash is {found[name].sha256}"
    if manifest.root_sha256 != bundle.root_of(manifest.files):
        yield "the root hash is not that of the files that the manifest lists"


def _state_machine_check(about: About, data: bytes) -> Check:
    version = hashlib.sha256(data).hexdigest()
    if version != about.state_machine_sha256:
        fault = "the state machine is not the one that about.json names"
        return Check(title="state machine", faults=(fault,))
    is_ours = version == bundle.state_machine_version()
    return Check(
        title="state machine", note="" if is_ours else "of another version than this program's"
    )


def _names(dossier: Dossier, about: About, files: Mapping[str, bytes]) -> Check:
    """Check that no file is missing or superfluous, and that all are about one settlement."""
    faults = [f"{name} is missing" for name in bundle.expected_names(dossier) - files.keys()]
    faults += [f"{name} is one too many" for name in files.keys() - bundle.expected_names(dossier)]
    if about.settlement_id != dossier.standing.settlement_id:
        faults.append("about.json names another settlement")
    if about.format != bundle.FORMAT:
        faults.append(f"the format is {about.format!r}, not {bundle.FORMAT!r}")
    return Check(title="one settlement, no file too many", faults=tuple(sorted(faults)))


def _terms(dossier: Dossier, readers: Readers) -> Check:
    unread = ", ".join(unread_rails(dossier, readers))
    return Check(
        title="payment bytes say what was asked for",
        faults=tuple(terms_faults(dossier, readers))[:FAULTS_MAX],
        note=f"not compared: no message of {unread} can be read here" if unread else "",
    )


def _explanation(
    dossier: Dossier, about: About, files: Mapping[str, bytes], engine_version: str
) -> Check:
    title = "explanation follows from the records"
    is_ours = about.engine_version == engine_version
    if not is_ours or about.state_machine_sha256 != bundle.state_machine_version():
        return Check(
            title=title, note=f"not compared: the explanation was written by {about.engine_version}"
        )
    is_same = as_text(explain(dossier)).encode() == files.get(bundle.EXPLANATION)
    return Check(title=title, faults=() if is_same else ("it is another text",))


# --- what the records say --------------------------------------------------------------------------


def _moves(dossier: Dossier, state_machine: StateMachine) -> Iterator[str]:
    moves = dossier.moves
    if not moves:
        yield "there is no move"
        return
    if [move.seq for move in moves] != list(range(1, len(moves) + 1)):
        yield "the moves are not numbered without a gap"
    if moves[0].from_state is not State.PENDING:
        yield f"the first move begins in {moves[0].from_state}"
    for before, move in pairwise(moves):
        if move.from_state is not before.to_state:
            yield f"move {move.seq} begins in {move.from_state}, after {before.to_state}"
        if move.position <= before.position:
            yield f"move {move.seq} has the place {move.position}, after {before.position}"
    for move in moves:
        row = state_machine.get((move.from_state.value, move.event.value))
        if row is None or row.to_state != move.to_state.value:
            yield f"move {move.seq} is no transition of the state machine: {move.event} in {move.from_state}"
    yield from _ends_where_it_stands(dossier)


def _ends_where_it_stands(dossier: Dossier) -> Iterator[str]:
    moves, standing = dossier.moves, dossier.standing
    last = moves[-1]
    if (standing.state, standing.seq) != (last.to_state, last.seq):
        yield f"it stands at {standing.state} after {standing.seq}, not where its last move ends"
    if (standing.ended_at is not None) != (standing.state in ENDS):
        yield "it has an end exactly when it has ended"
    if standing.created_at != moves[0].at:
        yield "it began at another time than its first move"


def _answers(dossier: Dossier, state_machine: StateMachine) -> Iterator[str]:
    answers = dossier.answers
    copied = sum(answer.times for answer in answers.latest)
    if answers.total < copied:
        yield f"{answers.total} answers in all are less than {copied}"
    for answer in answers.latest:
        if answer.times < 1 or (answer.last_at or answer.at) < answer.at:
            yield f"{answer.event} in {answer.state} came {answer.times} times, or ended before it began"
            return
        row = state_machine.get((answer.state.value, answer.event.value))
        if row is None or row.to_state != answer.state.value:
            yield f"{answer.event} in {answer.state} is no answer that keeps the state"
            return


def _references(dossier: Dossier, _state_machine: StateMachine) -> Iterator[str]:
    instruction = dossier.instruction
    numbers = [attempt.number for attempt in dossier.attempts]
    if numbers != sorted(set(numbers)):
        yield "the attempts are not in order"
    for attempt in dossier.attempts:
        made = references(instruction.caller, instruction.idempotency_key, attempt.number)
        if (made.uetr, made.end_to_end_id, made.message_id) != (
            attempt.uetr,
            attempt.end_to_end_id,
            attempt.message_id,
        ):
            yield f"the references of attempt {attempt.number} are not those of caller and key"


def _payloads(dossier: Dossier, _state_machine: StateMachine) -> Iterator[str]:
    for attempt in dossier.attempts:
        payload = dossier.payloads.get(attempt.number)
        if payload is None:
            yield f"the bytes of attempt {attempt.number} are missing"
        elif (hashlib.sha256(payload).hexdigest(), len(payload)) != (
            attempt.payload_sha256,
            attempt.payload_bytes,
        ):
            yield f"the bytes of attempt {attempt.number} are others than were recorded"


def _hold(dossier: Dossier, state_machine: StateMachine) -> Iterator[str]:
    hold, instruction, state = dossier.hold, dossier.instruction, dossier.standing.state
    locks = done_at(dossier, state_machine, Do.LOCK)
    if hold is None:
        if locks:
            yield "funds were locked, and there is no hold"
        return
    expected = "" if state in HOLDING else "released" if state is State.ROLLED_BACK else "posted"
    if state is State.FAILED or not locks or not dossier.attempts:
        yield "there is a hold, and nothing was ever locked"
        return
    attempt = dossier.attempts[-1]
    if (hold.amount_minor, hold.currency) != (instruction.amount_minor, instruction.currency):
        yield f"the hold is of {hold.amount_minor} {hold.currency}, not of what was asked for"
    if hold.account_id != attempt.source_id:
        yield f"the hold is on account {hold.account_id}, not on {attempt.source_id}"
    if hold.outcome != expected or (hold.resolved_at is None) != (hold.outcome == ""):
        yield f"the hold is {hold.outcome or 'open'!r} in {state}"
    if {hold.locked_at, attempt.recorded_at} != {locks[-1].at}:
        yield "hold, intent to send and move were not recorded in one commit"
    ended = done_at(dossier, state_machine, Do.POST, Do.RELEASE)
    if hold.resolved_at is not None and hold.resolved_at not in [move.at for move in ended]:
        yield "the hold was resolved by no move"


def _people(dossier: Dossier, _state_machine: StateMachine) -> Iterator[str]:
    copied, total = len(dossier.proposals), dossier.standing.proposals
    if copied != min(total, PROPOSALS_MAX):
        yield f"{copied} proposals of {total}, which is not as many as are copied"
    for each in dossier.proposals:
        name = f"proposal {each.id}"
        paper = dossier.papers.get(each.id)
        if paper is None:
            yield f"the evidence of {name} is missing"
            continue
        found = (hashlib.sha256(paper).hexdigest(), len(paper))
        if found != (each.evidence_sha256, each.evidence_bytes):
            yield f"the evidence of {name} is another than was proposed"
        if each.finding not in set(Finding):
            yield f"{name} attests {each.finding!r}, which is nothing that can be"
            continue
        settlement_id = dossier.standing.settlement_id
        evidence_file = (each.evidence_name, paper)
        content = content_sha256(
            settlement_id, Finding(each.finding), each.reason, evidence_file, each.proposed_by
        )
        if content.hex() != each.content_sha256:
            yield f"the fingerprint of {name} is not that of its content"
        is_approved = each.decision == Decision.APPROVED
        if is_approved and is_same_person(each.proposed_by, each.decided_by):
            yield f"{name} was approved by the one who proposed it"
        if is_approved and (each.decided_at is None or each.decided_at >= each.expires_at):
            yield f"{name} was approved after it had expired"


def _attested(dossier: Dossier, state_machine: StateMachine) -> Iterator[str]:
    del state_machine
    approved = {
        ATTESTED[Finding(each.finding)]
        for each in dossier.proposals
        if each.decision == Decision.APPROVED and each.finding in set(Finding)
    }
    for move in dossier.moves:
        if move.event in ATTESTED.values() and move.event not in approved:
            yield f"move {move.seq} stands on no approved proposal"


def _accounts(dossier: Dossier, _state_machine: StateMachine) -> Iterator[str]:
    known = {account.id for account in dossier.accounts}
    for attempt in dossier.attempts:
        route = route_of(attempt)
        sides = {route.source_id, route.agent_id, route.clearing_id, route.target_id}
        if sides - known:
            yield f"attempt {attempt.number} names accounts that are not identified"
    if len(known) != len(dossier.accounts):
        yield "an account is identified twice"


def _announcements(dossier: Dossier, _state_machine: StateMachine) -> Iterator[str]:
    for move in dossier.moves:
        moved = Moved(
            position=move.position,
            settlement_id=dossier.standing.settlement_id,
            seq=move.seq,
            from_state=move.from_state,
            event=move.event,
            to_state=move.to_state,
            at=move.at,
            detail=move.detail,
        )
        if (move.event_id, move.event_type) != (event_id(moved), announcement_type(moved)):
            yield f"move {move.seq} was announced under another name: {move.event_id}"


_CHECKS: Final[Mapping[str, Callable[[Dossier, StateMachine], Iterator[str]]]] = {
    "instruction and its fingerprint": instruction_faults,
    "moves follow the state machine without a gap": _moves,
    "answers that changed nothing": _answers,
    "references follow from caller and key": _references,
    "payment bytes are those that were recorded": _payloads,
    "payment bytes and route are those that were locked": lock_faults,
    "route is the instruction's": route_faults,
    "messages are those that were recorded": message_faults,
    "covers are those whose send intent was recorded": cover_faults,
    "hold follows the moves": _hold,
    "transfers balance and equal the hold": transfer_faults,
    "returns and charges are no more than the amount": return_faults,
    "two people stand behind each proposal": _people,
    "compensations pay back what was settled": compensation_faults,
    "attested moves stand on approved proposals": _attested,
    "accounts are identified": _accounts,
    "announcements have their names": _announcements,
    "recall follows its transitions without a gap": recall_faults,
    "moves that stand on statements say what the entries say": entry_faults,
}
