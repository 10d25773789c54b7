"""The stream of all transitions, lists of settlements, gauges, and the proof itself."""

from __future__ import annotations

import asyncio
import math
from datetime import date

import pytest
import pytest_asyncio

from settlement_engine.domain.ledger import GUARDED, AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.settlement import Priority
from settlement_engine.ports import Existing, SettlementFilter
from tests.support.histories import ALL_ACCOUNTS, Scene, funding, spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = 100_000


@pytest_asyncio.fixture(loop_scope="module")
async def rich(stores):
    """A scene with a currency of its own, so that its announcements can be recognised."""
    return await Scene.open(stores, currency="KWD")


async def test_positions_are_gapless_and_in_the_order_of_the_commits(scene):
    for state in (State.COMPLETED, State.ROLLED_BACK, State.FAILED):
        await scene.bring(state)
    announced = await scene.stores.stream.read(scene.before, ALL)
    positions = [each.moved.position for each in announced]
    assert positions == list(range(scene.before + 1, await scene.stores.stream.head() + 1))
    times = [each.moved.at for each in announced]
    assert times == sorted(times)


async def test_reading_resumes_after_any_position(scene):
    await scene.bring(State.COMPLETED)
    await scene.bring(State.SENT)
    stream = scene.stores.stream
    everything = await stream.read(scene.before, ALL)
    for size in (1, 2, 3):
        read, after = [], scene.before
        while page := await stream.read(after, size):
            assert len(page) <= size
            read += page
            after = page[-1].moved.position
        assert read == everything
    assert await stream.read(await stream.head(), ALL) == []


async def test_one_settlement_can_be_followed_alone(scene):
    one, two = await scene.bring(State.COMPLETED), await scene.bring(State.COMPLETED)
    await scene.move(one, Event.RETURNED)
    stream = scene.stores.stream
    alone = await stream.read(0, ALL, one.id)
    assert [each.moved for each in alone] == await scene.stores.settlements.history(one.id)
    assert [each.moved.seq for each in alone] == [1, 2, 3, 4]
    assert await stream.read(alone[1].moved.position, 1, one.id) == alone[2:3]
    assert len(await stream.read(0, ALL, two.id)) == 3


async def test_an_announcement_carries_its_settlements_data(rich):
    settlement = await rich.new(
        amount=Money(1005, "KWD"), priority=Priority.URGENT, obligation_id=f"O {rich.source_bank}"
    )
    [reported] = await rich.stores.stream.read(0, ALL, settlement.id)
    assert (reported.obligation_id, reported.from_bank) == (
        f"O {rich.source_bank}",
        rich.source_bank,
    )
    assert (reported.to_bank, reported.amount) == (rich.target_bank, Money(1005, "KWD"))
    assert (reported.value_date, reported.priority) == (settlement.value_date, 2)
    assert (reported.moved.settlement_id, reported.moved.to_state) == (
        settlement.id,
        State.VALIDATING,
    )


@pytest.mark.parametrize("value_date", [None, date(2030, 1, 31)])
async def test_announcements_are_the_same_with_and_without_the_cache(rich, value_date):
    """Data cached since the admission is exactly that of the database."""
    payment_request = {
        "value_date": value_date,
        "obligation_id": f"Ω {rich.source_bank} {value_date}",
    }
    admission = rich.admission(amount=Money(7, "KWD"), priority=Priority.HIGH, **payment_request)
    [answer] = await rich.stores.settlements.admit([admission], rich.engine_id)
    key = admission.instruction.idempotency_key
    other = rich.admission(amount=Money(8, "KWD"), idempotency_key=key)
    again = other._replace(settlement_id=answer.id)
    for repeat in (admission, again):
        [refused] = await rich.stores.settlements.admit([repeat], rich.engine_id)
        assert isinstance(refused, Existing)
    [mine] = await rich.stores.stream.read(0, ALL, answer.id)
    [theirs] = await rich.stores.beside().stream.read(0, ALL, answer.id)
    assert mine == theirs
    assert mine.value_date == (value_date or answer.created_at.date())
    assert (mine.obligation_id, mine.amount) == (payment_request["obligation_id"], Money(7, "KWD"))


async def test_concurrent_writers_leave_no_gap_for_a_reader(scene):
    """A reader that continues after its last position must never skip a later commit."""
    sides = [scene.stores.beside() for _ in range(4)]
    seen: list[int] = []
    is_over = asyncio.Event()

    async def write(side):
        for _ in range(6):
            batch = [scene.admission() for _ in range(3)]
            await side.settlements.admit(batch, scene.engine_id)
            found = await side.settlements.load([each.settlement_id for each in batch])
            await side.settlements.apply(
                [scene.step(each, Event.PARKED, due_seconds=math.inf) for each in found.values()],
                scene.engine_id,
            )

    async def read():
        after = scene.before
        while True:
            was_over = is_over.is_set()
            page = await scene.stores.stream.read(after, 5)
            seen.extend(each.moved.position for each in page)
            after = seen[-1] if seen else after
            if was_over and not page:
                return
            await asyncio.sleep(0)

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(side) for side in sides))
    is_over.set()
    await reading
    assert seen == list(range(scene.before + 1, scene.before + 4 * 6 * 3 * 2 + 1))


