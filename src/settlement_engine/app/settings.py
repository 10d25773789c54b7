"""Converts the configuration to the settings of each component."""

from __future__ import annotations

from datetime import time
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final

from settlement_engine.api.settings import ApiSettings, CallbackAccess, HttpBounds, TlsFiles
from settlement_engine.config import SepaBank, SwiftBank
from settlement_engine.config.secrets import read_secret
from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.missing_statements import (
    StatementDue,
    StatementDueTimes,
    due_key,
)
from settlement_engine.domain.money import currencies, exponent, parse_amount
from settlement_engine.domain.statement_import import AccountNames
from settlement_engine.domain.stuck import StuckLimits
from settlement_engine.domain.value_dates import ValueDateRange
from settlement_engine.domain.windows import Window
from settlement_engine.engine.reconciliation_schedule import ReconciliationTimes
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import Misconfigured
from settlement_engine.ports import BreakerLimits, DoubtLimit
from settlement_engine.rails.mock import MockSettings
from settlement_engine.screening.builtin import ScreeningRules
from settlement_engine.store.accounts import CONTROL_NUMBER
from settlement_engine.store.database import DatabaseSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from settlement_engine.config import Config, RailBank
    from settlement_engine.config.banks import RailBreaker
    from settlement_engine.ports import RailCapabilities

TOKEN_CHARACTERS_MIN: Final = 16
"""A shorter token could be guessed."""


def database_settings(config: Config) -> DatabaseSettings:
    """Convert the section ``database``."""
    section = config.database
    return DatabaseSettings(
        url=section.url.get_secret_value(),
        connect_timeout_seconds=section.connect_timeout_seconds,
        statement_timeout_seconds=section.statement_timeout_seconds,
        lock_timeout_seconds=section.lock_timeout_seconds,
        idle_in_transaction_timeout_seconds=section.idle_in_transaction_timeout_seconds,
        transaction_timeout_seconds=section.transaction_timeout_seconds,
        readers_max=max(2, min(section.max_connections - 9, 8)),
    )


def statement_accounts(config: Config) -> tuple[AccountNames, ...]:
    """Convert what is configured of our accounts' statements, with our accounts at settlement agents."""
    said = tuple(
        AccountNames(
            bank=each.bank,
            currency=each.currency,
            number=each.account_number,
            aliases=each.aliases,
            numbers_count_by_one=each.numbers_count_by_one,
            zone=each.zone,
        )
        for each in config.reconciliation.accounts
    )
    return (*said, *dict.fromkeys(_accounts_at_agents(config)))


def statement_due_times(config: Config) -> StatementDueTimes:
    """Convert when statements are due."""
    section, zone = config.reconciliation, config.reconciliation.zone
    weekdays = frozenset(section.statement_weekdays)
    default = None
    if section.statements_due:
        default = StatementDue(
            at=time.fromisoformat(section.statements_due),
            zone=zone,
            weekdays=weekdays,
        )
    own = {
        due_key(each.bank, each.currency, each.account_number): StatementDue(
            at=time.fromisoformat(each.statements_due),
            zone=each.zone or zone,
            weekdays=weekdays,
            is_own=True,
        )
        for each in section.accounts
        if each.statements_due
    }
    return StatementDueTimes(default=default, own=own)


def _accounts_at_agents(config: Config) -> Iterator[AccountNames]:
    """Name the settlement account of each rail as its settlement agent does (decision 0033)."""
    over_http = ((rails_of(bank), bank) for _, bank in config.banks.over_http() if bank.enabled)
    named = [
        (rail, bank.settlement_agent, bank.settlement_account)
        for rails, bank in over_http
        for rail in rails
    ]
    named += [
        ("ach", bank.settlement_routing_number, bank.settlement_account)
        for bank in config.banks.ach
        if bank.enabled
    ]
    for rail, agent, number in named:
        if agent and number:
            yield AccountNames(
                bank=rail,
                currency="",
                number=CONTROL_NUMBER,
                aliases=(number,),
                servicer=agent,
            )


def reconciliation_times(config: Config) -> ReconciliationTimes:
    """Convert when reconciliation runs by itself. The plain threshold is one of every currency."""
    section = config.reconciliation
    plain = section.alert_threshold
    texts = {code: str(plain) for code in currencies()} | dict(section.alert_thresholds)
    return ReconciliationTimes(
        schedule=section.schedule,
        zone=section.zone,
        on_arrival=section.on_arrival,
        alert_minor={code: _minor(text, code) for code, text in texts.items()},
    )


