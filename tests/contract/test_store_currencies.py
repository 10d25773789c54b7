"""A currency that has left ISO 4217 stays in the database for ever, with the exponent stored there."""

from __future__ import annotations

import pytest

from settlement_engine.domain import money
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import format_amount
from settlement_engine.errors import InvalidInstruction
from settlement_engine.events.announce import Announcer
from settlement_engine.evidence import bundle
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.evidence.verification import verify
from settlement_engine.ports import AccountFilter, SettlementFilter, TransferFilter
from settlement_lab.memory import MemoryAccounts
from tests.support import iso4217
from tests.support.histories import Scene, funding, spec
from tests.support.iso4217 import LEAVING

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSION = "1"


@pytest.fixture
def leaving(monkeypatch, stores):
    """Begin with the lev in the list; calling the fixture removes it and simulates a new process."""
    money.book_exponents({LEAVING: 2})  # for what looks at these books when the list is back
    iso4217.list_has_it(monkeypatch)
    book(stores)

    def leave(digits=None):
        if digits is None:
            iso4217.list_loses_it(monkeypatch)
        else:
            iso4217.list_changes_it(monkeypatch, digits)
        if stores.name != "memory":  # whose process is the database
            iso4217.start_anew(monkeypatch)

    return leave


def book(stores):
    """An older database has the lev from its migrations; the memory store from its creation."""
    if stores.name == "memory":
        money.book_exponents(money.currencies())


async def in_levs(stores):
    if stores.name != "memory":
        await stores.with_currency(LEAVING, 2)
    return await Scene.open(stores, currency=LEAVING)


@pytest.mark.parametrize("digits", [None, 0, 3])
async def test_settlements_in_a_withdrawn_currency_can_be_read(stores, leaving, digits):
    scene = await in_levs(stores)
    done = await scene.bring(State.COMPLETED, minor=1250, currency=LEAVING)
    begun = await scene.bring(State.SENT, minor=99, currency=LEAVING)
    leaving(digits)
    stores = stores.beside()
    found = await stores.settlements.load([done.id, begun.id])
    assert [str(found[each.id].instruction.amount) for each in (done, begun)] == ["12.50", "0.99"]
    listed = await stores.settlements.list_settlements(SettlementFilter(currency=LEAVING))
    assert {str(each.instruction.amount) for each in listed} == {"12.50", "0.99"}
    wanted = AccountFilter(kind=AccountKind.NOSTRO, bank=scene.source_bank)
    [nostro] = await stores.accounts.accounts(wanted)
    assert format_amount(nostro.held, nostro.currency) == "0.99"
    [moved, *_] = await stores.accounts.transfers(TransferFilter(account_id=nostro.id))
    assert format_amount(moved.amount_minor, moved.currency) in ("12.50", "10000000.00")


async def test_announcements_have_the_recorded_data(stores, leaving):
    scene = await in_levs(stores)
    await scene.bring(State.COMPLETED, minor=1250, currency=LEAVING)
    leaving()
    stores = stores.beside()
    announcer = Announcer(prefix="settlement", source="/test")
    reported = [announcer.message(each) for each in await stores.stream.read(scene.before, 100)]
    assert len(reported) == 3
    assert all('"amount":"12.50","currency":"BGN"' in message.body for message in reported)


async def test_the_dossier_is_explained_and_its_package_verifies_anywhere(
    stores, leaving, monkeypatch
):
    scene = await in_levs(stores)
    done = await scene.bring(State.COMPLETED, minor=1250, currency=LEAVING)
    leaving()
    dossier = await stores.beside().archive.dossier(done.id)
    assert "12.50 BGN from" in as_text(explain(dossier))
    package = bundle.write(dossier, VERSION)
    iso4217.start_anew(monkeypatch)  # a machine that has no database at all
    checks = verify(package, VERSION).checks
    assert [fault for check in checks for fault in check.faults] == []
    book(stores)


async def test_open_settlements_in_a_withdrawn_currency_can_end(stores, leaving):
    scene = await in_levs(stores)
    begun = await scene.bring(State.SENT, minor=99, currency=LEAVING)
    leaving()
    ended = await scene.move(await scene.load(begun), Event.SETTLED)
    assert ended.state is State.COMPLETED
    proof = await stores.auditor.prove()
    assert proof.differences == []
    total = proof.totals[LEAVING]
    assert format_amount(total, LEAVING) == f"{total // 100}.{total % 100:02}"


async def test_old_keys_are_replays_and_new_accounts_are_refused(stores, leaving):
    scene = await in_levs(stores)
    opening = spec(AccountKind.NOSTRO, scene.source_bank, currency=LEAVING)
    paid_in = funding(1250, bank=scene.source_bank, currency=LEAVING)
    before = await stores.accounts.fund(paid_in)
    leaving()
    accounts = stores.beside().accounts
    await accounts.windows()  # as every engine does when it joins
    again = await accounts.open_account(opening)
    assert (again.id, again.is_replay) == (before.id, True)
    assert (await accounts.fund(paid_in)).posted == before.posted
    with pytest.raises(InvalidInstruction, match="currency: is not an active currency"):
        await accounts.open_account(spec(AccountKind.NOSTRO, "DELTA", currency=LEAVING))
    # An incoming payment of a bank can still be posted, because the account exists.
    late = await accounts.fund(funding(1, bank=scene.source_bank, currency=LEAVING))
    assert late.posted == before.posted + 1
    assert isinstance(accounts, MemoryAccounts) or money.are_booked([LEAVING])
