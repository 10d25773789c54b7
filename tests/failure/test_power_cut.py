"""Power cuts: what JetStream has acknowledged is on disk.

The server runs on a file system that loses unsynced data. Without access to FUSE the tests are skipped, with the
reason. A control shows that the cut loses data. PostgreSQL's part takes longer and is in tests/soak.
"""

from __future__ import annotations

import os
import signal

import nats.js.errors
import pytest

from settlement_engine.embedded import EmbeddedNats
from settlement_engine.embedded import nats as embedded_nats
from tests.integration.test_relay import (
    check_exact,
    make_relay,
    running,
    stored,
    until_published,
)
from tests.support.powerplug import NoPowerCut, power_plug
from tests.unit.events.fakes import CountingMeter, MemoryOutbox

ROWS = 300


@pytest.fixture
def plug(tmp_path):
    try:
        with power_plug(tmp_path / "backing", tmp_path / "mounted") as made:
            yield made
    except NoPowerCut as reason:
        pytest.skip(f"no power can be cut here: {reason}")


def cut_power(server, plug):
    """Kill the server, and discard all data that it had not synced."""
    os.kill(server.pid, signal.SIGKILL)
    server._end_child()
    plug.pull()


def test_only_synced_data_survives_a_power_cut(plug):
    (plug.path / "folder").mkdir()
    for name, is_forced in (("forced", True), ("unforced", False)):
        with (plug.path / "folder" / name).open("wb") as file:
            file.write(b"x" * 10_000)
            file.flush()
            if is_forced:
                os.fsync(file.fileno())
    with (plug.path / "folder" / "forced").open("r+b") as file:
        file.seek(5_000)
        file.write(b"y" * 10_000)
    assert (plug.path / "folder" / "forced").read_bytes() == b"x" * 5_000 + b"y" * 10_000
    plug.pull()
    assert (plug.path / "folder" / "forced").read_bytes() == b"x" * 10_000
    assert (plug.path / "folder" / "unforced").read_bytes() == b""


def test_synchronous_renamed_and_truncated_files_survive_a_power_cut(plug):
    handle = os.open(plug.path / "log", os.O_CREAT | os.O_WRONLY | os.O_DSYNC)
    os.write(handle, b"line\n" * 2_000)
    os.close(handle)
    new = plug.path / "new"
    new.write_bytes(b"unforced")
    new.rename(plug.path / "renamed")
    assert (plug.path / "renamed").read_bytes() == b"unforced"
    os.truncate(plug.path / "log", 7)
    plug.pull()
    assert (plug.path / "log").read_bytes() == b"line\nli"
    assert (plug.path / "renamed").read_bytes() == b""


async def publish(server, outbox):
    relay = make_relay(server.url(), outbox, CountingMeter())
    async with running(relay):
        outbox.add(ROWS)
        await until_published(outbox)


async def test_jetstream_keeps_every_acknowledged_announcement(plug):
    server = EmbeddedNats(plug.path / "nats")
    outbox = MemoryOutbox()
    server.start()
    try:
        await publish(server, outbox)
        cut_power(server, plug)
        server.start()
        await check_exact(server.url(), outbox)
        await publish(server, outbox)
        await check_exact(server.url(), outbox)
    finally:
        server.stop()


async def test_without_sync_a_power_cut_loses_messages_as_the_control(plug, monkeypatch):
    """With the server's default sync interval the cut loses some or all messages."""
    text = embedded_nats.CONFIGURATION
    assert "sync_interval: always" in text
    forgetful = text.replace("sync_interval: always", "sync_interval: 2m")
    monkeypatch.setattr(embedded_nats, "CONFIGURATION", forgetful)
    server = EmbeddedNats(plug.path / "nats")
    outbox = MemoryOutbox()
    server.start()
    try:
        await publish(server, outbox)
        cut_power(server, plug)
        server.start()
        try:
            kept = len(await stored(server.url()))
        except nats.js.errors.NotFoundError:  # the stream itself is gone
            kept = 0
        assert kept < ROWS
    finally:
        server.stop()
