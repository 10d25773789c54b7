"""The sections and keys of the configuration, as frozen values.

Promises: a value that exists is valid; every key has a range. ``config.toml`` explains each key next to its
default. The defaults here are those of *production*; ``PROFILE_DEFAULTS`` lists what development sets
differently.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- a field's type
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr
from pydantic import model_validator as whole

from settlement_engine.config.banks import BanksConfig, InstitutionConfig
from settlement_engine.config.breaks import BreaksConfig
from settlement_engine.config.rails import RailsConfig
from settlement_engine.config.reports import ReportsConfig
from settlement_engine.config.values import (
    Amount,
    Amounts,
    BankCode,
    Count,
    Days,
    HostName,
    Name,
    OptionalBankCode,
    OptionalPath,
    OptionalTimeOfDay,
    Port,
    RailSeconds,
    Seconds,
    SecondsOrZero,
    Section,
    Subject,
    check_account_zone,
    check_cron,
    check_scheme,
    check_zone,
)
from settlement_engine.domain.deadletters import KEPT_DAYS_MIN

if TYPE_CHECKING:
    from collections.abc import Mapping

Profile = Literal["dev", "demo", "production"]


class ServerConfig(Section):
    """The addresses on which the engine listens, and its limits for calls and connections."""

    host: str = Field(default="127.0.0.1", min_length=1)
    grpc_port: Port = 50056
    http_port: Port = 8086
    max_concurrent_settlements: Count = 20_000
    max_message_bytes: int = Field(default=4_194_304, ge=65_536, le=67_108_864)
    max_batch_items: int = Field(default=5_000, ge=1, le=50_000)
    max_concurrent_rpcs: Count = 4_096
    execute_wait_seconds: Seconds = 20.0
    drain_grace_seconds: Seconds = 20.0
    allowed_hosts: tuple[HostName, ...] = ()
    http_enabled: bool = True
    http_socket_file: OptionalPath = None
    http_header_seconds: Seconds = 10.0
    http_body_seconds: Seconds = 30.0
    http_idle_seconds: Seconds = 75.0
    max_http_connections: Count = 1_024
    max_http_connections_per_address: Count = 512
    max_http_body_bytes: int = Field(default=33_554_432, ge=65_536, le=1_073_741_824)
    max_grpc_connections: Count = 4_096
    reflection: bool = False
    tls_cert_file: OptionalPath = None
    tls_key_file: OptionalPath = None
    tls_client_ca_file: OptionalPath = None

    @whole(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            message = "set both tls_cert_file and tls_key_file, or neither"
            raise ValueError(message)
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            message = "tls_client_ca_file needs tls_cert_file and tls_key_file"
            raise ValueError(message)
        return self

    @whole(mode="after")
    def _check_http(self) -> Self:
        if self.http_socket_file is not None and not self.http_enabled:
            message = "http_socket_file needs http_enabled = true"
            raise ValueError(message)
        if self.max_http_body_bytes < self.max_message_bytes:
            message = "max_http_body_bytes must not be less than max_message_bytes"
            raise ValueError(message)
        return self


class DatabaseConfig(Section):
    """PostgreSQL. Without a url, development uses the embedded one."""

    url: Annotated[SecretStr, check_scheme("postgresql", "postgres")] = SecretStr("")
    password_file: OptionalPath = None
    max_connections: int = Field(default=20, ge=2, le=1_000)
    min_connections: int = Field(default=5, ge=1, le=1_000)
    connect_timeout_seconds: Seconds = 5.0
    statement_timeout_seconds: Seconds = 5.0
    lock_timeout_seconds: Seconds = 2.0
    idle_in_transaction_timeout_seconds: Seconds = 1.0
    transaction_timeout_seconds: Seconds = 5.0
    auto_migrate: bool = False

    @whole(mode="after")
    def _check_pool(self) -> Self:
        if self.min_connections > self.max_connections:
            message = "min_connections must not be more than max_connections"
            raise ValueError(message)
        return self


class NatsConfig(Section):
    """NATS JetStream. Without a url, development uses the embedded one."""

    url: Annotated[SecretStr, check_scheme("nats", "tls")] = SecretStr("")
    password_file: OptionalPath = None
    enabled: bool = True
    subject_prefix: Subject = "settlement"
    stream: Name = "settlement-events"
    clearing_stream: Name = "clearing"
    clearing_subject: Subject = "clearing.instructions"
    clearing_durable: Name = "settlement-engine"
    dead_letter_bytes_max: int = Field(default=65_536, ge=0, le=67_108_864)
    dead_letters_open_max: Count = 100_000
    dead_letters_kept_days: int = Field(default=365, ge=0, le=36_500)
    publish_batch_max: int = Field(default=1_000, ge=1, le=1_000)
    duplicate_window_seconds: Seconds = 120.0
    stream_max_bytes: int = Field(default=0, ge=0)
    stream_replicas: int = Field(default=1, ge=1, le=5)

    @whole(mode="after")
    def _check_retention(self) -> Self:
        if 0 < self.dead_letters_kept_days < KEPT_DAYS_MIN:
            message = f"dead_letters_kept_days must be 0 (no limit) or at least {KEPT_DAYS_MIN}"
            raise ValueError(message)
        return self


class SettlementConfig(Section):
    """Time-outs, delays and batch sizes of settlements."""

    default_timeout_seconds: Seconds = 300.0
    max_retry_attempts: int = Field(default=3, ge=0, le=1_000)
    retry_delay_seconds: Seconds = 60.0
    enquiry_first_delay_seconds: Seconds = 1.0
    enquiry_max_delay_seconds: Seconds = 60.0
    screening_timeout_seconds: Seconds = 10.0
    value_date_days_back: Days = 0
    value_date_days_ahead: Days = 0
    when_window_closed: Literal["refuse", "queue"] = "refuse"
    real_windows: bool = True
    intake_batch_max: int = Field(default=500, ge=1, le=10_000)
    move_batch_max: int = Field(default=500, ge=1, le=10_000)
    intake_queue_max: Count = 20_000

    @whole(mode="after")
    def _check_enquiries(self) -> Self:
        if self.enquiry_first_delay_seconds > self.enquiry_max_delay_seconds:
            message = "enquiry_first_delay_seconds must not be more than enquiry_max_delay_seconds"
            raise ValueError(message)
        return self


class EngineConfig(Section):
    """How engines share the work and detect that one of them is dead."""

    lease_seconds: Seconds = 1.5
    heartbeat_seconds: Seconds = 0.25
    claim_interval_seconds: Seconds = 0.2
    claim_batch_max: int = Field(default=2_000, ge=1, le=50_000)

    @whole(mode="after")
    def _check_lease(self) -> Self:
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            message = "heartbeat_seconds must be at most half of lease_seconds"
            raise ValueError(message)
        return self


class CasesConfig(Section):
    """Case management: when a payment becomes an exception, and how long a proposal is valid."""

    interval_seconds: Seconds = 2.0
    in_doubt_after_seconds: SecondsOrZero = 300.0
    overdue_after_seconds: SecondsOrZero = 3_600.0
    in_doubt_after_seconds_by_rail: RailSeconds = Field(default_factory=dict)
    overdue_after_seconds_by_rail: RailSeconds = Field(default_factory=dict)
    proposal_valid_seconds: Seconds = 86_400.0


class ScreeningConfig(Section):
    """The screening provider; what the built-in one refuses, and what it parks for two people."""

    provider: str = Field(default="builtin", min_length=1, max_length=64)
    blocked_obligations: tuple[str, ...] = ()
    blocked_banks: tuple[BankCode, ...] = ()
    risk_limit_amounts: Amounts = Field(default_factory=dict)
    review_banks: tuple[BankCode, ...] = ()
    review_amounts: Amounts = Field(default_factory=dict)


class ReconciledAccount(Section):
    """How a bank names one of our accounts in its statements, and how it numbers them."""

    bank: BankCode
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    account_number: str = Field(min_length=1, max_length=64)
    aliases: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(max_length=20)
    ] = ()
    numbers_count_by_one: bool = True
    zone: Annotated[str, AfterValidator(check_account_zone)] = ""
    statements_due: OptionalTimeOfDay = ""


class BankTolerance(Section):
    """The tolerance for the entries of one bank."""

    bank: BankCode
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    amount: Amount


class BankTariff(Section):
    """What a bank charges for a payment, inside of the entry, for a time. An empty bank is every bank."""

    bank: OptionalBankCode = ""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    charge: Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]
    valid_from: date | None = None
    valid_until: date | None = None

    @whole(mode="after")
    def _check_dates(self) -> Self:
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            message = "valid_until must not be before valid_from"
            raise ValueError(message)
        return self


class ReconciliationConfig(Section):
    """Reconciliation of the books with the banks' statements."""

    schedule: Annotated[str, AfterValidator(check_cron)] = "0 */6 * * *"
    zone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    on_arrival: bool = True
    tolerance_amount: Amount = Decimal("0.01")
    tolerance_amounts: Amounts = Field(default_factory=dict)
    tolerances: Annotated[tuple[BankTolerance, ...], Field(max_length=1_000)] = ()
    tariffs: Annotated[tuple[BankTariff, ...], Field(max_length=1_000)] = ()
    alert_threshold: Amount = Decimal("1000.00")
    alert_thresholds: Amounts = Field(default_factory=dict)
    inbox_dir: OptionalPath = None
    inbox_csv_mapping: str = Field(default="", max_length=64)
    statements_due: OptionalTimeOfDay = ""
    statement_weekdays: Annotated[
        tuple[Annotated[int, Field(ge=1, le=7)], ...], Field(min_length=1, max_length=7)
    ] = (1, 2, 3, 4, 5)
    absent_after_days: int = Field(default=5, ge=1, le=365)
    accounts: Annotated[tuple[ReconciledAccount, ...], Field(max_length=1_000)] = ()


