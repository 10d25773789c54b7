"""The banks' lists: what is unknown is reported once, and a bank that gives no list is never taken for empty."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import UUID

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.engine.bank_lists import (
    CHECK_MARGIN,
    CHECK_TRIES_MAX,
    LIST_MARGIN,
    BankLists,
)
from settlement_engine.ports import Answer, BankPage, BankPayment, KnownPayment
from tests.support.decided import NOW


class ListingRail:
    """A rail whose bank gives the list that it is told, page by page."""

    name = "listing"

    def __init__(self, *pages: list[BankPayment]) -> None:
        self.pages = list(pages)
        self.asked: list[Any] = []

    async def payments_since(self, since: Any, after: str = "") -> BankPage:
        self.asked.append(since)
        if not self.pages:
            raise OSError("away")
        number = int(after or "0")
        is_last = number + 1 == len(self.pages)
        return BankPage(payments=self.pages[number], after="" if is_last else str(number + 1))


def paid(reference: str, event: Event = Event.SETTLED, minutes: int = 0) -> BankPayment:
    at = NOW + timedelta(minutes=minutes)
    return BankPayment(reference=reference, event=event, received_at=at, facts={})


class Fixture:
    """The comparison over a record that knows what it is told."""

    def __init__(self, *known: KnownPayment, is_confirmed: bool = False) -> None:
        self.barrier_store, self.meter = Mock(), Mock()
        self.answered: list[Answer] = []
        by_reference = {each.reference: each for each in known}

        async def know(references: Any, _since: Any) -> list[KnownPayment]:
            return [by_reference[each] for each in references if each in by_reference]

        self.barrier_store.known = know
        self.barrier_store.report_unknown = AsyncMock()
        self.barrier_store.last_written = AsyncMock(return_value=NOW)
        self.barrier_store.is_confirmed = AsyncMock(return_value=is_confirmed)
        self.lists = BankLists(self.barrier_store, Mock(pause=AsyncMock()), self.meter)
        self.lists.attach(self.answered.extend)
        self.opening: Any = Mock(since=NOW)


async def test_what_the_bank_has_and_we_do_not_is_reported_from_every_page() -> None:
    rail: Any = ListingRail([paid("A"), paid("B")], [paid("C")])
    made = Fixture(KnownPayment(reference="B"))
    found = await made.lists.compare(made.opening, rail)
    assert found == {"rail": "listing", "unknown_payments": "2"}
    reported = [call.args[0] for call in made.barrier_store.report_unknown.await_args_list]
    assert [[each.reference for each in page] for page in reported] == [["A"], ["C"]]
    assert rail.asked == [NOW - LIST_MARGIN] * 2, "the bank's clock may be behind ours"


async def test_what_contradicts_an_end_is_passed_on_and_nothing_else() -> None:
    ended = KnownPayment(
        reference="A", settlement_id=UUID(int=7), attempt=2, state=State.ROLLED_BACK
    )
    agreed = KnownPayment(reference="B", settlement_id=UUID(int=8), state=State.COMPLETED)
    made = Fixture(ended, agreed)
    rail: Any = ListingRail([paid("A"), paid("B")])
    await made.lists.compare(made.opening, rail)
    [said] = made.answered
    assert (said.settlement_id, said.event, said.attempt) == (UUID(int=7), Event.SETTLED, 2)


async def test_a_bank_that_gives_no_list_keeps_its_rail_shut_until_a_person_says_otherwise() -> (
    None
):
    silent: Any = ListingRail()
    made = Fixture()
    why = await made.lists.compare(made.opening, silent)
    assert isinstance(why, str)
    assert "away" in why
    made.meter.invariant_warning.assert_called_once_with("opening_without_list")
    confirmed = Fixture(is_confirmed=True)
    found = await confirmed.lists.compare(confirmed.opening, silent)
    assert isinstance(found, dict)
    assert found["rail"] == "listing"


async def test_a_bank_that_knows_more_makes_the_database_suspect_since_the_first_of_it() -> None:
    rail: Any = ListingRail([paid("B", minutes=5), paid("A", minutes=3)])
    stale_database = await Fixture().lists.check([rail])
    assert stale_database is not None
    assert stale_database.since == NOW + timedelta(minutes=3)
    assert rail.asked == [NOW - CHECK_MARGIN]


async def test_a_start_does_not_wait_for_a_bank_that_is_silent() -> None:
    silent: Any = ListingRail()
    made = Fixture()
    assert await made.lists.check([Mock(spec=["name"]), silent]) is None
    assert len(silent.asked) == CHECK_TRIES_MAX
    assert made.meter.invariant_warning.call_count == CHECK_TRIES_MAX
