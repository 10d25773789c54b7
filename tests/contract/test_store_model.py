"""The two stores side by side: for any sequence of operations they give the same answers."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from settlement_engine.domain.lifecycle import ENDS, TRANSITIONS, Do, Event, State, Transition
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.settlement import Attempt, Settlement
from settlement_engine.errors import SettlementEngineError
from settlement_engine.ports import Claimed, SettlementFilter
from tests.support.histories import ALL_ACCOUNTS, OPEN, SHUT, Scene, admission, funding
from tests.support.stores import LEASE_SECONDS, MemoryStores, PostgresStores

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from tests.support.databases import Databases
    from tests.support.stores import Stores

EXAMPLES_MAX = 25
STEPS_MAX = 25
ENGINES_MAX = 3
BATCHES = 3
NEW = 3
"""The kind of instruction that is unrelated to earlier ones."""
ENDING = 6
"""Of twenty transitions this many may be any; the others must not end the settlement."""
LIMIT = 10_000
STEPS = settings(
    max_examples=EXAMPLES_MAX,
    stateful_step_count=STEPS_MAX,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],  # An explanation takes longer than the test may.
    suppress_health_check=list(HealthCheck),
)
DUE_SECONDS = st.sampled_from([None, None, 0.0, 3600.0, math.inf])
LOOKS = (True, True, True, False)
DELIVERIES = st.sampled_from([None, *Delivery])
EVENTS = st.sampled_from(list(Event))


def plain(value: Any) -> Any:
    """Return an answer without its times, which come from two clocks."""
    match value:
        case list() | tuple():
            return [plain(each) for each in value]
        case dict():
            return {key: plain(each) for key, each in value.items()}
        case msgspec.Struct() if hasattr(value, "at"):
            return msgspec.structs.replace(value, at=None)
        case Settlement():
            timeless: dict[str, Any] = dict.fromkeys(("created_at", "value_date"))
            timeless |= {"ended_at": bool(value.ended_at)}
            timeless |= {"next_action_at": bool(value.next_action_at)}
            return replace(value, **timeless, attempt=plain(value.attempt))
        case Attempt():
            return msgspec.structs.replace(value, recorded_at=None)
        case _:
            return value


class Pair:
    """Both stores, with the same operations applied. The examples share them."""

    def __init__(self, databases: Databases) -> None:
        self.run = asyncio.Runner()
        self._databases = databases
        self.is_apart = False
        self._open()

    def _open(self) -> None:
        self._url = self.run.run(self._databases.migrated())
        self.stores: list[Stores] = [MemoryStores(), PostgresStores(self._url)]
        self.scene: Scene = self.run.run(self._open_scene())
        self.engines = [self.scene.engine_id]

    async def _open_scene(self) -> Scene:
        """Open the same accounts in both: they have the same ids."""
        scenes = [await Scene.open(each, funds_minor=0, number=1) for each in self.stores]
        assert scenes[0].route == scenes[1].route
        return scenes[0]

    def renew(self) -> None:
        """Create new stores after a difference, so that the example can be shrunk."""
        if self.is_apart:
            self.close()
            self.is_apart = False
            self.run = asyncio.Runner()
            self._open()

    def ask(self, call: Callable[[Stores], Awaitable[Any]]) -> Any:
        """Run an operation on both, and return the memory store's answer; both must agree, also on errors."""
        answers = [self.run.run(self._answer(call, stores)) for stores in self.stores]
        self.is_apart = plain(answers[0]) != plain(answers[1])
        assert plain(answers[0]) == plain(answers[1])
        return answers[0]

    async def _answer(self, call: Callable[[Stores], Awaitable[Any]], stores: Stores) -> Any:
        try:
            return await call(stores)
        except SettlementEngineError as error:
            return type(error)

    def prove(self) -> None:
        proofs = [self.run.run(stores.auditor.prove()) for stores in self.stores]
        self.is_apart = proofs[0] != proofs[1]
        assert proofs[0] == proofs[1]
        assert list(proofs[0].differences) == []

    def close(self) -> None:
        for stores in self.stores:
            self.run.run(stores.close())
        self.run.run(self._databases.drop(self._url))
        self.run.close()


