"""The journal stores messages in few commits, before anybody continues, and within its bounds."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest.mock import Mock
from uuid import UUID

import pytest

from settlement_engine.domain.kept_messages import KeptMessage, MessageDirection
from settlement_engine.engine import message_journal
from settlement_engine.engine.message_journal import MessageJournal
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import InvariantViolated, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


def message(number: int) -> KeptMessage:
    return KeptMessage(
        settlement_id=UUID(int=number),
        attempt=1,
        direction=MessageDirection.OUT,
        rail="swift",
        content=b"<a/>",
        at=datetime(2026, 11, 28, tzinfo=UTC),
    )


class Store:
    """Counts commits; holds them, loses them and refuses messages when the test says so."""

    def __init__(self) -> None:
        self.commits: list[list[int]] = []
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.losses = 0
        self.refused: set[int] = set()

    async def keep(self, messages: Sequence[KeptMessage]) -> None:
        await self.may_commit.wait()
        if self.losses:
            self.losses -= 1
            raise Unavailable("lost")
        numbers = [each.settlement_id.int for each in messages]
        if self.refused & set(numbers):
            raise InvariantViolated("refused")
        self.commits.append(numbers)


class Lease:
    """Starts background tasks, and repeats what could not be reached."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []

    def spawn(self, work) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    async def until_reached(self, call):
        while True:
            with suppress(Unavailable):
                return await call()
            await asyncio.sleep(0)


@asynccontextmanager
async def running() -> AsyncIterator[tuple[MessageJournal, Store, Mock, Lease]]:
    store, meter, lease = Store(), Mock(), Lease()
    journal = MessageJournal(EngineSettings(), store, lease, meter)  # type: ignore[arg-type]
    task = asyncio.get_running_loop().create_task(journal.run())
    yield journal, store, meter, lease
    task.cancel()
    await asyncio.gather(task, *lease.tasks, return_exceptions=True)


async def test_nobody_continues_before_the_commit() -> None:
    async with running() as (journal, store, _, _):
        store.may_commit.clear()
        keeping = asyncio.ensure_future(journal.keep([message(1)]))
        await asyncio.sleep(0.01)
        assert not keeping.done()
        store.may_commit.set()
        await keeping
        assert store.commits == [[1]]


async def test_messages_of_many_calls_share_a_commit() -> None:
    async with running() as (journal, store, _, _):
        store.may_commit.clear()
        calls = [asyncio.ensure_future(journal.keep([message(1)]))]
        await asyncio.sleep(0.01)
        calls += [asyncio.ensure_future(journal.keep([message(n)])) for n in range(2, 52)]
        await asyncio.sleep(0.01)
        store.may_commit.set()
        await asyncio.gather(*calls)
        assert len(store.commits) == 2
        assert sorted(n for commit in store.commits for n in commit) == list(range(1, 52))


async def test_a_lost_commit_is_told_to_all_who_wait_for_it() -> None:
    async with running() as (journal, store, _, _):
        store.losses = 1
        with pytest.raises(Unavailable):
            await journal.keep([message(1)])
        await journal.keep([message(1)])
        assert store.commits == [[1]]


async def test_a_refused_message_costs_no_other_call_its_own() -> None:
    async with running() as (journal, store, _, _):
        store.refused = {2}
        calls = [journal.keep([message(n)]) for n in (1, 2, 3)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in results] == [type(None), InvariantViolated, type(None)]
        assert sorted(n for commit in store.commits for n in commit) == [1, 3]


async def test_who_gives_up_leaves_nothing_behind() -> None:
    async with running() as (journal, store, _, _):
        store.may_commit.clear()
        first = asyncio.ensure_future(journal.keep([message(1)]))
        await asyncio.sleep(0.01)
        waiting = asyncio.ensure_future(journal.keep([message(2)]))
        await asyncio.sleep(0.01)
        waiting.cancel()
        store.may_commit.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await journal.keep([message(3)])
        assert store.commits == [[1], [3]]


async def test_beyond_the_bound_a_call_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_journal, "CALLS_WAITING_MAX", 1)
    async with running() as (journal, store, _, _):
        store.may_commit.clear()
        first = asyncio.ensure_future(journal.keep([message(1)]))
        await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):
            await journal.keep([message(2)])
        store.may_commit.set()
        await first


async def test_what_nobody_waits_for_is_stored_when_the_database_is_back() -> None:
    async with running() as (journal, store, meter, lease):
        store.losses = 3
        journal.keep_later([message(1)])
        await asyncio.gather(*lease.tasks)
        assert store.commits == [[1]]
        meter.invariant_warning.assert_not_called()


async def test_what_is_lost_in_the_background_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_journal, "LATER_MAX", 1)
    async with running() as (journal, store, meter, lease):
        store.refused = {1}
        journal.keep_later([message(1)])
        journal.keep_later([message(2)])
        await asyncio.gather(*lease.tasks)
        assert not store.commits
        assert meter.invariant_warning.call_args_list == [
            (("message_not_kept", 1),),
            (("message_not_kept", 1),),
        ]
