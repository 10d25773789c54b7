"""``config check`` and ``config show``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from settlement_engine.cli.failures import ExitCode
from settlement_engine.config import known_keys

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run


def test_check_is_content_with_the_defaults_and_says_what_serve_would_refuse(command: Run) -> None:
    said = command("config", "check")
    assert said.code == ExitCode.OK
    assert "all keys are known" in said.out
    assert "`serve` would refuse: database.url is empty" in said.out


def test_check_for_production_ends_with_three(command: Run) -> None:
    said = command("config", "check", "--production", "--json")
    assert said.code == ExitCode.MISCONFIGURED
    assert any("database.url" in problem for problem in json.loads(said.out)["problems"])


def test_check_names_variables_that_nobody_reads(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLEMENT_SERVR__GRPC_PORT", "1")
    assert "did you mean SETTLEMENT_SERVER__GRPC_PORT?" in command("config", "check").out


def test_check_knows_how_many_decimals_a_currency_has(command: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[screening]\nrisk_limit_amounts = { JPY = "1.5" }\n', encoding="utf-8")
    said = command("config", "check")
    assert said.code == ExitCode.MISCONFIGURED
    assert "JPY has 0" in said.err
    assert len(said.err.splitlines()) == 3


def test_a_wrong_value_is_told_in_three_lines(command: Run) -> None:
    said = command("config", "check", "--set", "server.grpc_port=99999")
    assert said.code == ExitCode.MISCONFIGURED
    assert len(said.err.splitlines()) == 3
    assert "server.grpc_port = 99999" in said.err


def test_set_needs_a_key_and_a_value(command: Run) -> None:
    assert command("config", "check", "--set", "server.grpc_port").code == ExitCode.USAGE


def test_show_lists_every_key_with_its_origin_and_masks_secrets(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLEMENT_DATABASE__URL", "postgresql://me:hunter2@db/x")
    shown = json.loads(command("config", "show", "--json").out)
    assert list(shown) == known_keys()
    assert shown["database.url"] == {
        "value": "postgresql://me:********@db/x",
        "origin": "environment SETTLEMENT_DATABASE__URL",
    }
    said = command("config", "show")
    assert "hunter2" not in said.out
    assert "server.grpc_port" in said.out


SECRETS = {
    "database.url": [
        "postgresql://me:hunter2@db/x",
        "postgresql://db/x?user=me&password=hunter2",
        "postgresql://me@db/x?sslpassword=hunter2",
    ],
    "nats.url": ["nats://me:hunter2@nats:4222", "nats://hunter2@nats:4222,other:4222"],
}
IN_ARGUMENTS = [
    (("config", "show", "--set", f"{key}={url}"), key)
    for key, urls in SECRETS.items()
    for url in urls
] + [
    ((*words, f"--{key.replace('.', '-')}", url), key)
    for key, urls in SECRETS.items()
    for url in urls
    for words in ([("dev",), ("migrate",), ("prove",)] if key == "database.url" else [("dev",)])
]


@pytest.mark.parametrize(("words", "key"), IN_ARGUMENTS)
def test_a_password_in_an_argument_is_refused(
    command: Run, words: tuple[str, ...], key: str
) -> None:
    said = command(*words)
    assert said.code == ExitCode.MISCONFIGURED
    assert "hunter2" not in said.out + said.err
    what, why, todo = said.err.splitlines()
    assert "contains a password" in what
    assert "arguments" in why
    assert f"SETTLEMENT_{key.split('.', maxsplit=1)[0].upper()}__URL" in todo
    assert f"{key.split('.', maxsplit=1)[0]}.password_file" in todo


def test_an_address_without_a_password_may_be_an_argument(command: Run) -> None:
    said = command("config", "show", "--set", "database.url=postgresql://me@db/x?sslmode=require")
    assert said.code == ExitCode.OK
    assert "postgresql://me@db/x" in said.out


def test_a_screening_provider_that_nobody_has_is_told_whatever_is_checked(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLEMENT_SCREENING__PROVIDER", "nobody")
    for options in ((), ("--production",)):
        said = command("config", "check", *options)
        assert said.code == ExitCode.MISCONFIGURED
        assert "Choose one of: builtin" in said.out
