"""The configuration: sources in order, origins, errors that help, secrets that stay secret."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from settlement_engine.app.application import Application
from settlement_engine.app.breaks import break_rules
from settlement_engine.app.settings import (
    engine_settings,
    statement_accounts,
    statement_due_times,
)
from settlement_engine.config import (
    PROFILE_DEFAULTS,
    Config,
    env_name,
    flatten,
    known_keys,
    load,
    masked,
    to_environment,
    unsafe_settings,
)
from settlement_engine.domain import money
from settlement_engine.domain.missing_statements import StatementDue
from settlement_engine.domain.statement_import import AccountAtBank
from settlement_engine.errors import Misconfigured
from settlement_engine.ports import BreakerLimits
from tests.support import iso4217

REPOSITORY_FILE = Path(__file__).parents[2] / "config.toml"
COMMENTED_KEY = re.compile(r"^# ([a-z_]+) = (.+)$")
SAFE = {
    "profile": "production",
    "database.url": "postgresql://engine@db/settlement",
    "nats.url": "nats://nats:4222",
    "banks.mock_enabled": False,
}
PASSWORD = "hunter2"


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SETTLEMENT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def secret_file(tmp_path: Path, text: str = PASSWORD + "\n", mode: int = 0o600) -> Path:
    path = tmp_path / "secret"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


# --- the repository's file ------------------------------------------------------------------------


TABLES = (
    *(f"banks.{name}." for name in ("ach", "breakers", "swift", "sepa", "realtime", "windows")),
    "banks.balances.",
    *("reconciliation.accounts.", "reconciliation.tolerances.", "reconciliation.tariffs."),
    *("breaks.roles.", "breaks.escalation."),
)
"""Tables that may occur several times: the file shows one of each, commented out."""


def test_the_repository_file_equals_the_defaults() -> None:
    assert load(REPOSITORY_FILE).config == Config()


def test_the_repository_file_lists_every_key_once() -> None:
    listed = [key for key in listed_keys() if not key.startswith(TABLES)]
    assert sorted(listed) == sorted(set(known_keys()) - {each.rstrip(".") for each in TABLES})


def test_the_repository_file_explains_every_key_in_place() -> None:
    lines = REPOSITORY_FILE.read_text(encoding="utf-8").splitlines()
    explained = False
    for line in lines:
        if not line.strip() or line.startswith("["):
            explained = False
        elif line.startswith("# ") and not COMMENTED_KEY.match(line):
            explained = True
        else:
            assert explained, f"nothing above explains {line!r}"


def test_keys_that_depend_on_the_profile_are_commented_out_with_the_default_of_production() -> None:
    commented: dict[str, object] = {}
    section = ""
    for line in REPOSITORY_FILE.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"^(# )?\[+([a-z.]+)\]+$", line):
            section = found[2]
        elif found := COMMENTED_KEY.match(line):
            commented[f"{section}.{found[1]}"] = tomllib.loads(f"x = {found[2]}")["x"]
    rails = [key for key in commented if key.startswith(TABLES)]
    for key in rails:
        del commented[key]
    assert set(commented) == {key for keys in PROFILE_DEFAULTS.values() for key in keys}
    defaults = flatten(Config())
    assert commented == {key: defaults[key] for key in commented}


def listed_keys() -> list[str]:
    keys: list[str] = []
    section = ""
    for line in REPOSITORY_FILE.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"^(# )?\[+([a-z.]+)\]+$", line):
            section = f"{found[2]}."
        elif found := re.match(r"^(?:# )?([a-z_]+) = ", line):
            keys.append(section + found[1])
    return keys


# --- sources --------------------------------------------------------------------------------------


def test_without_any_source_the_built_in_defaults_count() -> None:
    loaded = load()
    assert loaded.config == Config()
    assert loaded.config_file is None
    assert set(loaded.origins.values()) == {"default"}


def test_sources_override_each_other_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "[server]\ngrpc_port = 1\nhttp_port = 2\nmax_batch_items = 3\n")
    monkeypatch.setenv("SETTLEMENT_SERVER__HTTP_PORT", "20")
    monkeypatch.setenv("SETTLEMENT_SERVER__MAX_BATCH_ITEMS", "30")
    loaded = load(path, {"server.max_batch_items": "300"})
    server = loaded.config.server
    assert (server.grpc_port, server.http_port, server.max_batch_items) == (1, 20, 300)
    assert loaded.origins["server.grpc_port"] == f"file {path}"
    assert loaded.origins["server.http_port"] == "environment SETTLEMENT_SERVER__HTTP_PORT"
    assert loaded.origins["server.max_batch_items"] == "command line"
    assert loaded.origins["server.host"] == "default"


def test_the_file_is_found_by_variable_then_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("[server]\ngrpc_port = 1\n", encoding="utf-8")
    assert load().config.server.grpc_port == 1
    assert load(search=False).config.server.grpc_port == Config().server.grpc_port
    monkeypatch.setenv("SETTLEMENT_CONFIG", str(write(tmp_path, "[server]\ngrpc_port = 2\n")))
    assert load().config.server.grpc_port == 2


def test_the_specifications_own_file_loads_as_it_is(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
[server]
grpc_port = 50056
http_port = 8086
max_concurrent_settlements = 100
[database]
url = "postgresql://deltran:password@postgres:5432/deltran"
max_connections = 20
min_connections = 5
[nats]
url = "nats://nats:4222"
subject_prefix = "settlement"
stream = "settlement-events"
[settlement]
default_timeout_seconds = 300
max_retry_attempts = 3
retry_delay_seconds = 60
[reconciliation]
schedule = "0 */6 * * *"
tolerance_amount = 0.01
alert_threshold = 1000.00
[banks]
mock_enabled = true
mock_latency_ms = 500
mock_success_rate = 0.95
[[banks.swift]]
enabled = true
endpoint = "https://swift-api.example.com"
timeout_seconds = 60
[[banks.sepa]]
enabled = true
endpoint = "https://sepa-api.example.com"
timeout_seconds = 45
[monitoring]
prometheus_enabled = true
metrics_port = 9096
health_check_interval = 30
""",
    )
    config = load(path).config
    assert config.reconciliation.tolerance_amount == Decimal("0.01")
    assert config.banks.mock_success_rate == Decimal("0.95")
    assert config.banks.swift[0].endpoint == "https://swift-api.example.com"
    assert config.banks.sepa[0].timeout_seconds == 45


