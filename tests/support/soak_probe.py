"""Times after PostgreSQL was killed: until it answers again, and until a new settlement has ended."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg
import grpc
from typing_extensions import override

from settlement_engine.proto import settlement_pb2 as pb
from tests.support.soak_installation import BANKS
from tests.support.soak_load import ENDED, Caller

if TYPE_CHECKING:
    from tests.support.soak_installation import Installation

PROBE_SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.02
CALL_SECONDS = 1.0
DOWN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Probe(threading.Thread):
    """A caller that starts when it is created. The times stay infinite for what did not happen."""

    def __init__(self, installation: Installation, obligation_id: str) -> None:
        super().__init__()
        self._url = installation.database_url
        self._targets = list(installation.targets)
        self._obligation_id = obligation_id
        self._began = time.monotonic()
        self.answered_seconds = float("inf")
        self.settled_seconds = float("inf")

    @override
    def run(self) -> None:
        """Query the database, then settle one payment."""
        asyncio.run(self._until_answered())
        self._until_settled()

    @property
    def _is_over(self) -> bool:
        return time.monotonic() - self._began > PROBE_SECONDS_MAX

    async def _until_answered(self) -> None:
        while not self._is_over:
            with suppress(*DOWN):
                connection = await asyncpg.connect(self._url, timeout=CALL_SECONDS)
                await connection.close()
                self.answered_seconds = time.monotonic() - self._began
                return
            await asyncio.sleep(PAUSE_SECONDS)

    def _until_settled(self) -> None:
        payment_request = pb.SettlementRequest(
            obligation_id=self._obligation_id,
            from_bank=BANKS[0],
            to_bank=BANKS[1],
            amount="1.00",
            currency="EUR",
            metadata={"simulate": "settle"},
        )
        caller = Caller(self._targets, 0)
        try:
            while not self._is_over:
                try:
                    found = caller.stub.ExecuteSettlement(payment_request, timeout=CALL_SECONDS)
                except grpc.RpcError as error:
                    caller.move_on(error)
                    time.sleep(PAUSE_SECONDS)
                    continue
                if found.status in ENDED:
                    self.settled_seconds = time.monotonic() - self._began
                    return
        finally:
            caller.close()