class MonitoringConfig(Section):
    """Metrics, health checks and logs."""

    prometheus_enabled: bool = True
    metrics_host: str = Field(default="127.0.0.1", min_length=1)
    metrics_port: Port = 9096
    health_check_interval: Seconds = 30.0
    gauges_interval_seconds: Seconds = 5.0
    stuck_unattended_seconds: Seconds = 30.0
    stuck_screening_seconds: Seconds = 300.0
    stuck_held_seconds: Seconds = 86_400.0
    stuck_at_rail_seconds: Seconds = 3_600.0
    stuck_not_filed_seconds: Seconds = 900.0
    balance_metrics: bool = True
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"


class Config(Section):
    """The whole configuration. ``Config()`` has the built-in defaults and reads nothing."""

    profile: Profile = "production"
    server: ServerConfig = ServerConfig()
    database: DatabaseConfig = DatabaseConfig()
    nats: NatsConfig = NatsConfig()
    settlement: SettlementConfig = SettlementConfig()
    engine: EngineConfig = EngineConfig()
    cases: CasesConfig = CasesConfig()
    screening: ScreeningConfig = ScreeningConfig()
    reconciliation: ReconciliationConfig = ReconciliationConfig()
    breaks: BreaksConfig = BreaksConfig()
    institution: InstitutionConfig = InstitutionConfig()
    rails: RailsConfig = RailsConfig()
    banks: BanksConfig = BanksConfig()
    reports: ReportsConfig = ReportsConfig()
    monitoring: MonitoringConfig = MonitoringConfig()


_DEVELOPMENT: Final[Mapping[str, object]] = MappingProxyType(
    {
        "server.reflection": True,
        "database.auto_migrate": True,
        "settlement.real_windows": False,
        "banks.directory_required": False,
        "breaks.anybody_resolves": True,
        "settlement.enquiry_first_delay_seconds": 0.2,
        "institution.bic": "SETTGB2L",
        "institution.name": "Settlement Engine Development",
    }
)

PROFILE_DEFAULTS: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        "dev": _DEVELOPMENT,
        "demo": MappingProxyType({**_DEVELOPMENT, "banks.mock_latency_ms": 5}),
        "production": MappingProxyType({}),
    }
)
"""The defaults of each profile."""
