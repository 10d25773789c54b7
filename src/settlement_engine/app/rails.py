"""The rails that are enabled in the configuration, in order of preference.

Promises: each is built from its own section, and a missing value is reported with its key. The mock bank comes
first if it is enabled, so that a test run with it sends nothing to a real bank.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from settlement_engine.app.ach import built_ach
from settlement_engine.app.message_schemas import message_schemas
from settlement_engine.app.settings import mock_settings, rails_of
from settlement_engine.config import RealtimeBank, SwiftBank, read_secret
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.check_digits import fault_of_iban
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.errors import Misconfigured
from settlement_engine.rails.ach import RAIL_NAME as ACH
from settlement_engine.rails.iso20022 import RAIL_NAMES, SWIFT, SWIFT_COVER
from settlement_engine.rails.iso20022.connections import BankConnection, Connections
from settlement_engine.rails.iso20022.cover_rail import CoverPaymentRail
from settlement_engine.rails.iso20022.dialect import Dialect
from settlement_engine.rails.iso20022.parties import Institution, OurAccounts
from settlement_engine.rails.iso20022.profile import read_profile, shipped_profile
from settlement_engine.rails.iso20022.rail import IsoRail
from settlement_engine.rails.mock import MockRail
from settlement_engine.rails.registry import RailEntry, RailRegistry
from settlement_engine.rails.transport.certificates import BankCertificateFiles
from settlement_engine.rails.transport.http import HttpSettings, HttpTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from settlement_engine.config import Config, RailBank
    from settlement_engine.ports import Clock, CoverStore, RailFileStore, SendRail
    from settlement_engine.rails.iso20022.profile import IsoProfile

CONNECT_SECONDS_MAX: Final = 5.0
MARGIN_SECONDS: Final = 1
"""How much longer the engine waits than the connection, so that it learns how an exchange ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltRails:
    """The rails, and separately those that other components need by themselves."""

    registry: RailRegistry
    mock: MockRail | None
    iso: tuple[IsoRail, ...] = ()


def built_rails(
    config: Config,
    clock: Clock,
    count_alarm: Callable[[str, str], None] | None = None,
    files: RailFileStore | None = None,
    covers: CoverStore | None = None,
) -> BuiltRails:
    """Build what the configuration switches on. Raises Misconfigured.

    ``files`` stores the files of ach, and ``covers`` those of cover payments.
    """
    mock = MockRail(mock_settings(config), clock) if config.banks.mock_enabled else None
    schemas = message_schemas(config)
    reached = {
        name: connections
        for name in RAIL_NAMES
        if (connections := _connections(name, config)) is not None
    }
    iso = {
        name: IsoRail(name, connections, clock, count_alarm, schemas)
        for name, connections in reached.items()
    }
    cover = None
    if SWIFT in reached and any(each.covers for each in reached[SWIFT].all):
        cover = CoverPaymentRail(SWIFT, reached[SWIFT], clock, count_alarm, schemas)
        if covers is not None:
            cover.keep_covers(covers)
    ach = built_ach(config, clock, files, count_alarm)
    registry = RailRegistry(
        (
            RailEntry("mock", "banks", lambda: mock),
            RailEntry(SWIFT_COVER, "banks", lambda: cover),
            *(RailEntry(name, "banks", partial(iso.get, name)) for name in RAIL_NAMES),
            RailEntry(ACH, "banks", lambda: ach),
        )
    )
    if not registry.rails:
        todo = "Enable one: [[banks.swift]] enabled = true, or banks.mock_enabled = true."
        raise Misconfigured("no rail is enabled", todo=todo)
    return BuiltRails(registry=registry, mock=mock, iso=tuple(iso.values()))


def without_enquiries(rails: Mapping[str, SendRail]) -> frozenset[str]:
    """Return the rails whose banks are asked for no status."""
    return frozenset(
        name for name, rail in rails.items() if Ask.ENQUIRE not in rail.capabilities.asks
    )


def _connections(rail: str, config: Config) -> Connections | None:
    """Read the enabled banks of a rail; None when there is none."""
    found = [
        _connection(rail, key, bank, config)
        for key, bank in config.banks.over_http()
        if bank.enabled and rail in rails_of(bank)
    ]
    return Connections(found) if found else None


def _connection(rail: str, key: str, bank: RailBank, config: Config) -> BankConnection:
    if not config.institution.bic:
        what = f"institution.bic is empty, and {key} is enabled"
        raise Misconfigured(what, todo="Set it: messages to banks say who sends them.")
    profile = _profile(rail, bank)
    _require_names(key, bank, profile, config)
    timeout_seconds = min(bank.timeout_seconds, profile.answer_seconds_max)
    us = Institution(
        bic=config.institution.bic, name=config.institution.name, lei=config.institution.lei
    )
    accounts = OurAccounts(
        debited=bank.our_account,
        settlement_agent=bank.settlement_agent,
        settlement_account=bank.settlement_account,
    )
    return BankConnection(
        name=key,
        profile=profile,
        dialect=Dialect(us, profile, accounts),
        transport=HttpTransport(_http(key, bank, profile, timeout_seconds)),
        answer_seconds=int(timeout_seconds) + MARGIN_SECONDS,
        banks=frozenset(map(folded_bank, bank.banks)),
        currencies=frozenset(bank.currencies),
        states_balances=bank.states_balances,
        covers=isinstance(bank, SwiftBank) and bank.covers,
    )


def _profile(rail: str, bank: RailBank) -> IsoProfile:
    if bank.profile_file is not None:
        return read_profile(bank.profile_file)
    return shipped_profile(bank.profile if isinstance(bank, RealtimeBank) else rail)


def _require_names(key: str, bank: RailBank, profile: IsoProfile, config: Config) -> None:
    """Refuse a bank to which no order could be written. Raises Misconfigured."""
    if not profile.institution and not config.institution.name:
        what = f"institution.name is empty, and {key} is enabled"
        raise Misconfigured(what, todo=f"Set it: {profile.scheme} names who pays.")
    if not profile.account_is_iban:
        return
    for name in ("our_account", "settlement_account"):
        number: str = getattr(bank, name)
        if number and fault_of_iban(number):
            what = f"{key}.{name} is no IBAN, and {profile.scheme} takes no other account"
            raise Misconfigured(what, why=fault_of_iban(number))


def _http(key: str, bank: RailBank, profile: IsoProfile, timeout_seconds: float) -> HttpSettings:
    certificates = None
    if bank.ca_file is not None:
        certificates = BankCertificateFiles(
            authority=bank.ca_file, certificate=bank.cert_file, key=bank.key_file
        )
    token = ""
    if bank.token_file is not None:
        token = read_secret(bank.token_file, f"{key}.token_file").strip()
    return HttpSettings(
        endpoint=bank.endpoint,
        bearer_token=token,
        certificates=certificates,
        timeout_seconds=timeout_seconds,
        connect_timeout_seconds=min(CONNECT_SECONDS_MAX, timeout_seconds),
        connections_max=profile.concurrency_max,
    )
