"""Any order of files, postings and runs ends in the same matches, breaks and proofs."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.reconciliation import ReconciliationRun, StartedFor
from settlement_engine.domain.statements import Statement
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.ports import BreakFilter
from tests.support.bank_statements import BankDay, Booked, debit, take
from tests.support.histories import Scene
from tests.support.stores import MemoryStores

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Settlement

PAYMENTS = 9
DAYS = 4
ORDERS = 5


@dataclass
class Course:
    """What happens in one world: payments that settle, statements that come, some of them corrected later."""

    scene: Scene
    payments: list[Settlement]
    days: list[BankDay]
    corrected: BankDay | None

    @classmethod
    async def of(cls, seed: int) -> Course:
        """Make the same course for the same seed, in a store of its own."""
        chance = random.Random(seed)
        scene = await Scene.open(MemoryStores(), funds_minor=100_000, number=seed)
        payments = [
            await scene.bring(State.SENT, minor=chance.randrange(100, 104)) for _ in range(PAYMENTS)
        ]
        debits = [debit(each) for each in payments]
        chance.shuffle(debits)
        entries: list[list[Booked]] = [[Booked(minor=100_000, text="paid in")]]
        entries += [[] for _ in range(DAYS - 1)]
        for each in debits[:-2]:  # two payments are in no statement
            kind = chance.randrange(6)
            changed = replace(each, minor=each.minor - 1) if kind == 0 else each
            entries[chance.randrange(DAYS)].append(changed)
        for minor in (-5, 11):  # nobody ordered one, and nobody expects the other
            entries[chance.randrange(DAYS)].append(Booked(minor=minor, text="unknown"))
        day = BankDay(account=await scene.source(), opening=0, entries=entries[0])
        days = [day]
        for booked in entries[1:]:
            day = day.next(*booked)
            days.append(day)
        corrected = None
        if chance.randrange(2):
            last = days[-1]
            corrected = replace(last, entries=[*last.entries[:-1], Booked(minor=-3)], made=23)
        return cls(scene, payments, days, corrected)

    async def follow(self, chance: random.Random | None) -> dict[str, Any]:
        """Let everything happen, in the given order or by chance, with runs in between; return the books."""
        steps: list[tuple[str, Any]] = [
            *(("settle", each) for each in self.payments),
            *(("take", each) for each in self.days),
        ]
        steps += [("take", self.corrected)] if self.corrected is not None else []
        if chance is not None:
            steps += [("run", None)] * 5
            chance.shuffle(steps)
        for name, what in steps:
            if name == "settle":
                await self.scene.move(what, Event.SETTLED)
            elif name == "take":
                await take(self.scene.stores, what)
            else:
                await self.run()
        await self.run()
        return await self.books()

    async def run(self) -> None:
        run = ReconciliationRun(
            id=uuid.uuid4(), started_for=StartedFor.DEMAND, who="ada", rules_version=""
        )
        await Reconciliation(self.scene.stores.reconciliation).reconcile(run)

    async def books(self) -> dict[str, Any]:
        """Return what was found, with names that do not depend on the order of events."""
        stores = self.scene.stores
        assert isinstance(stores, MemoryStores)
        numbers = {each.id: place for place, each in enumerate(self.payments)}
        kept = stores.records.reconciled

        def ours(name: str) -> str:
            group, _, rest = name.partition("/")
            return f"{numbers.get(uuid.UUID(group), 'funding')}/{rest}"

        def theirs(name: str) -> str:
            statement, _, number = name.partition("/")
            said = stores.records.statements[int(statement) - 1].said
            assert isinstance(said, Statement)
            return f"{said.sequence}/{said.created}/{number}"

        account_id = self.scene.route.source_id
        listed = await stores.reconciled.breaks(
            BreakFilter(limit=1_000, account_id=account_id, is_open=True)
        )
        return {
            "matches": sorted(
                (
                    sorted(ours(each.item.id) for each in match.ours),
                    sorted(theirs(each.name) for each in match.theirs),
                )
                for match in kept.matches
                if not match.reason and match.account_id == account_id
            ),
            "breaks": sorted(
                (each.kind, each.amount_minor, *map(ours, each.ours), *map(theirs, each.theirs))
                for each in listed
            ),
            "proofs": {proof.booking_date: proof for proof in kept.proofs[account_id]},
        }


@pytest.mark.parametrize("seed", range(1, 9))
async def test_any_order_ends_in_the_same_books(seed):
    expected = await (await Course.of(seed)).follow(None)
    assert expected["matches"]
    assert len(expected["proofs"]) == DAYS
    for number in range(ORDERS):
        course = await Course.of(seed)
        found = await course.follow(random.Random(100 * seed + number))
        assert found == expected
