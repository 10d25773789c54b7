"""The failover barrier: before anything is sent, make sure that the database has everything that was committed.

After a failover or a restore it may not. Then a system epoch begins in the database: all earlier engine ids are
invalid, every payment in flight is in doubt and is enquired about, and every bank is asked for the payments that it
has and we do not know. Those become cases for a person and are never sent again. Only then the gate opens, for each
rail as soon as its own bank has answered.

Promises: nothing is sent while it is not sure; one engine leads the recovery and all others wait; an interrupted
recovery is continued. Must never: move money, or take a missing response for an empty list. A bank that gives no
list keeps its own rail closed until it does, or until a person confirms (``settlement-engine recovery``); other rails
do not wait for it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.announcement import (
    EPOCHS_AHEAD_MAX,
    POSITIONS_PER_EPOCH,
    SYSTEM_EPOCH_MAX,
    is_plausible_after,
    system_epoch_of,
)
from settlement_engine.engine.bank_lists import TROUBLE, BankLists
from settlement_engine.errors import Unavailable
from settlement_engine.ports import RESTARTED, StaleDatabase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import (
        Answer,
        BarrierState,
        BarrierStore,
        EventStreamCheck,
        Meter,
        Rail,
        Server,
    )

FIRST: Final = "first"
NOTED_MAX: Final = 100_000
"""The most payments of the lost time that are kept in memory, to be enquired about instead of sent."""

LOOK_SECONDS: Final = 0.05
LOOKS_MAX: Final = 200
"""How often it is checked whether other engines have left: ten seconds; continuing without them is safe."""

AJAR_LOOK_SECONDS: Final = 1.0
"""How often an engine that is open for some rails checks whether it may open for the others."""

log = structlog.get_logger(__name__)


class FailoverBarrier:
    """Opens and closes the gate of one engine."""

    def __init__(  # noqa: PLR0913 - the ports that an opening stands on
        self,
        settings: EngineSettings,
        barrier_store: BarrierStore,
        *,
        rails: Mapping[str, Rail],
        gate: Gate,
        lease: EngineLease,
        meter: Meter,
        stream_check: EventStreamCheck | None = None,
    ) -> None:
        self._settings = settings
        self._barrier_store = barrier_store
        self._rails = rails
        self._gate = gate
        self._lease = lease
        self._meter = meter
        self._stream_check = stream_check
        self._lists = BankLists(barrier_store, lease, meter)
        self._listing: set[str] = set()
        self._unlisted: dict[str, str] = {}
        self._state: BarrierState | None = None
        self._stale_database: tuple[UUID | None, StaleDatabase] | None = None
        self._checked: UUID | None = None
        self._changed = asyncio.Event()
        self._told = ""
        self.database_run = 0
        """This number changes whenever the database may be another one than before."""
        barrier_store.when_refused(self.look_again)

    def attach(self, hear: Callable[[Iterable[Answer]], None]) -> None:
        """Set the function that receives what the banks' lists say about our settlements."""
        self._lists.attach(hear)

    @property
    def state(self) -> str:
        """Return the state of the barrier as text for people."""
        system_epoch = self._state.system_epoch if self._state else "?"
        if self._gate.is_open:
            return f"sending open (recovery {system_epoch})"
        why = "; ".join(self._unlisted.values()) or self._told
        if not self._gate.is_ajar:
            return f"sending paused (recovery {system_epoch}): {why}"
        shut = [name for name in self._rails if not self._gate.is_open_for(name)]
        return f"sending open except for {', '.join(shut)} (recovery {system_epoch}): {why}"

    def look_again(self) -> None:
        """Close the gate, and read the record before it opens again."""
        self._gate.shut()
        self._changed.set()

    def report_stale(self, stale_database: StaleDatabase) -> None:
        """Close the gate, and begin a system epoch: the database may have lost commits."""
        system_epoch = self._state.system_epoch if self._state is not None else 0
        if 0 < stale_database.system_epoch_min <= system_epoch:
            return  # a system epoch has begun since
        if stale_database.system_epoch_min > min(
            system_epoch + EPOCHS_AHEAD_MAX + 1, SYSTEM_EPOCH_MAX
        ):
            self._meter.invariant_warning("stream_foreign")
            log.error(
                "stream_hint_refused",
                why=stale_database.why,
                system_epoch_min=stale_database.system_epoch_min,
            )
            return  # no database can have lost so many system epochs
        log.error(
            "stale_database",
            why=stale_database.why,
            system_epoch_min=stale_database.system_epoch_min,
        )
        self._stale_database = (self._epoch_id, stale_database)
        self.look_again()

    @property
    def _epoch_id(self) -> UUID | None:
        return self._state.epoch_id if self._state else None

    async def settle(self) -> None:
        """Check until the database may be written to; if necessary, a system epoch begins first."""
        while True:
            try:
                if await self._accept():
                    return
            except TROUBLE as error:
                self._tell(error.why or error.what)
                await self._lease.pause()

    async def run(self) -> None:
        """Open the gate, and close it again whenever there is a reason, for ever."""
        while True:
            while not self._gate.is_open:
                try:
                    await self._try_to_open()
                except TROUBLE as error:
                    self._tell(error.why or error.what)
                await self._pause()
            await self._changed.wait()

    async def _pause(self) -> None:
        """Wait before the next check; ``AJAR_LOOK_SECONDS`` while the gate is open for some rails."""
        if self._gate.is_open:
            return
        if not self._gate.is_ajar:
            await self._lease.pause()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(AJAR_LOOK_SECONDS):
                await self._changed.wait()

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            log.warning("recovery_waits", why=why)

    # --- the record -----------------------------------------------------------------------------

    async def _accept(self) -> bool:
        """Check the server and the record; False when a system epoch had to begin: then check again."""
        server, opening = await self._barrier_store.look()
        if server.unsafe:
            what = "this PostgreSQL server is not safe for money"
            raise Unavailable(what, why=f"{what}: {server.unsafe}")
        is_new = self._state is None or self._barrier_store.doubt(server) == RESTARTED
        stale_database = self._why(server, opening)
        if stale_database is None and opening is not None and is_new:
            stale_database = await self._ask_stream_check(opening)
        if stale_database is not None:
            believed = opening.epoch_id if opening else None
            if stale_database.why != FIRST:
                self._meter.invariant_warning("sending_paused")
                log.error("sending_paused", why=stale_database.why, timeline=server.timeline)
            await self._barrier_store.shut(believed, stale_database, server)
            return False
        assert opening is not None, "a database without a record is a reason to write one"
        is_news = self._state is not None and opening.epoch_id != self._epoch_id
        self._state = opening
        self._barrier_store.accept(server)
        if is_new or is_news:
            self.database_run += 1
        if is_new:
            self._checked = None
        if is_news:
            self._stale_database = None
            self._unlisted.clear()
            # Queued sends predate the restore and may be unknown here. They are discarded now, and not only
            # when the heartbeat, on a connection of its own, sees the new epoch. The engine id is given up
            # in any case: a new one may already own a settlement that was discarded with the rest.
            self._gate.forget()
            self._lease.renounce()
            self._lease.renew_now()
        return True

    def _why(self, server: Server, opening: BarrierState | None) -> StaleDatabase | None:
        """Say why a system epoch has to begin; None if the record fits the server and what we know."""
        if opening is None:
            return StaleDatabase(why=FIRST)
        before = self._state
        is_followed = before is not None and opening.system_epoch > before.system_epoch
        if before is not None and not is_followed and opening.epoch_id != before.epoch_id:
            return StaleDatabase(why="older_record", system_epoch_min=before.system_epoch + 1)
        if self._stale_database is not None and self._stale_database[0] == opening.epoch_id:
            return self._stale_database[1]
        if not opening.server.is_same(server):
            return StaleDatabase(why=_difference(opening.server, server))
        doubt = "" if is_followed else self._barrier_store.doubt(server)
        return StaleDatabase(why=doubt) if doubt and doubt != RESTARTED else None

    async def _ask_stream_check(self, opening: BarrierState) -> StaleDatabase | None:
        """Check, before the first write, whether the stream has announcements that the database lacks."""
        last = await self._stream_check.last_announced() if self._stream_check is not None else None
        if last is None or system_epoch_of(last.position) < opening.system_epoch:
            return None
        if not is_plausible_after(last.position, opening.system_epoch):
            self._meter.invariant_warning("stream_foreign")
            log.error("stream_hint_refused", why="stream_ahead", position=last.position)
            return None
        if (
            last.position % POSITIONS_PER_EPOCH == 0
            and system_epoch_of(last.position) == opening.system_epoch
        ):
            return None  # the marker of this system epoch
        if await self._barrier_store.announced(last.position) == last:
            return None
        return StaleDatabase(
            why="stream_ahead", system_epoch_min=system_epoch_of(last.position) + 1
        )

    # --- the gate -------------------------------------------------------------------------------

    async def _try_to_open(self) -> None:
        """Open the gate for every rail whose bank has been asked; for all at once if nothing was lost."""
        self._changed.clear()
        if not await self._accept():
            return
        opening = self._state
        assert opening is not None, "what was accepted is known"
        names = list(self._rails)
        if not opening.is_open:
            self._tell(opening.why)
            names = await self._lead_or_follow(opening)
            if not names:
                return
        if self._checked != opening.epoch_id:
            stale_database = await self._lists.check(self._rails[name] for name in names)
            if stale_database is not None:
                self.report_stale(stale_database)
                return
            self._checked = opening.epoch_id
        at_bank = frozenset(await self._barrier_store.unknown(NOTED_MAX))
        if self._changed.is_set():
            return  # there was a reason to close during this check: check again
        self._open_for(names, at_bank)

    def _open_for(self, names: Sequence[str], at_bank: frozenset[str]) -> None:
        system_epoch = self._state.system_epoch if self._state is not None else 0
        if len(names) == len(self._rails):
            self._told = ""
            self._unlisted.clear()
            self._gate.open(at_bank)
            log.info("sending_open", system_epoch=system_epoch)
            return
        for name in names:
            self._unlisted.pop(name, None)
            if not self._gate.is_open_for(name):
                self._gate.open(at_bank, rail=name)
                log.info("sending_open", system_epoch=system_epoch, rail=name)

    async def _lead_or_follow(self, opening: BarrierState) -> list[str]:
        """Return the rails whose banks have been asked; the engine that leads asks the others."""
        is_leading = await self._barrier_store.lead()
        listed = await self._barrier_store.listed(opening.epoch_id)
        names = [name for name in self._rails if name in listed]
        if is_leading and len(names) == len(self._rails):
            if not await self._barrier_store.note(opening.epoch_id, "opened", {}):
                return []
            log.warning("recovery_done", system_epoch=opening.system_epoch, why=opening.why)
        elif is_leading:
            for name, rail in self._rails.items():
                if name not in listed and name not in self._listing:
                    self._listing.add(name)
                    self._lease.spawn(self._ask_bank(opening, rail))
        return names

    async def _ask_bank(self, opening: BarrierState, rail: Rail) -> None:
        """Ask one rail's bank for its payments; other rails do not wait for it."""
        run = self.database_run
        try:
            await self._until_none(self._barrier_store.others_alive, self._settings.lease_seconds)
            found = await self._lists.compare(opening, rail)
            if isinstance(found, str):
                self._tell_unlisted(rail.name, found)
                return
            await self._until_none(self._barrier_store.unclaimed, LOOK_SECONDS * LOOKS_MAX)
            if await self._barrier_store.note(opening.epoch_id, "listed", found):
                log.warning("recovery_listed", system_epoch=opening.system_epoch, **found)
                if run == self.database_run:
                    self._checked = (
                        opening.epoch_id
                    )  # the check at the start would ask the same again
        except TROUBLE as error:
            self._tell_unlisted(rail.name, error.why or error.what)
        finally:
            self._listing.discard(rail.name)

    def _tell_unlisted(self, rail: str, why: str) -> None:
        if self._unlisted.get(rail) != why:
            self._unlisted[rail] = why
            log.warning("recovery_waits", rail=rail, why=why)

    async def _until_none(self, count: Callable[[], Awaitable[int]], seconds: float) -> None:
        """Wait until the count is 0, at most ``LOOKS_MAX`` times."""
        deadline = self._lease.monotonic() + seconds
        while await count() and self._lease.monotonic() < deadline:  # noqa: ASYNC110 - no bell
            await asyncio.sleep(LOOK_SECONDS)


def _difference(was: Server, now: Server) -> str:
    if was.system_identifier != now.system_identifier:
        return "another_system"
    return "another_database" if was.database_id != now.database_id else "another_timeline"