async def test_the_published_position_never_decreases(scene):
    stream = scene.stores.stream
    await scene.new()
    head = await stream.head()
    for position, expected in ((head - 1, head - 1), (head, head), (1, head)):
        await stream.mark_published(position)
        assert await stream.published() == expected
    await scene.new()
    assert (await scene.stores.gauges.gauges(0)).outbox_backlog == 1


# --- lists ------------------------------------------------------------------------------------------


async def test_settlements_are_listed_by_filter(scene):
    for state in (State.COMPLETED, State.SENT, State.SENT, State.FAILED):
        await scene.bring(state)
    last = await scene.new(from_bank=scene.target_bank, to_bank="GAMMA", minor=7, currency="USD")

    async def count(**wanted):
        asked = SettlementFilter(**{"bank": scene.target_bank, **wanted})
        return len(await scene.stores.settlements.list_settlements(asked))

    assert await count() == 5
    assert await count(bank=scene.source_bank) == 4
    assert await count(currency="USD") == 1
    assert await count(states=frozenset({State.SENT})) == 2
    assert await count(states=frozenset({State.SENT, State.COMPLETED})) == 3
    assert await count(states=frozenset({State.HELD})) == 0
    assert await count(obligation_id=last.instruction.obligation_id) == 1
    assert await count(obligation_id=last.instruction.obligation_id, bank="GAMMA") == 1
    assert await count(obligation_id=last.instruction.obligation_id, bank=scene.source_bank) == 0


async def test_pages_of_settlements_follow_each_other_without_gap_or_repeat(scene):
    histories = [await scene.new() for _ in range(7)]
    store, bank = scene.stores.settlements, scene.source_bank
    pages, before = [], None
    while page := await store.list_settlements(
        SettlementFilter(bank=bank, limit=3, before_id=before)
    ):
        assert len(page) <= 3
        pages += page
        before = page[-1].id
    assert pages == histories[::-1]


# --- gauges and proof -------------------------------------------------------------------------------


async def test_gauges_show_open_settlements_and_their_age(scene):
    before = await scene.stores.gauges.gauges(0)
    await scene.bring(State.IN_DOUBT)
    await scene.bring(State.COMPLETED)
    after = await scene.stores.gauges.gauges(1000)
    assert after.open_by_state["in_doubt"] == before.open_by_state.get("in_doubt", 0) + 1
    assert "completed" not in after.open_by_state
    assert 0 <= after.oldest_in_doubt_seconds <= after.oldest_open_seconds < 600
    assert before.balances == []


async def test_balances_are_summed_per_bank_and_currency(scene):
    accounts = scene.stores.accounts
    await accounts.open_account(spec(AccountKind.NOSTRO, scene.source_bank, account_number="2"))
    await scene.bring(State.COMPLETED)
    paid_in = funding(5, bank=scene.source_bank.lower(), account_number="2")
    await accounts.fund(paid_in)
    measured = await scene.stores.gauges.gauges(1000)
    mine = {
        (each.kind, each.bank, each.currency): each.posted_minor
        for each in measured.balances
        if each.bank in (scene.source_bank, scene.target_bank)
    }
    assert mine == {
        (AccountKind.NOSTRO, scene.source_bank, "EUR"): 10**9 - 100 + 5,
        (AccountKind.VOSTRO, scene.target_bank, "EUR"): 100,
    }
    assert measured.accounts_left_out == 0


async def test_balances_are_read_up_to_the_limit_and_the_rest_counted(scene):
    everything = await scene.stores.accounts.accounts(ALL_ACCOUNTS)
    guarded = [each for each in everything if each.kind in GUARDED]
    measured = await scene.stores.gauges.gauges(1)
    [oldest] = measured.balances
    assert (oldest.bank, oldest.posted_minor) == (guarded[0].bank, guarded[0].posted)
    assert measured.accounts_left_out == 1  # counted up to as many as were read
    measured = await scene.stores.gauges.gauges(len(guarded) - 1)
    assert measured.accounts_left_out == 1


async def test_settlements_parked_without_due_time_or_person_are_counted(scene):
    before = (await scene.stores.gauges.gauges(0)).without_next_action
    await scene.move(await scene.new(), Event.PARKED, due_seconds=math.inf)
    assert (await scene.stores.gauges.gauges(0)).without_next_action == before
    await scene.move(await scene.bring(State.SENT), Event.NO_ANSWER, due_seconds=math.inf)
    assert (await scene.stores.gauges.gauges(0)).without_next_action == before + 1


async def test_the_proof_reports_what_it_checked(scene):
    before = await scene.stores.auditor.prove()
    await scene.bring(State.COMPLETED, minor=40)
    await scene.bring(State.SENT)
    after = await scene.stores.auditor.prove()
    assert list(after.differences) == []
    assert after.settlements == before.settlements + 2
    assert after.open_settlements == before.open_settlements + 1
    assert after.open_holds == before.open_holds + 1
    assert after.transfers == before.transfers + 2
    assert after.totals["EUR"] == before.totals["EUR"] + 80
    assert after.accounts == before.accounts
