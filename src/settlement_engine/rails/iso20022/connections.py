"""The banks that one rail reaches: which of them takes an order, and what the rail may promise for all of them.

Promises: of each payment at most one bank takes the order; what the rail says of itself holds with each of its
banks, so the most careful of their profiles decides. Must never: read a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.payment_scope import EVERYTHING, scope_of
from settlement_engine.errors import Misconfigured
from settlement_engine.ports import MessageType, RailCapabilities
from settlement_engine.ports.lanes import LaneLimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from settlement_engine.domain.lifecycle import Ask, State
    from settlement_engine.domain.payment import Delivery
    from settlement_engine.rails.iso20022.dialect import Dialect
    from settlement_engine.rails.iso20022.profile import IsoProfile
    from settlement_engine.rails.transport.http import HttpTransport

N = TypeVar("N", int, float)

BANKS_MAX: Final = 100
"""The most banks of one rail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BankConnection:
    """One bank: whose payments go to it, what may be relied upon, how it is written to and reached.

    ``name`` is what the configuration calls it. ``banks`` (folded codes) keep the accounts that it pays from; none
    at all means every bank, as with ``currencies``. ``answer_seconds`` is how long one exchange may take.
    ``states_balances``: it answers a request for a balance (camt.060) with a camt.052. ``covers``: customers' payments
    to banks that the bank directory says are covered go to them, and only their covers to this bank.
    """

    name: str
    profile: IsoProfile
    dialect: Dialect
    transport: HttpTransport
    answer_seconds: int
    banks: frozenset[str] = frozenset()
    currencies: frozenset[str] = frozenset()
    states_balances: bool = False
    covers: bool = False

    @property
    def carried(self) -> frozenset[str]:
        """The currencies that both the bank and the scheme carry; none at all means every one."""
        scheme = frozenset(self.profile.currencies)
        return self.currencies & scheme if self.currencies and scheme else self.currencies or scheme

    @property
    def scope(self) -> frozenset[str]:
        """The payments that go to it."""
        return scope_of(self.banks, self.carried)

    def rules(self, on: date) -> RailCapabilities:
        """Return what may be relied upon with it, on a day."""
        return replace(
            self.profile.capabilities(on),
            answer_timeout_seconds=self.answer_seconds,
            banks=self.banks or None,
            currencies=self.carried or None,
        )


class Connections:
    """The banks of one rail. Raises Misconfigured where a payment could go to two of them."""

    def __init__(self, connections: Sequence[BankConnection]) -> None:
        assert connections, "a rail reaches somebody"
        self.all = tuple(connections)
        if len(self.all) > BANKS_MAX:
            raise Misconfigured(
                f"a rail reaches {len(self.all)} banks, and {BANKS_MAX} are the most"
            )
        for place, one in enumerate(self.all):
            _refuse_nothing(one)
            for other in self.all[:place]:
                _refuse_overlap(other, one)
        self._taken = [(each.banks, each.carried, each) for each in self.all]

    def of(self, bank: str, currency: str) -> BankConnection | None:
        """Return who takes orders from our account at a bank in a currency; None if nobody does."""
        folded = folded_bank(bank)
        for banks, currencies, connection in self._taken:
            if (not banks or folded in banks) and (not currencies or currency in currencies):
                return connection
        return None

    def named(self, names: Iterable[str]) -> tuple[BankConnection, ...]:
        """Return the connections of these names."""
        wanted = frozenset(names)
        return tuple(each for each in self.all if each.name in wanted)

    def capabilities(self, on: date) -> RailCapabilities:
        """Return what the rail may promise on a day."""
        return combined([each.rules(on) for each in self.all])

    def limits_change_on(self, after: date) -> date | None:
        """Return the next day on which other limits apply; None when there is none."""
        found = (each.profile.limits_change_on(after) for each in self.all)
        return min((day for day in found if day is not None), default=None)


def heard_scope(senders: Sequence[BankConnection]) -> frozenset[str]:
    """Return the payments that these banks may report on; empty for all of the rail."""
    scopes = frozenset().union(*(each.scope for each in senders))
    return frozenset() if scopes >= EVERYTHING else scopes


def _refuse_nothing(one: BankConnection) -> None:
    scheme = frozenset(one.profile.currencies)
    if one.currencies and scheme and not one.currencies & scheme:
        carried = ", ".join(sorted(scheme))
        what = f"{one.name} names no currency that {one.profile.scheme} carries"
        raise Misconfigured(what, todo=f"Name some of: {carried}.")


