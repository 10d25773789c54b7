"""Logs: one complete line per event, without secrets, and logging never fails the work."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
import structlog
from pydantic import SecretStr

from settlement_engine.domain.lifecycle import State
from settlement_engine.errors import Misconfigured
from settlement_engine.monitoring import redaction
from settlement_engine.monitoring.logs import configure

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(text: str) -> None:
    raise ValueError(text)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_is_json_with_an_instant_in_utc(stream: io.StringIO) -> None:
    configure("info", "auto", stream)
    number = UUID(int=7)
    structlog.get_logger("engine.runner").info("batch", size=3, id=number, state=State.SENT)
    (line,) = lines(stream)
    assert list(line)[:4] == ["at", "level", "logger", "event"]
    assert (line["level"], line["logger"], line["event"]) == ("info", "engine.runner", "batch")
    assert (line["size"], line["id"], line["state"]) == (3, str(number), "sent")
    at = datetime.fromisoformat(str(line["at"]))
    assert at.utcoffset() == UTC.utcoffset(None)


def test_on_a_terminal_it_is_for_people() -> None:
    terminal = Terminal()
    configure("info", "auto", terminal)
    structlog.get_logger().info("batch", size=3)
    with pytest.raises(json.JSONDecodeError):
        json.loads(terminal.getvalue())
    assert "batch" in terminal.getvalue()


def test_below_the_level_nothing_is_written(stream: io.StringIO) -> None:
    configure("warning", "json", stream)
    log = structlog.get_logger()
    log.info("quiet")
    log.warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://engine:{SECRET}@127.0.0.1:5432/settlement",
        f"connect to nats://{SECRET}@127.0.0.1:4222 failed",
        f"postgres://u:p@{SECRET}/x@host/db",
        f"postgres://:{SECRET}@host",
        f"dsn: host=localhost password={SECRET} user=engine",
        f'{{"password": "{SECRET} and more", "a": 1}}',
        f"Settings(db_password='{SECRET}')",
        f"api_key: {SECRET}",
        f"Authorization: Bearer {SECRET}",
        "x" * (redaction.TEXT_MAX - 26) + f" postgres://engine:{SECRET}@host",
    ],
)
@pytest.mark.parametrize("layout", ["json", "console"])
def test_secrets_in_texts_are_masked(stream: io.StringIO, text: str, layout: str) -> None:
    configure("info", layout, stream)
    log = structlog.get_logger()
    log.info(text)
    log.info("event", detail=text, nested={"deep": [text]}, error=ValueError(text))
    try:
        fail(text)
    except ValueError:
        log.exception("failed")
    logging.getLogger("library").error("said %s", text)
    assert SECRET not in stream.getvalue()
    assert stream.getvalue().count("failed") >= 1


@pytest.mark.parametrize(
    "key", ["password", "db_password", "client_secret", "TOKEN", "api_key", "authorization"]
)
def test_values_of_secret_keys_are_masked(stream: io.StringIO, key: str) -> None:
    configure("info", "json", stream)
    structlog.get_logger().info("event", **{key: SECRET}, more={key: {"value": SECRET}})
    assert SECRET not in stream.getvalue()
    assert redaction.MASK in stream.getvalue()


def test_a_value_that_masks_itself_stays_masked(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    structlog.get_logger().info("event", value=SecretStr(SECRET))
    assert SECRET not in stream.getvalue()


def test_text_that_is_no_secret_stays_readable(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    text = "settled OB-1: 12.50 EUR at https://bank.example:8443/path in 3 ms, a=b"
    structlog.get_logger().info(text, url="postgresql://engine:x@db:5432/settlement")
    (line,) = lines(stream)
    assert line["event"] == text
    assert line["url"] == "postgresql://engine:[redacted]@db:5432/settlement"


@pytest.mark.parametrize("layout", ["json", "console"])
@pytest.mark.parametrize("breaker", ["\n", "\r\n", "\r", "\x1b[2K", "\u2028", "\x85", "\x00"])
def test_input_cannot_forge_a_log_line(stream: io.StringIO, layout: str, breaker: str) -> None:
    configure("info", layout, stream)
    forged = f"x{breaker}at=2026 level=info event=forged"
    structlog.get_logger().info("event", given=forged, **{f"key{breaker}": 1})
    written = stream.getvalue()
    assert len(written.splitlines()) == 1
    assert breaker not in written.removesuffix("\n")


def test_a_traceback_is_one_line_for_machines_and_indented_for_people() -> None:
    for layout, first in (("json", "{"), ("console", "    | Traceback")):
        stream = io.StringIO()
        configure("info", layout, stream)
        try:
            fail("first\nat=2026 level=info event=forged")
        except ValueError:
            structlog.get_logger().exception("failed")
        written = stream.getvalue().splitlines()
        if layout == "json":
            assert len(written) == 1
            assert "ValueError: first\nat=2026" in str(json.loads(written[0])["exception"])
        else:
            assert all(line.startswith("    | ") for line in written[1:])
        assert any(line.startswith(first) for line in written)


def test_warnings_of_libraries_are_logged_the_same_way(stream: io.StringIO) -> None:
    configure("debug", "json", stream)
    library = logging.getLogger("asyncpg.pool")
    library.info("chatter")
    library.warning("lost %d of %s", 3, "seven")
    library.warning("wrong %d", "arguments")
    found = [(line["logger"], line["level"], line["event"]) for line in lines(stream)]
    assert found == [
        ("asyncpg.pool", "warning", "lost 3 of seven"),
        ("asyncpg.pool", "warning", "wrong %d"),
    ]


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(text)


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    __repr__ = __str__


def test_a_log_line_that_cannot_be_written_is_dropped() -> None:
    configure("info", "json", Broken())
    structlog.get_logger().info("event")
    closed = io.StringIO()
    configure("info", "json", closed)
    closed.close()
    structlog.get_logger().info("event")


def test_any_value_can_be_logged(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    deep: list[object] = []
    deep.append(deep)
    structlog.get_logger().info(
        "event",
        huge=2**80,
        broken="\ud800",
        unspeakable=Unspeakable(),
        deep=deep,
        nan=float("nan"),
        raw=b"\xff",
        many=list(range(10_000)),
        long="x" * 100_000,
        odd={1: {2, 3}, None: (4,)},
    )
    (line,) = lines(stream)
    assert line["huge"] == str(2**80)
    assert line["unspeakable"] == "<Unspeakable: RuntimeError>"
    assert len(stream.getvalue()) < 10_000


def test_hostile_text_costs_no_time_to_speak_of() -> None:
    for text in ("://:" * 50_000, "password" * 50_000, "a" * 200_000, "token=" * 50_000):
        assert len(str(redaction.clean(text))) <= redaction.TEXT_MAX + 1


@pytest.mark.parametrize(("level", "layout"), [("loud", "json"), ("info", "xml")])
def test_unknown_log_settings_are_refused(level: str, layout: str) -> None:
    with pytest.raises(Misconfigured):
        configure(level, layout, io.StringIO())
