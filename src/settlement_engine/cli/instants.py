"""Times on the command line: a day, a day and a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: object) -> object:
        """Stand in for the real one, which costs time at each start."""
        return method


_AGO: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_EPOCH: Final = datetime(1970, 1, 2, tzinfo=UTC)


class Instant(click.ParamType[datetime]):
    """An instant; without a zone it is the machine's local time."""

    name = "time"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read what was written."""
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
                f"{text!r} is no time such as 2026-01-31, 2026-01-31T09:30+00:00, 15m, 2h or 3d"
            )
            self.fail(message, param, ctx)
        return found
