"""The rails that are enabled in the configuration, in order of preference.

Promises: each is built from its own section, and a missing value is reported with its key. The mock bank comes
first if it is enabled, so that a test run with it sends nothing to a real bank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.app.settings import mock_settings
from settlement_engine.config import read_secret
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.errors import Misconfigured
from settlement_engine.rails.mock import MockRail
from settlement_engine.rails.registry import RailEntry, RailRegistry
from settlement_engine.rails.swift.profile import read_profile, shipped_profile
from settlement_engine.rails.swift.rail import RAIL_NAME as SWIFT
from settlement_engine.rails.swift.rail import SwiftRail, SwiftSettings
from settlement_engine.rails.transport.certificates import BankCertificateFiles
from settlement_engine.rails.transport.http import HttpSettings, HttpTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from settlement_engine.config import Config, SwiftBank
    from settlement_engine.ports import Clock
    from settlement_engine.rails.swift.profile import SwiftProfile

CONNECT_SECONDS_MAX = 5.0
MARGIN_SECONDS = 1
"""How much longer the engine waits than the connection, so that it learns how an exchange ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltRails:
    """The rails, and separately those that other components need by themselves."""

    registry: RailRegistry
    mock: MockRail | None
    swift: SwiftRail | None


def built_rails(
    config: Config, clock: Clock, count_alarm: Callable[[str, str], None] | None = None
) -> BuiltRails:
    """Build what the configuration switches on. Raises Misconfigured."""
    mock = MockRail(mock_settings(config), clock) if config.banks.mock_enabled else None
    swift = _swift(config, clock, count_alarm)
    registry = RailRegistry(
        (
            RailEntry("mock", "banks", lambda: mock),
            RailEntry(SWIFT, "banks.swift", lambda: swift),
        )
    )
    if not registry.rails:
        todo = "Enable one: [[banks.swift]] enabled = true, or banks.mock_enabled = true."
        raise Misconfigured("no rail is enabled", todo=todo)
    return BuiltRails(registry=registry, mock=mock, swift=swift)


def _swift(
    config: Config, clock: Clock, count_alarm: Callable[[str, str], None] | None
) -> SwiftRail | None:
    bank = next((bank for bank in config.banks.swift if bank.enabled), None)
    if bank is None:
        return None
    if not config.institution.bic:
        what = "institution.bic is empty, and banks.swift is enabled"
        raise Misconfigured(what, todo="Set it: messages to banks say who sends them.")
    profile = shipped_profile() if bank.profile_file is None else read_profile(bank.profile_file)
    waits_seconds = int(bank.timeout_seconds) + MARGIN_SECONDS
    settings = SwiftSettings(
        our_code=config.institution.bic,
        profile=msgspec.structs.replace(profile, answer_timeout_seconds=waits_seconds),
        banks=frozenset(map(folded_bank, bank.banks)) or None,
        currencies=frozenset(bank.currencies) or None,
    )
    return SwiftRail(settings, HttpTransport(_http(bank, profile)), clock, count_alarm)


def _http(bank: SwiftBank, profile: SwiftProfile) -> HttpSettings:
    certificates = None
    if bank.ca_file is not None:
        certificates = BankCertificateFiles(
            authority=bank.ca_file, certificate=bank.cert_file, key=bank.key_file
        )
    token = ""
    if bank.token_file is not None:
        token = read_secret(bank.token_file, "banks.swift.token_file").strip()
    return HttpSettings(
        endpoint=bank.endpoint,
        bearer_token=token,
        certificates=certificates,
        timeout_seconds=bank.timeout_seconds,
        connect_timeout_seconds=min(CONNECT_SECONDS_MAX, bank.timeout_seconds),
        connections_max=profile.concurrency_max,
    )
