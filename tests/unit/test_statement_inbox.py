"""The watched folder: complete files only, moved after their import, once in effect, whatever happens in between."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.app import statement_inbox
from settlement_engine.app.statement_inbox import StatementInbox
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.errors import Misconfigured, Unavailable, WrongState
from settlement_engine.ports import StatementFilter
from tests.support.histories import spec
from tests.support.statement_files import chain, file_of
from tests.support.stores import MemoryStores

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.domain.statement_import import ImportedStatement, ReceivedFile

DAYS = chain("111", 3)


class Killed(BaseException):
    """What ends a process in the middle."""


class Importer:
    """The import into the memory, with what a test does before and after it."""

    def __init__(self) -> None:
        self.stores = MemoryStores()
        self.inner = StatementImport(self.stores.statements)
        self.files: list[ReceivedFile] = []
        self.before: BaseException | None = None
        self.after: Any = None

    async def import_file(self, file: ReceivedFile) -> list[ImportedStatement]:
        self.files.append(file)
        if self.before is not None:
            raise self.before
        found = await self.inner.import_file(file)
        if self.after is not None:
            self.after()
        return found

    async def kept(self) -> list[str]:
        listed = await self.stores.statements.statements(StatementFilter(limit=100))
        return [each.outcome for each in listed]


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.importer = Importer()
        self.counted: list[str] = []
        self.inbox = self.another()

    def another(self, **more: str) -> StatementInbox:
        made = StatementInbox(self.folder, self.importer, self.counted.append, **more)
        made.prepare()
        return made

    async def look_twice(self) -> None:
        await self.inbox.look()
        await self.inbox.look()

    def put(self, name: str, content: bytes = file_of(*DAYS)) -> None:
        (self.folder / name).write_bytes(content)

    def names(self, folder: str = ".") -> list[str]:
        return sorted(
            path.name
            for path in (self.folder / folder).iterdir()
            if path.is_file() and path.name != ".lock"
        )


@pytest.fixture
async def world(tmp_path: Path):
    made = World(tmp_path)
    await made.importer.stores.accounts.open_account(
        spec(AccountKind.NOSTRO, "DEUTDEFF", account_number="111")
    )
    yield made
    made.inbox.close()


async def test_a_complete_file_is_imported_and_archived(world: World) -> None:
    world.put("day.sta")
    await world.inbox.look()
    assert world.importer.files == [], "it may still be written"
    await world.inbox.look()
    [file] = world.importer.files
    assert (file.name, file.who) == ("day.sta", "statement-inbox")
    assert world.names() == []
    assert world.names("archive") == [f"{file.sha256.hex()[:12]}-day.sta"]
    assert world.counted == ["archived"]
    assert await world.importer.kept() == ["IMPORTED"] * 3


async def test_a_file_that_grows_is_left_until_it_does_not(world: World) -> None:
    world.put("day.sta", file_of(DAYS[0]))
    await world.inbox.look()
    world.put("day.sta", file_of(*DAYS))
    await world.inbox.look()
    assert world.importer.files == []
    await world.inbox.look()
    assert len(world.importer.files) == 1


@pytest.mark.parametrize("name", [".day.sta", "day.sta.tmp", "day.sta.PART", "day.sta.filepart"])
async def test_what_is_still_written_under_another_name_is_left(world: World, name: str) -> None:
    world.put(name)
    await world.look_twice()
    assert world.importer.files == []


async def test_links_and_folders_are_left(world: World, tmp_path_factory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_bytes(file_of(*DAYS))
    (world.folder / "link.sta").symlink_to(outside)
    (world.folder / "folder.sta").mkdir()
    os.mkfifo(world.folder / "pipe.sta")
    await world.look_twice()
    assert world.importer.files == []


async def test_a_file_that_cannot_be_used_is_beside_its_reasons(world: World) -> None:
    world.put("bad.sta", b"no statement")
    world.put("unknown.sta", file_of(*chain("999", 1)))
    await world.look_twice()
    assert world.counted == ["problem"] * 2
    reasons = {}
    for name in world.names("problems"):
        if name.endswith(".reason.jsonl"):
            lines = (world.folder / "problems" / name).read_text().splitlines()
            reasons[name.partition("-")[2]] = [json.loads(line)["outcome"] for line in lines]
    assert reasons == {
        "bad.sta.reason.jsonl": ["UNREADABLE"],
        "unknown.sta.reason.jsonl": ["UNKNOWN_ACCOUNT"],
    }
    assert len(world.names("problems")) == 4
    assert world.names() == []


async def test_a_file_with_gaps_is_archived_because_its_statements_are_kept(world: World) -> None:
    world.put("day.sta", file_of(DAYS[0], DAYS[2]))
    await world.look_twice()
    assert world.counted == ["archived"]


async def test_a_csv_is_read_with_the_configured_mapping(world: World) -> None:
    world.put("a.csv", b"x,y")
    world.put("b.sta")
    world.inbox.close()
    world.inbox = world.another(csv_mapping="signed_amount")
    await world.look_twice()
    assert {each.name: each.csv_mapping for each in world.importer.files} == {
        "a.csv": "signed_amount",
        "b.sta": "",
    }


async def test_a_file_waits_while_the_database_is_down_and_is_no_problem(world: World) -> None:
    world.put("day.sta")
    world.importer.before = Unavailable("the database is down")
    await world.look_twice()
    assert (world.names(), world.counted) == (["day.sta"], [])
    world.importer.before = None
    await world.inbox.look()
    assert world.counted == ["archived"]


async def test_a_file_that_the_engine_refuses_does_not_stop_the_others(world: World) -> None:
    world.put("day.sta")
    world.put("other.sta", file_of(DAYS[0]))
    world.importer.before = WrongState("too many accounts")
    await world.look_twice()
    assert world.counted == ["problem"] * 2


async def test_a_kill_before_or_after_the_import_loses_nothing(world: World) -> None:
    world.put("day.sta")
    world.importer.before = Killed()
    with pytest.raises(Killed):
        await world.look_twice()
    world.importer.before = None

    def killed() -> None:
        raise Killed

    world.importer.after = killed
    world.inbox.close()
    world.inbox = world.another()
    with pytest.raises(Killed):
        await world.look_twice()
    assert world.names() == ["day.sta"]
    world.importer.after = None
    world.inbox.close()
    world.inbox = world.another()
    await world.look_twice()
    assert await world.importer.kept() == ["IMPORTED"] * 3
    assert len(world.names("archive")) == 1


async def test_a_kill_while_it_is_moved_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("day.sta")

    def killed(*_: object) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(StatementInbox, "_is_same", killed)
        with pytest.raises(Killed):
            await world.look_twice()
    assert world.names() == []
    world.inbox.close()
    world.inbox = world.another()
    await world.look_twice()
    assert await world.importer.kept() == ["IMPORTED"] * 3
    assert world.names("archive") == [f"{world.importer.files[0].sha256.hex()[:12]}-day.sta"]


async def test_a_file_that_is_replaced_while_it_is_imported_is_imported_too(world: World) -> None:
    world.put("day.sta", file_of(DAYS[0]))
    world.importer.after = lambda: world.put("day.sta", file_of(*DAYS))
    await world.look_twice()
    assert (world.names(), world.counted) == (["day.sta"], [])
    world.importer.after = None
    await world.look_twice()
    assert world.counted == ["archived"]
    assert await world.importer.kept() == ["IMPORTED"] * 3


async def test_the_same_name_again_is_another_file_of_the_archive(world: World) -> None:
    for days in (DAYS[:1], DAYS):
        world.put("day.sta", file_of(*days))
        await world.look_twice()
    assert len(world.names("archive")) == 2


async def test_two_engines_take_turns_and_the_second_goes_on_when_the_first_is_gone(
    world: World,
) -> None:
    second = world.another()
    world.put("day.sta")
    await world.inbox.look()
    await second.look()
    await second.look()
    assert world.importer.files == []
    world.inbox.close()
    await second.look()
    await second.look()
    assert world.counted == ["archived"]
    second.close()


async def test_sizes_and_counts_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_inbox, "FILES_AT_ONCE", 2)
    monkeypatch.setattr(statement_inbox, "FILE_BYTES_MAX", 10)
    for number in range(3):
        world.put(f"{number}.sta")
    await world.look_twice()
    assert world.importer.files == [], "files that are too large are not imported"
    assert world.counted == ["problem"] * 2
    await world.inbox.look()
    assert world.counted == ["problem"] * 3


@pytest.mark.parametrize("name", ["a\nb.sta", "\udcff.sta", "ä" * 120 + ".sta", "x" * 250])
async def test_any_name_of_a_file_is_taken(world: World, name: str) -> None:
    world.put(name)
    await world.look_twice()
    assert world.counted == ["archived"]
    [file] = world.importer.files
    assert file.name.isprintable()
    file.name.encode()


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="there is no folder"):
        StatementInbox(tmp_path / "none", Importer(), lambda _: None).prepare()
