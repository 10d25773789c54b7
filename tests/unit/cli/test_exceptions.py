"""``exceptions``, ``resolve``, ``approve`` and ``decline`` against a pretended engine."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from settlement_engine.cli import histories
from settlement_engine.cli.acting import ACTOR
from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc
from tests.unit.cli.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.cli.conftest import Run

ID = "0199c2d4-6f0e-7c1a-9d51-1f2a33445566"
DIGEST = "ab" * 32


class FakeExceptionService(settlement_pb2_grpc.ExceptionServiceServicer):
    """Knows one exception and one proposal, and who did what."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.did: list[tuple[str, Any]] = []
        self.exception = wire.SettlementException(
            id="7",
            kind=wire.EXCEPTION_KIND_DISPROVED,
            severity=wire.EXCEPTION_SEVERITY_CRITICAL,
            settlement_id=ID,
            state="COMPLETED",
            is_frozen=True,
            amount="10.00",
            currency="EUR",
            from_bank="DEUTDEFF",
            to_bank="CHASUS33",
            age_seconds=93_784,
            said={"said": "rejected", "code": "AC04"},
            last_question="enquire",
            last_answer="NO_ANSWER",
            next_question="enquire",
            safe=["Ask the bank."],
            unsafe=["Pay it again."],
        )
        self.exception.believed.event = "ATTESTED_SETTLED"
        self.exception.believed.to_state = "COMPLETED"
        self.proposal = wire.ResolutionProposal(
            id="3",
            settlement_id=ID,
            finding=wire.RESOLUTION_FINDING_SETTLED,
            reason="entry 12",
            evidence_name="camt.xml",
            evidence_bytes=11,
            evidence_sha256=DIGEST,
            content_sha256=DIGEST,
            proposed_by="ada",
            status=wire.PROPOSAL_STATUS_OPEN,
        )
        self.proposal.proposed_time.FromDatetime(datetime(2026, 1, 31, tzinfo=UTC))

    def _tried(self, request: Any, context: Any) -> Any:
        self._refuse_mallory(dict(context.invocation_metadata()).get(ACTOR, ""), context)
        return self.proposal

    def _who(self, request: Any, context: Any) -> str:
        who: str = dict(context.invocation_metadata()).get(ACTOR, "")
        self.did.append((who, request))
        self._refuse_mallory(who, context)
        return who

    def _refuse_mallory(self, who: str, context: Any) -> None:
        if who == "mallory":
            status = status_pb2.Status(code=7, message="mallory proposed this")
            shown = {"why": "two different people are required", "todo": "Ask somebody else."}
            status.details.add().Pack(
                error_details_pb2.ErrorInfo(reason="NOT_PERMITTED", domain="x", metadata=shown)
            )
            context.abort_with_status(rpc_status.to_status(status))

    def ListExceptions(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the wire's names
        self.asked.append(request)
        return wire.ListExceptionsResponse(exceptions=[self.exception])

    def GetException(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.id != "7":
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no exception {request.id}")
        return self.exception

    def AcknowledgeException(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.exception.acknowledged_by = self._who(request, context)
        return self.exception

    def CloseException(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.exception.closed_by = self._who(request, context)
        return self.exception

    def ProposeResolution(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.validate_only:
            self.asked.append(request)
            tried = wire.ResolutionProposal()
            tried.CopyFrom(self.proposal)
            tried.id, tried.proposed_by = "", "grace"
            return tried
        self._who(request, context)
        return self.proposal

    def GetProposal(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = wire.ResolutionProposal()
        found.CopyFrom(self.proposal)
        if request.include_evidence:
            found.evidence = b"<Document/>"
        return found

    def ListProposals(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(request)
        return wire.ListProposalsResponse(proposals=[self.proposal])

    def ApproveProposal(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.validate_only:
            return self._tried(request, context)
        self.proposal.decided_by = self._who(request, context)
        return self.proposal

    def DeclineProposal(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.validate_only:
            return self._tried(request, context)
        self.proposal.decided_by = self._who(request, context)
        return self.proposal


@pytest.fixture
def case_management(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeExceptionService]:
    fake = FakeExceptionService()
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    settlement_pb2_grpc.add_ExceptionServiceServicer_to_server(fake, server)
    settlement_pb2_grpc.add_SettlementServiceServicer_to_server(FakeEngine(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("SETTLEMENT_ADDRESS", f"127.0.0.1:{port}")
    yield fake
    server.stop(grace=None).wait()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "camt.xml"
    made.write_bytes(b"<Document/>")
    return made


def test_exceptions_are_listed_with_what_is_exposed(
    command: Run, case_management: FakeExceptionService
) -> None:
    said = command("exceptions", "list", "--kind", "disproved", "--closed")
    assert said.code == ExitCode.OK
    for word in ("critical", "disproved", ID, "10.00", "1 d 2 h"):
        assert word in said.out
    assert list(case_management.asked[0].kinds) == [wire.EXCEPTION_KIND_DISPROVED]
    assert case_management.asked[0].include_closed
    listed = json.loads(command("exceptions", "list", "--json").out)
    assert listed["exceptions"][0]["kind"] == "EXCEPTION_KIND_DISPROVED"


def test_one_is_shown_with_both_messages_and_what_is_safe(
    command: Run, case_management: FakeExceptionService
) -> None:
    said = command("exceptions", "show", "7")
    for word in (
        *("ATTESTED_SETTLED → COMPLETED", "code AC04 · said rejected", "COMPLETED, frozen"),
        *("Ask the bank.", "Pay it again.", "enquire, answered NO_ANSWER"),
    ):
        assert word in said.out
    assert json.loads(command("exceptions", "show", "7", "--json").out)["isFrozen"] is True
    missing = command("exceptions", "show", "8")
    assert missing.code == ExitCode.FAILED
    assert "there is no exception 8" in missing.err


def test_who_acts_is_the_user_of_the_machine_or_who_is_named(
    command: Run, case_management: FakeExceptionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    assert command("exceptions", "acknowledge", "7").code == ExitCode.OK
    assert command("exceptions", "acknowledge", "7", "--as", "ada").code == ExitCode.OK
    assert [who for who, _ in case_management.did] == ["grace", "ada"]

    def unknown() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", unknown)
    said = command("exceptions", "acknowledge", "7")
    assert said.code == ExitCode.USAGE
    assert "--as NAME" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ("exceptions", "close", "7", "--reason", "paid back"),
        ("approve", "3"),
        ("decline", "3"),
        ("resolve", ID, "--settled", "--evidence", "camt.xml", "--reason", "entry 12"),
    ],
)
def test_a_dry_run_does_nothing(
    command: Run, case_management: FakeExceptionService, file: Path, words: tuple[str, ...]
) -> None:
    said = command(*words, "--as", "grace", "--dry-run")
    assert (said.code, case_management.did) == (ExitCode.OK, [])
    assert "grace would" in said.out
    assert command(*words, "--as", "grace").code == ExitCode.OK
    assert [who for who, _ in case_management.did] == ["grace"]


@pytest.mark.parametrize("word", ["approve", "decline"])
def test_a_dry_run_is_the_engines_word_and_not_a_guess(
    command: Run, case_management: FakeExceptionService, word: str
) -> None:
    """With a certificate only the engine knows who acts, and whether it is the one who proposed it."""
    own = command(word, "3", "--as", "mallory", "--dry-run")
    assert (own.code, case_management.did) == (ExitCode.FAILED, [])
    assert "mallory proposed this" in own.err
    assert "would" not in own.out


@pytest.mark.parametrize("name", ["Zoë", "ada ", "", "ada lovelace", "x" * 65, "ada\n"])
def test_what_is_no_name_is_refused_before_it_is_sent(
    command: Run, case_management: FakeExceptionService, name: str
) -> None:
    said = command("exceptions", "acknowledge", "7", "--as", name)
    assert (said.code, case_management.did) == (ExitCode.USAGE, [])
    assert "is not a valid name" in said.err


def test_a_doubt_has_no_message_and_a_closed_one_is_open_no_more(
    command: Run, case_management: FakeExceptionService
) -> None:
    case_management.exception.kind = wire.EXCEPTION_KIND_IN_DOUBT
    case_management.exception.said.clear()
    case_management.exception.said.update({"rail": "mock", "since": "2026-01-31T09:30:00+00:00"})
    case_management.exception.closed_by = "engine"
    said = command("exceptions", "show", "7").out
    assert "recorded at 2026-01-31T09:30:00+00:00" in said
    assert "what was said" not in said
    assert "was open for" in said


def test_what_is_approved_is_what_was_shown(
    command: Run, case_management: FakeExceptionService
) -> None:
    said = command("approve", "3", "--as", "grace")
    assert said.code == ExitCode.OK
    for word in ("entry 12", "by ada", DIGEST, "approved by grace"):
        assert word in said.out
    assert case_management.did[0][1].content_sha256 == DIGEST
    command("approve", "3", "--as", "grace", "--fingerprint", "cd" * 32)
    assert case_management.did[1][1].content_sha256 == "cd" * 32
    assert json.loads(command("approve", "3", "--as", "grace", "--json").out)["id"] == "3"


def test_a_refusal_says_why(command: Run, case_management: FakeExceptionService) -> None:
    said = command("approve", "3", "--as", "mallory")
    assert said.code == ExitCode.FAILED
    for word in (
        "mallory proposed this",
        "why: two different people are required",
        "do:  Ask somebody else.",
    ):
        assert word in said.err


def test_a_proposal_carries_the_file(
    command: Run, case_management: FakeExceptionService, file: Path
) -> None:
    words = ("--evidence", str(file), "--reason", "entry 12", "--as", "ada")
    said = command("resolve", "7", "--not-settled", *words)
    assert said.code == ExitCode.OK
    assert "settlement-engine approve 3" in said.out
    request = case_management.did[0][1]
    assert (request.exception_id, request.settlement_id) == ("7", "")
    assert (request.evidence, request.evidence_name) == (b"<Document/>", "camt.xml")
    assert request.finding == wire.RESOLUTION_FINDING_NOT_SETTLED
    command("resolve", ID, "--settled", *words)
    assert case_management.did[1][1].settlement_id == ID
    assert command("resolve", ID, *words).code == ExitCode.USAGE
    file.write_bytes(b"")
    assert command("resolve", ID, "--settled", *words).code == ExitCode.USAGE


def test_the_evidence_is_written_to_a_file(
    command: Run, case_management: FakeExceptionService, tmp_path: Path
) -> None:
    target = tmp_path / "evidence.xml"
    said = command("exceptions", "evidence", "3", "-o", str(target))
    assert (said.code, target.read_bytes()) == (ExitCode.OK, b"<Document/>")
    assert DIGEST in said.out
    target.write_bytes(b"my own")
    again = command("exceptions", "evidence", "3", "-o", str(target))
    assert (again.code, target.read_bytes()) == (ExitCode.MISCONFIGURED, b"my own")
    nowhere = command("exceptions", "evidence", "3", "-o", str(tmp_path / "no" / "evidence.xml"))
    assert nowhere.code == ExitCode.MISCONFIGURED
    assert "this is a bug" not in nowhere.err


# --- which settlement, and which proposals --------------------------------------------------------


@pytest.mark.parametrize("name", [ID, "OB-7", "u-1"])
def test_a_settlement_in_doubt_is_named_by_any_name_of_it(
    command: Run, case_management: FakeExceptionService, file: Path, name: str
) -> None:
    words = ("--settled", "--evidence", str(file), "--reason", "entry 12", "--as", "ada")
    assert command("resolve", name, *words).code == ExitCode.OK
    [(_, request)] = case_management.did
    assert (request.settlement_id, request.exception_id) == (ID, "")
    assert command("exceptions", "list", "--settlement", name).code == ExitCode.OK
    assert case_management.asked[-1].settlement_id == ID


def test_a_number_that_is_an_obligation_too_is_not_guessed(
    command: Run, case_management: FakeExceptionService, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception 7 may be of another settlement than the obligation 7."""
    monkeypatch.setattr(f"{histories.__name__}.settlement_id_of", lambda *_: ID)
    words = ("--settled", "--evidence", str(file), "--reason", "entry 12", "--as", "ada")
    said = command("resolve", "7", *words)
    assert (said.code, case_management.did) == (ExitCode.USAGE, [])
    assert ID in said.err


def test_proposals_are_listed(command: Run, case_management: FakeExceptionService) -> None:
    said = command("proposals")
    assert said.code == ExitCode.OK
    for words in (ID, "the money moved", "ada", "open", "entry 12"):
        assert words in said.out
    assert not case_management.asked[-1].include_ended
    found = json.loads(command("proposals", "--all", "--settlement", "OB-7", "--json").out)
    assert [each["id"] for each in found["proposals"]] == ["3"]
    assert case_management.asked[-1] == wire.ListProposalsRequest(
        settlement_id=ID, include_ended=True, page_size=100
    )
