"""Structured logs: one line per batch and per failure, on standard output.

Promises: JSON unless a person watches a terminal; instants in UTC; secrets masked and line breaks escaped, also
in lines of libraries, which take the same path. A line that cannot be written is dropped. Must never: raise into
the code that logs, or reveal a secret.

Components call ``structlog.get_logger(__name__)`` and need nothing from here.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
import structlog
from typing_extensions import override

from settlement_engine.errors import Misconfigured
from settlement_engine.monitoring.redaction import clean, clean_lines, clean_mapping, printable

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    EventDict = MutableMapping[str, Any]

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
LAYOUTS: Final = ("auto", "json", "console")
LIBRARIES_LEVEL: Final = logging.WARNING
"""Records of third-party libraries are logged from this level on, whatever our level is."""

_MARGIN: Final = "    | "
"""Prefix of a traceback's lines on a terminal, so that none of them looks like a separate log line."""

_encode: Final = msgspec.json.Encoder().encode


def configure(level: str = "info", layout: str = "auto", stream: IO[str] | None = None) -> None:
    """Set up logging for this process; the last call takes effect. Raises Misconfigured."""
    number = LEVELS.get(level.lower())
    if number is None:
        known = ", ".join(LEVELS)
        raise Misconfigured(f"there is no log level {level!r}", todo=f"Use one of {known}.")
    if layout not in LAYOUTS:
        known = ", ".join(LAYOUTS)
        raise Misconfigured(f"there is no log layout {layout!r}", todo=f"Use one of {known}.")
    target = stream if stream is not None else sys.stdout
    is_console = layout == "console" or (layout == "auto" and target.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            _finish,
            _console(target) if is_console else _json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_LinesFactory(target),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Relay()]
    root.setLevel(max(number, LIBRARIES_LEVEL))


class _Lines:
    """Writes lines; a line that cannot be written is dropped."""

    def __init__(self, target: IO[str], name: str) -> None:
        self._target = target
        self.name = name

    def msg(self, line: str) -> None:
        try:
            self._target.write(line + "\n")
            self._target.flush()
        except (OSError, ValueError):  # a closed pipe, a full disk, a closed file
            return

    debug = info = warning = error = critical = msg


class _LinesFactory:
    def __init__(self, target: IO[str]) -> None:
        self._target = target

    def __call__(self, *names: object) -> _Lines:
        return _Lines(self._target, str(names[0]) if names else "")


class _Relay(logging.Handler):
    """Passes the records of libraries' loggers to structlog."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit the template
            text = str(record.msg)
        number = min(max(record.levelno, logging.DEBUG), logging.CRITICAL) // 10 * 10
        structlog.get_logger(record.name).log(number, text, exc_info=record.exc_info)


def _finish(logger: Any, method: str, event: EventDict) -> EventDict:  # noqa: ANN401
    """Add the time, clean the values and order the keys of a line."""
    event.pop("stack_info", None)
    exception = event.pop("exception", None)
    line: dict[str, object] = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": method,
        "logger": printable(getattr(logger, "name", "")),
        "event": clean(event.pop("event", "")),
    }
    for key, value in clean_mapping(event).items():
        line.setdefault(key, value)
    if exception is not None:
        line["exception"] = "\n".join(clean_lines(str(exception)))
    return line


def _json(_logger: Any, _method: str, event: EventDict) -> str:  # noqa: ANN401
    return _encode(event).decode()


def _console(target: IO[str]) -> structlog.typing.Processor:
    """Return the renderer for terminals."""
    is_coloured = target.isatty() and not os.environ.get("NO_COLOR")
    render = structlog.dev.ConsoleRenderer(
        colors=is_coloured, timestamp_key="at", pad_event_to=24, sort_keys=False
    )

    def write(logger: Any, method: str, event: EventDict) -> str:  # noqa: ANN401
        exception = event.get("exception")
        if exception:
            event["exception"] = _MARGIN + str(exception).replace("\n", "\n" + _MARGIN)
        return render(logger, method, event)

    return write
