"""The opening: before anything is sent, make sure that this is the database that was written to last.

After a failover or a restore it may not be. Then an era begins in the database: no number of before counts
any more, every payment in flight is doubted and asked about, and every bank is asked what it has that we do
not. What it has is an exception for a person, and is never sent again. Only then the gate opens.

It promises that nothing is sent while it is not sure, that one engine opens and all wait, and that an
opening which was interrupted is gone on with. It moves no money, and never takes a bank's silence for a no:
a bank that gives no list is waited for, or a person confirms (``settlement-engine reopen``).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.announcement import (
    ERA_MAX,
    ERA_PLACES,
    ERAS_AHEAD_MAX,
    era_of,
    is_plausible_after,
)
from settlement_engine.domain.contradiction import contradicts
from settlement_engine.engine.patience import at_most
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.ports import RESTARTED, Answer, Lister, Suspicion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.presence import Presence
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import (
        BankPage,
        BankPayment,
        KnownPayment,
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

PAGES_MAX: Final = 1_000_000
"""A bank whose list does not end is no list."""

CHECK_PAGES_MAX: Final = 50
"""A start looks at no more of the bank's list than this."""

CHECK_TRIES_MAX: Final = 2
CHECK_SECONDS: Final = 2.0
"""A bank that takes longer to answer is not waited for at a start."""

CHECK_MARGIN: Final = timedelta(seconds=60)
"""How far the bank's clock may be behind ours at a start."""

LIST_MARGIN: Final = timedelta(minutes=10)
"""The same for the list of an opening, which leaves nothing out."""

LIST_SECONDS: Final = 30.0
"""A page that takes longer is silence, and asked for again."""

LOOK_SECONDS: Final = 0.05
LOOKS_MAX: Final = 200
"""What others leave is waited for no longer than ten seconds: it is safe without, only less tidy."""

