"""Settlements over faulty connections: to PostgreSQL, to NATS, to the bank, and to all at once.

Whatever the connections do, everything accepted ends, is debited once and announced once, in one order. The long
forms are in tests/soak.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from settlement_engine.embedded import EmbeddedNats
from tests.failure.load import LOSSES, LoadTown, LossyBank, LossyLine
from tests.integration.test_relay import check_exact, make_relay, running, until_published
from tests.support.faultproxy import FaultProxy, Lost, Way
from tests.support.frailbank import FrailBank
from tests.support.frailengine import FrailEngine
from tests.unit.events.fakes import CountingMeter, MemoryOutbox

COUNT = 80
STORM_RESETS = 12
STORM_PAUSE_SECONDS = 0.08
DARK_SECONDS = 0.8
SEEDS = 1
LOSS = 0.2


@pytest.fixture
async def cluster(database_url):
    made = await LoadTown(database_url).open()
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def engines_of(cluster, bank, count=1, **more):
    settings = {"heartbeat_seconds": 0.05, "has_real_windows": False, **more}
    engines = [FrailEngine(cluster.url, bank, **settings) for _ in range(count)]
    for engine in engines:
        await engine.start()
    try:
        yield engines
    finally:
        for engine in engines:
            await engine.keep_dead_letter()


async def slow(proxy):
    proxy.latency_seconds, proxy.jitter_seconds = 0.05, 0.02


async def sliced(proxy):
    proxy.slice_bytes = 60


async def both_directions_lost(proxy):
    await asyncio.sleep(STORM_PAUSE_SECONDS)
    proxy.black_hole()
    await asyncio.sleep(DARK_SECONDS)
    proxy.clear()


async def replies_lost(proxy):
    await asyncio.sleep(STORM_PAUSE_SECONDS)
    proxy.black_hole(Way.TO_CLIENT)
    await asyncio.sleep(DARK_SECONDS)
    proxy.reset_all()
    proxy.clear()


async def repeated_resets(proxy):
    for _ in range(STORM_RESETS):
        await asyncio.sleep(STORM_PAUSE_SECONDS)
        proxy.reset_all()


async def refusing(proxy):
    proxy.is_refusing = True
    proxy.reset_all()
    await asyncio.sleep(DARK_SECONDS)
    proxy.clear()


BAD = [slow, sliced, both_directions_lost, replies_lost, repeated_resets, refusing]


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
async def test_faults_between_engine_and_postgresql_lose_and_duplicate_nothing(cluster, spoil):
    bank = FrailBank()
    async with engines_of(cluster, bank) as engines:
        proxy = engines[0].proxy
        if spoil in (slow, sliced):
            await spoil(proxy)
            await cluster.submit(engines, COUNT)
        else:
            await asyncio.gather(spoil(proxy), cluster.submit(engines, COUNT))
        await cluster.until_ended(engines)
    await cluster.check(bank, COUNT)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_lost_requests_and_replies_of_every_store_call(cluster, seed):
    """Two engines: each sees the other's session end, and takes over its settlements."""
    chance = random.Random(seed)
    bank = FrailBank()
    line = LossyLine(chance, LOSS)
    async with engines_of(cluster, bank, 2, watch=line) as engines:
        await cluster.submit(engines, COUNT)
        await cluster.until_ended(engines)
    await cluster.check(bank, COUNT)
    assert set(line.hits) == {
        (call, lost) for call in ("admit", "apply", "call") for lost in LOSSES
    }


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_faults_to_the_bank_and_to_postgresql_at_once(cluster, seed):
    chance = random.Random(100 + seed)
    bank = LossyBank(chance, LOSS)
    line = LossyLine(chance, LOSS / 2)
    async with engines_of(cluster, bank, 2, watch=line) as engines:
        await asyncio.gather(cluster.submit(engines, COUNT), repeated_resets(engines[0].proxy))
        await cluster.until_ended(engines)
    await cluster.check(bank, COUNT)
    assert len(bank.troubles) == 5
    assert line.hits


# --- NATS -----------------------------------------------------------------------------------------


@pytest.fixture
def nats(tmp_path):
    server = EmbeddedNats(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


async def losing_acks(proxy):
    for pattern in (b"Nats-Batch-Commit", b"Nats-Expected-Last-Sequence", b"HPUB"):
        proxy.cut(Lost.REPLY, pattern, until=b"MSG ", times=2)
        proxy.cut(Lost.REQUEST, pattern)
        await asyncio.sleep(STORM_PAUSE_SECONDS)


@pytest.mark.parametrize("spoil", [*BAD, losing_acks], ids=lambda spoil: spoil.__name__)
async def test_faults_to_nats_neither_duplicate_nor_skip_events(nats, spoil):
    outbox = MemoryOutbox()
    host, _, port = nats.address.rpartition(":")
    async with FaultProxy(host, int(port), random.Random(7)) as proxy:
        relay = make_relay(
            proxy.through(nats.url()),
            outbox,
            CountingMeter(),
            ack_timeout_seconds=0.5,
            batch_max=40,
        )
        async with running(relay):
            spoiling = asyncio.gather(spoil(proxy))
            for _ in range(30):
                outbox.add(20)
                await asyncio.sleep(0.02)
            await spoiling
            await until_published(outbox)
        is_only_slow = spoil in (slow, sliced, both_directions_lost)
        assert proxy.connections + proxy.refusals > 1 or is_only_slow
        assert proxy.hits > 0 or spoil is not losing_acks
    await check_exact(nats.url(), outbox)
