"""The opening: before anything is sent, make sure that this is the database that was written to last.

After a failover or a restore it may not be. Then an era begins in the database: no number of before counts
any more, every payment in flight is doubted and asked about, and every bank is asked what it has that we do
not. What it has is an exception for a person, and is never sent again. Only then the gate opens, for each
rail as soon as its own bank has answered.

It promises that nothing is sent while it is not sure, that one engine opens and all wait, and that an
opening which was interrupted is gone on with. It moves no money, and never takes a bank's silence for a no:
a bank that gives no list keeps its own rail shut, until it does or a person confirms (``settlement-engine
recovery``); other rails do not wait for it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.announcement import (
    ERA_MAX,
    ERA_PLACES,
    ERAS_AHEAD_MAX,
    era_of,
    is_plausible_after,
)
from settlement_engine.engine.bank_lists import TROUBLE, BankLists
from settlement_engine.errors import Unavailable
from settlement_engine.ports import RESTARTED, Suspicion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.presence import Presence
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import (
        Answer,
        Meter,
        Opening,
        Openings,
        Rail,
        Server,
        Witness,
    )

FIRST: Final = "first"
NOTED_MAX: Final = 100_000
"""No more payments of forgotten time are kept in memory to be asked about instead of sent."""

LOOK_SECONDS: Final = 0.05
LOOKS_MAX: Final = 200
"""What others leave is waited for no longer than ten seconds: it is safe without, only less tidy."""

AJAR_LOOK_SECONDS: Final = 1.0
"""So often an engine that is open for some rails looks whether it may open for the others."""

log = structlog.get_logger(__name__)


class Opener:
    """Keeps the gate of one engine."""

    def __init__(  # noqa: PLR0913 - the ports that an opening stands on
        self,
        settings: EngineSettings,
        openings: Openings,
        *,
        rails: Mapping[str, Rail],
        gate: Gate,
        presence: Presence,
        meter: Meter,
        witness: Witness | None = None,
    ) -> None:
        self._settings = settings
        self._openings = openings
        self._rails = rails
        self._gate = gate
        self._presence = presence
        self._meter = meter
        self._witness = witness
        self._lists = BankLists(openings, presence, meter)
        self._listing: set[str] = set()
        self._unlisted: dict[str, str] = {}
        self._opening: Opening | None = None
        self._suspicion: tuple[UUID | None, Suspicion] | None = None
        self._checked: UUID | None = None
        self._news = asyncio.Event()
        self._told = ""
        self.database_run = 0
        """Another number whenever the database may be another one than before."""
        openings.when_refused(self.look_again)

    def attach(self, hear: Callable[[Iterable[Answer]], None]) -> None:
        """Name who hears what the banks' lists say of settlements of ours."""
        self._lists.attach(hear)

    @property
    def state(self) -> str:
        """Say how things stand, for people."""
        era = self._opening.era if self._opening else "?"
        if self._gate.is_open:
            return f"sending open (recovery {era})"
        why = "; ".join(self._unlisted.values()) or self._told
        if not self._gate.is_ajar:
            return f"sending paused (recovery {era}): {why}"
        shut = [name for name in self._rails if not self._gate.is_open_for(name)]
        return f"sending open except for {', '.join(shut)} (recovery {era}): {why}"

    def look_again(self) -> None:
        """Shut, and look at the record before the gate opens again."""
        self._gate.shut()
        self._news.set()

    def suspect(self, suspicion: Suspicion) -> None:
        """Shut, and begin an era: somebody knows more than the database does."""
        era = self._opening.era if self._opening is not None else 0
        if 0 < suspicion.era_min <= era:
            return  # an era has begun since
        if suspicion.era_min > min(era + ERAS_AHEAD_MAX + 1, ERA_MAX):
            self._meter.anomaly("stream_foreign")
            log.error("opening_hint_refused", why=suspicion.why, era_min=suspicion.era_min)
            return  # no database has forgotten so many eras
        log.error("opening_suspicion", why=suspicion.why, era_min=suspicion.era_min)
        self._suspicion = (self._incarnation, suspicion)
        self.look_again()

    @property
    def _incarnation(self) -> UUID | None:
        return self._opening.incarnation if self._opening else None

    async def settle(self) -> None:
        """Look until the database is one that may be written to; an era begins first where it must."""
        while True:
            try:
                if await self._accept():
                    return
            except TROUBLE as error:
                self._tell(error.why or error.what)
                await self._presence.pause()

    async def run(self) -> None:
        """Open, and shut again whenever there is reason to, for ever."""
        while True:
            while not self._gate.is_open:
                try:
                    await self._try_to_open()
                except TROUBLE as error:
                    self._tell(error.why or error.what)
                await self._pause()
            await self._news.wait()

    async def _pause(self) -> None:
        """Wait before the next look; when only some rails wait, not as if all did."""
        if self._gate.is_open:
            return
        if not self._gate.is_ajar:
            await self._presence.pause()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(AJAR_LOOK_SECONDS):
                await self._news.wait()

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            log.warning("opening_waits", why=why)

    # --- the record -----------------------------------------------------------------------------

    async def _accept(self) -> bool:
        """Look at the server and the record; False when an era had to begin, and to be looked at."""
        server, opening = await self._openings.look()
        if server.unsafe:
            what = "this PostgreSQL server is not safe for money"
            raise Unavailable(what, why=f"{what}: {server.unsafe}")
        is_new = self._opening is None or self._openings.doubt(server) == RESTARTED
        suspicion = self._why(server, opening)
        if suspicion is None and opening is not None and is_new:
            suspicion = await self._ask_witness(opening)
        if suspicion is not None:
            believed = opening.incarnation if opening else None
            if suspicion.why != FIRST:
                self._meter.anomaly("opening_shut")
                log.error("opening_shut", why=suspicion.why, timeline=server.timeline)
            await self._openings.shut(believed, suspicion, server)
            return False
        assert opening is not None, "a database without a record is a reason to write one"
        is_news = self._opening is not None and opening.incarnation != self._incarnation
        self._opening = opening
        self._openings.accept(server)
        if is_new or is_news:
            self.database_run += 1
        if is_new:
            self._checked = None
        if is_news:
            self._suspicion = None
            self._unlisted.clear()
            # What waits at the gate is of forgotten time, and may be unknown here: it is dropped now, and
            # not when the heartbeat, on a line of its own, has heard of the era as well. The number is given
            # up in any case: a new one may already carry something that was dropped with the rest.
            self._gate.forget()
            self._presence.renounce()
            self._presence.hurry()
        return True

    def _why(self, server: Server, opening: Opening | None) -> Suspicion | None:
        """Say why an era has to begin; None when the record fits the server and what we know."""
        if opening is None:
            return Suspicion(why=FIRST)
        before = self._opening
        is_followed = before is not None and opening.era > before.era
        if before is not None and not is_followed and opening.incarnation != before.incarnation:
            return Suspicion(why="older_record", era_min=before.era + 1)
        if self._suspicion is not None and self._suspicion[0] == opening.incarnation:
            return self._suspicion[1]
        if not opening.server.is_same(server):
            return Suspicion(why=_difference(opening.server, server))
        doubt = "" if is_followed else self._openings.doubt(server)
        return Suspicion(why=doubt) if doubt and doubt != RESTARTED else None

    async def _ask_witness(self, opening: Opening) -> Suspicion | None:
        """Look, before the first word is written, whether more was announced than is known here."""
        last = await self._witness.last_announced() if self._witness is not None else None
        if last is None or era_of(last.position) < opening.era:
            return None
        if not is_plausible_after(last.position, opening.era):
            self._meter.anomaly("stream_foreign")
            log.error("opening_hint_refused", why="stream_ahead", position=last.position)
            return None
        if last.position % ERA_PLACES == 0 and era_of(last.position) == opening.era:
            return None  # the marker of this era
        if await self._openings.announced(last.position) == last:
            return None
        return Suspicion(why="stream_ahead", era_min=era_of(last.position) + 1)

    # --- the gate -------------------------------------------------------------------------------

    async def _try_to_open(self) -> None:
        """Open for every rail whose bank has been asked; for all at once where nothing was forgotten."""
        self._news.clear()
        if not await self._accept():
            return
        opening = self._opening
        assert opening is not None, "what was accepted is known"
        names = list(self._rails)
        if not opening.is_open:
            self._tell(opening.why)
            names = await self._lead_or_follow(opening)
            if not names:
                return
        if self._checked != opening.incarnation:
            suspicion = await self._lists.check(self._rails[name] for name in names)
            if suspicion is not None:
                self.suspect(suspicion)
                return
            self._checked = opening.incarnation
        at_bank = frozenset(await self._openings.unknown(NOTED_MAX))
        if self._news.is_set():
            return  # there was a reason to shut while we looked: look again
        self._open_for(names, at_bank)

    def _open_for(self, names: Sequence[str], at_bank: frozenset[str]) -> None:
        era = self._opening.era if self._opening is not None else 0
        if len(names) == len(self._rails):
            self._told = ""
            self._unlisted.clear()
            self._gate.open(at_bank)
            log.info("opening_open", era=era)
            return
        for name in names:
            self._unlisted.pop(name, None)
            if not self._gate.is_open_for(name):
                self._gate.open(at_bank, rail=name)
                log.info("opening_open", era=era, rail=name)

    async def _lead_or_follow(self, opening: Opening) -> list[str]:
        """Name the rails whose banks have been asked; the engine that leads asks those that have not."""
        is_leading = await self._openings.lead()
        listed = await self._openings.listed(opening.incarnation)
        names = [name for name in self._rails if name in listed]
        if is_leading and len(names) == len(self._rails):
            if not await self._openings.note(opening.incarnation, "opened", {}):
                return []
            log.warning("opening_done", era=opening.era, why=opening.why)
        elif is_leading:
            for name, rail in self._rails.items():
                if name not in listed and name not in self._listing:
                    self._listing.add(name)
                    self._presence.spawn(self._ask_bank(opening, rail))
        return names

    async def _ask_bank(self, opening: Opening, rail: Rail) -> None:
        """Ask one rail's bank what it has; how long it takes holds up no other rail."""
        run = self.database_run
        try:
            await self._until_none(self._openings.others_alive, self._settings.lease_seconds)
            found = await self._lists.compare(opening, rail)
            if isinstance(found, str):
                self._tell_unlisted(rail.name, found)
                return
            await self._until_none(self._openings.unclaimed, LOOK_SECONDS * LOOKS_MAX)
            if await self._openings.note(opening.incarnation, "listed", found):
                log.warning("opening_listed", era=opening.era, **found)
                if run == self.database_run:
                    self._checked = (
                        opening.incarnation
                    )  # what a start would ask has just been asked
        except TROUBLE as error:
            self._tell_unlisted(rail.name, error.why or error.what)
        finally:
            self._listing.discard(rail.name)

    def _tell_unlisted(self, rail: str, why: str) -> None:
        if self._unlisted.get(rail) != why:
            self._unlisted[rail] = why
            log.warning("opening_waits", rail=rail, why=why)

    async def _until_none(self, count: Callable[[], Awaitable[int]], seconds: float) -> None:
        """Wait until there are none, but not for ever."""
        deadline = self._presence.monotonic() + seconds
        while await count() and self._presence.monotonic() < deadline:  # noqa: ASYNC110 - no bell
            await asyncio.sleep(LOOK_SECONDS)


def _difference(was: Server, now: Server) -> str:
    if was.system_identifier != now.system_identifier:
        return "another_system"
    return "another_database" if was.database_id != now.database_id else "another_timeline"
