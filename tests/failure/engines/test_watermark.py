"""The log's high-water mark: a pause at the wrong moment must not look like an older database."""

from __future__ import annotations

import msgspec
import pytest

from settlement_engine.errors import Unavailable
from settlement_engine.ports import Server
from settlement_engine.store.watch import ServerWatch

SERVER = Server(system_identifier="s", timeline=1, database_id=1, flushed=100)


def test_a_log_position_seen_after_the_query_does_not_count() -> None:
    """The query is sent before a pause and answered at 110; a heartbeat answered at 120 is read first."""
    watch = ServerWatch()
    watch.accept(SERVER)
    seen_before = watch.flushed
    watch.saw(120)
    answer = msgspec.structs.replace(SERVER, flushed=110)
    assert watch.doubt(answer, seen_before) == ""
    watch.require(answer, seen_before)
    assert watch.flushed == 120


def test_less_log_than_seen_before_the_query_is_an_older_state() -> None:
    """The answer cannot be older than the query."""
    watch = ServerWatch()
    watch.accept(SERVER)
    watch.saw(120)
    answer = msgspec.structs.replace(SERVER, flushed=110)
    assert watch.doubt(answer, watch.flushed) == "older_state"
    with pytest.raises(Unavailable):
        watch.require(answer, watch.flushed)
