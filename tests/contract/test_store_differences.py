"""Differences that the rules of matching close, on both stores: posted once, in the books, and taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.breaks.authority import ANYBODY, ResolutionRole
from settlement_engine.domain.closed_differences import (
    CHARGES_ACCOUNT,
    NOT_REVERSED,
    ROUNDING_ACCOUNT,
    versioned,
)
from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.matching.values import Charge, Rules, Tolerance
from settlement_engine.domain.reconciliation import AccountOutcome
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.errors import WrongState
from settlement_engine.ports import AccountFilter, TransferFilter, UnmatchSpec
from tests.contract.test_store_reconciliation import FUNDED, PAID_IN, Books, run_of
from tests.support.bank_statements import debit, take
from tests.support.histories import funding

if TYPE_CHECKING:
    from settlement_engine.domain.reconciliation import AccountResult, RecordedMatch
    from settlement_engine.domain.settlement import Settlement
    from tests.support.bank_statements import BankDay

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES = versioned(
    Rules(
        version="",
        charges=(Charge("EUR", 150, CHARGES_ACCOUNT),),
        tolerances=(Tolerance("EUR", 2, ROUNDING_ACCOUNT), Tolerance("USD", 9, ROUNDING_ACCOUNT)),
    )
)
ROLES = (ResolutionRole(name="anybody", persons=(ANYBODY,)),)


def posted_group(name: str) -> UUID:
    return UUID(name.partition("/")[0])


class Closing(Books):
    """The books of an account, reconciled with a tolerance and a tariff."""

    async def reconcile(self, **changes: object) -> AccountResult:
        reconciliation = Reconciliation(self.stores.reconciliation, rules=RULES)
        [result] = await reconciliation.reconcile(run_of(self.id, **changes))
        return result

    async def balance(self, kind: AccountKind, number: str) -> int:
        """The balance of an account of our bank, with the sign of what it has taken."""
        wanted = AccountFilter(
            kind=kind, bank=self.scene.source_bank, account_number=number, limit=1
        )
        found = await self.stores.accounts.accounts(wanted)
        return sum(each.debits_posted - each.credits_posted for each in found)

    async def at_bank(self) -> int:
        account = await self.stores.accounts.account(self.id)
        assert account is not None
        return account.posted

    async def matches(self) -> list[tuple[int, RecordedMatch]]:
        found = []
        number = 1
        while (match := await self.stores.reconciled.match(number)) is not None:
            if match.account_id == self.id:
                found.append((number, match))
            number += 1
        return found

    async def closed(self) -> tuple[int, RecordedMatch]:
        [found] = [each for each in await self.matches() if each[1].difference_minor]
        return found

    async def unmatch(self, match_id: int) -> list[int]:
        spec = UnmatchSpec(match_id=match_id, who="ada", reason="it is another", roles=ROLES)
        return await self.stores.break_work.unmatch(spec)


@pytest.mark.parametrize(
    ("difference", "kind", "number"),
    [
        (-150, AccountKind.FEES, "control"),
        (-2, AccountKind.FX, "rounding"),
        (2, AccountKind.FX, "rounding"),
    ],
)
async def test_a_difference_is_posted_and_matched_in_one_commit(stores, difference, kind, number):
    books = await Closing.open(stores)
    [paid] = await books.settled(1_000)
    await take(stores, await books.day(FUNDED, debit(paid, minor=-1_000 + difference)))
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED, await books.breaks()
    assert (result.closed_differences, result.closed_minor) == (1, abs(difference))
    assert result.proof is not None
    assert result.proof.is_zero
    assert await books.at_bank() == PAID_IN - 1_000 + difference
    assert await books.balance(kind, number) == -difference
    _, match = await books.closed()
    assert match.difference_minor == difference
    assert match.difference_account == f"{kind.value} {number}"
    assert match.rules_version == RULES.full_version
    [posted] = [each for each in match.ours if each != f"{paid.id}/1/1"]
    assert posted.endswith(f"/{Leg.DIFFERENCE.value}")
    assert f"{posted} takes it to {kind.value} {number}" in match.explanation
    [transfer] = await stores.accounts.transfers(
        TransferFilter(group_id=posted_group(posted), limit=10)
    )
    assert (transfer.leg, transfer.amount_minor) == (Leg.DIFFERENCE, abs(difference))
    again = await books.reconcile()
    assert again == msgspec.structs.replace(result, closed_differences=0, closed_minor=0)
    assert await books.at_bank() == PAID_IN - 1_000 + difference


async def test_what_no_rule_covers_stays_a_break(stores):
    books = await Closing.open(stores)
    more, less, back = await books.settled(1_000, 2_000, 3_000)
    entries = (
        debit(more, minor=-1_003),
        debit(less, minor=-1_850),  # the bank took less: that is no charge
        debit(back, minor=2_998, is_reversal=True),
    )
    await take(stores, await books.day(FUNDED, *entries))
    result = await books.reconcile()
    assert result.closed_differences == 0
    assert await books.kinds() == ["AMOUNT", "AMOUNT", "REVERSAL"]
    assert await books.at_bank() == PAID_IN - 6_000


async def test_taking_the_match_back_reverses_the_transfer(stores):
    books = await Closing.open(stores)
    [paid] = await books.settled(1_000)
    await take(stores, await books.day(FUNDED, debit(paid, minor=-1_150)))
    await books.reconcile()
    number, match = await books.closed()
    before = {name for _, each in await books.matches() for name in each.ours}
    await books.unmatch(number)
    assert await books.at_bank() == PAID_IN - 1_000
    assert await books.balance(AccountKind.FEES, "control") == 0
    posted = next(each for each in match.ours if each != f"{paid.id}/1/1")
    legs = await stores.accounts.transfers(TransferFilter(group_id=posted_group(posted), limit=10))
    assert sorted(each.leg for each in legs) == [Leg.DIFFERENCE, Leg.DIFFERENCE_REVERSED]
    [reversal] = [each for _, each in await books.matches() if each.matched_by.endswith("reversed")]
    assert set(reversal.ours) - before == {f"{posted.rpartition('/')[0]}/15"}
    result = await books.reconcile()  # no run makes it again
    assert result.closed_differences == 0
    assert result.proof is not None
    assert result.proof.is_zero
    assert await books.kinds() == ["AMOUNT"]
    assert await books.unmatch(number) == []
    assert await books.at_bank() == PAID_IN - 1_000


async def test_a_statement_that_counts_no_more_takes_its_differences_with_it(stores):
    books = await Closing.open(stores)
    [paid] = await books.settled(1_000)
    first = await books.day(FUNDED, debit(paid, minor=-1_002))
    await take(stores, first)
    assert (await books.reconcile()).closed_differences == 1
    again = replace(first, entries=(FUNDED, debit(paid, minor=-1_150)), made=23)
    await take(stores, again)
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED, await books.breaks()
    assert result.closed_differences == 1
    assert await books.at_bank() == PAID_IN - 1_150
    assert await books.balance(AccountKind.FX, "rounding") == 0
    assert await books.balance(AccountKind.FEES, "control") == 150


async def test_what_the_account_does_not_cover_stays_open(stores):
    books = await Closing.open(stores)
    paid = await books.settled(PAID_IN - 151, 100)
    entries = [debit(paid[0], minor=-PAID_IN + 1), debit(paid[1], minor=-102)]
    await take(stores, await books.day(FUNDED, *entries))
    result = await books.reconcile()
    assert result.closed_differences == 1
    assert await books.kinds() == ["AMOUNT"]
    assert await books.at_bank() == 49


# --- what the account does not cover ------------------------------------------------------------------------


async def emptied(stores) -> tuple[Closing, Settlement, BankDay]:
    """Close a difference that gave to the account, and pay everything out that is there then."""
    books = await Closing.open(stores)
    [paid] = await books.settled(1_000)
    first = await books.day(FUNDED, debit(paid, minor=-998))
    await take(stores, first)
    assert (await books.reconcile()).closed_differences == 1
    await books.settled(await books.at_bank())
    assert await books.at_bank() == 0
    return books, paid, first


async def faults(stores) -> list[str]:
    """What the books say against the differences and their matches."""
    found = await stores.auditor.prove()
    return [each for each in map(str, found.differences) if "difference" in each or "match" in each]


async def waiting(books: Closing) -> list[str]:
    return [each.reason for each in await books.breaks() if each.reason == NOT_REVERSED]


async def test_a_reversal_that_is_not_covered_waits_as_a_break_until_it_is(stores):
    books, paid, first = await emptied(stores)
    await take(stores, replace(first, entries=(FUNDED, debit(paid, minor=-1_000)), made=23))
    for _ in range(2):  # and no run does it twice
        result = await books.reconcile()
        assert result.outcome is AccountOutcome.IDENTIFIED
        assert "does not cover 0.02 EUR to reverse 1 closed differences" in result.reason
        assert "fund the account" in result.reason
        assert result.proof is not None
        assert result.proof.is_zero
        assert await books.at_bank() == 0
        assert await waiting(books) == [NOT_REVERSED]
        assert await faults(stores) == []
    [found] = [each for each in await books.breaks() if each.reason == NOT_REVERSED]
    assert (found.kind, found.amount_minor) == ("MISSING_THEIRS", 2)
    more = funding(5, bank=books.scene.source_bank, reference="LATER-FUNDS")
    await stores.accounts.fund(more)
    result = await books.reconcile()
    assert "not cover" not in result.reason
    assert await waiting(books) == []
    assert await books.at_bank() == 3
    assert await books.balance(AccountKind.FX, "rounding") == 0
    [reversal] = [each for _, each in await books.matches() if each.matched_by.endswith("reversed")]
    assert "another version of the statement counts" in reversal.explanation
    assert await faults(stores) == []
    await books.reconcile()
    assert await books.at_bank() == 3


async def test_the_same_difference_closed_anew_covers_the_reversal_in_the_same_run(stores):
    books, paid, first = await emptied(stores)
    await take(stores, replace(first, entries=(FUNDED, debit(paid, minor=-998)), made=23))
    result = await books.reconcile()
    assert result.closed_differences == 1
    assert "not cover" not in result.reason
    assert await waiting(books) == []
    assert await books.at_bank() == 0
    assert await books.balance(AccountKind.FX, "rounding") == -2
    assert await faults(stores) == []


async def test_a_reversal_that_gives_covers_one_that_takes(stores):
    books = await Closing.open(stores)
    charged, rounded = await books.settled(1_000, 2_000)
    entries = (FUNDED, debit(charged, minor=-1_150), debit(rounded, minor=-1_998))
    first = await books.day(*entries)
    await take(stores, first)
    assert (await books.reconcile()).closed_differences == 2
    await books.settled(await books.at_bank())
    exact = (FUNDED, debit(charged), debit(rounded))
    await take(stores, replace(first, entries=exact, made=23))
    result = await books.reconcile()
    assert "not cover" not in result.reason
    assert await books.at_bank() == 148
    assert await faults(stores) == []


async def test_a_person_is_refused_to_take_back_what_is_not_covered(stores):
    books, _, _ = await emptied(stores)
    number, _ = await books.closed()
    with pytest.raises(WrongState) as refused:
        await books.unmatch(number)
    assert refused.value.todo.startswith("Fund the account")
    assert await waiting(books) == []
    assert await books.at_bank() == 0
    _, match = await books.closed()
    assert match.taken_back == ""
