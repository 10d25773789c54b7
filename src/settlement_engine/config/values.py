"""The types of the configuration's values, and the base of its sections.

Promises: a value of these types is within its range; a fault is described in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from settlement_engine.domain.bank_codes import fault_of_bank
from settlement_engine.domain.money import MoneyError, check_amount_text


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _check_amounts(amounts: Mapping[str, str]) -> Mapping[str, str]:
    for currency, text in amounts.items():
        try:
            # The decimals of a withdrawn currency are known only to the database: see ScreeningRules.
            check_amount_text(text, currency)
        except MoneyError as error:
            message = f'{currency} = "{text}" {error}; write it like EUR = "1000.00"'
            raise ValueError(message) from None
    return amounts


def _check_bank(code: str) -> str:
    if fault := fault_of_bank(code):
        message = f"{fault}; no instruction can contain such a code"
        raise ValueError(message)
    return code


def check_cron(text: str) -> str:
    """Refuse what is not five fields of cron."""
    message = "must be five fields of cron, for example 0 */6 * * *"
    if len(text.split()) != _CRON_FIELDS:
        raise ValueError(message)
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{message}: {error}") from None
    return text


def check_account_zone(name: str) -> str:
    """Refuse what is neither empty nor an IANA time zone."""
    return check_zone(name) if name else name


def check_zone(name: str) -> str:
    """Refuse what is not an IANA time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = "must be an IANA time zone, for example Europe/Berlin"
        raise ValueError(message) from None
    return name


def _check_time(text: str) -> str:
    try:
        found = time.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        message = "must be a time of day in the zone of the window, for example 07:30"
        raise ValueError(message)
    return text


def check_scheme(*schemes: str) -> AfterValidator:
    """Return the check that a URL is empty or has one of the schemes."""

    def check(url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if text and not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            message = f"must start with {schemes[0]}:// or be empty"
            raise ValueError(message)
        return url

    return AfterValidator(check)


_CRON_FIELDS: Final = 5
DAY_SECONDS: Final = 86_400

Port = Annotated[int, Field(ge=0, le=65_535)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seconds = Annotated[float, Field(gt=0, le=DAY_SECONDS, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, le=DAY_SECONDS, allow_inf_nan=False)]
Days = Annotated[int, Field(ge=0, le=3_650)]
Milliseconds = Annotated[int, Field(ge=0, le=DAY_SECONDS * 1000)]
Share = Annotated[Decimal, Field(ge=0, le=1, allow_inf_nan=False)]
Amount = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
OptionalPath = Annotated[Path | None, BeforeValidator(_none_if_empty)]
Amounts = Annotated[Mapping[str, str], AfterValidator(_check_amounts)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
HostName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$|^[0-9A-Fa-f:.]{2,45}$")
]
RailSeconds = Annotated[Mapping[Name, SecondsOrZero], Field(max_length=100)]
TimeOfDay = Annotated[str, AfterValidator(_check_time)]
OptionalTimeOfDay = Annotated[str, AfterValidator(lambda text: _check_time(text) if text else text)]
BankCode = Annotated[str, AfterValidator(_check_bank)]
OptionalBankCode = Annotated[str, AfterValidator(lambda code: _check_bank(code) if code else code)]
Subject = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}$")]


class Section(BaseModel):
    """The base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
