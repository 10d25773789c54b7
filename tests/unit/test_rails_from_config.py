"""Which rails the configuration switches on, and what is missing where it switches one on by half."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.app.application import SystemClock
from settlement_engine.app.evidence import READERS
from settlement_engine.app.rails import BuiltRails, built_rails
from settlement_engine.app.settings import api_settings, statement_accounts
from settlement_engine.config import load
from settlement_engine.domain.decisions.resending import RailClass
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.domain.payment import Delivery
from settlement_engine.errors import Misconfigured
from settlement_engine.ports import DetailsRail
from tests.support.achrails import FilesOfAnybody
from tests.unit.rails.builders import settlement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.api.settings import CallbackAccess

SHIPPED = Path(__file__).parents[2] / "src/settlement_engine/rails/iso20022/profiles/swift.toml"
BANK: Mapping[str, Any] = {"enabled": True, "endpoint": "http://127.0.0.1:8099"}


def built(tmp_path: Path, *banks: Mapping[str, Any], **changes: object) -> BuiltRails:
    overrides: dict[str, object] = {
        "institution.bic": "SETTGB2L",
        "institution.name": "Settlement Engine Tests",
        "banks.swift": [dict(each) for each in banks],
        "banks.mock_enabled": False,
        "banks.mock_book_file": str(tmp_path / "mock.book"),
    }
    overrides |= {key.replace("__", "."): value for key, value in changes.items()}
    config = load(None, overrides, search=False).config
    return built_rails(config, SystemClock(), files=FilesOfAnybody())


def ach(tmp_path: Path, **changes: object) -> dict[str, Any]:
    """A bank that takes files."""
    bank = {
        "enabled": True,
        "folder": str(tmp_path / "ach"),
        "routing_number": "091000019",
        "bank_name": "DEUTSCHE BANK",
        "origin": "1234567890",
        "company_id": "1234567890",
        "company_name": "SETTLEMENT TEST",
        "settlement_routing_number": "231380104",
        "settlement_account": "4711",
        "receiver_name": "SETTLEMENT TEST",
    }
    return bank | changes


def profile(tmp_path: Path, old: str = "", new: str = "") -> Path:
    path = tmp_path / "profile.toml"
    path.write_text(SHIPPED.read_text("utf-8").replace(old, new) if old else "x = 1", "utf-8")
    return path


def test_a_bank_makes_the_rail_and_the_mock_bank_may_be_off(tmp_path):
    found = built(tmp_path, BANK)
    assert list(found.registry.rails) == ["swift"]
    assert found.mock is None


def test_an_enabled_mock_bank_comes_first_so_that_a_rehearsal_sends_nothing(tmp_path):
    found = built(tmp_path, BANK, banks__mock_enabled=True)
    assert list(found.registry.rails) == ["mock", "swift"]


def test_a_bank_that_is_not_enabled_makes_no_rail(tmp_path):
    found = built(tmp_path, {**BANK, "enabled": False}, banks__mock_enabled=True)
    assert list(found.registry.rails) == ["mock"]


def test_no_rail_at_all_is_refused(tmp_path):
    with pytest.raises(Misconfigured, match="no rail is enabled"):
        built(tmp_path)


def test_without_our_bic_nothing_is_sent(tmp_path):
    with pytest.raises(Misconfigured, match=r"institution\.bic is empty"):
        built(tmp_path, BANK, institution__bic="")


def test_what_the_bank_carries_and_how_long_it_may_take_are_its_rules(tmp_path):
    limits = {"banks": ["DEUTDEFFXXX"], "currencies": ["EUR"], "timeout_seconds": 60}
    rules = built(tmp_path, {**BANK, **limits}).registry.rails["swift"].capabilities
    assert rules.banks == frozenset({"DEUTDEFF"})
    assert rules.currencies == frozenset({"EUR"})
    assert rules.answer_timeout_seconds > 60, "the connection gives up before the engine does"


def test_without_limits_it_carries_all(tmp_path):
    rules = built(tmp_path, BANK).registry.rails["swift"].capabilities
    assert (rules.banks, rules.currencies) == (None, None)
    assert rules.rail_class is RailClass.D


def test_a_profile_of_ones_own_says_what_may_be_relied_upon(tmp_path):
    path = profile(tmp_path, 'rail_class = "D"', 'rail_class = "B"')
    rules = (
        built(tmp_path, {**BANK, "profile_file": str(path)}).registry.rails["swift"].capabilities
    )
    assert rules.rail_class is RailClass.B


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("", "", "cannot be used"),
        ('rail_class = "D"', 'rail_class = "E"', "cannot be used"),
        ("pacs.009.001.08", "pacs.009.001.99", "pacs.009.001.99, which is no pacs.009"),
        ("pacs.028.001.03", "pacs.002.001.10", "pacs.002.001.10, which is no pacs.028"),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused(tmp_path, old, new, why):
    path = profile(tmp_path, old, new)
    with pytest.raises(Misconfigured, match=why):
        built(tmp_path, {**BANK, "profile_file": str(path)})


def test_a_profile_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Misconfigured, match="cannot be used"):
        built(tmp_path, {**BANK, "profile_file": str(tmp_path / "none.toml")})


def test_https_without_the_banks_authority_is_refused(tmp_path):
    with pytest.raises(Misconfigured, match="certificate authority"):
        built(tmp_path, {**BANK, "endpoint": "https://127.0.0.1:8099"})


def test_evidence_of_every_rail_can_be_read(tmp_path):
    others = {
        "banks__sepa": [BANK],
        "banks__realtime": [{**BANK, "profile": "fednow"}],
        "banks__ach": [ach(tmp_path)],
    }
    swift = {**BANK, "covers": True}
    found = built(tmp_path, swift, banks__mock_enabled=True, **others)
    assert set(READERS) == set(found.registry.rails)


# --- SEPA, instant schemes, RTGS --------------------------------------------------------------------


def test_a_sepa_bank_offers_both_rails_unless_it_names_one(tmp_path):
    assert list(built(tmp_path, banks__sepa=[BANK]).registry.rails) == ["sepa_inst", "sepa_sct"]
    one = [{**BANK, "rails": ["sepa_sct"]}]
    assert list(built(tmp_path, banks__sepa=one).registry.rails) == ["sepa_sct"]


def test_the_schemes_time_out_is_the_most_that_is_waited(tmp_path):
    rails = built(tmp_path, banks__sepa=[{**BANK, "timeout_seconds": 45}]).registry.rails
    assert rails["sepa_inst"].capabilities.answer_timeout_seconds == 11
    assert rails["sepa_sct"].capabilities.answer_timeout_seconds == 46


def test_a_realtime_rail_is_what_its_profile_says(tmp_path):
    bank = {**BANK, "profile": "fednow"}
    rules = built(tmp_path, banks__realtime=[bank]).registry.rails["realtime"].capabilities
    assert (rules.currencies, rules.amount_max_minor) == (frozenset({"USD"}), {"USD": 10**9})
    with pytest.raises(Misconfigured, match="there is no profile mars"):
        built(tmp_path, banks__realtime=[{**BANK, "profile": "mars"}])


def test_who_pays_customers_payments_has_a_name(tmp_path):
    with pytest.raises(Misconfigured, match=r"institution\.name is empty, and banks\.sepa\.0"):
        built(tmp_path, banks__sepa=[BANK], institution__name="")


def test_an_account_that_is_no_iban_is_refused_where_the_scheme_takes_nothing_else(tmp_path):
    with pytest.raises(Misconfigured, match=r"banks\.sepa\.0\.our_account is no IBAN"):
        built(tmp_path, banks__sepa=[{**BANK, "our_account": "123"}])
    built(tmp_path, {**BANK, "our_account": "123"})


# --- several banks ----------------------------------------------------------------------------------


def test_several_banks_are_one_rail_that_reaches_them_all(tmp_path):
    one = {**BANK, "banks": ["DEUTDEFF"], "currencies": ["EUR"]}
    two = {**BANK, "banks": ["CHASUS33"]}
    rules = built(tmp_path, one, two).registry.rails["swift"].capabilities
    assert rules.banks == frozenset({"DEUTDEFF", "CHASUS33"})
    assert rules.scope == frozenset({"DEUTDEFF/EUR", "CHASUS33/*"})


@pytest.mark.parametrize(
    ("one", "two", "named"),
    [
        ({}, {"banks": ["DEUTDEFF"]}, "DEUTDEFF in any currency"),
        ({}, {}, "any bank in any currency"),
        ({"currencies": ["EUR", "USD"]}, {"currencies": ["USD"]}, "any bank in USD"),
        ({"banks": ["DEUTDEFFXXX"]}, {"banks": ["deutdeff"]}, "DEUTDEFF in any currency"),
    ],
)
def test_a_payment_that_would_go_to_two_banks_is_refused_at_the_start(tmp_path, one, two, named):
    why = f"payments of {named} would go to banks.swift.0 and to banks.swift.1"
    with pytest.raises(Misconfigured, match=why):
        built(tmp_path, {**BANK, **one}, {**BANK, **two})


# --- call-backs -------------------------------------------------------------------------------------


def token_file(tmp_path: Path, text: str = "a-token-nobody-guesses") -> str:
    path = tmp_path / "token"
    path.write_text(text + "\n", "utf-8")
    path.chmod(0o600)
    return str(path)


def accesses(bank: Mapping[str, Any], **changes: object) -> tuple[CallbackAccess, ...]:
    server = {f"server.{key}": value for key, value in changes.items()}
    return api_settings(
        load(None, {"banks.swift": [dict(bank)], **server}, search=False).config
    ).callbacks


def with_authority(tmp_path: Path) -> dict[str, str]:
    return {
        "tls_cert_file": "cert.pem",
        "tls_key_file": token_file(tmp_path),
        "tls_client_ca_file": "ca.pem",
    }


def test_a_bank_calls_back_under_its_name_or_with_its_token(tmp_path):
    assert accesses(BANK) == ()
    (by_token,) = accesses({**BANK, "callback_token_file": token_file(tmp_path)})
    assert (by_token.rail, by_token.token) == ("swift", "a-token-nobody-guesses")
    assert "guesses" not in repr(by_token)
    named = {**BANK, "callback_name": "bank.example"}
    (by_name,) = accesses(named, **with_authority(tmp_path))
    assert (by_name.certificate_name, by_name.token) == ("bank.example", "")
    assert accesses({**named, "enabled": False}) == ()


def test_a_bank_that_could_never_be_known_is_refused(tmp_path):
    named = {**BANK, "callback_name": "bank.example"}
    files = with_authority(tmp_path)
    for changes in ({}, {**files, "http_enabled": False}, {**files, "http_socket_file": "x.sock"}):
        with pytest.raises(Misconfigured, match="callback_name needs"):
            accesses(named, **changes)


def test_a_token_that_can_be_guessed_is_refused(tmp_path):
    with pytest.raises(Misconfigured, match="fewer than 16"):
        accesses({**BANK, "callback_token_file": token_file(tmp_path, "short")})


# --- ach ----------------------------------------------------------------------------------------------


def test_a_bank_that_takes_files_makes_the_rail_ach(tmp_path):
    bank = ach(tmp_path, banks=["DEUTDEFFXXX"], routing_numbers={"CHASUS33XXX": "021000021"})
    rail = built(tmp_path, banks__ach=[bank]).registry.rails["ach"]
    rules = rail.capabilities
    assert (rules.rail_class, rules.asks) == (RailClass.D, frozenset({Ask.SEND}))
    assert rules.currencies == frozenset({"USD"})
    assert rules.banks == frozenset({"DEUTDEFF"})
    paid = settlement("k")
    instruction = replace(paid.instruction, to_bank="CHASUS33", requested_delivery=Delivery.PAY_OUT)
    assert isinstance(rail, DetailsRail)
    assert rail.fault_of(instruction) == ""
    assert rail.fault_of(replace(instruction, to_bank="BNPAFRPP")).startswith("to_bank: ")


def test_each_folder_may_be_named_by_itself(tmp_path):
    three = {name: str(tmp_path / name) for name in ("outbox", "inbox", "archive")}
    built(tmp_path, banks__ach=[ach(tmp_path, folder="", **three)])
    with pytest.raises(Misconfigured, match="folder, or outbox, inbox and archive"):
        built(tmp_path, banks__ach=[ach(tmp_path, folder="", **(three | {"archive": ""}))])


OWN_ACH = """
scheme = "Our bank's ACH window"
published = 2026-11-29
source = "the agreement with the bank"
finality = "its settlement advice"
rail_class = "D"
acknowledged_seconds = 7200
validity_seconds = 86400
amount_cents_max = 100000000
items_max = 1000
"""


def test_an_ach_profile_of_ones_own_is_a_file(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN_ACH)
    rules = built(tmp_path, banks__ach=[ach(tmp_path, profile_file=str(path))])
    capabilities = rules.registry.rails["ach"].capabilities
    assert capabilities.amount_max_minor == {"USD": 100_000_000}
    assert capabilities.validity_seconds == 86_400


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('rail_class = "D"', 'rail_class = "A"', "$.rail_class"),
        ("items_max = 1000", "items_max = 10001", "items_max"),
        ("items_max = 1000", "", "items_max"),
        ("items_max = 1000", "items_max = 1000\nspeed = 3", "speed"),
        ("acknowledged_seconds = 7200", "acknowledged_seconds = 86400", "validity_seconds"),
        ("acknowledged_seconds = 7200", "acknowledged_seconds = 0", "acknowledged_seconds"),
        ("amount_cents_max = 100000000", "amount_cents_max = 0", "amount_cents_max"),
        ("published = 2026-11-29", "published = yesterday", "line 3"),
    ],
)
def test_an_ach_profile_that_cannot_be_kept_is_refused_with_its_place(tmp_path, old, new, place):
    path = tmp_path / "own.toml"
    path.write_text(OWN_ACH.replace(old, new))
    with pytest.raises(Misconfigured) as caught:
        built(tmp_path, banks__ach=[ach(tmp_path, profile_file=str(path))])
    assert str(path) in caught.value.what
    assert place in f"{caught.value.what} {caught.value.why}"


def test_an_ach_profile_that_is_not_there_is_refused(tmp_path):
    missing = str(tmp_path / "missing.toml")
    with pytest.raises(Misconfigured) as caught:
        built(tmp_path, banks__ach=[ach(tmp_path, profile_file=missing)])
    assert missing in caught.value.what


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"routing_number": "091000018"}, "routing number"),
        ({"routing_number": ""}, "set routing_number"),
        ({"routing_numbers": {"CHASUS33": "1"}}, "routing number"),
        ({"company_name": "A NAME OF SEVENTEEN"}, "company_name"),
        ({"receiver_name": "Zürich"}, "receiver_name"),
        ({"profile": "nobody"}, "no ACH profile nobody"),
    ],
)
def test_what_a_file_could_not_say_is_refused_at_the_start(tmp_path, changes, why):
    with pytest.raises(Misconfigured) as caught:
        built(tmp_path, banks__ach=[ach(tmp_path, **changes)])
    assert why in f"{caught.value.what} {caught.value.why}"


def test_two_banks_may_not_take_the_same_payments(tmp_path):
    with pytest.raises(Misconfigured, match=r"banks\.ach\.0 and to banks\.ach\.1"):
        built(tmp_path, banks__ach=[ach(tmp_path), ach(tmp_path)])


def test_a_rails_settlement_account_is_named_by_its_agent(tmp_path):
    bank = {"settlement_agent": "MARKDEFF", "settlement_account": "4711", **BANK}
    off = {**bank, "enabled": False, "settlement_account": "4712"}
    overrides: dict[str, object] = {
        "banks.swift": [bank, dict(bank), off, BANK],
        "banks.ach": [ach(tmp_path)],
    }
    found = statement_accounts(load(None, overrides, search=False).config)
    assert [(each.bank, each.servicer, each.aliases) for each in found] == [
        ("swift", "MARKDEFF", ("4711",)),
        ("ach", "231380104", ("4711",)),
    ]
    assert {(each.number, each.currency) for each in found} == {("control", "")}


def test_a_bank_that_pays_covers_makes_a_rail_of_pairs_that_is_looked_at_first(tmp_path):
    assert list(built(tmp_path, BANK).registry.rails) == ["swift"]
    rails = built(tmp_path, {**BANK, "covers": True}).registry.rails
    assert list(rails) == ["swift_cover", "swift"]
    pairs, plain = (each.capabilities for each in rails.values())
    assert (pairs.listed_as, plain.listed_as) == ("swift", "")
    assert pairs.answer_timeout_seconds == 3 * plain.answer_timeout_seconds
    assert pairs.rail_class is plain.rail_class is RailClass.D
