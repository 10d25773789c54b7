"""Intake: instructions are written to the store in batches, and only then accepted.

Promises: an accepted instruction is durable; the same key always gives the same settlement, also for concurrent
calls; the queue is bounded, and above the bound the caller gets Overloaded. Must never: write in the caller's task,
so that a cancelled call changes nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.money import (
    fault_of_amount_today,
    fault_of_currency_today,
    takes_every_amount_today,
)
from settlement_engine.engine.batching import Batcher
from settlement_engine.engine.compensations import faults_of_compensations, why_not_left
from settlement_engine.errors import (
    Broken,
    Contention,
    IdempotencyConflict,
    InvalidInstruction,
    Overloaded,
    SettlementEngineError,
    Unavailable,
)
from settlement_engine.ports import Existing, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.listed_banks import ListedBanks
    from settlement_engine.engine.mailbox import Mailbox
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import Ids, Meter, NoteRead, SettlementStore

RETRY_AFTER_SECONDS: Final = 0.5
UNWRITTEN: Final = Overloaded("not written", retry_after_seconds=RETRY_AFTER_SECONDS)
"""A placeholder for a result that is still missing; it is never returned to a caller."""


@dataclass(slots=True)
class _Delivery:
    """The instructions of one call, and the future that is done when the last one is written."""

    results: list[Settlement | Exception]
    missing: int
    done: asyncio.Future[None] = field(default_factory=asyncio.Future)

    def put(self, index: int, result: Settlement | Exception) -> None:
        self.results[index] = result
        self.missing -= 1
        if self.missing == 0 and not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True)
class _Entry:
    settlement_id: UUID
    instruction: Instruction
    delivery: _Delivery
    index: int

    def put(self, result: Settlement | Exception) -> None:
        self.delivery.put(self.index, result)


class Intake:
    """Writes instructions to the store."""

    def __init__(  # noqa: PLR0913 - what an instruction passes on its way
        self,
        settings: EngineSettings,
        store: SettlementStore,
        mailbox: Mailbox,
        lease: EngineLease,
        ids: Ids,
        meter: Meter,
        *,
        listed: ListedBanks | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._mailbox = mailbox
        self._lease = lease
        self._ids = ids
        self._meter = meter
        self._listed = listed
        self._batcher: Batcher[_Entry] = Batcher(
            self._write,
            batch_max=settings.intake_batch_max,
            batch_linger_seconds=settings.batch_linger_seconds,
            in_flight=self._in_flight,
        )
        self._is_closed = False
        self._read_now = 0

    @property
    def is_idle(self) -> bool:
        """Say whether no instruction is waiting or being written."""
        return self._batcher.is_idle

    def _in_flight(self) -> int:
        return self._mailbox.carried_count + len(self._batcher)

    def close(self) -> None:
        """Accept no more instructions."""
        self._is_closed = True

    async def submit(self, instructions: Sequence[Instruction]) -> list[Settlement | Exception]:
        """Write instructions to the store; one result each, in order. Raises Overloaded."""
        self._require_room(len(instructions))
        if not instructions:
            return []
        delivery = _Delivery([UNWRITTEN] * len(instructions), missing=len(instructions))
        self._batcher.offer(
            _Entry(self._ids.new(), instruction, delivery, index)
            for index, instruction in enumerate(instructions)
        )
        await delivery.done  # a cancelled call cancels only its own wait
        return delivery.results

    @contextmanager
    def reading(self, count: int) -> Iterator[NoteRead]:
        """Reserve capacity for instructions before decoding; see the port. Raises Overloaded.

        Decoding a large call takes several turns of the event loop. Without a reservation, calls that arrive
        meanwhile would be decoded too, and then refused. For a call with invalid instructions only, the
        reservation is released after the first ones.
        """
        self._require_room(count)
        kept = 0

        def keep(expected: int) -> None:
            nonlocal kept
            self._read_now += expected - kept
            kept = expected

        def note(read: int, good: int) -> None:
            keep(good + (count - read) * good // read)

        keep(count)
        try:
            yield note
        finally:
            keep(0)

    def _require_room(self, count: int) -> None:
        if self._is_closed:
            what = "the engine is draining"
            raise Overloaded(what, retry_after_seconds=RETRY_AFTER_SECONDS)
        waiting = len(self._batcher) + self._read_now
        is_full = self._mailbox.carried_count + waiting + count > self._settings.open_max
        if is_full or waiting + count > self._settings.intake_queue_max:
            what = "the engine has reached its limit of open settlements"
            raise Overloaded(what, retry_after_seconds=RETRY_AFTER_SECONDS)
        # A call is refused only because of earlier ones, whatever its own size: large calls get their turn.
        if self._mailbox.backlog + waiting >= self._settings.backlog_max:
            what = "too many settlements wait for processing"
            raise Overloaded(what, retry_after_seconds=RETRY_AFTER_SECONDS)

    async def run(self) -> None:
        """Write batches for ever."""
        await self._batcher.run()

    async def _write(self, batch: list[_Entry]) -> None:
        batch = await self._without_refused(batch)
        if batch:
            await self._write_down(batch)

    async def _without_refused(self, batch: list[_Entry]) -> list[_Entry]:
        """Answer the instructions that are not accepted today, and return the others.

        Repeated calls are recognised first: at the first call the value date and the currency may have been
        valid, and the banks may have stood in the directory.
        """
        today = self._lease.now().astimezone(UTC).date()
        instructions = [entry.instruction for entry in batch]
        faults = self._faults(instructions, today)
        try:
            unlisted = await self._listed.faults(instructions) if self._listed is not None else []
            unfit: Sequence[tuple[str, str] | None] = ()
            if any(each.compensates for each in instructions):
                unfit = await faults_of_compensations(self._store, instructions)
        except SettlementEngineError as error:
            for entry in batch:
                entry.put(error)
            return []
        for others in filter(None, (unlisted, unfit)):
            faults = [fault or other for fault, other in zip(faults, others, strict=True)]
        refused = [(entry, fault) for entry, fault in zip(batch, faults, strict=True) if fault]
        if not refused:
            return batch
        keys = [entry.instruction.key_hash for entry, _ in refused]
        try:
            known = await self._store.find_by_keys(keys)
        except SettlementEngineError as error:
            for entry, _ in refused:
                entry.put(error)
        else:
            for (entry, fault), key in zip(refused, keys, strict=True):
                entry.put(_refused(entry.instruction, known.get(key), fault))
        return [entry for entry, fault in zip(batch, faults, strict=True) if not fault]

    def _faults(self, instructions: list[Instruction], today: date) -> list[tuple[str, str] | None]:
        """Check every instruction; valid ones cost no query, because every payment passes here."""
        ordinary: dict[str, bool] = {}
        faults: list[tuple[str, str] | None] = []
        for instruction in instructions:
            currency = instruction.amount.currency
            is_ordinary = ordinary.get(currency)
            if is_ordinary is None:
                is_ordinary = ordinary[currency] = takes_every_amount_today(currency)
            if is_ordinary and instruction.value_date is None:
                faults.append(None)
            else:
                faults.append(self._fault(instruction, today))
        return faults

    def _fault(self, instruction: Instruction, today: date) -> tuple[str, str] | None:
        """Return the field of a new instruction that is not valid today, and why."""
        day = instruction.value_date
        if day is not None and (fault := self._settings.value_dates.fault(day, today)):
            return "settlement_date", fault
        if fault := fault_of_currency_today(instruction.amount.currency):
            return "currency", fault
        if fault := fault_of_amount_today(instruction.amount):
            return "amount", fault
        return None

    async def _write_down(self, batch: list[_Entry]) -> None:
        started_at = self._lease.monotonic()
        try:
            answers = await self._admit([(each.settlement_id, each.instruction) for each in batch])
        except Broken as error:
            await self._write_around_the_broken(batch, error)
            return
        except SettlementEngineError as error:
            for entry in batch:
                entry.put(error)
            return
        self._meter.batch("intake", len(batch), self._lease.monotonic() - started_at)
        self._lease.saw(_time_of(answers[0]))
        begun: list[Settlement] = []
        known: list[tuple[_Entry, Existing]] = []
        for entry, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Existing):
                known.append((entry, answer))
            else:
                begun.append(answer)
                entry.put(answer)
        if begun:
            self._mailbox.begin(begun)
        if known:
            await self._answer_known(known)

    async def _write_around_the_broken(self, batch: list[_Entry], error: Broken) -> None:
        """Halve a batch that the database refuses as broken, until the broken instruction is found."""
        if len(batch) == 1:
            self._meter.invariant_warning("admission_broken")
            batch[0].put(error)
            return
        middle = len(batch) // 2
        await self._write_down(batch[:middle])
        await self._write_down(batch[middle:])

    async def _admit(self, new: list[tuple[UUID, Instruction]]) -> list[Settlement | Existing]:
        """Write the batch; after a lost connection write it again, because admission is idempotent.

        While the database is unreachable the outcome is unknown. The instructions may have been written
        without being known here, so this engine takes a new id and finds them by a sweep.
        """
        deadline = self._lease.monotonic() + self._settings.admission_timeout_seconds
        while True:
            try:
                return await self._store.admit(new, self._lease.engine_id)
            except (Unavailable, Contention) as error:
                is_unknown = isinstance(error, Unavailable)
                self._meter.invariant_warning("commit_unknown" if is_unknown else "contention")
                if self._lease.monotonic() > deadline:
                    self._lease.renounce()
                    raise
                await self._lease.pause()

    async def _answer_known(self, pairs: list[tuple[_Entry, Existing]]) -> None:
        """Answer the callers whose key or obligation was used before.

        A settlement with an identifier that was just created here was written by an earlier try of this batch
        whose response was lost.
        """
        try:
            # Read from the store: this engine's memory may be older than what callers have seen already.
            known = await self._store.load(list({answer.settlement_id for _, answer in pairs}))
        except SettlementEngineError as error:
            if isinstance(error, Broken) and len(pairs) > 1:
                for pair in pairs:  # one record that cannot be read costs no other's caller
                    await self._answer_known([pair])
                return
            for entry, _ in pairs:
                entry.put(error)
            return
        begun: list[Settlement] = []
        for entry, answer in pairs:
            settlement = known[answer.settlement_id]
            if answer.verdict is Verdict.NOT_LEFT:
                entry.put(why_not_left(entry.instruction, settlement))
                continue
            if answer.verdict is not Verdict.REPLAYED:
                entry.put(_conflict(entry.instruction, settlement, answer.verdict))
                continue
            is_ours = answer.settlement_id == entry.settlement_id
            is_unbegun = settlement.fencing_token == 1 and settlement.state is State.VALIDATING
            if is_ours and is_unbegun and not self._mailbox.is_carried(settlement.id):
                begun.append(settlement)
            entry.put(settlement if is_ours else replace(settlement, is_replay=True))
        if begun:
            self._mailbox.begin(begun)


def _time_of(answer: Settlement | Existing) -> datetime:
    """Return the database's time of an admission."""
    return answer.at if isinstance(answer, Existing) else answer.created_at


def _refused(
    instruction: Instruction, known: Settlement | None, fault: tuple[str, str]
) -> Settlement | SettlementEngineError:
    """Answer an instruction that is not accepted today, by the settlement of its key if there is one."""
    if known is None:
        return InvalidInstruction([fault])
    if known.instruction.content_hash == instruction.content_hash:
        return replace(known, is_replay=True)
    return _conflict(instruction, known, Verdict.KEY_TAKEN)


def _conflict(
    instruction: Instruction, settlement: Settlement, verdict: Verdict
) -> IdempotencyConflict:
    if verdict is Verdict.OBLIGATION_TAKEN:
        what = (
            f"obligation_id: {instruction.obligation_id} has settlement {settlement.id},"
            f" which is {settlement.state.value}"
        )
        return IdempotencyConflict(what, field="obligation_id", settlement_id=str(settlement.id))
    before, now = settlement.instruction.content(), instruction.content()
    names = dict.fromkeys([*now, *before])  # what a caller left out is in one of them only
    field_name = next(
        (name for name in names if now.get(name) != before.get(name)), "idempotency_key"
    )
    what = f"{field_name}: the idempotency key was used with another {field_name}"
    return IdempotencyConflict(what, field=field_name, settlement_id=str(settlement.id))