def _refuse_overlap(one: BankConnection, other: BankConnection) -> None:
    banks = _both(one.banks, other.banks)
    currencies = _both(one.carried, other.carried)
    if banks is None or currencies is None:
        return
    raise Misconfigured(
        f"payments of {_some(banks, 'any bank')} in {_some(currencies, 'any currency')}"
        f" would go to {one.name} and to {other.name}",
        todo="Name in banks and currencies whose payments go to each of them.",
    )


def _both(one: frozenset[str], other: frozenset[str]) -> frozenset[str] | None:
    """Return what is in both, where an empty set is everything; None when nothing is."""
    if not one or not other:
        return one or other
    return one & other or None


def _some(names: frozenset[str], everything: str) -> str:
    return min(names) if names else everything


# --- what holds with each of them ---------------------------------------------------------------------


def combined(rules: Sequence[RailCapabilities]) -> RailCapabilities:
    """Return the rules that hold with every bank."""
    if len(rules) == 1:
        return rules[0]
    lanes = [each.lane.concurrency_max for each in rules]
    return RailCapabilities(
        rail_class=max(each.rail_class for each in rules),
        is_not_found_definite=all(each.is_not_found_definite for each in rules),
        not_found_after_seconds=max(each.not_found_after_seconds for each in rules),
        deduplicates_seconds=min(each.deduplicates_seconds for each in rules),
        validity_seconds=min(each.validity_seconds for each in rules),
        answer_timeout_seconds=max(each.answer_timeout_seconds for each in rules),
        currencies=_union([each.currencies for each in rules]),
        banks=_union([each.banks for each in rules]),
        scope=frozenset().union(*(_scope(each) for each in rules)),
        amount_min_minor=_narrowest([each.amount_min_minor for each in rules], largest=True),
        amount_max_minor=_narrowest([each.amount_max_minor for each in rules], largest=False),
        needs=_needs([each.needs for each in rules]),
        lane=LaneLimits(concurrency_max=min(each for each in lanes if each is not None)),
        enquiry=_enquiry([each.enquiry for each in rules]),
        messages=_messages([message for each in rules for message in each.messages]),
        recall_within_seconds=min(
            _stated(each.recall_within_seconds for each in rules), default=None
        ),
        recall_answer_seconds=max(
            _stated(each.recall_answer_seconds for each in rules), default=None
        ),
        recall_answer_banking_days=max(
            _stated(each.recall_answer_banking_days for each in rules), default=None
        ),
    )


def _stated(limits: Iterable[N | None]) -> list[N]:
    return [each for each in limits if each is not None]


def _scope(rules: RailCapabilities) -> frozenset[str]:
    return scope_of(rules.banks or (), rules.currencies or ())


def _union(sets: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    if any(each is None for each in sets):
        return None
    return frozenset().union(*(each for each in sets if each is not None))


def _narrowest(limits: Sequence[Mapping[str, int]], *, largest: bool) -> dict[str, int]:
    found: dict[str, int] = {}
    choose = max if largest else min
    for each in limits:
        for currency, minor in each.items():
            found[currency] = choose(minor, found.get(currency, minor))
    return found


def _needs(
    needs: Sequence[Mapping[Delivery, tuple[str, ...]]],
) -> dict[Delivery, tuple[str, ...]]:
    found: dict[Delivery, tuple[str, ...]] = {}
    for each in needs:
        for delivery, paths in each.items():
            found[delivery] = tuple(dict.fromkeys((*found.get(delivery, ()), *paths)))
    return found


def _enquiry(schedules: Sequence[Mapping[State, Backoff]]) -> dict[State, Backoff]:
    """Ask each bank as often as the one that is asked least often."""
    found: dict[State, Backoff] = {}
    for each in schedules:
        for state, backoff in each.items():
            known = found.get(state, backoff)
            found[state] = Backoff(
                first_seconds=max(known.first_seconds, backoff.first_seconds),
                max_seconds=max(known.max_seconds, backoff.max_seconds),
            )
    return found


def _messages(messages: Sequence[MessageType]) -> tuple[MessageType, ...]:
    versions: dict[tuple[str, Ask | None], set[str]] = {}
    for each in messages:
        versions.setdefault((each.name, each.ask), set()).update(each.versions)
    return tuple(
        MessageType(name=name, versions=tuple(sorted(known)), ask=ask)
        for (name, ask), known in versions.items()
    )
