"""Which of a rail's payments a bank has to do with: those of some banks, in some currencies.

A scope is a set of texts ``BANK/CURRENCY`` with folded codes; ``*`` stands for every bank, or every currency. The
database's query for inbound reports compares the same four texts. Must never: name a bank by two spellings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import folded_bank

if TYPE_CHECKING:
    from collections.abc import Collection

ANY: Final = "*"
EVERYTHING: Final = frozenset({f"{ANY}/{ANY}"})


def scope_of(banks: Collection[str], currencies: Collection[str]) -> frozenset[str]:
    """Return the scope of these banks and currencies; none at all means every one."""
    folded = sorted(map(folded_bank, banks)) or [ANY]
    return frozenset(
        f"{bank}/{currency}" for bank in folded for currency in (sorted(currencies) or [ANY])
    )


def names_in_scopes(bank: str, currency: str) -> tuple[str, ...]:
    """Return the texts under which a scope has a payment, the most exact one first."""
    folded = folded_bank(bank)
    return (
        f"{folded}/{currency}",
        f"{folded}/{ANY}",
        f"{ANY}/{currency}",
        f"{ANY}/{ANY}",
    )


def is_in_scope(scope: frozenset[str], bank: str, currency: str) -> bool:
    """Say whether a payment from our account at this bank, in this currency, belongs to a scope."""
    return not scope.isdisjoint(names_in_scopes(bank, currency))
