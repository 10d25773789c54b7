"""The sections ``institution`` and ``banks``: who we are, and which banks carry out our payments.

Promises: an enabled bank has an address; an institution's BIC and LEI are well formed. ``safety.py`` checks what a
bank needs for real money. Must never: contain a secret; secrets are in separate files.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads the types
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic import model_validator as whole
from stdnum import lei
from stdnum.us import rtn

from settlement_engine.config.values import (
    DAY_SECONDS,
    BankCode,
    Milliseconds,
    Name,
    OptionalBankCode,
    OptionalPath,
    Seconds,
    SecondsOrZero,
    Section,
    Share,
    TimeOfDay,
    check_zone,
)
from settlement_engine.domain.identity import name_of_dns, name_of_uri

if TYPE_CHECKING:
    from collections.abc import Iterator

RAIL_BANKS_MAX: Final = 100
"""The most banks that one rail reaches."""


def _check_lei(text: str) -> str:
    if text and not (text == text.upper() and lei.is_valid(text)):
        message = (
            "must be an LEI (ISO 17442): 20 capital letters and digits, with their check digits"
        )
        raise ValueError(message)
    return text


def _check_certificate_name(text: str) -> str:
    if text and text not in {name_of_dns(text), name_of_uri(text)}:
        message = "must be a name as certificates have it, for example bank.example"
        raise ValueError(message)
    return text


class InstitutionConfig(Section):
    """Our identity in messages to banks."""

    name: str = Field(default="", max_length=140)
    bic: str = Field(default="", pattern=r"^([A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?)?$")
    lei: Annotated[str, AfterValidator(_check_lei)] = ""
    zone: Annotated[str, AfterValidator(check_zone)] = "UTC"


Account = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9 ./:-]{0,33})?$")]
"""The number of an account: an IBAN, or another one of up to 34 characters."""


class RailBank(Section):
    """A bank that takes ISO 20022 messages over HTTP: how it is reached, what it carries, how it calls back."""

    enabled: bool = False
    endpoint: str = Field(default="", max_length=2_000)
    timeout_seconds: Seconds = 60.0
    banks: Annotated[tuple[BankCode, ...], Field(max_length=1_000)] = ()
    currencies: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Z]{3}$")], ...], Field(max_length=200)
    ] = ()
    profile_file: OptionalPath = None
    ca_file: OptionalPath = None
    cert_file: OptionalPath = None
    key_file: OptionalPath = None
    token_file: OptionalPath = None
    callback_name: Annotated[str, AfterValidator(_check_certificate_name)] = ""
    callback_token_file: OptionalPath = None
    our_account: Account = ""
    settlement_agent: OptionalBankCode = ""
    settlement_account: Account = ""
    states_balances: bool = False

    @whole(mode="after")
    def _check_endpoint(self) -> Self:
        parts = urlsplit(self.endpoint)
        if self.enabled and (parts.scheme not in {"http", "https"} or not parts.hostname):
            message = "endpoint must be like https://host:port/path while the bank is enabled"
            raise ValueError(message)
        return self

    @whole(mode="after")
    def _check_files(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            message = "set both cert_file and key_file, or neither"
            raise ValueError(message)
        return self


class SwiftBank(RailBank):
    """A correspondent that is reached by CBPR+ messages.

    ``covers``: it pays the covers of customers' payments to banks that the bank directory says are covered.
    """

    covers: bool = False


class SepaBank(RailBank):
    """An access bank for SEPA credit transfers: of both schemes, unless ``rails`` names one."""

    rails: Annotated[
        tuple[Literal["sepa_sct", "sepa_inst"], ...], Field(min_length=1, max_length=2)
    ] = ("sepa_sct", "sepa_inst")

    @whole(mode="after")
    def _check_profile(self) -> Self:
        if self.profile_file is not None and len(self.rails) > 1:
            message = "profile_file is about one rail: name it in rails"
            raise ValueError(message)
        return self


class RealtimeBank(RailBank):
    """A participant of an instant scheme or an RTGS: ``profile`` is one that comes with the engine."""

    profile: Annotated[str, Field(pattern=r"^([a-z0-9_]{1,64})?$")] = ""

    @whole(mode="after")
    def _check_profile(self) -> Self:
        if self.enabled and not self.profile and self.profile_file is None:
            message = "set profile, such as fednow, or profile_file while the bank is enabled"
            raise ValueError(message)
        return self


def _check_routing(text: str) -> str:
    if text and not rtn.is_valid(text):
        message = "must be a routing number: nine digits, the last one their check digit"
        raise ValueError(message)
    return text


Routing = Annotated[str, AfterValidator(_check_routing)]


Text = Annotated[str, Field(pattern=r"^([!-~]([ -~]*[!-~])?)?$")]
"""A text of a NACHA record: blank to tilde."""


class AchBank(Section):
    """A bank that takes NACHA files through the folders of a file connector, and keeps our account."""

    enabled: bool = False
    profile: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")] = "nacha"
    profile_file: OptionalPath = None
    folder: OptionalPath = None
    outbox: OptionalPath = None
    inbox: OptionalPath = None
    archive: OptionalPath = None
    banks: Annotated[tuple[BankCode, ...], Field(max_length=1_000)] = ()
    routing_number: Routing = ""
    bank_name: Annotated[Text, Field(max_length=23)] = ""
    origin: Annotated[str, Field(pattern=r"^([A-Za-z0-9]{1,10})?$")] = ""
    company_id: Annotated[Text, Field(max_length=10)] = ""
    company_name: Annotated[Text, Field(max_length=16)] = ""
    routing_numbers: Annotated[Mapping[BankCode, Routing], Field(max_length=1_000)] = {}
    settlement_routing_number: Routing = ""
    settlement_account: Annotated[Text, Field(max_length=17)] = ""
    settlement_account_kind: Literal["checking", "savings", "ledger", "loan"] = "checking"
    receiver_name: Annotated[Text, Field(max_length=22)] = ""
    zone: Annotated[str, AfterValidator(check_zone)] = "America/New_York"
    close_after_seconds: Seconds = 3600.0
    same_day_close_after_seconds: Seconds = 300.0
    poll_seconds: Seconds = 5.0

    @whole(mode="after")
    def _check_enabled(self) -> Self:
        needed = (
            *("routing_number", "bank_name", "origin", "company_id", "company_name"),
            *("settlement_routing_number", "settlement_account", "receiver_name"),
        )
        missing = [name for name in needed if not getattr(self, name)] if self.enabled else []
        has_folders = self.folder is not None or None not in (self.outbox, self.inbox, self.archive)
        if self.enabled and not has_folders:
            missing.insert(0, "folder, or outbox, inbox and archive,")
        if missing:
            message = f"set {', '.join(missing)} while the bank is enabled"
            raise ValueError(message)
        return self


class RailWindow(Section):
    """A settlement window of a rail. The window of the currency must be open as well."""

    rail: Name
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""
    zone: Annotated[str, AfterValidator(check_zone)]
    opens: TimeOfDay
    closes: TimeOfDay
    weekdays: Annotated[frozenset[Annotated[int, Field(ge=1, le=7)]], Field(min_length=1)] = (
        frozenset(range(1, 8))
    )


class RailBreaker(Section):
    """When the circuit breaker of a rail opens, and what becomes of new payments meanwhile."""

    rail: Name
    when_open: Literal["wait", "refuse"] = "wait"
    failures_in_a_row: int = Field(default=20, ge=1, le=100_000)
    window: int = Field(default=100, ge=1, le=100_000)
    failure_share: Share = Decimal("0.8")
    reject_share: Share = Decimal(0)
    slow_seconds: SecondsOrZero = 0.0
    first_wait_seconds: Seconds = 5.0
    max_wait_seconds: Seconds = 60.0

    @whole(mode="after")
    def _check_waits(self) -> Self:
        if self.first_wait_seconds > self.max_wait_seconds:
            message = "first_wait_seconds must not be more than max_wait_seconds"
            raise ValueError(message)
        if not self.failure_share:
            message = "failure_share must be more than 0"
            raise ValueError(message)
        return self


class MockBalance(Section):
    """An account at the mock bank whose balance it states: what it began with, less what was paid from it."""

    bank: BankCode
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    opening: Annotated[str, Field(pattern=r"^[0-9]{1,18}(\.[0-9]{1,4})?$")]


class BanksConfig(Section):
    """The bank directory, the rails, and the behaviour of the mock bank."""

    directory_required: bool = True
    mock_enabled: bool = True
    mock_allowed_in_production: bool = False
    mock_latency_ms: Milliseconds = 500
    mock_success_rate: Share = Decimal("0.95")
    mock_seed: int = 1
    mock_book_file: OptionalPath = None
    mock_answer_timeout_ms: int = Field(default=2_000, ge=1, le=DAY_SECONDS * 1000)
    mock_late_seconds: SecondsOrZero = 3.0
    mock_settlement_delay_ms: Milliseconds = 0
    balances: Annotated[tuple[MockBalance, ...], Field(max_length=1_000)] = ()
    windows: Annotated[tuple[RailWindow, ...], Field(max_length=1_000)] = ()
    breakers: Annotated[tuple[RailBreaker, ...], Field(max_length=100)] = ()
    swift: Annotated[tuple[SwiftBank, ...], Field(max_length=RAIL_BANKS_MAX)] = ()
    sepa: Annotated[tuple[SepaBank, ...], Field(max_length=RAIL_BANKS_MAX)] = ()
    realtime: Annotated[tuple[RealtimeBank, ...], Field(max_length=RAIL_BANKS_MAX)] = ()
    ach: Annotated[tuple[AchBank, ...], Field(max_length=RAIL_BANKS_MAX)] = ()

    def over_http(self) -> Iterator[tuple[str, RailBank]]:
        """Yield every bank that is reached over HTTP, with its key, such as ``banks.swift.0``."""
        for name in ("swift", "sepa", "realtime"):
            banks: tuple[RailBank, ...] = getattr(self, name)
            for number, bank in enumerate(banks):
                yield f"banks.{name}.{number}", bank
