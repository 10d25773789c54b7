"""``explain``, ``evidence``, ``list --stuck`` and ``intake dead-letters`` against a pretended engine."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from settlement_engine import __version__
from settlement_engine.cli.evidence import packing
from settlement_engine.cli.evidence.packing import pack, unpack
from settlement_engine.cli.failures import ExitCode
from settlement_engine.errors import CorruptRecord
from settlement_engine.evidence import bundle
from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc
from tests.support.made_histories import dossier_of
from tests.unit.cli.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.cli.conftest import Run

ID = "0199c2d4-6f0e-7c1a-9d51-1f2a33445566"
OBLIGATION = "OBL-7"


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return bundle.write(asyncio.run(dossier_of("completed_by_attestation")), __version__)


class FakeArchive(FakeEngine, settlement_pb2_grpc.IntakeServiceServicer):
    """Knows one settlement by its obligation only, and a few dead letters."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__()
        self.files = files
        self.stuck: list[wire.StuckSettlement] = []
        self.dead_letter = wire.DeadLetter(
            id=7, subject="clearing.instructions", why="amount: is required", is_open=True
        )
        self.dead_letter.is_whole = True
        self.busy_from = 1_000
        self.dead_letter.payload = b'{"a":\x1b\xff}'

    def _find(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        if request.any_id not in (OBLIGATION, ID):
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such settlement")

    def ExplainSettlement(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the wire's names
        self._find(request, context)
        return wire.SettlementExplanation(settlement_id=ID, state="SENT", text="It was sent.\n")

    def GetEvidence(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._find(request, context)
        return wire.SettlementEvidence(
            settlement_id=ID,
            root_sha256=bundle.manifest_of(self.files).root_sha256,
            files=[wire.EvidenceFile(name=name, content=data) for name, data in self.files.items()],
        )

    def ListStuckSettlements(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(request)
        counts = {"PAST_LIMIT": len(self.stuck)} if self.stuck else {}
        return wire.ListStuckSettlementsResponse(settlements=self.stuck, counts=counts)

    def ListDeadLetters(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(wire.ListDeadLettersRequest.FromString(request.SerializeToString()))
        start = int(request.page_token or 0)
        letters = [wire.DeadLetter(id=9 - number, is_open=True, why="w") for number in range(5)]
        page = letters[start : start + min(request.page_size, 2)]
        more = start + len(page) < len(letters)
        token = str(start + len(page)) if more else ""
        return wire.ListDeadLettersResponse(letters=page, next_page_token=token)

    def GetDeadLetter(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(request)
        return self.dead_letter

    def RetryDeadLetter(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(request)
        self.dead_letter.acts.add(outcome="REFUSED", who=request.who, words="still wrong")
        return self.dead_letter

    def RetryDeadLetters(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._act_on_many(request, "ACCEPTED")

    def DropDeadLetters(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._act_on_many(request, "DROPPED")

    def _act_on_many(self, request: Any, outcome: str) -> Any:
        """Act upon 250 letters, of which every hundredth is refused; at ``busy_from`` it is too busy."""
        self.asked.append(type(request).FromString(request.SerializeToString()))
        answer = wire.DeadLettersResponse()
        for number in range(request.filter.after_id + 1, 251):
            if number >= self.busy_from:
                answer.stopped_because = "Overloaded: too much at once"
                return answer
            is_open = request.is_dry_run or number % 100 == 0
            dead_letter = answer.letters.add(id=number, is_open=is_open, why="w")
            if not request.is_dry_run:
                dead_letter.acts.add(outcome="REFUSED" if is_open else outcome, who=request.who)
            answer.next_after_id = number if number < 250 else 0
            if len(answer.letters) == request.limit:
                break
        return answer

    def DropDeadLetter(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(request)
        self.dead_letter.acts.add(outcome="DROPPED", who=request.who, words=request.reason)
        self.dead_letter.is_open = False
        return self.dead_letter


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> Iterator[FakeArchive]:
    fake = FakeArchive(files)
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    settlement_pb2_grpc.add_SettlementServiceServicer_to_server(fake, server)
    settlement_pb2_grpc.add_IntakeServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("SETTLEMENT_ADDRESS", f"127.0.0.1:{port}")
    yield fake
    server.stop(grace=None).wait()


# --- explain and list --stuck -------------------------------------------------------------------------


def test_explain_prints_the_sentences(command: Run, engine: FakeArchive) -> None:
    said = command("explain", OBLIGATION)
    assert (said.code, said.out) == (ExitCode.OK, "It was sent.\n")
    assert json.loads(command("explain", OBLIGATION, "--json").out)["state"] == "SENT"


def test_any_name_is_passed_on_as_it_is(command: Run, engine: FakeArchive) -> None:
    assert command("explain", ID).code == ExitCode.OK
    assert [each.any_id for each in engine.asked] == [ID]
    said = command("explain", "NOBODYS")
    assert said.code == ExitCode.FAILED
    assert "there is no such settlement" in said.err


def test_what_is_stuck_is_listed(command: Run, engine: FakeArchive) -> None:
    assert "nothing is stuck" in command("list", "--stuck").out
    engine.stuck = [
        wire.StuckSettlement(settlement_id=ID, state="SENT", reason="PAST_LIMIT", text="too long")
    ]
    said = command("list", "--stuck")
    assert ID in said.out
    assert "too long" in said.out
    assert f"settlement-engine explain {ID}" in said.out
    assert json.loads(command("list", "--stuck", "--json").out)["counts"] == {"PAST_LIMIT": "1"}
    assert command("list", "--stuck", "--bank", "X").code == ExitCode.USAGE


# --- evidence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("evidence", "export"), ("evidence",)])
def test_evidence_is_written_and_found_good(
    command: Run, engine: FakeArchive, tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "evidence.zip"
    said = command(*words, OBLIGATION, "-o", str(file))
    assert said.code == ExitCode.OK, said.err
    root = bundle.manifest_of(engine.files).root_sha256
    assert root in said.out
    good = command("evidence", "verify", str(file), "--root", root)
    assert good.code == ExitCode.OK
    assert good.out.count("✓") >= 16
    assert "✗" not in good.out
    shown = json.loads(command("evidence", "verify", str(file), "--json").out)
    assert shown["isGood"]
    assert shown["rootSha256"] == root
    part = command("evidence", "verify", str(file), "--root", root[:8])
    assert part.code == ExitCode.USAGE
    assert "64 hexadecimal digits" in part.err
    other = command("evidence", "verify", str(file), "--root", "0" * 64)
    assert other.code == ExitCode.FAILED
    assert "✗ root hash" in other.out


def test_a_file_that_exists_is_left_alone(
    command: Run, engine: FakeArchive, tmp_path: Path
) -> None:
    file = tmp_path / "evidence.zip"
    file.write_bytes(b"mine")
    said = command("evidence", "export", OBLIGATION, "-o", str(file))
    assert said.code == ExitCode.MISCONFIGURED
    assert file.read_bytes() == b"mine"


def test_the_same_files_make_the_same_bytes(files: dict[str, bytes], tmp_path: Path) -> None:
    again = dict(reversed(files.items()))
    assert pack(files) == pack(again)
    file = tmp_path / "evidence.zip"
    file.write_bytes(pack(files))
    assert unpack(file) == files


def test_no_byte_of_the_file_can_be_changed(
    command: Run, files: dict[str, bytes], tmp_path: Path
) -> None:
    """Every byte of the headers, and some of each file's: the check says no to each."""
    from settlement_engine.evidence.verification import verify

    data = pack(files)
    file = tmp_path / "evidence.zip"
    contents = [(data.index(part), len(part)) for part in files.values()]
    inside = {at + step for at, size in contents for step in range(size)}
    outside = [place for place in range(len(data)) if place not in inside]
    sampled = [at + step for at, size in contents for step in range(0, size, max(1, size // 5))]
    for place in outside + sampled:
        changed = bytearray(data)
        changed[place] ^= 0x20
        file.write_bytes(bytes(changed))
        try:
            read = unpack(file)
        except CorruptRecord:
            continue
        assert not verify(read, __version__).is_good, place
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    file.write_bytes(bytes(changed))
    assert command("evidence", "verify", str(file)).code == ExitCode.FAILED


def packed(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return made.getvalue()


def many_files() -> bytes:
    return packed(*((f"file-{number}.bin", b"") for number in range(bundle.FILES_MAX + 1)))


def an_overlong_list() -> bytes:
    return b"PK" + struct.pack("<2s4s4H2LH", b"", b"PK\x05\x06", 0, 0, 65535, 65535, 2**31, 2, 0)


HOSTILE = {
    "nothing": b"",
    "rubbish": b"rubbish" * 100,
    "a bomb": packed(("moves.json", b"0" * 10_000_000), method=zipfile.ZIP_DEFLATED),
    "a path that climbs": pack({"../../moves.json": b"{}"}),
    "an absolute path": pack({"/etc/moves.json": b"{}"}),
    "a folder": pack({"folder/moves.json": b"{}"}),
    "a name with capitals": pack({"Moves.json": b"{}"}),
    "a name that ends the line": pack({"moves.json\n": b"{}"}),
    "too many files": many_files(),
    "a list that lies": an_overlong_list(),
    "a list in front of nothing": packed(("moves.json", b"{}"))[-60:],
    "something in front": b"x" + packed(("moves.json", b"{}")),
    "something behind": packed(("moves.json", b"{}")) + b"x",
    "other times than ours": packed(("moves.json", b"{}")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_was_not_exported_by_us_is_refused(command: Run, tmp_path: Path, name: str) -> None:
    file = tmp_path / "evidence.zip"
    file.write_bytes(HOSTILE[name])
    said = command("evidence", "verify", str(file))
    assert said.code == ExitCode.FAILED
    assert "✗ the file is not an unchanged evidence export" in said.err
    assert "why:" in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evidence.zip"]


def test_a_file_listed_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "evidence.zip"
    with pytest.warns(UserWarning, match="Duplicate"):
        file.write_bytes(packed(("moves.json", b"{}"), ("moves.json", b"[]")))
    with pytest.raises(CorruptRecord):
        unpack(file)


def test_a_file_that_is_too_large_is_not_even_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    file = tmp_path / "evidence.zip"
    file.write_bytes(pack(files))
    monkeypatch.setattr(packing, "FILE_BYTES_MAX", 1000)
    with pytest.raises(CorruptRecord) as refused:
        unpack(file)
    assert "the maximum is 1000" in refused.value.why
    monkeypatch.setattr(packing, "FILE_BYTES_MAX", 10**9)
    monkeypatch.setattr(packing, "EVIDENCE_BYTES_MAX", 1000)
    with pytest.raises(CorruptRecord) as refused:
        unpack(file)
    assert "the maximum is 1000" in refused.value.why


def test_verify_says_which_file_was_changed(
    command: Run, files: dict[str, bytes], tmp_path: Path
) -> None:
    file = tmp_path / "evidence.zip"
    file.write_bytes(pack(files | {"hold.json": b"null\n"}))
    said = command("evidence", "verify", str(file))
    assert said.code == ExitCode.FAILED
    assert "hold.json was changed" in said.out
    assert "verification failed" in said.out


# --- intake dead-letters --------------------------------------------------------------------------------


def test_dead_letters_are_listed_page_by_page(command: Run, engine: FakeArchive) -> None:
    said = command("intake", "dead-letters", "list", "--limit", "5")
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == ["9", "8", "7", "6", "5"]
    assert [each.page_size for each in engine.asked] == [5, 3, 1]
    command("intake", "dead-letters", "list", "--all")
    assert engine.asked[-1].with_ended


def test_one_is_shown_without_what_would_upset_a_terminal(
    command: Run, engine: FakeArchive
) -> None:
    said = command("intake", "dead-letters", "show", "7")
    assert "amount: is required" in said.out
    assert '{"a":?\\xff}' in said.out
    assert "\x1b" not in said.out


def test_one_that_is_refused_again_ends_with_one(command: Run, engine: FakeArchive) -> None:
    said = command("intake", "dead-letters", "retry", "7", "--as", "mara")
    assert said.code == ExitCode.FAILED
    assert "REFUSED by mara: still wrong" in said.out
    assert (engine.asked[0].id, engine.asked[0].who) == (7, "mara")


def test_one_is_dropped_with_a_reason(command: Run, engine: FakeArchive) -> None:
    assert command("intake", "dead-letters", "drop", "7").code == ExitCode.USAGE
    said = command("intake", "dead-letters", "drop", "7", "--reason", "a test", "--as", "mara")
    assert said.code == ExitCode.OK
    assert "DROPPED by mara: a test" in said.out
    assert engine.asked[-1].reason == "a test"


def test_many_are_tried_again_page_by_page_up_to_the_limit(
    command: Run, engine: FakeArchive
) -> None:
    said = command("intake", "dead-letters", "retry", "--all", "--dry-run")
    assert said.code == ExitCode.OK
    assert "250 dead letters would be processed; nothing was done" in said.out
    assert all(each.is_dry_run for each in engine.asked)
    assert [each.filter.after_id for each in engine.asked] == [0, 100, 200]
    engine.asked.clear()
    arguments = ("--subject", "s", "--since", "2026-01-31T09:30:00+0100", "--limit", "150")
    said = command("intake", "dead-letters", "retry", *arguments, "--as", "mara")
    assert said.code == ExitCode.FAILED, "one of them stays open"
    assert "149 closed, 1 still open" in said.out
    assert "There are more. The limit was 150" in said.out
    assert [(each.limit, each.filter.subject, each.who) for each in engine.asked] == [
        (100, "s", "mara"),
        (50, "s", "mara"),
    ]
    assert engine.asked[0].filter.since.ToJsonString() == "2026-01-31T08:30:00Z"
    assert not engine.asked[0].filter.HasField("until")


def test_many_that_are_stopped_on_the_way_say_so(command: Run, engine: FakeArchive) -> None:
    engine.busy_from = 3
    said = command("intake", "dead-letters", "drop", "--all", "--reason", "tests", "--json")
    assert said.code == ExitCode.FAILED
    shown = json.loads(said.out)
    assert shown["stopped_because"] == "Overloaded: too much at once"
    assert [int(each["id"]) for each in shown["letters"]] == [1, 2]
    assert engine.asked[0].reason == "tests"


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry",),
        ("retry", "7", "--all"),
        ("retry", "7", "--dry-run"),
        ("retry", "--dry-run"),
        ("retry", "--all", "--limit", "0"),
        ("retry", "--all", "--since", "yesterday"),
        ("drop", "--reason", "why"),
        ("drop", "--all"),
    ],
)
def test_which_letters_are_meant_must_be_said(
    command: Run, engine: FakeArchive, arguments: tuple[str, ...]
) -> None:
    assert command("intake", "dead-letters", *arguments).code == ExitCode.USAGE
    assert engine.asked == []


def test_outbox_replay_needs_to_know_from_where(command: Run) -> None:
    assert command("outbox", "replay").code == ExitCode.USAGE
    said = command("outbox", "replay", "--from", "1", "--subject-prefix", "x")
    assert said.code == ExitCode.USAGE
    assert command("outbox", "replay", "--from", "1").code == ExitCode.MISCONFIGURED
