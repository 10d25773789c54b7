"""A connection is used only if it reaches the accepted server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from settlement_engine.errors import Unavailable
from settlement_engine.ports import Server
from settlement_engine.store.watch import ServerWatch

SERVER = Server(system_identifier="s", timeline=2, database_id=1, flushed=100)


def changed(**fields: Any) -> Server:
    return msgspec.structs.replace(SERVER, **fields)


@pytest.fixture
def watch() -> ServerWatch:
    """Return a watch that has accepted the server."""
    made = ServerWatch()
    made.accept(SERVER)
    return made


def test_before_anything_was_accepted_no_connection_is_used() -> None:
    with pytest.raises(Unavailable):
        ServerWatch().require(SERVER, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"system_identifier": "other"},
        {"database_id": 2},
        {"timeline": 3},
        {"timeline": 1},
        {"flushed": 99},
        {"started_at": datetime(2026, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_connection_to_another_server_is_refused(
    watch: ServerWatch, fields: dict[str, Any]
) -> None:
    with pytest.raises(Unavailable):
        watch.require(changed(**fields), watch.flushed)
    watch.require(SERVER, watch.flushed)


def test_the_log_position_of_a_connection_is_remembered(watch: ServerWatch) -> None:
    watch.require(changed(flushed=150), watch.flushed)
    with pytest.raises(Unavailable):
        watch.require(changed(flushed=149), watch.flushed)


def test_the_remembered_log_position_never_decreases(watch: ServerWatch) -> None:
    watch.saw(150)
    watch.saw(120)
    assert watch.flushed == 150


def test_only_an_earlier_timeline_of_the_same_system_is_left_behind(watch: ServerWatch) -> None:
    assert watch.is_left_behind(changed(timeline=1))
    assert not watch.is_left_behind(SERVER)
    assert not watch.is_left_behind(changed(timeline=3))
    assert not watch.is_left_behind(changed(timeline=1, system_identifier="restored"))
    assert not ServerWatch().is_left_behind(changed(timeline=1))
