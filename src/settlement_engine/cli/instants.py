"""Times on the command line: a date, a date with a time, or an age such as 2h."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

import click

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: object) -> object:
        """Replace the real one at run time: its import would slow down each start."""
        return method


_AGO: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_EPOCH: Final = datetime(1970, 1, 2, tzinfo=UTC)

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

InstantOrDate: TypeAlias = "datetime | str"


class Instant(click.ParamType[datetime]):
    """An option that takes an instant; without a time zone it is local time."""

    name = "time"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Parse the text of the option."""
        if isinstance(value, datetime):
            return value
        text = str(value)
        ago = _AGO.fullmatch(text)
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        try:
            found = datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError, OSError):
            found = None
        if found is None or found < _EPOCH:
            message = (
                f"{text!r} is not a time; write 2026-01-31, 2026-01-31T09:30+00:00, 15m, 2h or 3d"
            )
            self.fail(message, param, ctx)
        return found


class InstantOrDay(click.ParamType["InstantOrDate"]):
    """An option that takes an instant, or a booking date as a text: its end depends on the institution's zone."""

    name = "time|date"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> InstantOrDate:
        """Parse the text of the option."""
        instant = Instant().convert(value, param, ctx)
        return str(value) if _DATE.fullmatch(str(value)) else instant