TROUBLE: Final = (Unavailable, Contention, Broken)

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
        self._hear: Callable[[Iterable[Answer]], None] = lambda _: None
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
        self._hear = hear

    @property
    def state(self) -> str:
        """Say how things stand, for people."""
        era = self._opening.era if self._opening else "?"
        return f"open, era {era}" if self._gate.is_open else f"shut, era {era}: {self._told}"

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
            self._news.clear()
            while not self._gate.is_open:
                try:
                    await self._try_to_open()
                except TROUBLE as error:
                    self._tell(error.why or error.what)
                if not self._gate.is_open:
                    await self._presence.pause()
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
        if not await self._accept():
            return
        opening = self._opening
        assert opening is not None, "what was accepted is known"
        if not opening.is_open:
            self._tell(opening.why)
            if await self._openings.lead():
                await self._lead(opening)
            return
        if self._checked != opening.incarnation:
            suspicion = await self._check_banks()
            if suspicion is not None:
                self.suspect(suspicion)
                return
            self._checked = opening.incarnation
        at_bank = await self._openings.unknown(NOTED_MAX)
        if self._news.is_set():
            self._news.clear()
            return  # there was a reason to shut while we looked: look again
        self._told = ""
        self._gate.open(frozenset(at_bank))
        log.info("opening_open", era=opening.era)

    async def _lead(self, opening: Opening) -> None:
        """Ask the banks, and open for all engines."""
        assert opening.since is not None, "what was shut says from when on"
        await self._until_none(self._openings.others_alive, self._settings.lease_seconds)
        found = 0
        for rail in self._rails.values():
            listed = await self._list(opening, rail)
            if listed is None:
                return
            found += listed
        await self._until_none(self._openings.unclaimed, LOOK_SECONDS * LOOKS_MAX)
        detail = {"unknown_payments": str(found)}
        if await self._openings.note(opening.incarnation, "opened", detail):
            self._checked = opening.incarnation
            log.warning("opening_done", era=opening.era, why=opening.why, unknown_payments=found)

    async def _until_none(self, count: Callable[[], Awaitable[int]], seconds: float) -> None:
        """Wait until there are none, but not for ever."""
        deadline = self._presence.monotonic() + seconds
        while await count() and self._presence.monotonic() < deadline:  # noqa: ASYNC110 - no bell
            await asyncio.sleep(LOOK_SECONDS)

    async def _list(self, opening: Opening, rail: Rail) -> int | None:
        """Find what this rail's bank has and we do not; None when it could not be found out."""
        assert opening.since is not None, "what was shut says from when on"
        count = 0
        try:
            if not isinstance(rail, Lister):
                return await self._unlisted(opening, rail, "its bank gives no list")
            after = ""
            for _ in range(PAGES_MAX):
                since = opening.since - LIST_MARGIN
                page = await self._page(rail, since, after, LIST_SECONDS)
                count += await self._compare(page, rail.name, opening.since)
                after = page.after
                if not after:
                    break
        except TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001 - whatever goes wrong out there is silence
            return await self._unlisted(opening, rail, repr(error))
        detail = {"rail": rail.name, "unknown_payments": str(count)}
        await self._openings.note(opening.incarnation, "listed", detail)
        return count

    async def _unlisted(self, opening: Opening, rail: Rail, why: str) -> int | None:
        """Go without the list if a person has said so; wait otherwise."""
        if await self._openings.is_confirmed(opening.incarnation):
            log.warning("opening_confirmed", rail=rail.name, why=why)
            return 0
        self._meter.anomaly("opening_without_list")
        self._tell(f"the rail {rail.name} cannot be asked what it has: {why}")
        return None

    async def _page(self, rail: Lister, since: datetime, after: str, seconds: float) -> BankPage:
        async with at_most(seconds):
            return await rail.payments_since(since, after)

    async def _compare(self, page: BankPage, rail: str, since: datetime) -> int:
        """Report what is unknown; pass on what contradicts an end of ours."""
        by_reference = {payment.reference: payment for payment in page.payments}
        known = await self._openings.known(list(by_reference), since)
        missing = by_reference.keys() - {each.reference for each in known}
        unknown = [by_reference[reference] for reference in sorted(missing)]
        if unknown:
            await self._openings.report_unknown(unknown, rail)
            self._meter.anomaly("unknown_payment", len(unknown))
        self._hear(
            _answer(each, by_reference[each.reference])
            for each in known
            if each.state is not None
            and contradicts(each.state, by_reference[each.reference].event)
        )
        return len(unknown)

    async def _check_banks(self) -> Suspicion | None:
        """Look whether a bank knows more than this database, which then is an older state of it.

        A bank that does not answer is not waited for: the check is a net, and the server is known.
        """
        written_at = await self._openings.last_written()
        for rail in self._rails.values():
            if not isinstance(rail, Lister):
                continue
            for _ in range(CHECK_TRIES_MAX):
                try:
                    missing = await self._missing_since(rail, written_at)
                except TROUBLE:
                    raise
                except Exception as error:  # noqa: BLE001 - the same
                    self._meter.anomaly("opening_unchecked")
                    log.warning("opening_unchecked", rail=rail.name, error=repr(error))
                    await self._presence.pause()
                    continue
                if missing is not None:
                    return Suspicion(why="bank_knows_more", since=missing)
                break
        return None

    async def _missing_since(self, rail: Lister, written_at: datetime) -> datetime | None:
        """Return when the bank received the first payment that we do not know of."""
        after = ""
        for _ in range(CHECK_PAGES_MAX):
            page = await self._page(rail, written_at - CHECK_MARGIN, after, CHECK_SECONDS)
            known = await self._openings.known(
                [payment.reference for payment in page.payments], written_at
            )
            references = {each.reference for each in known}
            unknown = [each for each in page.payments if each.reference not in references]
            if unknown:
                return min(each.received_at for each in unknown)
            after = page.after
            if not after:
                break
        return None


def _difference(was: Server, now: Server) -> str:
    if was.system_identifier != now.system_identifier:
        return "another_system"
    return "another_database" if was.database_id != now.database_id else "another_timeline"


def _answer(known: KnownPayment, payment: BankPayment) -> Answer:
    assert known.settlement_id is not None, "what has a state is a settlement"
    return Answer(
        settlement_id=known.settlement_id,
        event=payment.event,
        attempt=known.attempt,
        text="the bank's list says so",
    )
