"""Accounts, instructions and transitions for store tests: histories made one transition at a time."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.intent import intent_detail
from settlement_engine.domain.ledger import (
    Account,
    AccountKind,
    reverse,
    settle,
    suspend_cash,
    suspend_return,
    suspend_second_debit,
)
from settlement_engine.domain.lifecycle import (
    ENDS,
    PARTLY,
    RETURNS,
    TRANSITIONS,
    Do,
    Event,
    State,
    Transition,
)
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.domain.returns import FIRST_RETURN, Return, left_of
from settlement_engine.domain.settlement import Attempt, Instruction, Priority, Route, Settlement
from settlement_engine.domain.windows import WindowOpening
from settlement_engine.ports import (
    AccountFilter,
    AccountSpec,
    Existing,
    Funding,
    Result,
    TransferFilter,
    TransitionCommand,
    Verdict,
)
from tests.support.made_covers import intent_of, new_cover
from tests.support.stores import CountedIds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.ports import TransitionResult
    from tests.support.stores import Stores

EUR = "EUR"
OPEN = WindowOpening(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
SHUT = WindowOpening(datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 2, tzinfo=UTC))
VALID_UNTIL = datetime(2100, 1, 1, tzinfo=UTC)

MADE_UP = "made up by the test"
"""The reference of a transfer without a call: the proof reports it, and must report nothing else."""

ALL_ACCOUNTS = AccountFilter(limit=1000)
ALL_TRANSFERS = TransferFilter(limit=10_000)

EXCEPTIONS = {
    Event.DISPROVED: CaseKind.DISPROVED,
    Event.UNCOVERED: CaseKind.UNCOVERED_RETURN,
    Event.PARTLY_UNCOVERED: CaseKind.UNCOVERED_RETURN,
    Event.AMOUNT_DIFFERED: CaseKind.AMOUNT_DIFFERS,
    Event.DEBITED_TWICE: CaseKind.DEBITED_TWICE,
}

_numbers = itertools.count(1)
_ids = CountedIds()


def back_of(settlement: Settlement, event: Event, **changes: Any) -> Return:
    """Return the next return: all that is left, or the smallest part of it; each has its own reference."""
    returns = settlement.returns
    left = left_of(settlement.instruction.amount.minor, returns)
    amount = changes.pop("amount_minor", 1 if event in PARTLY else left)
    charges = changes.get("charges_minor", 0)
    fields: dict[str, Any] = {
        "posting": FIRST_RETURN + len(returns),
        "amount_minor": amount,
        "charges_minor": charges,
        "left_minor": left - amount - charges,
        "reference": f"RETURN-{len(returns) + 1}",
    }
    return Return(**{**fields, **changes})


def payment_request(**changes: Any) -> Instruction:
    """Make an instruction that differs from all others, with the given fields."""
    number = next(_numbers)
    fields: dict[str, Any] = {
        "caller": "tester",
        "idempotency_key": f"key-{number}",
        "obligation_id": f"obligation-{number}",
        "from_bank": "ALFA",
        "to_bank": "BETA",
        "amount": Money(100, EUR),
        "value_date": None,
        "priority": Priority.NORMAL,
        "metadata": {},
    }
    if "minor" in changes:
        changes["amount"] = Money(changes.pop("minor"), changes.pop("currency", EUR))
    return Instruction(**{**fields, **changes})


class Admission(NamedTuple):
    """An instruction, and the identifier that its settlement gets if it is new."""

    settlement_id: UUID
    instruction: Instruction


def admission(instruction: Instruction) -> Admission:
    return Admission(_ids.new(), instruction)


def verdict_on(answer: Settlement | Existing) -> tuple[Verdict | None, UUID]:
    """Say what became of an admission: no verdict for a new settlement; and which settlement there is now."""
    if isinstance(answer, Existing):
        return answer.verdict, answer.settlement_id
    return None, answer.id


def path_to(state: State) -> list[tuple[State, Event]]:
    """Return the shortest path from VALIDATING to a state, as transitions."""
    ways: dict[State, list[tuple[State, Event]]] = {State.VALIDATING: []}
    queue = deque([State.VALIDATING])
    while queue:
        here = queue.popleft()
        for event, transition in TRANSITIONS[here].items():
            if transition.state not in ways:
                ways[transition.state] = [*ways[here], (here, event)]
                queue.append(transition.state)
    return ways[state]


class Scene:
    """Two banks in a store that others may use too, an engine, and settlements between the banks.

    ``before`` is the stream's last position at the beginning.
    """

    def __init__(
        self,
        stores: Stores,
        engine_id: int,
        accounts: dict[AccountKind, Account],
        before: int,
        rail: str = "mock",
    ) -> None:
        self.stores = stores
        self.engine_id = engine_id
        self.before = before
        self.source_bank = accounts[AccountKind.NOSTRO].bank
        self.target_bank = accounts[AccountKind.VOSTRO].bank
        self._accounts = accounts
        self.rail = rail

    @classmethod
    async def open(
        cls,
        stores: Stores,
        *,
        funds_minor: int = 10**9,
        currency: str = EUR,
        number: int | None = None,
        rail: str = "mock",
    ) -> Scene:
        number = number or next(_numbers)
        source, target = f"ALFA{number}", f"BETA{number}"
        store = stores.accounts
        accounts = {
            AccountKind.NOSTRO: await store.open_account(
                spec(AccountKind.NOSTRO, source, currency=currency)
            ),
            AccountKind.VOSTRO: await store.open_account(
                spec(AccountKind.VOSTRO, target, currency=currency)
            ),
        }
        controls = [
            (AccountKind.SUSPENSE, rail, currency),
            (AccountKind.SETTLEMENT, rail, currency),
            (AccountKind.CLEARING, source, currency),
        ]
        accounts |= {each.kind: each for each in await store.ensure_controls(controls)}
        charged = [(AccountKind.FEES, source, currency)]
        accounts |= {each.kind: each for each in await store.ensure_controls(charged)}
        before = await stores.stream.head()
        scene = cls(stores, await stores.engine_id(), accounts, before, rail)
        if funds_minor:
            await scene.fund(funds_minor, currency)
        return scene

    async def fund(self, minor: int, currency: str = EUR) -> None:
        paid_in = funding(minor, bank=self.source_bank, currency=currency)
        await self.stores.accounts.fund(paid_in)

    def payment_request(self, **changes: Any) -> Instruction:
        """Make an instruction between the two banks."""
        sides = {"from_bank": self.source_bank, "to_bank": self.target_bank}
        return payment_request(**{**sides, **changes})

    def admission(self, **changes: Any) -> Admission:
        return admission(self.payment_request(**changes))

    async def moves(self) -> int:
        """Count the moves since the beginning."""
        return await self.stores.stream.head() - self.before

    @property
    def route(self) -> Route:
        return Route(
            rail=self.rail,
            source_id=self._accounts[AccountKind.NOSTRO].id,
            agent_id=self._accounts[AccountKind.SETTLEMENT].id,
            clearing_id=self._accounts[AccountKind.CLEARING].id,
            target_id=self._accounts[AccountKind.VOSTRO].id,
        )

    async def account(self, kind: AccountKind) -> Account:
        found: Account | None = await self.stores.accounts.account(self._accounts[kind].id)
        assert found is not None
        return found

    async def source(self) -> Account:
        return await self.account(AccountKind.NOSTRO)

    # --- settlements ----------------------------------------------------------------------------

    async def admit(
        self, *payment_requests: Instruction, engine_id: int | None = None
    ) -> list[Settlement]:
        """Admit new instructions and load them."""
        batch = [admission(each) for each in payment_requests]
        answers = await self.stores.settlements.admit(
            batch, self.engine_id if engine_id is None else engine_id
        )
        assert [verdict_on(answer)[0] for answer in answers] == [None] * len(payment_requests)
        found = await self.stores.settlements.load([each.settlement_id for each in batch])
        return [found[each.settlement_id] for each in batch]

    async def new(self, **changes: Any) -> Settlement:
        [settlement] = await self.admit(self.payment_request(**changes))
        return settlement

    async def bring(self, state: State, **changes: Any) -> Settlement:
        """Make a settlement and bring it to a state."""
        settlement = await self.new(**changes)
        for _, event in path_to(state):
            settlement = await self.move(settlement, event)
        assert settlement.state is state
        return settlement

    async def load(self, settlement: Settlement) -> Settlement:
        found = await self.stores.settlements.load([settlement.id])
        return found[settlement.id]

    # --- steps ----------------------------------------------------------------------------------

    def attempt(self, settlement: Settlement, trace: str = "", **route: int) -> Attempt:
        instruction = settlement.instruction
        return Attempt(
            number=1,
            route=msgspec.structs.replace(self.route, delivery=instruction.delivery, **route),
            references=references(instruction.caller, instruction.idempotency_key, 1),
            payload=b'\x00the exact bytes\\"{}',
            recorded_at=OPEN.opens_at,  # the store writes its own time
            valid_until=VALID_UNTIL,
            trace=trace,
        )

    async def locked(self, trace: str = "") -> Settlement:
        """Make a settlement whose send intent is recorded, with a trace."""
        settlement = await self.new()
        return await self.move(settlement, Event.CLEARED, attempt=self.attempt(settlement, trace))

    def step(
        self,
        settlement: Settlement,
        event: Event,
        transition: Transition | None = None,
        **changes: Any,
    ) -> TransitionCommand:
        """Make the command of a transition, with everything that the transition needs."""
        transition = transition or TRANSITIONS[settlement.state][event]
        fields: dict[str, Any] = {
            "settlement": settlement,
            "event": event,
            "transition": transition,
        }
        intent: dict[str, str] = {}
        if transition.do is Do.LOCK:
            fields |= {"attempt": self.attempt(settlement), "window_opening": OPEN}
            intent = intent_detail(changes.get("attempt", fields["attempt"]))
        back = changes.get("back") or (back_of(settlement, event) if event in RETURNS else None)
        posted = self._posted(settlement, event, transition, back)
        fields |= {"back": back, "transfers": posted}
        if transition.do in (Do.POST, Do.REVERSE):
            fields |= {"rail_reference": "R-1", "confirmation": "C-1"}
        is_late = transition.do in (Do.EXCEPT, Do.SUSPEND)
        if transition.state in ENDS and transition.state is not State.COMPLETED and not is_late:
            fields["refusal"] = Refusal(code=RefusalCode.RAIL_REJECTED, detail={"code": "AC04"})
        stated = {
            name: changes.get(name, fields.get(name, ""))
            for name in ("rail_reference", "confirmation")
        }
        fields["detail"] = {"text": f'{event} "quoted", {{braced}} and \\ back', **intent}
        told = {name: text for name, text in stated.items() if text}
        fields["detail"] |= told
        if "detail" in changes:
            changes["detail"] = {**told, **changes["detail"]}
        if event is Event.COVER_DUE and settlement.attempt is not None:
            fields["detail"] |= intent_of(new_cover(settlement).cover)
        if event in EXCEPTIONS:
            fields["detail"]["exception"] = EXCEPTIONS[event].value
        if back is not None:
            fields["detail"] |= back.words()
            if "detail" in changes:
                changes["detail"] = {**changes["detail"], **back.words()}
        return TransitionCommand(**{**fields, **changes})

    @property
    def fees_id(self) -> int:
        return self._accounts[AccountKind.FEES].id

    def _posted(
        self, settlement: Settlement, event: Event, transition: Transition, back: Return | None
    ) -> tuple[Transfer, ...]:
        """Return the transfers of a transition."""
        amount = settlement.instruction.amount
        route = self.route if settlement.attempt is None else settlement.attempt.route
        sides, currency = (settlement.id, route), amount.currency
        suspense_id = self._accounts[AccountKind.SUSPENSE].id
        if transition.do is Do.POST:
            return settle(*sides, amount.minor, currency)
        is_paid_out = route.delivery is Delivery.PAY_OUT  # what comes back of it is always covered
        if transition.do is Do.REVERSE or (back is not None and is_paid_out):
            assert back is not None
            return reverse(*sides, back, currency, self.fees_id)
        if transition.do is not Do.SUSPEND:
            return ()
        if back is not None:
            return suspend_return(*sides, suspense_id, back, currency, self.fees_id)
        if event is Event.DEBITED_TWICE:
            return suspend_second_debit(*sides, suspense_id, amount.minor, currency)
        is_at_agent = settlement.state is State.ROLLED_BACK
        return suspend_cash(*sides, suspense_id, amount.minor, currency, is_at_agent=is_at_agent)

    async def apply(
        self, *steps: TransitionCommand, engine_id: int | None = None
    ) -> list[TransitionResult]:
        """Apply transitions; a cover is stored before its send intent."""
        due = [
            new_cover(each.settlement)
            for each in steps
            if each.event is Event.COVER_DUE and each.settlement.attempt is not None
        ]
        await self.stores.covers.record(due)
        return await self.stores.settlements.apply(
            steps, self.engine_id if engine_id is None else engine_id
        )

    async def move(self, settlement: Settlement, event: Event, **changes: Any) -> Settlement:
        """Apply a transition and load the settlement."""
        [outcome] = await self.apply(self.step(settlement, event, **changes))
        assert outcome.result is Result.APPLIED, (settlement.state, event)
        return await self.load(settlement)

    # --- reading --------------------------------------------------------------------------------

    async def everything(self, *settlements: Settlement) -> tuple[object, ...]:
        """Return everything that a transition could change, to be compared before and after."""
        found = await self.stores.settlements.load([each.id for each in settlements])
        histories = [await self.stores.settlements.history(each.id) for each in settlements]
        accounts = await self.stores.accounts.accounts(ALL_ACCOUNTS)
        transfers = await self.stores.accounts.transfers(ALL_TRANSFERS)
        return found, histories, accounts, transfers, await self.stores.stream.head()


def spec(kind: AccountKind, bank: str, **changes: Any) -> AccountSpec:
    fields: dict[str, Any] = {
        "kind": kind,
        "bank": bank,
        "currency": EUR,
        "account_number": "",
        "credit_limit": 0,
        "caller": "tester",
        "idempotency_key": "",
    }
    return AccountSpec(**{**fields, **changes})


def funding(minor: int, **changes: Any) -> Funding:
    fields: dict[str, Any] = {
        "bank": "ALFA",
        "amount": Money(minor, changes.pop("currency", EUR)),
        "reference": "paid in",
        "account_number": "",
        "caller": "tester",
        "idempotency_key": f"funding-{next(_numbers)}",
    }
    return Funding(**{**fields, **changes})


def results(outcomes: Sequence[TransitionResult]) -> list[Result]:
    return [outcome.result for outcome in outcomes]


def aged(settlement: Settlement, **changes: Any) -> Settlement:
    """Return a settlement as an engine with outdated state has it."""
    return replace(settlement, **changes)
