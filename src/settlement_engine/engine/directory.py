"""Which accounts a settlement needs: a cache of accounts.

An entry may be old; whether an account is active is checked again under the row lock, with the hold. A missing
account is never cached. Promises: while several batches are decided at the same time, the entries that one of them
looked up stay readable until it is decided; otherwise a valid instruction could be refused. Must never: cache a
balance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.preconditions import AccountFacts
from settlement_engine.domain.settlement import Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from settlement_engine.domain.ledger import Account
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import AccountStore

GENERATION: Final = 100_000
"""The number of entries in a cache generation. Two generations are kept; a batch needs a few thousand."""

K = TypeVar("K")
V = TypeVar("V")

_Key = tuple[AccountKind, str, str]
_NOSTRO, _VOSTRO = AccountKind.NOSTRO, AccountKind.VOSTRO
_SETTLEMENT, _CLEARING = AccountKind.SETTLEMENT, AccountKind.CLEARING
_UNKNOWN: Final = (0, False)
_ROLES: Final = {AccountKind.NOSTRO: "nostro", AccountKind.VOSTRO: "vostro"}


class _Memory(Generic[K, V]):
    """A cache of two generations: ``new_generation`` is valid; ``old`` is still readable, but looked up again."""

    def __init__(self) -> None:
        self.new_generation: dict[K, V] = {}
        self.old: dict[K, V] = {}

    def put(self, key: K, value: V) -> None:
        """Store an entry."""
        if len(self.new_generation) >= GENERATION:
            self._pass_on()
        self.new_generation[key] = value

    def age(self, key: K) -> None:
        """Move an entry to the old generation, so that it is looked up again next time."""
        if len(self.old) > GENERATION:
            self._pass_on()
        elif key in self.new_generation:
            self.old[key] = self.new_generation.pop(key)

    def _pass_on(self) -> None:
        self.old, self.new_generation = self.new_generation, {}

    def get(self, key: K) -> V | None:
        """Return the entry of either generation."""
        found = self.new_generation.get(key)
        return self.old.get(key) if found is None else found


class Directory:
    """Finds the accounts of banks and rails."""

    def __init__(self, accounts: AccountStore) -> None:
        self._accounts = accounts
        self._known: _Memory[_Key, tuple[int, bool]] = _Memory()
        self._elsewhere: _Memory[tuple[AccountKind, str], tuple[str, ...]] = _Memory()

    async def prefetch(self, wanted: Iterable[tuple[Settlement, str | None]]) -> None:
        """Look up the accounts that are missing for these settlements and their rails.

        Control accounts are opened on first need, once the accounts of both sides exist.
        """
        missing: dict[_Key, None] = {}
        controls: dict[_Key, tuple[_Key, _Key]] = {}
        new_generation = self._known.new_generation
        for settlement, rail in wanted:
            instruction = settlement.instruction
            currency = instruction.amount.currency
            source = folded_bank(instruction.from_bank)
            nostro: _Key = (_NOSTRO, source, currency)
            vostro: _Key = (_VOSTRO, folded_bank(instruction.to_bank), currency)
            # An inactive account may be active by now, so only active ones are cached.
            if not new_generation.get(nostro, _UNKNOWN)[1]:
                missing[nostro] = None
            if not new_generation.get(vostro, _UNKNOWN)[1]:
                missing[vostro] = None
            if rail is None:
                continue
            agent: _Key = (_SETTLEMENT, rail, currency)
            clearing: _Key = (_CLEARING, source, currency)
            if agent not in new_generation:
                controls[agent] = (nostro, vostro)
            if clearing not in new_generation:
                controls[clearing] = (nostro, vostro)
        if missing:
            await self._look_up(list(missing))
        wanted_controls = [
            control
            for control, sides in controls.items()
            if all(self._known.get(side) is not None for side in sides)
        ]
        if wanted_controls:
            await self._ensure(wanted_controls)

    async def prefetch_suspense(self, settlements: Iterable[Settlement]) -> None:
        """Look up, and open on first need, the suspense accounts of these settlements' rails."""
        wanted = {
            (AccountKind.SUSPENSE, each.attempt.route.rail, each.instruction.amount.currency)
            for each in settlements
            if each.attempt is not None
        }
        missing = sorted(wanted - self._known.new_generation.keys())
        if missing:
            await self._ensure(missing)

    async def prefetch_fees(self, settlements: Iterable[Settlement]) -> None:
        """Look up, and open on first need, the fees accounts of the paying banks."""
        wanted = {
            (
                AccountKind.FEES,
                folded_bank(each.instruction.from_bank),
                each.instruction.amount.currency,
            )
            for each in settlements
        }
        missing = sorted(wanted - self._known.new_generation.keys())
        if missing:
            await self._ensure(missing)

    async def _ensure(self, wanted: list[_Key]) -> None:
        """Look up control accounts, and cache them by the requested owner names."""
        asked = {
            (kind, folded_bank(owner), code): (kind, owner, code) for kind, owner, code in wanted
        }
        for account in await self._accounts.ensure_controls(wanted):
            key = asked[account.kind, folded_bank(account.bank), account.currency]
            self._known.put(key, (account.id, account.is_active))

    def suspense(self, rail: str, currency: str) -> int:
        """Return the suspense account of a rail; it must have been prefetched."""
        return self._id(AccountKind.SUSPENSE, rail, currency)

    def fees(self, bank: str, currency: str) -> int:
        """Return the fees account of a bank; it must have been prefetched."""
        return self._id(AccountKind.FEES, folded_bank(bank), currency)

    async def _look_up(self, missing: list[_Key]) -> None:
        banks = list(dict.fromkeys((kind, bank) for kind, bank, _ in missing))
        found: dict[tuple[AccountKind, str], dict[str, list[Account]]] = {}
        for account in await self._accounts.accounts_of(banks):
            by_currency = found.setdefault((account.kind, folded_bank(account.bank)), {})
            by_currency.setdefault(account.currency, []).append(account)
        for looked_up in banks:
            self._elsewhere.put(looked_up, tuple(found.get(looked_up, ())))
        for kind, bank, currency in missing:
            here = found.get((kind, bank), {}).get(currency)
            if here:
                first = _first(here)
                self._known.put((kind, bank, currency), (first.id, first.is_active))

    def forget(self, settlement: Settlement) -> None:
        """Have this settlement's accounts looked up again next time."""
        instruction = settlement.instruction
        currency = instruction.amount.currency
        self._known.age((AccountKind.NOSTRO, folded_bank(instruction.from_bank), currency))
        self._known.age((AccountKind.VOSTRO, folded_bank(instruction.to_bank), currency))

    def facts(self, kind: AccountKind, bank: str, currency: str) -> AccountFacts:
        """Return what is known about the account of one side."""
        owner = folded_bank(bank)
        account_id, is_active = self._known.get((kind, owner, currency)) or (None, False)
        return AccountFacts(
            role=_ROLES[kind],
            bank=bank,
            currency=currency,
            account_id=account_id,
            is_active=is_active,
            elsewhere=self._elsewhere.get((kind, owner)) or () if account_id is None else (),
        )

    def are_both_active(self, settlement: Settlement) -> bool:
        """Say whether both accounts are cached and were active: then nothing is refused because of them."""
        instruction = settlement.instruction
        currency = instruction.amount.currency
        source = self._known.get((_NOSTRO, folded_bank(instruction.from_bank), currency))
        target = self._known.get((_VOSTRO, folded_bank(instruction.to_bank), currency))
        return (source or _UNKNOWN)[1] and (target or _UNKNOWN)[1]

    def route(self, settlement: Settlement, rail: str) -> Route:
        """Return accounts and delivery of a settlement; the accounts must exist and have been prefetched."""
        instruction = settlement.instruction
        currency = instruction.amount.currency
        source, target = folded_bank(instruction.from_bank), folded_bank(instruction.to_bank)
        return Route(
            rail=rail,
            source_id=self._id(_NOSTRO, source, currency),
            agent_id=self._id(_SETTLEMENT, rail, currency),
            clearing_id=self._id(_CLEARING, source, currency),
            target_id=self._id(_VOSTRO, target, currency),
            delivery=instruction.delivery,
        )

    def _id(self, kind: AccountKind, bank: str, currency: str) -> int:
        key = (kind, bank, currency)
        known = self._known
        return (known.new_generation.get(key) or known.old[key])[0]


def _first(accounts: list[Account]) -> Account:
    """Choose the oldest active account, else the oldest."""
    return min(accounts, key=lambda account: (not account.is_active, account.id))
