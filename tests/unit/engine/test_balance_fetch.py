"""Balances over rails: the bank that states one is asked by its number, and one that fails is an account without."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.reconciliation import AccountToReconcile
from settlement_engine.engine import balance_fetch
from settlement_engine.engine.balance_fetch import BalanceFetch
from settlement_engine.errors import Unavailable
from settlement_engine.ports import BalanceAnswer, BalanceQuestion
from tests.support.histories import Scene
from tests.support.stores import MemoryStores, WallClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from settlement_engine.domain.balance_comparison import StatedBalance


class Teller:
    """A rail whose bank states balances."""

    def __init__(self, answer: Callable[[], Any], *, is_reached: bool = True) -> None:
        self._answer = answer
        self._is_reached = is_reached
        self.asked: list[BalanceQuestion] = []

    def gives_balances(self, bank: str, currency: str) -> bool:
        return self._is_reached and bool(bank) and currency == "EUR"

    async def balance(self, question: BalanceQuestion) -> BalanceAnswer:
        self.asked.append(question)
        found = self._answer()
        answer: BalanceAnswer = await found if hasattr(found, "__await__") else found
        return answer


def fail() -> BalanceAnswer:
    raise Unavailable("the bank is gone", why="the test says so")


async def never() -> BalanceAnswer:
    await asyncio.Event().wait()
    raise AssertionError("nothing ends this wait")


async def asked(*rails: Any) -> tuple[StatedBalance | None, AccountToReconcile]:
    stores = MemoryStores()
    scene = await Scene.open(stores)
    source = await scene.source()
    account = AccountToReconcile(
        id=source.id, bank=source.bank, currency="EUR", number=source.account_number
    )
    named = {f"rail{number}": rail for number, rail in enumerate(rails)}
    return await BalanceFetch(stores.statements, named, WallClock()).balance(account), account


async def test_the_rail_that_reaches_the_bank_is_asked_by_the_accounts_number():
    far, near = Teller(fail, is_reached=False), Teller(lambda: BalanceAnswer(minor=7))
    found, account = await asked(object(), far, near)
    assert found is not None
    assert (found.minor, found.source) == (7, "rail2")
    [question] = near.asked
    assert (question.bank, question.account_number) == (account.bank, account.number)
    assert far.asked == []


async def test_without_a_rail_there_is_no_balance():
    assert (await asked())[0] is None
    assert (await asked(object()))[0] is None


@pytest.mark.parametrize("answer", [fail, lambda: BalanceAnswer(reason="no"), never])
async def test_a_bank_that_fails_is_an_account_without_a_balance(answer, monkeypatch):
    monkeypatch.setattr(balance_fetch, "ANSWER_SECONDS_MAX", 0.01)
    found, _ = await asked(Teller(answer))
    assert found is None
