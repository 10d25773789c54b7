"""Files of payments: closed by one commit, with payments that are locked by the same owner and in no other file."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import uuid
from collections import Counter
from datetime import date, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import Broken
from settlement_engine.ports import Result
from settlement_engine.ports.rail_files import TRACE_SEQUENCE_MAX, FileItem, RailFile

pytestmark = pytest.mark.asyncio(loop_scope="module")

_days = itertools.count()
RACES = 200


def rail_file(modifier: str = "A", **fields) -> RailFile:
    day = fields.pop("created_on", None) or date(2026, 1, 1) + timedelta(days=next(_days))
    given: dict[str, Any] = {
        "rail": "ach",
        "sender": "1231234560 091000019",
        "created_on": day,
        "modifier": modifier,
        "name": f"1231234560-{day:%Y%m%d}-{modifier}.ach",
        "content": f"bytes of {day} {modifier}\n".encode(),
    }
    return RailFile(**(given | fields))


async def item(scene, **fields) -> FileItem:
    trace = fields.pop("trace", f"09100001{next(_days):07d}")
    settlement = await scene.locked(trace=trace)
    given: dict[str, Any] = {
        "settlement_id": settlement.id,
        "attempt": settlement.attempt.number,
        "trace": trace,
        "fencing_token": settlement.fencing_token,
    }
    return FileItem(**(given | fields))


async def test_a_file_is_stored_with_its_items_and_waits_until_it_is_placed(scene):
    files, one, two = scene.stores.rail_files, await item(scene), await item(scene)
    wanted = rail_file(sender="S1")
    assert (await files.close_file(wanted, [one, two])).is_stored
    assert await files.filed([one.key, (one.settlement_id, 2), (uuid.uuid4(), 1)]) == {one.key}
    [waits] = await files.unplaced("ach", "S1", 10)
    assert msgspec.structs.replace(waits, id=0) == wanted
    digest = hashlib.sha256(wanted.content).digest()
    assert [each.trace for each in await files.items_of("ach", digest)] == [one.trace, two.trace]
    assert await files.items_of("ach", b"another") == []
    for _ in range(2):
        await files.note_placed(waits.id)
    assert await files.unplaced("ach", "S1", 10) == []


async def test_a_payment_is_in_at_most_one_file(scene):
    files, one, two = scene.stores.rail_files, await item(scene), await item(scene)
    assert (await files.close_file(rail_file(), [one])).is_stored
    refused = await files.close_file(rail_file(sender="S2"), [one, two])
    assert (refused.is_stored, refused.filed, refused.gone) == (False, {one.key}, frozenset())
    assert await files.filed([two.key]) == frozenset()
    assert await files.unplaced("ach", "S2", 10) == []


async def test_no_file_is_closed_with_a_payment_that_is_not_locked_by_the_same_owner(scene):
    """After a takeover, or an end, the former owner's open file must not leave with it."""
    files, one = scene.stores.rail_files, await item(scene)
    taken = msgspec.structs.replace(one, fencing_token=one.fencing_token + 1)
    other = msgspec.structs.replace(one, attempt=2)
    unknown = msgspec.structs.replace(one, settlement_id=uuid.uuid4())
    for wrong in (taken, other, unknown):
        refused = await files.close_file(rail_file(), [await item(scene), wrong])
        assert (refused.is_stored, refused.gone) == (False, {wrong.key})
    sent = await scene.bring(State.SENT)
    given = {"attempt": 1, "trace": "091000019999999", "fencing_token": sent.fencing_token}
    gone = FileItem(settlement_id=sent.id, **given)
    assert (await files.close_file(rail_file(), [gone])).gone == {gone.key}
    found = await scene.stores.settlements.load([one.settlement_id])
    await scene.move(found[one.settlement_id], Event.ABANDONED)
    assert (await files.close_file(rail_file(), [one])).gone == {one.key}


async def test_a_modifier_is_used_once_a_day_by_the_same_parties(scene):
    files, day = scene.stores.rail_files, date(2030, 1, 1)
    first = rail_file(created_on=day)
    assert (await files.close_file(first, [await item(scene)])).is_stored
    again = rail_file(created_on=day, content=b"others")
    assert (await files.close_file(again, [await item(scene)])).is_modifier_used
    second = rail_file("B", created_on=day)
    assert (await files.close_file(second, [await item(scene)])).is_stored
    assert await files.modifiers_of("ach", first.sender, day) == {"A", "B"}
    assert await files.modifiers_of("ach", first.sender, day + timedelta(days=1)) == frozenset()


async def test_a_number_is_given_once_and_never_one_that_a_restored_database_may_have_given(scene):
    files = scene.stores.rail_files
    numbers = [*await files.allocate_traces(3), *await files.allocate_traces(2)]
    assert sorted(set(numbers)) == numbers
    above = numbers[-1] + 100
    later = await files.allocate_traces(2, above=above)
    assert min(later) > above
    assert min(await files.allocate_traces(1)) > max(later)


