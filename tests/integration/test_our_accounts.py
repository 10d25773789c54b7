"""Our accounts in the bank directory beside those of the configuration, on PostgreSQL, as `doctor` compares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.app.database import differing_accounts
from settlement_engine.domain.bank_directory import ListedBank, StandingInstruction
from settlement_engine.domain.payment import PaymentAccount
from settlement_engine.ports import BankPut
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from tests.support.databases import Databases

EUROS, DOLLARS = "DE56500700100123456600", "4711"


async def test_what_differs_is_listed_by_currency(databases: Databases) -> None:
    stores = PostgresStores(await databases.migrated())
    try:
        instructions = (
            StandingInstruction(currency="EUR", our_account=PaymentAccount(iban=EUROS)),
            StandingInstruction(currency="USD", our_account=PaymentAccount(other_id=DOLLARS)),
            StandingInstruction(currency="JPY"),
        )
        bank = ListedBank(code="DEUTDEFF", name="A bank", instructions=instructions)
        await stores.banks.put_bank(BankPut(bank=bank, who="ada"))
        [change] = await stores.banks.bank_changes(0, 10)
        assert change.accounts == {"EUR": EUROS, "USD": DOLLARS}
        configured = {
            "same": (EUROS, ("EUR",), "DEUTDEFF"),
            "all": (EUROS, (), "DEUTDEFF"),
            "unknown": (EUROS, (), "CHASUS33"),
        }
        assert await differing_accounts(stores.url, configured) == [
            "all: our account with DEUTDEFF in USD is 4711 in the bank directory"
        ]
    finally:
        await stores.close()
        await databases.drop(stores.url)