class Machine(RuleBasedStateMachine):
    """Random operations, and the expected state of the settlements."""

    pair: Pair

    def __init__(self) -> None:
        super().__init__()
        self.pair.renew()
        self.known: dict[Any, Settlement] = {}
        self.owners: dict[Any, int] = {}

    @property
    def scene(self) -> Scene:
        return self.pair.scene

    @initialize(data=st.data(), funds=st.integers(0, 2_000), count=st.integers(1, 6))
    def begin(self, data: st.DataObject, funds: int, count: int) -> None:
        """Assign what earlier examples have left to a live engine, and admit some more."""
        keeper = self.scene.engine_id
        self.pair.ask(lambda stores: self._claim(stores, keeper, is_sweep=True))
        while len(self.pair.engines) < ENGINES_MAX:  # every example has as many to choose from
            self._join()
        if funds:
            self._fund(funds)
        for account_id in (self.scene.route.source_id, self.scene.route.target_id):
            self._set_active(account_id, is_active=True)
        self.admit(data, [NEW] * count)

    def _join(self) -> None:
        self.pair.engines.append(self.pair.ask(lambda stores: stores.registry.join(LEASE_SECONDS)))

    def _fund(self, minor: int) -> None:
        paid_in = funding(minor, bank=self.scene.source_bank)
        self.pair.ask(lambda stores: stores.accounts.fund(paid_in))

    def _set_active(self, account_id: int, *, is_active: bool) -> None:
        self.pair.ask(lambda stores: stores.accounts.set_active(account_id, is_active=is_active))

    # --- rules ----------------------------------------------------------------------------------

    @rule(data=st.data(), kind=st.integers(0, 3))
    def do_chores(self, data: st.DataObject, kind: int) -> None:
        route = self.scene.route
        if kind == 0:
            self._fund(data.draw(st.integers(1, 300)))
        elif kind == 1:
            account_id = data.draw(st.sampled_from([route.source_id, route.target_id]))
            is_active = data.draw(st.integers(0, 3)) > 0
            self._set_active(account_id, is_active=is_active)
        elif len(self.pair.engines) < ENGINES_MAX:
            self._join()
        else:
            engine_id = self.pair.engines.pop()  # Its lease has run out by the next claim.
            self.pair.ask(lambda stores: stores.registry.renew(engine_id, -1.0))

    @rule(data=st.data(), kinds=st.lists(st.integers(0, 5), min_size=1, max_size=5))
    def admit(self, data: st.DataObject, kinds: list[int]) -> None:
        batch = [admission(self._request(data, kind)) for kind in kinds]
        engine_id = data.draw(st.sampled_from(self.pair.engines))
        self.pair.ask(lambda stores: stores.settlements.admit(batch, engine_id))
        self._look([each.settlement_id for each in batch])
        self._note_owner([each.settlement_id for each in batch], engine_id)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), size=st.integers(1, 5), is_looking=st.sampled_from(LOOKS))
    def apply(self, data: st.DataObject, size: int, *, is_looking: bool) -> None:
        keys = data.draw(
            st.lists(st.sampled_from(list(self.known)), min_size=1, max_size=size, unique=True)
        )
        engine_id = self.owners[
            keys[0]
        ]  # Almost nothing is done for anybody else, and that is tried.
        if data.draw(st.integers(0, 9)) == 0:
            engine_id = data.draw(st.sampled_from(self.pair.engines))
        for _ in range(BATCHES):
            steps = [self._step(data, self.known[key]) for key in keys]
            self.pair.ask(_applying(steps, engine_id))
            if is_looking:  # Else the next step believes what is no longer so.
                self._look(keys)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), is_sweep=st.booleans())
    def claim(self, data: st.DataObject, *, is_sweep: bool) -> None:
        engine_id = data.draw(st.sampled_from(self.pair.engines))
        found = self.pair.ask(lambda stores: self._claim(stores, engine_id, is_sweep=is_sweep))
        self.known |= {key: each for key, (_, each) in found.items() if key in self.known}
        self._note_owner(found, engine_id)

    @precondition(lambda self: self.known)
    @rule()
    def look(self) -> None:
        self._look(list(self.known))

    # --- parts ----------------------------------------------------------------------------------

    async def _claim(self, stores: Stores, engine_id: int, *, is_sweep: bool) -> Any:
        claimed = await stores.settlements.claim(engine_id, LIMIT, is_sweep=is_sweep)
        readable = [each for each in claimed if isinstance(each, Claimed)]
        assert len(readable) == len(claimed)
        return {each.settlement.id: (each.was_asked, each.settlement) for each in readable}

    def _look(self, keys: list[Any]) -> None:
        found = self.pair.ask(lambda stores: stores.settlements.load(keys))
        self.known |= found

    def _note_owner(self, keys: Iterable[Any], engine_id: int) -> None:
        self.owners |= {key: engine_id for key in keys if key in self.known}

    def _request(self, data: st.DataObject, kind: int) -> Any:
        """Return a new instruction, or one related to an earlier one."""
        if kind >= NEW or not self.known:
            minor, delivery = data.draw(st.integers(1, 200)), data.draw(DELIVERIES)
            return self.scene.payment_request(minor=minor, requested_delivery=delivery)
        key = data.draw(st.sampled_from(list(self.known)))
        earlier = self.known[key].instruction
        if kind == 0:
            return earlier
        if kind == 1:
            return replace(earlier, amount=Money(data.draw(st.integers(1, 3)), "EUR"))
        return self.scene.payment_request(obligation_id=earlier.obligation_id)

    def _step(self, data: st.DataObject, believed: Settlement) -> Any:
        """Return a transition that is usually legal, and sometimes illegal."""
        rows = TRANSITIONS[believed.state]
        chance = data.draw(st.integers(0, 19))
        due_seconds = data.draw(DUE_SECONDS)
        changes: dict[str, Any]
        if not rows or chance == 0:
            row = Transition(data.draw(st.sampled_from(list(State))), None, None, ())
            event = data.draw(EVENTS)
            changes = {"due_seconds": _parked(row, event, due_seconds)}
            return self.scene.step(believed, event, row, **changes)
        event = data.draw(st.sampled_from(list(rows if chance < ENDING else _onward(rows))))
        changes = {"due_seconds": _parked(rows[event], event, due_seconds)}
        if rows[event].do is Do.LOCK:
            changes["window_opening"] = SHUT if chance == 1 else OPEN
        if chance == 2:
            believed = replace(believed, seq=believed.seq - 1)
        return self.scene.step(believed, event, **changes)

    def teardown(self) -> None:
        """Compare everything that is visible from outside."""
        if self.pair.is_apart:
            return
        keys = list(self.known)
        self._look(keys)
        for key in keys:
            self.pair.ask(_life_of(key))
        self.pair.ask(lambda stores: stores.stream.head())
        self.pair.ask(lambda stores: stores.accounts.accounts(ALL_ACCOUNTS))
        wanted = SettlementFilter(currency="EUR", states=frozenset({State.LOCKED, State.SENT}))
        self.pair.ask(lambda stores: stores.settlements.list_settlements(wanted))
        self.pair.prove()


def test_memory_and_postgresql_answer_alike(databases):
    pair = Pair(databases)
    machine = type("Machine", (Machine,), {"pair": pair})
    try:
        run_state_machine_as_test(machine, settings=STEPS)
    finally:
        pair.close()


def _parked(row: Transition, event: Event, due_seconds: float | None) -> float | None:
    """Park as the engine does: what is to be sent is parked only after a proof that nothing was sent."""
    is_sent_now = row.state is State.LOCKED and event is not Event.UNDELIVERED
    return None if is_sent_now else due_seconds


def _onward(rows: Mapping[Event, Transition]) -> list[Event]:
    """Return the events that do not end a settlement; with all events few would pass the first state."""
    on = {event: row for event, row in rows.items() if row.do in (Do.LOCK, Do.POST)}
    on |= {event: row for event, row in rows.items() if row.state not in ENDS}
    return list(on or rows)


def _applying(steps, engine_id):
    return lambda stores: stores.settlements.apply(steps, engine_id)


def _life_of(key):
    return lambda stores: stores.settlements.history(key)
