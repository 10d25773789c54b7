"""Row 26 of the decision table, cover payments, over HTTP with the banks' ledger as the judge.

Each way is tried with an agreement by which the banks recognise resends (class B), and without any (class D). In each
of them: never two debits, no release while one of the two messages may still be paid, and the row's end.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import pytest

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.recalls import RecallState
from settlement_engine.errors import Contention, WrongState
from settlement_engine.simulator.scenarios import RecallReply, Reply, Scenario, ScenarioStep
from settlement_engine.simulator.service import Outage, OutageKind
from settlement_lab.memory.cover_records import CoverRecords
from tests.support.coverrows import cover_world
from tests.support.railrows import AMOUNT, FUNDS
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from settlement_engine.domain.settlement import Settlement
    from settlement_lab.memory import Records
    from tests.support.coverrows import CoverWorld

SELDOM = Backoff(first_seconds=60, max_seconds=60)
ACSP = ScenarioStep(status="ACSP")
NO_MONEY = Scenario(steps=(ScenarioStep(status="RJCT", code="AM04"),))


def later(status: str, after_ms: int = 400, **more: object) -> ScenarioStep:
    return ScenarioStep(status=status, after_ms=after_ms, **more)  # type: ignore[arg-type]


@pytest.fixture(params=[True, False], ids=["b", "d"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CoverWorld]:
    async with cover_world(tmp_path, is_agreed=request.param) as made:
        yield made


async def case_opens(world: CoverWorld, kind: str = "cover_failed") -> None:
    await until(lambda: world.cases()[kind] == 1, f"no case of {kind}")


async def repaired(world: CoverWorld, settlement: Settlement) -> None:
    await world.repairs.repair(settlement.id, "ada", "the account was funded")


async def cancelled(world: CoverWorld, settlement: Settlement) -> None:
    with suppress(WrongState, Contention):  # what the caller is told where the bank refuses
        await world.engine.engine.cancel(settlement.id)


# --- both settle --------------------------------------------------------------------------------------


async def test_a_pair_is_settled_when_both_are(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay()
    assert await world.ends(settlement) is State.COMPLETED
    assert await world.legs() == {"payment": 1, "cover": 1}
    assert await world.posted() == FUNDS - AMOUNT
    events = [move.event for move in await world.engine.store.history(settlement.id)]
    assert events[-3:] == [Event.CLEARED, Event.COVER_DUE, Event.SETTLED]
    await until(world.has_heard_all, "the banks have nothing more to say")
    assert not world.cases(), "each bank confirms it with a reference of its own"
    await world.judge(settlement)


async def test_a_paid_cover_alone_settles_nothing(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(payment=Scenario(steps=(ACSP,)))
    await until(lambda: debited(world), "FROM has paid the cover")
    await world.stays(settlement, State.SENT)
    await world.judge(settlement)


async def test_a_settled_payment_alone_settles_nothing(world: CoverWorld) -> None:
    await world.start()
    paid = Scenario(steps=(ScenarioStep(status="ACSC"),))
    settlement = await world.pay(payment=paid, cover=Scenario(steps=(ACSP,)))
    await world.stays(settlement, State.SENT)
    await world.judge(settlement)


async def test_call_backs_of_one_bank_end_nothing_and_have_both_asked(world: CoverWorld) -> None:
    """With the enquiries an hour apart, only the call-backs can have had both asked in time."""
    world.engine_changes = {"enquiry": SELDOM}
    await world.start()
    settlement = await world.pay(cover=Scenario(steps=(ACSP, later("ACSC"))))
    assert await world.ends(settlement) is State.COMPLETED
    await world.judge(settlement)


async def debited(world: CoverWorld) -> bool:
    return any(line.times_debited for line in await world.received())


# --- row 26: one of them fails ------------------------------------------------------------------------


async def test_to_refuses_and_no_cover_leaves(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(payment="reject")
    assert await world.ends(settlement) is State.ROLLED_BACK
    assert await world.legs() == {"payment": 1}
    await world.judge(settlement)


async def test_a_failed_cover_keeps_the_hold_and_the_payment_is_not_sent_again(
    world: CoverWorld,
) -> None:
    await world.start()
    settlement = await world.pay(cover=NO_MONEY)
    await case_opens(world)
    await world.stays(settlement, State.SENT)
    assert await world.times("payment") == [1]
    assert len(await world.times("cover")) == 1
    await world.judge(settlement)


async def test_a_failed_cover_is_repaired_under_the_same_uetr(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(cover=NO_MONEY)
    await case_opens(world)
    world.treats()
    await repaired(world, settlement)
    assert await world.ends(settlement) is State.COMPLETED
    covers = [line for line in await world.received() if line.leg == "cover"]
    assert [line.state for line in covers] == ["rejected", "settled"]
    assert await world.times("payment") == [1]
    await world.judge(settlement)
    await until(lambda: not open_cases(world), "the exception is closed with the settlement")


def open_cases(world: CoverWorld) -> int:
    return sum(case.closed_at is None for case in world.engine.records.cases.values())


async def test_a_cover_that_was_not_refused_is_not_repaired(world: CoverWorld) -> None:
    """Silence is not a no: FROM may still pay the one that it has."""
    await world.start()
    settlement = await world.pay(cover=Scenario(steps=(ACSP,)))
    await until(lambda: has_cover(world), "the cover has left")
    with pytest.raises(WrongState, match="not refused"):
        await repaired(world, settlement)
    assert await world.legs() == {"payment": 1, "cover": 1}
    await world.judge(settlement)


async def has_cover(world: CoverWorld) -> bool:
    return (await world.legs())["cover"] > 0


TAKEN_BACK = Scenario(
    steps=(ScenarioStep(status="RJCT", code="AC04", is_true=False), later("ACSC", 1_500)),
)
"""FROM refuses the cover, and pays it all the same a little later."""


async def test_a_refusal_that_from_takes_back_ends_the_pair_as_settled(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(cover=TAKEN_BACK)
    await until(lambda: world.engine.records.covers.refused_at, "FROM has refused it")
    assert await world.ends(settlement) is State.COMPLETED
    assert len(await world.times("cover")) == 1
    await world.judge(settlement)


async def test_a_refusal_that_from_has_taken_back_allows_no_repair(world: CoverWorld) -> None:
    await world.start()
    waits = Scenario(steps=(ACSP,))
    settlement = await world.pay(payment=waits, cover=TAKEN_BACK)
    await until(lambda: world.engine.records.covers.refused_at, "FROM has refused it")
    await until(lambda: debited(world), "FROM has paid it after all")
    with pytest.raises((WrongState, Contention)):
        await repaired(world, settlement)
    assert len(await world.times("cover")) == 1
    await world.stays(settlement, State.SENT)
    await world.judge(settlement)


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_refusal_that_from_has_taken_back_releases_nothing(
    world: CoverWorld, is_cancelled: bool
) -> None:
    await world.start()
    payment = Scenario(steps=(ACSP,) if is_cancelled else (ACSP, later("RJCT", 3_000)))
    settlement = await world.pay(payment=payment, cover=TAKEN_BACK)
    await until(lambda: world.engine.records.covers.refused_at, "FROM has refused it")
    await until(lambda: debited(world), "FROM has paid it after all")
    if is_cancelled:
        await cancelled(world, settlement)
        await world.passes(settlement, State.RECALLING)
    else:
        await until(lambda: is_rejected(world), "TO has refused it")
    await world.stays(settlement, State.SENT)
    await world.judge(settlement)


async def is_rejected(world: CoverWorld) -> bool:
    return any(line.state == "rejected" for line in await world.received())


async def test_two_people_order_one_repair(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(cover=NO_MONEY)
    await case_opens(world)
    world.treats(cover=Scenario(steps=(ACSP,)))
    await repaired(world, settlement)
    with pytest.raises((WrongState, Contention)):
        await repaired(world, settlement)
    await until(lambda: covers_are(world, 2), "the repair has left")
    await world.stays(settlement, State.SENT)
    assert len(await world.times("cover")) == 2
    await world.judge(settlement)


async def covers_are(world: CoverWorld, count: int) -> bool:
    return (await world.legs())["cover"] == count


async def test_the_payment_of_a_failed_cover_is_recalled(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(cover=NO_MONEY)
    await case_opens(world)
    await cancelled(world, settlement)
    assert await world.ends(settlement) is State.ROLLED_BACK
    await world.judge(settlement)


async def test_a_payment_that_to_keeps_keeps_the_hold(world: CoverWorld) -> None:
    await world.start()
    keeps = Scenario(steps=(ACSP,), recall=RecallReply.REFUSE)
    settlement = await world.pay(payment=keeps, cover=NO_MONEY)
    await case_opens(world)
    await cancelled(world, settlement)
    await world.passes(settlement, State.RECALLING)
    await world.stays(settlement, State.SENT)
    await world.judge(settlement)


async def test_a_payment_that_fails_after_its_cover_left_keeps_the_hold(world: CoverWorld) -> None:
    await world.start()
    fails = Scenario(steps=(ACSP, later("RJCT", 600, code="AC04")))
    settlement = await world.pay(payment=fails, cover=Scenario(steps=(ACSP,)))
    await case_opens(world)
    await world.stays(settlement, State.SENT)
    assert await world.times("payment") == [1]
    await world.judge(settlement)


async def test_the_cover_of_a_failed_payment_is_recalled(world: CoverWorld) -> None:
    await world.start()
    fails = Scenario(steps=(ACSP, later("RJCT", 600, code="AC04")))
    settlement = await world.pay(payment=fails, cover=Scenario(steps=(ACSP,)))
    await case_opens(world)
    await cancelled(world, settlement)
    assert await world.ends(settlement) is State.ROLLED_BACK
    states = {line.leg: line.state for line in await world.received()}
    assert states["cover"] == "recalled"
    await world.judge(settlement)


async def test_a_cover_that_was_paid_for_a_failed_payment_is_not_released(
    world: CoverWorld,
) -> None:
    await world.start()
    fails = Scenario(steps=(ACSP, later("RJCT", 800, code="AC04")))
    settlement = await world.pay(payment=fails, cover=Scenario(recall=RecallReply.REFUSE))
    await case_opens(world)
    await cancelled(world, settlement)
    await world.passes(settlement, State.RECALLING)
    await world.stays(settlement, State.SENT)
    await world.judge(settlement)


async def test_a_pair_in_process_is_cancelled_at_both_banks(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(Scenario(steps=(ACSP,)), Scenario(steps=(ACSP,)))
    await until(lambda: has_cover(world), "the cover has left")
    await cancelled(world, settlement)
    assert await world.ends(settlement) is State.ROLLED_BACK
    assert {line.state for line in await world.received()} == {"recalled"}
    await world.judge(settlement)


# --- what is lost on the way --------------------------------------------------------------------------


async def test_the_answer_of_to_is_lost(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(payment=Scenario(settles_with_cover=True, reply=Reply.LOST))
    assert await world.ends(settlement) is State.COMPLETED
    assert await world.times("payment") == [1]
    await world.judge(settlement)


async def test_the_answer_of_from_is_lost(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(cover="lost_answer")
    assert await world.ends(settlement) is State.COMPLETED
    assert await world.times("cover") == [1]
    await world.judge(settlement)


async def test_the_request_to_from_is_lost(world: CoverWorld) -> None:
    """Where FROM recognises a resend the same cover leaves again; else nothing does, and the hold stays."""
    await world.start()
    settlement = await world.pay(cover="lost_request")
    if world.is_agreed:
        assert await world.ends(settlement) is State.COMPLETED
    else:
        await world.passes(settlement, State.SENT)
        await world.stays(settlement, State.SENT)
        assert await world.times("cover") == []
    await world.judge(settlement)


async def test_a_cover_that_never_left_is_sent_when_from_listens_again(world: CoverWorld) -> None:
    """Nothing was transmitted, which is proved: it may leave again whatever FROM's class is."""
    world.is_from_listening = False
    await world.start()
    settlement = await world.pay()
    await until(lambda: world.is_proved_undelivered(settlement), "nothing reaches FROM")
    assert await world.state(settlement) is State.SENT
    assert await world.held() == AMOUNT
    world.is_from_listening = True
    await world.restart()
    assert await world.ends(settlement) is State.COMPLETED
    assert await world.times("payment") == [1]
    await world.judge(settlement)


