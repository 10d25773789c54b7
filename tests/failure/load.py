"""A load of settlements on engines that can fail, and the checks at its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.money import Money
from settlement_engine.errors import SettlementEngineError
from settlement_engine.ports import TransferFilter
from tests.support.faultproxy import IDLE, Lost
from tests.support.frailbank import FrailBank, Manner
from tests.support.frailengine import FrailEngine, Watch
from tests.support.histories import ALL_ACCOUNTS, funding, payment_request, spec
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.lifecycle import Ask, Event
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import Announcement, TransitionCommand
    from settlement_engine.store.database import DatabaseConnection

SIDES: Final = ("AAAA", "BBBB")
BATCH: Final = 20
CALL_SECONDS: Final = 30.0
END_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.02
STREAM_PAGE: Final = 5_000
LOSSES: Final = (Lost.REQUEST, Lost.REPLY)


class LossyBank(FrailBank):
    """A bank behind a faulty connection: each request may be lost at random."""

    def __init__(self, chance: random.Random, share: float) -> None:
        super().__init__()
        self._chance = chance
        self._share = share
        self.troubles: Counter[Manner] = Counter()

    def ask(self, ask: Ask, obligation: str, reference: str) -> tuple[Event | None, Manner]:
        """Process the request, if it arrives."""
        manner = Manner.PLAIN
        if self._chance.random() < self._share:
            manner = self._chance.choice(list(Manner))
            self.troubles[manner] += 1
        if manner is Manner.QUESTION_LOST:
            return None, manner
        return super().ask(ask, obligation, reference)[0], manner


class LossyLine(Watch):
    """Loses requests and replies of the store's calls: one of each kind for certain, others at random."""

    def __init__(self, chance: random.Random, share: float) -> None:
        self._chance = chance
        self._share = share
        self.tried: set[tuple[str, Lost]] = set()
        self.hits: Counter[tuple[str, Lost]] = Counter()

    def before_admission(
        self, engine: FrailEngine, new: Sequence[tuple[UUID, Instruction]]
    ) -> None:
        """Lose an admission."""
        self._cut(engine, "admit", pattern=new[0][0].hex.encode())

    def before_steps(self, engine: FrailEngine, steps: Sequence[TransitionCommand]) -> None:
        """Lose a batch of transitions."""
        self._cut(engine, "apply", pattern=steps[0].settlement.id.hex.encode())

    def before_call(self, engine: FrailEngine, line: DatabaseConnection) -> None:
        """Lose a claim or a heartbeat."""
        connection = line._connection
        if connection is not None and not connection.is_closed():
            wire = connection._transport  # type: ignore[attr-defined]  # no other way in
            port = wire.get_extra_info("sockname")[1]
            self._cut(engine, "call", port=port)

    def _cut(
        self, engine: FrailEngine, call: str, *, pattern: bytes = b"", port: int | None = None
    ) -> None:
        due = [lost for lost in LOSSES if (call, lost) not in self.tried]
        if not due and self._chance.random() >= self._share:
            return
        lost = due[0] if due else self._chance.choice(LOSSES)
        self.tried.add((call, lost))

        def note() -> None:
            self.hits[call, lost] += 1

        engine.proxy.cut(lost, pattern, until=IDLE, client_port=port, on_hit=note)


class LoadTown:
    """A database with two banks, and stores of its own that bypass the engines."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.stores = PostgresStores(url)
        self.accepted: dict[str, UUID] = {}

    async def open(self) -> LoadTown:
        """Open the accounts, and fund one bank."""
        for bank in SIDES:
            for kind in (AccountKind.NOSTRO, AccountKind.VOSTRO):
                await self.stores.accounts.open_account(spec(kind, bank))
        await self.stores.accounts.fund(funding(10**9, bank=SIDES[0]))
        return self

    async def close(self) -> None:
        """Close the connections."""
        await self.stores.close()

    async def submit(self, engines: Sequence[FrailEngine], count: int) -> None:
        """Submit; what was not accepted is submitted again, to the next engine."""
        payment_requests = [
            payment_request(from_bank=SIDES[0], to_bank=SIDES[1], amount=Money(100 + number, "EUR"))
            for number in range(count)
        ]
        batches = [payment_requests[start : start + BATCH] for start in range(0, count, BATCH)]
        async with asyncio.timeout(END_SECONDS), asyncio.TaskGroup() as group:
            for number, batch in enumerate(batches):
                group.create_task(self._submit_batch(engines, number, batch))

    async def _submit_batch(
        self, engines: Sequence[FrailEngine], number: int, batch: Sequence[Instruction]
    ) -> None:
        turn = number
        rest = list(batch)
        while rest:
            engine = engines[turn % len(engines)]
            turn += 1
            if engine.is_dead:
                await asyncio.sleep(POLL_SECONDS)
                continue
            try:
                results = await self._until_answered(engine, rest)
            except (TimeoutError, SettlementEngineError):
                continue
            again = []
            for instruction, result in zip(rest, results, strict=True):
                if isinstance(result, Exception):
                    again.append(instruction)
                else:
                    self.accepted[instruction.obligation_id] = result.id
            rest = again

    async def _until_answered(
        self, engine: FrailEngine, rest: Sequence[Instruction]
    ) -> Sequence[Settlement | Exception]:
        """Wait for the engine's answer, or for its failure."""
        call = asyncio.get_running_loop().create_task(engine.service.submit(rest))
        try:
            async with asyncio.timeout(CALL_SECONDS):
                while not (await asyncio.wait([call], timeout=POLL_SECONDS))[0]:
                    if engine.is_dead:
                        raise TimeoutError
            return call.result()
        finally:
            call.cancel()

    async def until_ended(self, engines: Sequence[FrailEngine]) -> None:
        """Wait until everything accepted has ended."""
        async with asyncio.timeout(END_SECONDS):
            while True:
                for engine in engines:
                    engine.check_alive()
                found = await self.stores.settlements.load(list(self.accepted.values()))
                if all(each.is_ended for each in found.values()):
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def check(self, bank: FrailBank, count: int) -> list[Announcement]:
        """Check that all ended as expected with one debit each, that the ledger is proved and the stream gapless."""
        assert len(set(self.accepted.values())) == len(self.accepted) == count
        found = await self.stores.settlements.load(list(self.accepted.values()))
        assert {each.state for each in found.values()} == {State.COMPLETED}
        assert bank.debits == dict.fromkeys(self.accepted, 1)
        for sendings in bank.sendings.values():
            assert len({payload for payload, _ in sendings}) == 1
        proof = await self.stores.auditor.prove()
        assert list(proof.differences) == []
        assert (proof.open_settlements, proof.open_holds) == (0, 0)
        transfers = await self.stores.accounts.transfers(TransferFilter(limit=100_000))
        legs = Counter(each.group_id for each in transfers if each.group_id in found)
        assert set(legs.values()) == {2}
        assert sum(each.held for each in await self.stores.accounts.accounts(ALL_ACCOUNTS)) == 0
        return await self.check_stream()

    async def check_stream(self) -> list[Announcement]:
        """Read all announcements: each transition once, and no position without one."""
        announced: list[Announcement] = []
        while page := await self.stores.stream.read(len(announced), STREAM_PAGE):
            announced += page
        positions = [each.moved.position for each in announced]
        assert positions == list(range(1, len(announced) + 1)), "gapless"
        each_once = {(each.moved.settlement_id, each.moved.seq) for each in announced}
        assert len(each_once) == len(announced)
        return announced
