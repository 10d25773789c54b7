"""The built-in screening: what it clears, what it blocks, and how little its refusals reveal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from msgspec.structs import replace as replace_field

from settlement_engine.domain.lifecycle import TRANSITIONS, Event, State
from settlement_engine.domain.money import Money, book_exponents
from settlement_engine.domain.payment import PaymentDetails, PaymentParty
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.domain.settlement import Instruction, Priority, Settlement
from settlement_engine.screening.builtin import BuiltinScreening, ScreeningRules
from tests.support import iso4217

if TYPE_CHECKING:
    from settlement_engine.ports import Answer

FIVE_EUROS = Money(5_00, "EUR")

RULES = ScreeningRules(
    blocked_obligations=frozenset({"OB-bad", "OB-worse"}),
    blocked_banks=frozenset({"BADDBANK", "EVILBANK"}),
    largest=MappingProxyType({"EUR": "1000.00", "JPY": "1000", "KWD": "0.001"}),
)


def settlement(
    obligation_id: str = "OB-1",
    banks: tuple[str, str] = ("DEUTDEFF", "CHASUS33"),
    amount: Money = FIVE_EUROS,
) -> Settlement:
    instruction = Instruction(
        caller="a-caller",
        idempotency_key="k",
        obligation_id=obligation_id,
        from_bank=banks[0],
        to_bank=banks[1],
        amount=amount,
        value_date=None,
        priority=Priority.NORMAL,
        metadata={},
    )
    return Settlement(
        id=uuid4(),
        instruction=instruction,
        state=State.VALIDATING,
        seq=1,
        fencing_token=1,
        created_at=datetime(2026, 11, 25, tzinfo=UTC),
        value_date=date(2026, 11, 25),
    )


async def test_a_limit_in_a_withdrawn_currency_uses_the_stored_decimals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    iso4217.list_has_it(monkeypatch)
    rules = ScreeningRules(largest={iso4217.LEAVING: "10.00"})
    book_exponents({iso4217.LEAVING: 2})
    iso4217.list_loses_it(monkeypatch)
    at_most = settlement(amount=Money(10_00, iso4217.LEAVING))
    above = settlement(amount=Money(10_01, iso4217.LEAVING))
    ((first, second),) = await screen(rules, at_most, above)
    assert (first.event, second.event) == (Event.CLEARED, Event.REFUSED)
    assert second.refusal is not None
    assert second.refusal.detail["limit"] == "10.00"


async def screen(rules: ScreeningRules, *settlements: Settlement) -> list[list[Answer]]:
    reports: list[list[Answer]] = []
    await BuiltinScreening(rules).screen(settlements, lambda answers: reports.append(list(answers)))
    return reports


async def only(asked: Settlement) -> Answer:
    ((answer,),) = await screen(RULES, asked)
    return answer


async def test_a_batch_is_answered_at_once_in_one_report() -> None:
    asked = [settlement(), settlement("OB-bad"), settlement()]
    (answers,) = await screen(RULES, *asked)
    assert [answer.settlement_id for answer in answers] == [each.id for each in asked]
    assert [answer.event for answer in answers] == [Event.CLEARED, Event.REFUSED, Event.CLEARED]
    assert {answer.attempt for answer in answers} == {0}


async def test_without_rules_everything_is_cleared() -> None:
    ((answer,),) = await screen(ScreeningRules(), settlement("OB-bad", amount=Money(10**17, "EUR")))
    assert answer.event is Event.CLEARED
    assert answer.refusal is None


async def test_a_listed_obligation_is_blocked_and_only_its_list_is_named() -> None:
    answer = await only(settlement("OB-bad"))
    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.COMPLIANCE_BLOCKED
    assert answer.refusal.detail == {"list": "blocked_obligations"}


@pytest.mark.parametrize("banks", [("BADDBANK", "CHASUS33"), ("DEUTDEFF", "EVILBANK")])
async def test_a_listed_bank_is_blocked_on_either_side(banks: tuple[str, str]) -> None:
    answer = await only(settlement(banks=banks))
    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.COMPLIANCE_BLOCKED
    assert answer.refusal.detail == {"list": "blocked_banks"}
    assert "BANK" not in str(answer.refusal.detail).replace("blocked_banks", "")


@pytest.mark.parametrize("listed", ["SBZAZAJJ", "sbzazajj", "SBZAZAJJXXX", "SbzaZajjXxx"])
@pytest.mark.parametrize("named", ["SBZAZAJJ", "sbzazajj", "SBZAZAJJXXX", "sbzazajjXXX"])
async def test_a_listed_bank_is_blocked_under_every_spelling(listed: str, named: str) -> None:
    rules = ScreeningRules(blocked_banks=frozenset({listed}))
    for banks in ((named, "CHASUS33"), ("CHASUS33", named)):
        ((answer,),) = await screen(rules, settlement(banks=banks))
        assert answer.event is Event.REFUSED
    ((answer,),) = await screen(rules, settlement(banks=("SBZAZAJJ001", "CHASUS33")))
    assert answer.event is Event.CLEARED


@pytest.mark.parametrize(
    ("amount", "is_refused"),
    [
        (Money(1_000_00, "EUR"), False),
        (Money(1_000_01, "EUR"), True),
        (Money(1_001, "JPY"), True),
        (Money(2, "KWD"), True),
        (Money(10**17, "USD"), False),
    ],
)
async def test_the_largest_amount_itself_passes_and_a_unit_more_does_not(
    amount: Money, is_refused: bool
) -> None:
    answer = await only(settlement(amount=amount))
    assert (answer.event is Event.REFUSED) is is_refused


async def test_a_limit_is_refused_with_both_figures() -> None:
    answer = await only(settlement(amount=Money(1_000_01, "EUR")))
    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.RISK_LIMIT_EXCEEDED
    assert answer.refusal.detail == {"limit": "1000.00", "amount": "1000.01", "currency": "EUR"}


async def test_compliance_comes_before_risk() -> None:
    answer = await only(settlement("OB-bad", amount=Money(10**9, "EUR")))
    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.COMPLIANCE_BLOCKED


async def test_every_screening_answer_has_its_transition() -> None:
    for asked in (settlement(), settlement("OB-bad")):
        assert (await only(asked)).event in TRANSITIONS[State.VALIDATING]


@pytest.mark.parametrize(
    ("banks", "amount", "reason"),
    [
        (("DEUTDEFF", "CHASUS33"), Money(250_000_00, "EUR"), "amounts from 250000.00 EUR on"),
        (("DEUTDEFF", "CHASUS33"), Money(249_999_99, "EUR"), ""),
        (("DEUTDEFF", "CHASUS33"), Money(250_000_00, "USD"), ""),
        (("newbzajjxxx", "CHASUS33"), FIVE_EUROS, "review_banks"),
        (("DEUTDEFF", "NEWBZAJJ"), FIVE_EUROS, "review_banks"),
    ],
)
async def test_what_is_large_or_of_a_new_bank_is_parked(
    banks: tuple[str, str], amount: Money, reason: str
) -> None:
    rules = ScreeningRules(review_banks=frozenset({"NEWBZAJJ"}), review_from={"EUR": "250000.00"})
    heard: list[Answer] = []
    await BuiltinScreening(rules).screen([settlement(banks=banks, amount=amount)], heard.extend)
    [answer] = heard
    assert answer.event is (Event.PARKED if reason else Event.CLEARED)
    assert reason in answer.text


async def test_what_is_blocked_is_refused_and_not_parked() -> None:
    rules = ScreeningRules(
        blocked_banks=frozenset({"BADDBANK"}), review_banks=frozenset({"BADDBANK"})
    )
    heard: list[Answer] = []
    await BuiltinScreening(rules).screen([settlement(banks=("BADDBANK", "CHASUS33"))], heard.extend)
    assert [answer.event for answer in heard] == [Event.REFUSED]


@pytest.mark.parametrize("side", ["debtor", "creditor"])
@pytest.mark.parametrize("code", ["BADDBANK", "BADDBANKXXX"])
async def test_a_blocked_bank_is_found_where_the_payment_names_it(side: str, code: str) -> None:
    plain = PaymentDetails()
    payment = replace_field(plain, **{side: PaymentParty(name="Ada", agent_bic=code)})
    asked = settlement()
    asked.instruction = replace(asked.instruction, payment=payment)
    answer = await only(asked)
    assert answer.event is Event.REFUSED
    assert answer.refusal is not None
    assert answer.refusal.detail == {"list": "blocked_banks"}
    party = PaymentParty(name="BADDBANK", agent_bic="DEUTDEFF")
    harmless = replace_field(plain, **{side: party})
    asked.instruction = replace(asked.instruction, payment=harmless)
    assert (await only(asked)).event is Event.CLEARED