def _minor(text: str, currency: str) -> int:
    """Return an amount in minor units; a finer one is rounded up: the alarm comes at a whole unit."""
    scaled = Decimal(text).scaleb(exponent(currency))
    return int(scaled.to_integral_value(rounding=ROUND_CEILING))


def engine_settings(config: Config) -> EngineSettings:
    """Convert the sections ``settlement``, ``engine`` and ``cases``, and a key of ``reconciliation``."""
    settlement, engine = config.settlement, config.engine
    resend_first = min(1.0, settlement.retry_delay_seconds)
    return EngineSettings(
        open_max=config.server.max_concurrent_settlements,
        absent_after_days=config.reconciliation.absent_after_days,
        intake_queue_max=settlement.intake_queue_max,
        intake_batch_max=settlement.intake_batch_max,
        move_batch_max=settlement.move_batch_max,
        claim_batch_max=engine.claim_batch_max,
        claim_interval_seconds=engine.claim_interval_seconds,
        lease_seconds=engine.lease_seconds,
        heartbeat_seconds=engine.heartbeat_seconds,
        screening_timeout_seconds=settlement.screening_timeout_seconds,
        sends_max=settlement.max_retry_attempts + 1,
        resend=Backoff(first_seconds=resend_first, max_seconds=settlement.retry_delay_seconds),
        enquiry=Backoff(
            first_seconds=settlement.enquiry_first_delay_seconds,
            max_seconds=settlement.enquiry_max_delay_seconds,
        ),
        case_interval_seconds=config.cases.interval_seconds,
        proposal_valid_seconds=config.cases.proposal_valid_seconds,
        doubt_limits=_doubt_limits(config),
        value_dates=ValueDateRange(
            days_back=settlement.value_date_days_back,
            days_ahead=settlement.value_date_days_ahead,
        ),
        is_queueing=settlement.when_window_closed == "queue",
        has_real_windows=settlement.real_windows,
        needs_listed_banks=config.banks.directory_required,
        windows_by_rail=_windows_by_rail(config),
        breakers_by_rail={each.rail: _breaker(each) for each in config.banks.breakers},
        drain_grace_seconds=config.server.drain_grace_seconds,
    )


def _breaker(section: RailBreaker) -> BreakerLimits:
    """Convert the circuit breaker of a rail; a share or a time of 0 switches its condition off."""
    return BreakerLimits(
        failures_in_a_row=section.failures_in_a_row,
        window=section.window,
        failure_share=float(section.failure_share),
        rest=Backoff(
            first_seconds=section.first_wait_seconds, max_seconds=section.max_wait_seconds
        ),
        reject_share=float(section.reject_share) or None,
        slow_seconds=section.slow_seconds or None,
        refuses_while_open=section.when_open == "refuse",
    )


def _windows_by_rail(config: Config) -> dict[str, list[Window]]:
    """Read the windows of rails that have their own."""
    found: dict[str, list[Window]] = {}
    for each in config.banks.windows:
        window = Window(
            currency=each.currency,
            zone=each.zone,
            opens=time.fromisoformat(each.opens),
            closes=time.fromisoformat(each.closes),
            weekdays=each.weekdays,
        )
        found.setdefault(each.rail, []).append(window)
    return found


def _doubt_limits(config: Config) -> tuple[DoubtLimit, ...]:
    """Convert when a payment becomes a case, for each rail that is named and for all others."""
    cases = config.cases
    named = {*cases.in_doubt_after_seconds_by_rail, *cases.overdue_after_seconds_by_rail}
    return tuple(
        DoubtLimit(
            rail=rail,
            in_doubt_seconds=cases.in_doubt_after_seconds_by_rail.get(
                rail, cases.in_doubt_after_seconds
            ),
            overdue_seconds=cases.overdue_after_seconds_by_rail.get(
                rail, cases.overdue_after_seconds
            ),
        )
        for rail in ("", *sorted(named))
    )


def mock_settings(config: Config) -> MockSettings:
    """Convert the section ``banks``. Raises Misconfigured without a file for the mock bank's ledger."""
    banks = config.banks
    if banks.mock_book_file is None:
        what = "the mock bank has no ledger file"
        raise Misconfigured(
            what, todo="Set banks.mock_book_file to a file that no other program uses."
        )
    return MockSettings(
        book_file=banks.mock_book_file,
        latency_seconds=banks.mock_latency_ms / 1000,
        success_rate=banks.mock_success_rate,
        seed=banks.mock_seed,
        answer_timeout_seconds=banks.mock_answer_timeout_ms / 1000,
        late_seconds=banks.mock_late_seconds,
        settlement_delay_seconds=banks.mock_settlement_delay_ms / 1000,
        openings_minor={
            (folded_bank(each.bank), each.currency): parse_amount(each.opening, each.currency).minor
            for each in banks.balances
        },
    )


