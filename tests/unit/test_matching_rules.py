"""The tolerances and tariffs of the configuration as rules of matching."""

from __future__ import annotations

from datetime import date

import pytest
from pydantic import ValidationError

from settlement_engine.app.matching_rules import matching_rules
from settlement_engine.config import Config
from settlement_engine.domain.closed_differences import rules_of
from settlement_engine.errors import Misconfigured


def rules(**section):
    return matching_rules(Config.model_validate({"reconciliation": section}))


def tolerance(found, bank, currency):
    [only] = rules_of(found, bank, currency).tolerances
    return only.minor


def test_the_plain_tolerance_is_one_of_every_currency_in_its_minor_units():
    found = rules(
        tolerance_amount="0.015",
        tolerance_amounts={"JPY": "2"},
        tolerances=[{"bank": "DEUTDEFF", "currency": "EUR", "amount": "0.05"}],
    )
    assert tolerance(found, "COBADEFF", "EUR") == 1
    assert tolerance(found, "DEUTDEFF", "EUR") == 5
    assert tolerance(found, "DEUTDEFF", "KWD") == 15
    assert tolerance(found, "DEUTDEFF", "JPY") == 2
    assert tolerance(found, "DEUTDEFF", "KRW") == 0


def test_tariffs_have_banks_and_dates():
    found = rules(
        tariffs=[
            {"currency": "EUR", "charge": "1.50", "valid_from": "2026-01-01"},
            {"bank": "DEUTDEFF", "currency": "EUR", "charge": "2.75"},
        ]
    )
    [own] = rules_of(found, "DEUTDEFF", "EUR").charges
    [plain] = rules_of(found, "COBADEFF", "EUR").charges
    assert (own.minor, plain.minor, plain.valid_from) == (275, 150, date(2026, 1, 1))


def test_the_version_follows_from_the_configuration():
    assert rules().version == rules(schedule="0 1 * * *").version
    assert rules().version != rules(tolerance_amount="0.02").version


@pytest.mark.parametrize(
    "section",
    [
        {"tolerance_amount": "10.01"},
        {"tolerance_amounts": {"EUR": "11.00"}},
        {"tolerances": [{"bank": "DEUTDEFF", "currency": "JPY", "amount": "1001"}]},
        {"tolerances": [{"bank": "DEUTDEFF", "currency": "ZZZ", "amount": "1"}]},
        {"tariffs": [{"currency": "EUR", "charge": "1.505"}]},
    ],
)
def test_what_no_rule_may_have_is_refused(section):
    with pytest.raises(Misconfigured):
        rules(**section)


@pytest.mark.parametrize(
    "tariff",
    [
        {"currency": "EUR", "charge": "0"},
        {
            "currency": "EUR",
            "charge": "1",
            "valid_from": "2026-01-02",
            "valid_until": "2026-01-01",
        },
    ],
)
def test_what_is_no_tariff_is_refused(tariff):
    with pytest.raises(ValidationError):
        rules(tariffs=[tariff])