async def test_the_engine_dies_between_the_two_messages(world: CoverWorld) -> None:
    """TO has the payment, and the send intent of the cover is not recorded: the next engine sends it."""
    await world.start()
    world.engine.store.losses.extend([("apply", "before")] * 1)
    settlement = await world.pay(wait_seconds=0.3)
    killed = await world.kill()
    await world.start(killed)
    assert await world.ends(settlement) is State.COMPLETED
    assert await world.times("payment") == [1]
    await world.judge(settlement)


async def test_the_engine_dies_when_the_cover_may_have_left(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(cover=Scenario(reply_delay_ms=60_000))
    await until(lambda: has_cover(world), "FROM has the cover")
    await world.restart()
    assert await world.ends(settlement) is State.COMPLETED
    assert await world.times("cover") == [1]
    await world.judge(settlement)


async def test_a_database_without_the_last_commits_sends_no_second_cover(world: CoverWorld) -> None:
    """Before a cover that is not recorded leaves, FROM is asked for it: a restored database does not know it."""
    await world.start()
    settlement = await world.pay(payment=Scenario(steps=(ACSP, later("ACSC", 1_500))))
    await until(lambda: debited(world), "FROM has paid the cover")
    killed = await world.kill()
    forget_the_cover(killed.records, settlement)
    await world.start(killed)
    assert await world.ends(settlement) is State.COMPLETED
    assert await world.times("cover") == [1]
    await world.judge(settlement)


def forget_the_cover(records: Records, settlement: Settlement) -> None:
    """Take the records back to before the send intent of the cover, as a restore does."""
    history, moves = records.histories[settlement.id], records.moves_of[settlement.id]
    while moves[-1].event is not Event.CLEARED:
        moves.pop()
    history.state, history.seq = moves[-1].to_state, moves[-1].seq
    assert history.attempt is not None, "it was locked"
    history.attempt = msgspec.structs.replace(history.attempt, sends=1)
    records.covers = CoverRecords()


async def test_both_banks_are_silent(world: CoverWorld) -> None:
    await world.start()
    settlement = await world.pay(Scenario(steps=(ACSP,)), Scenario(steps=(ACSP,)))
    await until(lambda: has_cover(world), "the cover has left")
    await world.bank.service.set_outage(Outage(kind=OutageKind.SILENT))
    await world.stays(settlement, State.SENT)
    await world.bank.service.set_outage(None)
    await world.judge(settlement)


# --- afterwards ---------------------------------------------------------------------------------------


async def test_a_settled_pair_is_recalled_and_comes_back(world: CoverWorld) -> None:
    """TO's promise is none of FROM's: what comes back is a return."""
    await world.start()
    settlement = await world.pay(
        payment=Scenario(settles_with_cover=True, recall=RecallReply.REFUSE)
    )
    assert await world.ends(settlement) is State.COMPLETED
    await world.engine.recaller.request(settlement.id, "ada", "paid twice")

    async def is_refused() -> bool:
        found = await world.engine.recalls.recall(settlement.id)
        return found is not None and found.state is RecallState.REFUSED

    await until(is_refused, "TO keeps it")
    assert await world.state(settlement) is State.COMPLETED
    await world.judge(settlement)


async def test_a_bank_that_is_not_covered_gets_its_money_through_from(world: CoverWorld) -> None:
    world.route = None
    await world.start()
    settlement = await world.pay()
    assert await world.ends(settlement) is State.COMPLETED
    (line,) = await world.received()
    assert (line.leg, line.times_debited) == ("", 1)
