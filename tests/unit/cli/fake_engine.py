"""An engine that remembers what it was asked and gives the scripted answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.any_pb2 import Any as Anything
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from settlement_engine.cli.acting import ACTOR
from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

DRAINING = error_details_pb2.ErrorInfo(reason="UNAVAILABLE", domain="settlement-engine")
BEGAN = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
ID = "0199c2d4-6f0e-7c1a-9d51-1f2a33445566"
HISTORY = (
    ("PENDING", "ADMITTED", "VALIDATING", ()),
    ("VALIDATING", "CLEARED", "LOCKED", ("validation_complete", "funds_locked")),
    ("LOCKED", "NO_ANSWER", "IN_DOUBT", ()),
    (
        "IN_DOUBT",
        "SETTLED",
        "COMPLETED",
        ("transfer_initiated", "transfer_confirmed", "settlement_finalized"),
    ),
)


def history() -> wire.SettlementStatusResponse:
    found = wire.SettlementStatusResponse(
        settlement_id=ID,
        obligation_id="OB-7",
        status=wire.COMPLETED,
        state="COMPLETED",
        from_bank="DEUTDEFF",
        to_bank="CHASUS33",
        amount="1000.00",
        currency="EUR",
        value_date="2026-01-31",
        rail="mock",
        reference="MOCK-1",
        attempt=1,
        uetr="u-1",
    )
    found.created_time.FromDatetime(BEGAN)
    for number, (before, event, after, reached) in enumerate(HISTORY, start=1):
        move = found.moves.add(
            sequence=40 + number,
            seq=number,
            from_state=before,
            event=event,
            to_state=after,
            reached=reached,
        )
        move.at.FromDatetime(BEGAN + timedelta(milliseconds=250 * number))
    return found


class FakeEngine(
    settlement_pb2_grpc.SettlementServiceServicer,
    settlement_pb2_grpc.AccountServiceServicer,
    settlement_pb2_grpc.BankServiceServicer,
):
    """``answers`` holds what to answer by call; ``failures`` what to fail with; ``asked`` the requests."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.failures: dict[str, status_pb2.Status] = {}
        self.settlements = [history()]
        self.messages: list[wire.SettlementMessage] = []
        self.accepted: wire.SettlementResponse | None = None
        self.answer = wire.SettlementResponse(settlement_id=ID, status=wire.COMPLETED)
        self.total = 0
        self.head = 42
        self.breaks_after = 0
        self.banks: dict[str, list[wire.Bank]] = {}
        self.refused_banks: dict[str, status_pb2.Status] = {}
        self.actors: list[str] = []
        self.recall_state = wire.RECALL_STATE_REQUESTED
        self.accounts = [
            wire.Account(
                id=str(number),
                kind=wire.NOSTRO,
                bank="DEUTDEFF",
                currency="EUR",
                posted="10.00",
                held="1.00",
                available="9.00",
                credit_limit="0.00",
                is_active=True,
            )
            for number in range(1, 4)
        ]

    def fail(self, call: str, code: int, message: str, *details: Any) -> None:
        status = status_pb2.Status(code=code, message=message)
        for detail in details:
            packed = Anything()
            packed.Pack(detail)
            status.details.append(packed)
        self.failures[call] = status

    def _note(self, call: str, request: Any, context: Any) -> None:
        self.asked.append(request)
        if call in self.failures:
            context.abort_with_status(rpc_status.to_status(self.failures[call]))

    def ExecuteSettlement(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the wire's names
        self._note("ExecuteSettlement", request, context)
        return self.answer

    def SubmitSettlements(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("SubmitSettlements", request, context)
        result = wire.SubmitResult(settlement=self.accepted or self.answer)
        if "item" in self.failures:
            result = wire.SubmitResult(error=self.failures["item"])
        return wire.SubmitSettlementsResponse(results=[result for _ in request.settlements])

    def GetSettlementStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("GetSettlementStatus", request, context)
        for found in self.settlements:
            if found.settlement_id == request.settlement_id:
                return found
            if request.any_id in (found.settlement_id, found.obligation_id, found.uetr):
                return found
        context.abort(grpc.StatusCode.NOT_FOUND, "there is no such settlement")
        raise AssertionError

    def ListSettlements(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note(
            "ListSettlements",
            wire.ListSettlementsRequest.FromString(request.SerializeToString()),
            context,
        )
        start = int(request.page_token or 0)
        page = self.settlements[start : start + min(request.page_size, 2)]
        more = start + len(page) < len(self.settlements)
        token = str(start + len(page)) if more else ""
        return wire.ListSettlementsResponse(
            settlements=page,
            next_page_token=token,
            total=(self.total or len(self.settlements)) if request.with_total else 0,
        )

    def CancelSettlement(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("CancelSettlement", request, context)
        return wire.SettlementResponse(settlement_id=ID, status=wire.RECALLING)

    def RecallSettlement(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("RecallSettlement", request, context)
        self.actors += [text for name, text in context.invocation_metadata() if name == ACTOR]
        found = wire.SettlementRecall(
            settlement_id=ID,
            state=self.recall_state,
            reason=request.reason,
            requested_by=self.actors[-1],
            code="LEGL",
        )
        found.requested_time.FromDatetime(BEGAN)
        self.settlements[0].recall.CopyFrom(found)
        return found

    def RepairCover(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("RepairCover", request, context)
        self.actors += [text for name, text in context.invocation_metadata() if name == ACTOR]
        return wire.SettlementCover(
            settlement_id=ID,
            number=2,
            message_id="CH0",
            ordered_by=self.actors[-1],
            reason=request.reason,
        )

    def StreamSettlementEvents(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        self._note(
            "StreamSettlementEvents",
            wire.StreamRequest.FromString(request.SerializeToString()),
            context,
        )
        if request.begins_at_head:
            yield wire.SettlementEvent(sequence=self.head)
            request.after_sequence = self.head
        for move in self.settlements[0].moves:
            if move.sequence <= request.after_sequence:
                continue
            event = wire.SettlementEvent(
                event_id=f"{ID}.{move.seq}",
                settlement_id=ID,
                event_type=f"settlement.{move.to_state.lower()}",
                sequence=move.sequence,
            )
            event.time.CopyFrom(move.at)
            moved = wire.SettlementMoved(
                amount="1000.00", currency="EUR", from_bank="DEUTDEFF", to_bank="CHASUS33"
            )
            event.payload.Pack(moved)
            yield event
            if self.breaks_after:
                self.breaks_after -= 1
                if not self.breaks_after:
                    self.fail("", code_pb2.UNAVAILABLE, "the engine is draining", DRAINING)
                    context.abort_with_status(rpc_status.to_status(self.failures.pop("")))

    def ExecuteSettlements(self, request_iterator: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        raise NotImplementedError

    def ExplainSettlement(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    def GetEvidence(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    def ListMessages(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer with a page of one message each."""
        self.asked.append(wire.SettlementStatusRequest.FromString(request.SerializeToString()))
        number = int(request.page_token or 0)
        has_more = number + 1 < len(self.messages)
        return wire.ListMessagesResponse(
            messages=self.messages[number : number + 1],
            next_page_token=str(number + 1) if has_more else "",
        )

    def ListStuckSettlements(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    def ReconcileAccounts(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    def OpenAccount(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("OpenAccount", request, context)
        return self.accounts[0]

    def FundAccount(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("FundAccount", request, context)
        return self.accounts[0]

    def ListAccounts(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("ListAccounts", request, context)
        start = int(request.page_token or 0)
        page = self.accounts[start : start + min(request.page_size, 2)]
        more = start + len(page) < len(self.accounts)
        token = str(start + len(page)) if more else ""
        return wire.ListAccountsResponse(accounts=page, next_page_token=token)

    def GetAccount(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("GetAccount", request, context)
        return self.accounts[0]

    def SetAccountActive(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("SetAccountActive", request, context)
        self.accounts[0].is_active = request.is_active
        return self.accounts[0]

    def ListBalances(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("ListBalances", request, context)
        start = int(request.page_token or 0)
        page = self.accounts[start : start + min(request.page_size, 2)]
        more = start + len(page) < len(self.accounts)
        return wire.ListBalancesResponse(
            balances=[
                wire.PastBalance(account_id=each.id, kind=each.kind, posted=each.posted)
                for each in page
            ],
            is_final=not request.as_of_date,
            next_page_token=str(start + len(page)) if more else "",
        )

    def ListTransfers(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("ListTransfers", request, context)
        transfer = wire.Transfer(
            group_id=ID,
            leg=wire.TRANSFER_LEG_CASH,
            debit_account_id="1",
            credit_account_id="2",
            amount="1000.00",
            currency="EUR",
        )
        return wire.ListTransfersResponse(transfers=[transfer])

    def PutBank(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("PutBank", request, context)
        self.actors += [text for name, text in context.invocation_metadata() if name == ACTOR]
        written = wire.Bank()
        written.CopyFrom(request.bank)
        if written.code in self.refused_banks:
            context.abort_with_status(rpc_status.to_status(self.refused_banks[written.code]))
        versions = self.banks.setdefault(written.code, [])
        written.version, written.changed_by = len(versions) + 1, self.actors[-1]
        written.changed_time.FromDatetime(BEGAN)
        versions.append(written)
        return written

    def GetBank(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("GetBank", request, context)
        if request.code not in self.banks:
            context.abort(grpc.StatusCode.NOT_FOUND, "the bank directory has no such bank")
        return self.banks[request.code][request.version - 1]

    def ListBanks(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._note("ListBanks", request, context)
        return wire.ListBanksResponse(banks=[each[-1] for each in self.banks.values()])


def not_a_field(field: str, text: str) -> error_details_pb2.BadRequest:
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=text)
    return error_details_pb2.BadRequest(field_violations=[violation])


INVALID = code_pb2.INVALID_ARGUMENT


@contextmanager
def serving(fake: FakeEngine) -> Iterator[str]:
    """Serve on a free port of loopback; yields the address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    settlement_pb2_grpc.add_SettlementServiceServicer_to_server(fake, server)
    settlement_pb2_grpc.add_AccountServiceServicer_to_server(fake, server)
    settlement_pb2_grpc.add_BankServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()
