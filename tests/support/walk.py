"""One settlement in a process of its own, traced: which files of ours it goes through from the wire to COMPLETED.

``python -m tests.support.walk DATABASE_URL BOOK RESULT`` writes JSON to the file RESULT: the status and the files. The
process is its own because a profiler sees a whole thread: what other tests have left behind must not be in it.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio

from settlement_engine.api.server import GrpcServer
from settlement_engine.app.application import Application
from settlement_engine.config import load
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.money import Money
from settlement_engine.ports import AccountSpec, Funding
from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto.settlement_pb2_grpc import SettlementServiceStub
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import FrameType

    from settlement_engine.engine.service import SettlementService

SOURCE = Path(__file__).resolve().parents[2] / "src" / "settlement_engine"
PAYER, PAYEE = "AAAADEFF", "BBBBDEFF"


@contextmanager
def traced() -> Iterator[dict[str, None]]:
    """Note every source file of ours in which a function is entered, in order, in every thread."""
    entered: dict[str, None] = {}
    beginning = f"{SOURCE}/"

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(beginning):
            entered.setdefault(name.removeprefix(beginning))

    sys.setprofile(note)
    threading.setprofile(note)
    try:
        yield entered
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def carry_only(engine: SettlementService) -> None:
    """Carry settlements, and do nothing by itself: no heartbeat, no claim, no work on cases."""
    assert engine._barrier is not None
    opening = asyncio.get_running_loop().create_task(engine._barrier.run())
    await until(lambda: engine.is_open)
    opening.cancel()
    engine._lease._renewed_at = math.inf  # nothing renews the lease here, and nobody else is there
    async with asyncio.TaskGroup() as group:
        for work in (engine._intake.run, engine._executor.run, engine._dispatcher.run):
            group.create_task(work())


@asynccontextmanager
async def serving(database_url: str, book: Path) -> AsyncIterator[Any]:
    """One engine in this process, as ``app`` builds it, without events; nothing happens by itself."""
    overrides: dict[str, object] = {
        "profile": "dev",
        "database.url": database_url,
        "nats.enabled": False,
        "banks.mock_enabled": True,
        "banks.mock_success_rate": 1,
        "banks.mock_latency_ms": 1,
        "banks.mock_book_file": str(book),
        "banks.mock_answer_timeout_ms": 60_000,
        "server.grpc_port": 0,
    }
    application = Application(load(overrides=overrides, search=False).config)
    server = GrpcServer(application.calls, application.api)
    for rail in application.rails.values():
        await rail.start()
    await application.engine.join()
    running = asyncio.get_running_loop().create_task(carry_only(application.engine))
    try:
        port = await server.start()
        await open_banks(application)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield SettlementServiceStub(channel)
    finally:
        await server.stop(1.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await application.close()


async def open_banks(application: Application) -> None:
    """Two banks, and money of ours at the first."""
    for bank in (PAYER, PAYEE):
        for kind in (AccountKind.NOSTRO, AccountKind.VOSTRO):
            await application.accounts.open_account(
                AccountSpec(
                    kind=kind,
                    bank=bank,
                    currency="EUR",
                    account_number="",
                    credit_limit=0,
                    caller="test",
                    idempotency_key="",
                )
            )
    await application.accounts.fund(
        Funding(
            bank=PAYER,
            amount=Money(100_000, "EUR"),
            reference="",
            account_number="",
            caller="test",
            idempotency_key="funding",
        )
    )


def request(name: str) -> pb.SettlementRequest:
    return pb.SettlementRequest(
        obligation_id=name,
        idempotency_key=name,
        from_bank=PAYER,
        to_bank=PAYEE,
        amount="1.00",
        currency="EUR",
    )


async def walk(database_url: str, book: Path) -> dict[str, object]:
    """Return the status of the second settlement, and the files that it went through."""
    async with serving(database_url, book) as stub:
        await stub.ExecuteSettlement(request("first"))  # what is looked up once is known then
        with traced() as entered:
            settled = await stub.ExecuteSettlement(request("second"))
    return {"status": pb.SettlementStatus.Name(settled.status), "files": sorted(entered)}


if __name__ == "__main__":
    url, book, result = sys.argv[1:]
    Path(result).write_text(json.dumps(asyncio.run(walk(url, Path(book)))), "utf-8")