@pytest.mark.parametrize("profile", ["dev", "demo"])
def test_development_opens_windows_and_migrates_unless_the_file_says_otherwise(
    tmp_path: Path, profile: str
) -> None:
    config = load(None, {"profile": profile}).config
    assert not config.settlement.real_windows
    assert config.database.auto_migrate
    assert config.server.reflection
    assert config.settlement.enquiry_first_delay_seconds == 0.2
    path = write(tmp_path, "[settlement]\nreal_windows = true\n")
    loaded = load(path, {"profile": profile})
    assert loaded.config.settlement.real_windows
    assert loaded.origins["server.reflection"] == f"default of profile {profile}"


def test_lists_and_tables_come_from_the_environment_as_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SETTLEMENT_SCREENING__BLOCKED_BANKS", '["DEUTDEFF", "CHASUS33"]')
    monkeypatch.setenv("SETTLEMENT_SCREENING__RISK_LIMIT_AMOUNTS", '{"EUR": "100.00"}')
    screening = load().config.screening
    assert screening.blocked_banks == ("DEUTDEFF", "CHASUS33")
    assert screening.risk_limit_amounts == {"EUR": "100.00"}


def test_a_limit_in_a_currency_that_has_left_iso_4217_does_not_stop_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the database knows whether the currency existed, and how many decimals it has."""
    iso4217.list_has_it(monkeypatch)
    settings: dict[str, object] = {
        "profile": "dev",
        "database.url": "postgresql:///x",
        "banks.mock_book_file": str(tmp_path / "book"),
        "screening.risk_limit_amounts": {iso4217.LEAVING: "10.00"},
    }
    iso4217.list_loses_it(monkeypatch)
    application = Application(load(None, settings).config)
    with pytest.raises(Misconfigured, match="names an amount in BGN"):
        application.require_known_currencies()
    money.book_exponents({iso4217.LEAVING: 2})
    application.require_known_currencies()


@pytest.mark.parametrize("code", ["....", " SBZAZAJJ", "", "SBZAZAJJ,CHASUS33"])
def test_a_blocked_bank_that_no_instruction_can_name_is_refused(tmp_path: Path, code: str) -> None:
    path = write(tmp_path, f'[screening]\nblocked_banks = ["{code}"]\n')
    with pytest.raises(Misconfigured) as caught:
        load(path)
    assert "blocked_banks" in str(caught.value) + caught.value.why


def test_a_list_in_the_environment_must_be_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SETTLEMENT_SCREENING__BLOCKED_BANKS", "DEUTDEFF,CHASUS33")
    with pytest.raises(Misconfigured) as caught:
        load()
    assert "JSON" in caught.value.what


def test_a_child_process_gets_the_same_configuration_through_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(
        None,
        {
            "profile": "dev",
            "database.url": f"postgresql://engine:{PASSWORD}@127.0.0.1:1/x",
            "screening.blocked_banks": ["DEUTDEFF"],
            "breaks.holidays": [date(2026, 12, 25)],
            "screening.risk_limit_amounts": {"EUR": "5.00"},
            "banks.mock_book_file": str(tmp_path / "a book"),
            "banks.swift": [
                {"enabled": True, "endpoint": "https://x.example", "timeout_seconds": 4}
            ],
        },
    ).config
    for name, value in to_environment(first).items():
        monkeypatch.setenv(name, value)
    again = load(search=False)
    assert again.config == first
    assert again.unknown_variables == []


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server.grpc_port", 65_536),
        ("server.grpc_port", -1),
        ("server.grpc_port", "many"),
        ("server.max_batch_items", 0),
        ("database.max_connections", 1),
        ("database.url", "mysql://x"),
        ("database.lock_timeout_seconds", 0),
        ("database.lock_timeout_seconds", "nan"),
        ("nats.url", "http://x"),
        ("nats.stream", "a b"),
        ("nats.subject_prefix", "a..b"),
        ("nats.publish_batch_max", 1_001),
        ("settlement.when_window_closed", "maybe"),
        ("settlement.default_timeout_seconds", "inf"),
        ("reconciliation.schedule", "daily"),
        ("reconciliation.tolerance_amount", "-0.01"),
        ("banks.mock_success_rate", "1.01"),
        ("banks.mock_latency_ms", -1),
        ("screening.risk_limit_amounts", {"EURO": "5.00"}),
        ("screening.risk_limit_amounts", {"EUR": "5,00"}),
        ("screening.risk_limit_amounts", {"EUR": "1e3"}),
        ("screening.risk_limit_amounts", {"EUR": "0"}),
        ("screening.risk_limit_amounts", {"JPY": "1.5"}),
        ("screening.risk_limit_amounts", {"ZZZ": "5.00001"}),
        ("monitoring.log_level", "chatty"),
        ("profile", "test"),
    ],
)
def test_a_value_out_of_range_names_its_key_and_where_it_came_from(key: str, value: object) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(None, {key: value})
    assert key in caught.value.what
    assert "command line" in caught.value.what
    assert caught.value.todo


def test_all_invalid_values_are_reported_at_once() -> None:
    with pytest.raises(Misconfigured) as caught:
        load(None, {"server.grpc_port": -1, "server.http_port": -1})
    assert "server.grpc_port" in caught.value.what
    assert "server.http_port" in caught.value.why


def test_an_unknown_key_in_the_file_is_refused_with_the_closest_real_one(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(write(tmp_path, "[server]\ngrpc_prt = 1\n"))
    assert "server.grpc_prt" in caught.value.what
    assert "server.grpc_port" in caught.value.why


@pytest.mark.parametrize("text", ["[servr]\nhost = 'x'\n", "server = 4\n", "hosts = 'x'\n"])
def test_an_unknown_section_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Misconfigured):
        load(write(tmp_path, text))


def test_a_file_that_is_not_toml_is_reported_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(write(tmp_path, "[server]\nhost = \n"))
    assert "line 2" in caught.value.why


def test_a_missing_configuration_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path / "none.toml")
    assert "none.toml" in caught.value.what


@pytest.mark.parametrize(
    "overrides",
    [
        {"database.min_connections": 30},
        {"engine.heartbeat_seconds": 1.5},
        {"settlement.enquiry_first_delay_seconds": 90},
        {"server.tls_cert_file": "cert.pem"},
        {"server.tls_client_ca_file": "ca.pem"},
    ],
)
def test_values_that_contradict_each_other_are_refused(overrides: dict[str, object]) -> None:
    with pytest.raises(Misconfigured):
        load(None, overrides)


def test_values_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().server.grpc_port = 1


# --- unknown variables ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SETTLEMENT_SERVER__GRPC_PRT", "SETTLEMENT_SERVER__GRPC_PORT"),
        ("SETTLEMENT_SERVR__GRPC_PORT", "SETTLEMENT_SERVER__GRPC_PORT"),
        ("SETTLEMENT_SERVER_GRPC_PORT", "SETTLEMENT_SERVER__GRPC_PORT"),
        ("SETTLEMENT_PROFIL", "SETTLEMENT_PROFILE"),
        ("SETTLEMENT_QQQQQQQQQQQQQQ", ""),
    ],
)
def test_an_unknown_variable_is_reported_with_the_closest_valid_one(
    monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.setenv(name, "1")
    loaded = load()
    assert [(found.name, found.hint) for found in loaded.unknown_variables] == [(name, hint)]
    assert loaded.config == Config()


def test_a_whole_section_as_one_variable_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETTLEMENT_SERVER", '{"grpc_port": 1}')
    assert load().config == Config()


def test_every_key_can_be_set_by_its_variable() -> None:
    names = {env_name(key) for key in known_keys()}
    assert len(names) == len(known_keys())
    assert env_name("server.grpc_port") == "SETTLEMENT_SERVER__GRPC_PORT"
    assert env_name("profile") == "SETTLEMENT_PROFILE"


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", ["database", "nats"])
def test_a_password_comes_from_a_file_and_is_escaped(tmp_path: Path, section: str) -> None:
    scheme = {"database": "postgresql", "nats": "nats"}[section]
    path = secret_file(tmp_path, "p@ss/word\n")
    loaded = load(
        None,
        {f"{section}.url": f"{scheme}://me@host:1/x?a=b", f"{section}.password_file": str(path)},
    )
    url = getattr(loaded.config, section).url.get_secret_value()
    assert url == f"{scheme}://me:p%40ss%2Fword@host:1/x?a=b"
    assert str(path) in loaded.origins[f"{section}.url"]


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o606])
def test_a_password_file_that_everybody_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, mode=mode)
    with pytest.raises(Misconfigured) as caught:
        load(None, {"database.url": "postgresql://me@h/x", "database.password_file": str(path)})
    assert "chmod 600" in caught.value.todo
    assert PASSWORD not in str(caught.value)


def test_a_password_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    overrides = {
        "database.url": "postgresql://me@h/x",
        "database.password_file": str(tmp_path / "none"),
    }
    with pytest.raises(Misconfigured, match="password_file"):
        load(None, overrides)


@pytest.mark.parametrize("url", ["", "postgresql://host/x", "postgresql://me:other@host/x"])
def test_a_password_file_needs_an_address_with_a_user_and_no_password(
    tmp_path: Path, url: str
) -> None:
    path = secret_file(tmp_path)
    with pytest.raises(Misconfigured) as caught:
        load(None, {"database.url": url, "database.password_file": str(path)})
    assert "other" not in str(caught.value) + caught.value.todo


def test_a_key_of_the_server_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    path = secret_file(tmp_path, mode=0o644)
    with pytest.raises(Misconfigured, match="tls_key_file"):
        load(None, {"server.tls_cert_file": "cert.pem", "server.tls_key_file": str(path)})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://me:{PASSWORD}@host:1/x", "postgresql://me:********@host:1/x"),
        (f"postgresql://host/x?user=me&password={PASSWORD}", "postgresql://host/x?********"),
        (f"nats://{PASSWORD}@host:1", "nats://********@host:1"),
        ("postgresql://me@host/x", "postgresql://me@host/x"),
        (f"postgresql:///{PASSWORD}", "********"),
    ],
)
def test_secrets_are_masked(url: str, shown: str) -> None:
    section = "nats" if url.startswith("nats") else "database"
    config = load(None, {f"{section}.url": url}).config
    value = flatten(config)[f"{section}.url"]
    assert masked(value) == shown
    assert PASSWORD not in repr(config)


def test_a_wrong_address_is_not_printed() -> None:
    with pytest.raises(Misconfigured) as caught:
        load(None, {"database.url": f"mysql://me:{PASSWORD}@host"})
    assert PASSWORD not in str(caught.value) + caught.value.why + caught.value.todo


# --- what is unsafe -------------------------------------------------------------------------------


def unsafe(tmp_path: Path, **changes: object) -> list[str]:
    overrides = {**SAFE, **{key.replace("__", "."): value for key, value in changes.items()}}
    loaded = load(None, overrides)
    return unsafe_settings(loaded.config, loaded.origins)


def test_safe_settings_are_safe(tmp_path: Path) -> None:
    assert unsafe(tmp_path) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("database.url", ""),
        ("nats.url", ""),
        ("banks.mock_enabled", True),
        ("banks.sepa", [{"enabled": True, "endpoint": "http://127.0.0.1:1"}]),
        ("server.reflection", True),
        ("server.host", "0.0.0.0"),
        ("server.host", "settlement.example"),
        ("settlement.real_windows", False),
    ],
)
def test_each_unsafe_setting_is_named(tmp_path: Path, key: str, value: object) -> None:
    found = unsafe(tmp_path, **{key.replace(".", "__"): value})
    assert len(found) == (2 if key == "server.host" else 1)
    assert all(key.split(".")[1] in each or "server.host" in each for each in found)


BANK = "https://swift-api.example.com"


def swift_bank(tmp_path: Path, **changes: object) -> dict[str, object]:
    """A bank that may be used for real money, unless it is changed."""
    files = {"ca_file": "ca.pem", "cert_file": "we.pem", "key_file": str(secret_file(tmp_path))}
    return {"enabled": True, "endpoint": BANK, **files, **changes}


def unsafe_bank(tmp_path: Path, bic: str = "SETTGB2L", **changes: object) -> list[str]:
    given = {"banks__swift": [swift_bank(tmp_path, **changes)], "institution__bic": bic}
    return unsafe(tmp_path, **given)


def test_a_bank_that_is_known_by_certificates_is_safe(tmp_path: Path) -> None:
    assert unsafe_bank(tmp_path) == []
    assert unsafe_bank(tmp_path, endpoint="", enabled=False, ca_file="") == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"endpoint": "http://swift-api.example.com"}, ["endpoint"]),
        ({"ca_file": ""}, ["ca_file"]),
        ({"cert_file": "", "key_file": ""}, ["cert_file", "key_file"]),
        ({"bic": ""}, ["institution.bic"]),
    ],
)
def test_a_bank_on_another_machine_needs_certificates_on_both_sides(
    tmp_path: Path, changes: dict[str, str], named: list[str]
) -> None:
    found = unsafe_bank(tmp_path, **changes)
    assert len(found) == len(named)
    assert all(key in text for key, text in zip(named, found, strict=True))


def test_a_bank_on_this_machine_needs_no_tls(tmp_path: Path) -> None:
    plain = {"endpoint": "http://127.0.0.1:8099", "ca_file": "", "cert_file": "", "key_file": ""}
    assert unsafe_bank(tmp_path, **plain) == []


def test_a_token_for_calling_back_is_for_one_machine(tmp_path: Path) -> None:
    token = str(secret_file(tmp_path))
    assert unsafe_bank(tmp_path, callback_token_file=token) == []
    bank = swift_bank(tmp_path, callback_token_file=token)
    given = {"banks__swift": [bank], "institution__bic": "SETTGB2L", "server__host": "10.0.0.1"}
    assert any("callback_token_file" in text for text in unsafe(tmp_path, **given))


@pytest.mark.parametrize("key", ["key_file", "token_file", "callback_token_file"])
def test_a_secret_of_a_bank_that_everybody_can_read_is_refused(tmp_path: Path, key: str) -> None:
    path = secret_file(tmp_path, mode=0o644)
    bank = {
        "enabled": True,
        "endpoint": BANK,
        "cert_file": "we.pem",
        "key_file": "",
        key: str(path),
    }
    bank |= {"cert_file": "we.pem" if key == "key_file" else ""}
    with pytest.raises(Misconfigured) as caught:
        load(None, {"banks.swift": [bank]})
    assert f"banks.swift.0.{key} is readable by everybody" in caught.value.what


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("banks.swift", [{"enabled": True}], "endpoint"),
        ("banks.swift", [{"enabled": True, "endpoint": "bank.example"}], "endpoint"),
        ("banks.swift", [{"cert_file": "we.pem"}], "cert_file and key_file"),
        ("banks.swift", [{"callback_name": "*.example"}], "as certificates have it"),
        ("banks.swift", [{"currencies": ["euro"]}], "banks.swift.0"),
        ("banks.swift", [{}] * 101, "at most 100 items"),
        ("banks.sepa", [{"rails": []}], "at least 1 item"),
        ("banks.sepa", [{"profile_file": "x.toml"}], "profile_file is about one rail"),
        ("banks.realtime", [{"enabled": True, "endpoint": BANK}], "set profile"),
        (
            "banks.swift",
            [{"our_account": "DE02 1203 0000 0000 2020 51 000000000000"}],
            "our_account",
        ),
        ("institution.bic", "settgb2l", "institution.bic"),
        ("institution.lei", "5493001KJTIIGC8Y1R13", "LEI"),
    ],
)
def test_what_is_no_institution_and_no_bank_is_named(key: str, value: object, why: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(None, {key: value})
    assert why in str(caught.value)


def test_an_institution_has_a_bic_and_an_lei() -> None:
    given = {"institution.bic": "DEUTDEFFXXX", "institution.lei": "5493001KJTIIGC8Y1R12"}
    config = load(None, {**given, "institution.name": "Deutsche Bank"}).config
    assert config.institution.bic == "DEUTDEFFXXX"
    assert config.institution.name == "Deutsche Bank"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_no_tls(tmp_path: Path, host: str) -> None:
    assert unsafe(tmp_path, server__host=host) == []


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "::", "settlement.example"])
def test_another_host_needs_tls_and_an_authority_for_its_callers(tmp_path: Path, host: str) -> None:
    files = {
        "server__tls_cert_file": "cert.pem",
        "server__tls_key_file": str(secret_file(tmp_path)),
    }
    [found] = unsafe(tmp_path, server__host=host, **files)
    assert "server.tls_client_ca_file" in found
    assert f"server.host is {host}" in found
    files["server__tls_client_ca_file"] = "ca.pem"
    assert unsafe(tmp_path, server__host=host, **files) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'http_enabled = false\nhttp_socket_file = "x.sock"',
            "http_socket_file needs http_enabled",
        ),
        ("max_http_body_bytes = 65536", "max_http_body_bytes must not be less"),
        ('allowed_hosts = ["https://bank.example"]', "allowed_hosts"),
        ('allowed_hosts = ["*"]', "allowed_hosts"),
    ],
)
def test_http_is_configured_without_contradictions(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(write(tmp_path, f"[server]\n{text}\n"))
    assert words in caught.value.what + caught.value.why


def test_the_mock_bank_may_be_allowed_for_a_rehearsal(tmp_path: Path) -> None:
    settings = {"banks__mock_enabled": True, "banks__mock_allowed_in_production": True}
    assert unsafe(tmp_path, **settings) == []


def test_nats_may_be_switched_off(tmp_path: Path) -> None:
    assert unsafe(tmp_path, nats__url="", nats__enabled=False) == []


@pytest.mark.parametrize(
    ("section", "url"),
    [
        ("database", f"postgresql://me:{PASSWORD}@db/x"),
        ("database", f"postgresql://db/x?user=me&password={PASSWORD}"),
        ("nats", f"nats://me:{PASSWORD}@nats"),
        ("nats", f"nats://{PASSWORD}@nats"),
    ],
)
def test_a_password_written_into_the_file_is_unsafe_and_one_in_the_environment_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, url: str
) -> None:
    others = {key: value for key, value in SAFE.items() if key != f"{section}.url"}
    loaded = load(write(tmp_path, f'[{section}]\nurl = "{url}"\n'), others)
    found = unsafe_settings(loaded.config, loaded.origins)
    assert len(found) == 1
    assert PASSWORD not in found[0]
    monkeypatch.setenv(f"SETTLEMENT_{section.upper()}__URL", url)
    loaded = load(None, others)
    assert unsafe_settings(loaded.config, loaded.origins) == []


def test_a_password_from_a_file_of_its_own_is_safe(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f'[database]\nurl = "postgresql://me@db/x"\npassword_file = "{secret_file(tmp_path)}"\n',
    )
    others = {key: value for key, value in SAFE.items() if key != "database.url"}
    loaded = load(path, others)
    assert unsafe_settings(loaded.config, loaded.origins) == []


def test_each_comment_of_the_shipped_file_is_a_sentence_of_its_own() -> None:
    """No comment continues over the next key: each key is found, copied and read separately."""
    lines = (Path(__file__).resolve().parents[2] / "config.toml").read_text("utf-8").splitlines()
    is_key = re.compile(r"(# )?[a-z_]+ = ")
    for before, after in pairwise(lines):
        is_comment = before.startswith("# ") and not before.startswith("# [")
        if is_comment and not is_key.match(before) and is_key.match(after):
            assert before.endswith((".", ")")), before
    for before, after in pairwise(lines):
        if is_key.match(before) and after.startswith("# ") and not is_key.match(after):
            assert re.match(r"# [A-Z0-9\"(`]|# postgresql://", after), after


# --- windows of rails -------------------------------------------------------------------------------

WINDOW = {"rail": "mock", "zone": "Europe/Berlin", "opens": "07:00", "closes": "18:00"}


def test_the_windows_of_a_rail_reach_the_engine() -> None:
    windows = [WINDOW | {"currency": "EUR", "weekdays": [1, 2]}, WINDOW]
    settings = engine_settings(load(None, {"banks.windows": windows}).config)
    one, other = settings.windows_by_rail["mock"]
    assert (one.currency, one.opens, one.closes) == ("EUR", time(7), time(18))
    assert (one.weekdays, other.currency) == (frozenset({1, 2}), "")
    assert list(settings.windows_by_rail) == ["mock"]


@pytest.mark.parametrize(
    "change",
    [
        {"zone": "Mars/Phobos"},
        {"opens": "7 o'clock"},
        {"closes": "18:00+01:00"},
        {"weekdays": [8]},
        {"weekdays": []},
        {"currency": "euro"},
        {"rail": ""},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_window_that_never_could_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Misconfigured):
        load(None, {"banks.windows": [WINDOW | change]})


def test_how_a_bank_names_our_account_reaches_the_import() -> None:
    said = {"bank": "deutdeffxxx", "currency": "EUR", "account_number": "1", "aliases": ["BLZ/1"]}
    config = load(None, {"reconciliation.accounts": [said]}).config
    [names] = statement_accounts(config)
    assert (names.number, names.aliases, names.numbers_count_by_one) == ("1", ("BLZ/1",), True)
    for change in ({"currency": "euro"}, {"aliases": [""]}, {"bank": ""}, {"account_number": ""}):
        with pytest.raises(Misconfigured):
            load(None, {"reconciliation.accounts": [said | change]})


def test_due_times_of_statements_are_converted() -> None:
    account = {
        "bank": "DEUTDEFF",
        "currency": "EUR",
        "account_number": "1",
        "statements_due": "10:30",
        "zone": "Europe/Berlin",
    }
    changes: dict[str, object] = {
        "reconciliation.statements_due": "08:00",
        "reconciliation.accounts": [account],
    }
    times = statement_due_times(load(None, changes).config)
    assert times.default == StatementDue(
        at=time(8), zone="UTC", weekdays=frozenset({1, 2, 3, 4, 5})
    )
    own = times.of(AccountAtBank(id=1, bank="DEUTDEFF", currency="EUR", number="1"))
    assert own is not None
    assert (own.at, own.zone, own.is_own) == (time(10, 30), "Europe/Berlin", True)
    assert statement_due_times(load(None, {}).config).is_empty
    for key, value in (("statements_due", "8 o'clock"), ("statement_weekdays", [])):
        with pytest.raises(Misconfigured):
            load(None, {f"reconciliation.{key}": value})


ROLE = {"name": "settlement", "persons": ["anna"], "limits": {"USD": "10000.00"}}
STEP = {"from_business_days": 2, "level": 1, "owner_group": "lead", "amounts": {"JPY": "5000"}}


def test_the_rules_of_the_work_on_breaks_are_converted() -> None:
    sections: dict[str, object] = {
        "breaks.roles": [ROLE],
        "breaks.escalation": [STEP],
        "breaks.holidays": [date(2027, 1, 1), date(2026, 12, 25), date(2027, 1, 1)],
        "breaks.zone": "Europe/Berlin",
        "breaks.day_ends": "16:30",
        "breaks.weekend": [5, 6],
    }
    rules = break_rules(load(None, sections).config)
    [role], [step] = rules.roles, rules.escalation
    assert (role.name, role.persons, role.limits_minor) == ("settlement", ("anna",), {"USD": 10**6})
    assert (step.bucket.label, step.level, step.owner_group) == ("2-5", 1, "lead")
    assert step.amounts_minor == {"JPY": 5000}
    calendar = rules.calendar
    assert calendar.holidays == (date(2026, 12, 25), date(2027, 1, 1))
    assert (calendar.zone, calendar.day_ends) == ("Europe/Berlin", time(16, 30))
    assert calendar.weekend == {5, 6}


def test_only_development_lets_everybody_resolve_breaks() -> None:
    assert break_rules(Config()).roles == ()
    for profile in ("dev", "demo"):
        config = load(None, {"profile": profile}).config
        assert [each.persons for each in break_rules(config).roles] == [("*",)]
        named = load(None, {"profile": profile, "breaks.roles": [ROLE]}).config
        assert [each.persons for each in break_rules(named).roles] == [("anna",)]


@pytest.mark.parametrize(
    "change",
    [
        {"breaks.roles": [ROLE | {"persons": []}]},
        {"breaks.roles": [ROLE | {"limits": {"USD": "1.001"}}]},
        {"breaks.roles": [ROLE | {"name": ""}]},
        {"breaks.escalation": [STEP | {"from_business_days": 3}]},
        {"breaks.escalation": [STEP | {"level": 10}]},
        {"breaks.escalation": [STEP | {"due_business_days": 367}]},
        {"breaks.escalation": [STEP | {"amounts": {}}, STEP]},
        {"breaks.weekend": [1, 2, 3, 4, 5, 6, 7]},
        {"breaks.weekend": [0]},
        {"breaks.zone": "Berlin"},
        {"breaks.day_ends": "25:00"},
        {"breaks.holidays": ["soon"]},
    ],
    ids=str,
)
def test_rules_of_breaks_that_make_no_sense_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(Misconfigured):
        break_rules(load(None, change).config)


BREAKER = {"rail": "swift", "when_open": "refuse", "reject_share": "0.9", "slow_seconds": 3}


def test_the_breaker_of_a_rail_is_converted_and_a_condition_of_zero_is_off() -> None:
    sections = [BREAKER, {"rail": "mock", "first_wait_seconds": 1, "max_wait_seconds": 2}]
    limits = engine_settings(load(None, {"banks.breakers": sections}).config).breakers_by_rail
    assert limits["swift"].refuses_while_open
    assert (limits["swift"].reject_share, limits["swift"].slow_seconds) == (0.9, 3.0)
    mock = limits["mock"]
    assert not mock.refuses_while_open
    assert (mock.reject_share, mock.slow_seconds) == (None, None)
    assert (mock.rest.first_seconds, mock.rest.max_seconds) == (1, 2)
    assert mock == replace(BreakerLimits(), rest=mock.rest), "the defaults are those of a rail"


@pytest.mark.parametrize(
    "change",
    [
        {"rail": ""},
        {"when_open": "hope"},
        {"failure_share": 0},
        {"reject_share": "1.1"},
        {"window": 0},
        {"first_wait_seconds": 61},
    ],
)
def test_a_breaker_that_could_not_work_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Misconfigured):
        load(None, {"banks.breakers": [BREAKER | change]})
