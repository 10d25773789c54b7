"""The proof of what is kept beside the history, in memory: the checks of ``sql/queries/proof_history.sql``, by name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.covers import COVER, COVER_SHA256
from settlement_engine.domain.lifecycle import ENDS, Event, State
from settlement_lab.memory.covers import with_sends
from settlement_lab.memory.past_balances import balances_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from settlement_lab.memory.records import Records

    Found = Iterator[tuple[object, object, object]]

STATED: Final = ("rail_reference", "confirmation")


def _rail_references_follow_moves(records: Records) -> Found:
    """Compare reference and confirmation with what the moves say that the rail gave last."""
    for history in records.histories.values():
        stated: dict[str, str] = {}
        for moved in records.moves_of.get(history.id, []):
            stated |= {name: moved.detail[name] for name in STATED if name in moved.detail}
        expected = tuple(stated.get(name, "") for name in STATED)
        if expected != (history.rail_reference, history.confirmation):
            yield history.id, expected, (history.rail_reference, history.confirmation)


def _ends_follow_moves(records: Records) -> Found:
    """Compare when a settlement ended with the move that brought it to its first final state."""
    for history in records.histories.values():
        moves = records.moves_of.get(history.id, [])
        expected = next((moved.at for moved in moves if moved.to_state in ENDS), None)
        if expected != history.ended_at:
            yield history.id, expected, history.ended_at


def _sends_follow_history(records: Records) -> Found:
    """Compare how often an attempt was sent, and proved undelivered, with moves, answers and recoveries."""
    recoveries = sum(each.opening.system_epoch > 0 for each in records.system_epochs)
    for history in records.histories.values():
        attempt = history.attempt
        if attempt is None:
            continue
        resends = sum(
            (moved.event is Event.NOT_FOUND and moved.to_state is State.LOCKED)
            or moved.event is Event.COVER_DUE
            for moved in records.moves_of.get(history.id, [])
        )
        proofs = sum(
            each.times
            for each in records.answers_of(history.id)
            if each.event is Event.UNDELIVERED and each.state is State.LOCKED
        )
        sends = range(1 + resends, 2 + resends + proofs + recoveries)
        if attempt.sends not in sends or attempt.undelivered != proofs:
            yield history.id, (sends, proofs), (attempt.sends, attempt.undelivered)


def _covers_follow_history(records: Records) -> Found:
    """Compare the send intents of covers with the stored ones, and with what their banks have said."""
    for history in records.histories.values():
        for moved in records.moves_of.get(history.id, []):
            if moved.event is not Event.COVER_DUE or history.attempt is None:
                continue
            key, number = (history.id, history.attempt.number), int(moved.detail[COVER])
            covers = records.covers.stored.get(key, [])
            found = covers[number - 1].content if number <= len(covers) else b""
            sha256 = hashlib.sha256(found).hexdigest()
            if sha256 != moved.detail[COVER_SHA256]:
                yield f"{history.id}/{moved.seq}", moved.detail[COVER_SHA256], sha256
            refused_at = records.covers.refused_at.get((*key, number))
            if refused_at is not None and moved.at > refused_at:
                yield f"{history.id}/{moved.seq}", f"sent before {refused_at}", moved.at
    yield from _repairs_follow_refusals(records)
    for (settlement_id, attempt, number), proofs in records.covers.undelivered.items():
        cover = records.covers.stored[settlement_id, attempt][number - 1]
        sends = with_sends(records, (settlement_id, attempt), cover).sends
        if len(proofs) > sends:
            yield f"{settlement_id}/{attempt}/{number}", sends, len(proofs)


def _repairs_follow_refusals(records: Records) -> Found:
    """Compare when covers were repaired with when the ones before were refused."""
    for key, covers in records.covers.stored.items():
        for cover in covers[1:]:
            refused_at = records.covers.refused_at.get((*key, cover.number - 1))
            if refused_at is None or refused_at > cover.recorded_at:
                yield f"{key[0]}/{key[1]}/{cover.number}", cover.recorded_at, refused_at


def _calls_are_dated_as_what_they_did(_records: Records) -> Found:
    """No call has another time than what it did: here calls have none."""
    yield from ()


def _past_balances_follow_transfers(records: Records) -> Found:
    """Compare what is recorded of a quarter of an hour with the sum of all transfers before its end."""
    for (account_id, at), kept in records.past_balances.items():
        before = (each for each in records.transfers.values() if each.at and each.at < at)
        expected = balances_before(before)[account_id]
        if expected != kept:
            yield f"{account_id} before {at}", expected, kept


CHECKS: Final[Mapping[str, Callable[[Records], Found]]] = {
    "rail_references_follow_moves": _rail_references_follow_moves,
    "ends_follow_moves": _ends_follow_moves,
    "sends_follow_history": _sends_follow_history,
    "covers_follow_history": _covers_follow_history,
    "calls_are_dated_as_what_they_did": _calls_are_dated_as_what_they_did,
    "past_balances_follow_transfers": _past_balances_follow_transfers,
}
"""Each yields subject, expected and found where something is wrong."""