async def test_history_is_never_changed(stores, scene):
    if stores.name != "postgres":
        pytest.skip("the guards are the database's")
    await stores.rail_files.allocate_traces(1)
    assert (await stores.rail_files.close_file(rail_file(), [await item(scene)])).is_stored
    connection = await asyncpg.connect(stores.url)
    try:
        for statement in (
            "UPDATE rail_files SET name = 'x'",
            "DELETE FROM rail_file_items",
            "TRUNCATE rail_file_placements",
            "DELETE FROM rail_trace_head",
            "UPDATE rail_trace_head SET last = last",
        ):
            with pytest.raises(asyncpg.PostgresError, match=r"append-only|never given twice"):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_what_is_in_a_file_is_never_abandoned(scene):
    """Whatever an engine believes: its bytes may leave."""
    one = await item(scene)
    assert (await scene.stores.rail_files.close_file(rail_file(), [one])).is_stored
    found = await scene.stores.settlements.load([one.settlement_id])
    with pytest.raises(Broken, match=r".*"):
        await scene.move(found[one.settlement_id], Event.ABANDONED)


async def test_a_locked_payment_in_no_file_is_claimed_from_whoever_has_it(stores, scene):
    files, one = scene.stores.rail_files, await item(scene)
    other = await stores.engine_id()
    claimed = await stores.settlements.claim_unfiled(other, one.settlement_id)
    assert claimed is not None
    assert claimed.fencing_token > one.fencing_token
    assert (await files.close_file(rail_file(), [one])).gone == {one.key}
    assert await stores.settlements.owned(other) >= {one.settlement_id}
    step = scene.step(claimed, Event.ABANDONED)
    [applied] = await stores.settlements.apply([step], other)
    assert applied.result is Result.APPLIED


async def test_what_may_have_left_is_claimed_by_nobody(stores, scene):
    other, filed = await stores.engine_id(), await item(scene)
    assert (await stores.rail_files.close_file(rail_file(), [filed])).is_stored
    sent, without_trace = await scene.bring(State.SENT), await scene.bring(State.LOCKED)
    unknown = uuid.uuid4()
    for settlement_id in (filed.settlement_id, sent.id, without_trace.id, unknown):
        assert await stores.settlements.claim_unfiled(other, settlement_id) is None
    assert (await scene.load(sent)).fencing_token == sent.fencing_token


async def test_a_parked_one_is_claimed_and_counts_as_sent_once_more(stores, scene):
    """As with every claim of what was proved undelivered: otherwise it could not be abandoned."""
    one = await item(scene)
    found = (await stores.settlements.load([one.settlement_id]))[one.settlement_id]
    await scene.move(found, Event.UNDELIVERED, due_seconds=600.0)
    other = await stores.engine_id()
    claimed = await stores.settlements.claim_unfiled(other, one.settlement_id)
    assert (claimed.attempt.sends, claimed.attempt.undelivered) == (2, 1)
    [applied] = await stores.settlements.apply([scene.step(claimed, Event.ABANDONED)], other)
    assert applied.result is Result.APPLIED


async def test_cancelling_through_one_engine_and_closing_by_another_never_both(stores, scene):
    """The database decides, however close together they are."""
    files, other = scene.stores.rail_files, await stores.engine_id()
    rounds = RACES if stores.name == "postgres" else 5
    chance = random.Random(7)
    ends: Counter[str] = Counter()

    async def cancel(one: FileItem) -> bool:
        await asyncio.sleep(0)
        claimed = await stores.settlements.claim_unfiled(other, one.settlement_id)
        if claimed is None:
            return False
        [applied] = await stores.settlements.apply([scene.step(claimed, Event.ABANDONED)], other)
        return applied.result is Result.APPLIED

    for number in range(rounds):
        one, beside = await item(scene), await item(scene)
        closing = files.close_file(rail_file(sender=f"R{number}"), [one, beside])
        racers = [asyncio.create_task(closing), asyncio.create_task(cancel(one))]
        if chance.random() < 0.5:
            racers = [asyncio.create_task(each) for each in (cancel(beside),)] + racers
        results = await asyncio.gather(*racers)
        closed = next(each for each in results if not isinstance(each, bool))
        is_cancelled = [each for each in results if isinstance(each, bool)]
        filed = await files.filed([one.key, beside.key])
        states = await stores.settlements.load([one.settlement_id, beside.settlement_id])
        ended = {each.settlement_id for each in (one, beside)} & {
            key for key, each in states.items() if each.state is State.ROLLED_BACK
        }
        assert not {key for key, _ in filed} & ended, "in a file, and released"
        assert len(ended) == sum(is_cancelled)
        assert closed.is_stored is (len(filed) == 2)
        ends["closed" if closed.is_stored else "cancelled"] += 1
    assert sum(ends.values()) == rounds
    if stores.name == "postgres":
        assert set(ends) == {"closed", "cancelled"}, "both came first at times"


async def test_when_no_number_is_left_none_is_given_again(stores):
    """The last test of the module: no later one could have a number."""
    files = stores.rail_files
    await files.allocate_traces(1, above=TRACE_SEQUENCE_MAX - 2)
    for _ in range(2):
        with pytest.raises(Broken, match=r".*"):
            await files.allocate_traces(2)