def stuck_limits(config: Config, rails: Mapping[str, RailCapabilities]) -> StuckLimits:
    """Convert the limits after which a settlement counts as stuck; a rail's own limit takes precedence."""
    section = config.monitoring
    return StuckLimits(
        unattended_seconds=section.stuck_unattended_seconds,
        screening_seconds=section.stuck_screening_seconds,
        held_seconds=section.stuck_held_seconds,
        at_rail_seconds=section.stuck_at_rail_seconds,
        not_filed_seconds=section.stuck_not_filed_seconds
        + max((bank.close_after_seconds for bank in config.banks.ach if bank.enabled), default=0.0),
        by_rail={
            name: rules.overdue_after_seconds
            for name, rules in rails.items()
            if rules.overdue_after_seconds is not None
        },
    )


def screening_rules(config: Config) -> ScreeningRules:
    """Convert the section ``screening``."""
    section = config.screening
    return ScreeningRules(
        blocked_obligations=frozenset(section.blocked_obligations),
        blocked_banks=frozenset(section.blocked_banks),
        largest=section.risk_limit_amounts,
        review_banks=frozenset(section.review_banks),
        review_from=section.review_amounts,
    )


def api_settings(config: Config) -> ApiSettings:
    """Convert the section ``server``."""
    server = config.server
    tls = None
    if server.tls_cert_file is not None and server.tls_key_file is not None:
        tls = TlsFiles(
            certificate=server.tls_cert_file,
            key=server.tls_key_file,
            client_ca=server.tls_client_ca_file,
        )
    return ApiSettings(
        host=server.host,
        grpc_port=server.grpc_port,
        is_port_shared=config.profile != "production",
        has_reflection=server.reflection,
        tls=tls,
        trusts_names=config.profile != "production" and server.tls_client_ca_file is None,
        http=HttpBounds(
            connections_max=server.max_http_connections,
            connections_per_address_max=server.max_http_connections_per_address,
            body_bytes_max=server.max_http_body_bytes,
            header_seconds=server.http_header_seconds,
            body_seconds=server.http_body_seconds,
            idle_seconds=server.http_idle_seconds,
        ),
        allowed_hosts=(server.host, *server.allowed_hosts),
        callbacks=_callbacks(config),
        grpc_connections_max=server.max_grpc_connections,
        grpc_handshake_seconds=server.http_header_seconds,
        needs_listed_banks=config.banks.directory_required,
        zone=config.institution.zone,
        message_bytes_max=server.max_message_bytes,
        calls_max=server.max_concurrent_rpcs,
        batch_items_max=server.max_batch_items,
        execute_wait_seconds=server.execute_wait_seconds,
        execute_wait_seconds_max=config.settlement.default_timeout_seconds,
    )


def rails_of(bank: RailBank) -> tuple[str, ...]:
    """Return the names of the rails that a configured bank belongs to."""
    if isinstance(bank, SepaBank):
        return tuple(dict.fromkeys(bank.rails))
    return ("swift",) if isinstance(bank, SwiftBank) else ("realtime",)


def _callbacks(config: Config) -> tuple[CallbackAccess, ...]:
    """Convert how banks authenticate call-backs. Raises Misconfigured for a bank without any way."""
    server = config.server
    has_certificates = server.tls_client_ca_file is not None and server.http_socket_file is None
    found = []
    for key, bank in config.banks.over_http():
        if not bank.enabled or not (bank.callback_name or bank.callback_token_file):
            continue
        if not server.http_enabled or (bank.callback_name and not has_certificates):
            what = f"{key}.callback_name needs an HTTP port that asks for certificates"
            todo = "Set server.tls_client_ca_file, and neither http_socket_file nor http_enabled = false."
            raise Misconfigured(what, todo=todo)
        token = ""
        if bank.callback_token_file is not None:
            token = read_secret(bank.callback_token_file, f"{key}.callback_token_file").strip()
            if len(token) < TOKEN_CHARACTERS_MIN:
                what = f"the token of {key}.callback_token_file has fewer than {TOKEN_CHARACTERS_MIN} characters"
                raise Misconfigured(what, todo="Write a longer one that nobody can guess.")
        found += [
            CallbackAccess(rail=rail, sender=key, certificate_name=bank.callback_name, token=token)
            for rail in rails_of(bank)
        ]
    return tuple(found)
