from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from settlement_engine.errors import Misconfigured
from settlement_engine.rails.transport.disk import Disk
from settlement_engine.rails.transport.folder import (
    FolderSettings,
    FolderTransport,
    Placed,
    Placing,
)

if TYPE_CHECKING:
    from pathlib import Path

STEPS_OF_PLACE = 7
STEPS_OF_ARCHIVE = 3


class Crash(BaseException):
    """The process is gone: nothing that would run afterwards runs."""


class CrashingDisk(Disk):
    """Dies at one step, before it is done or right after; a write may also be cut in its middle."""

    def __init__(self, at: int, when: str) -> None:
        self.at, self.when, self.done = at, when, 0

    def _step(self, act, halfway) -> None:
        self.done += 1
        if self.done != self.at:
            act()
            return
        if self.when == "halfway":
            halfway()
        elif self.when == "after":
            act()
        raise Crash

    def write(self, path: Path, content: bytes) -> None:
        self._step(
            lambda: super(CrashingDisk, self).write(path, content),
            lambda: path.write_bytes(content[: len(content) // 2]),
        )

    def move(self, source: Path, target: Path) -> None:
        self._step(lambda: super(CrashingDisk, self).move(source, target), lambda: None)

    def sync_folder(self, folder: Path) -> None:
        self._step(lambda: super(CrashingDisk, self).sync_folder(folder), lambda: None)


class FailingDisk(Disk):
    """Says at one step that the disk is full."""

    def __init__(self, at: int) -> None:
        self.at, self.done = at, 0

    def _step(self) -> None:
        self.done += 1
        if self.done == self.at:
            raise OSError(28, "No space left on device")

    def write(self, path: Path, content: bytes) -> None:
        self._step()
        super().write(path, content)

    def move(self, source: Path, target: Path) -> None:
        self._step()
        super().move(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._step()
        super().sync_folder(folder)


@pytest.fixture
def settings(tmp_path: Path) -> FolderSettings:
    made = FolderSettings(
        outbox=tmp_path / "out", inbox=tmp_path / "in", archive=tmp_path / "archive"
    )
    made.outbox.mkdir()
    made.inbox.mkdir()
    FolderTransport(made).start()
    return made


def visible(folder: Path) -> dict[str, bytes]:
    """What a connector sees: it leaves hidden files alone."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


def test_a_file_is_placed_once_and_kept(settings) -> None:
    transport = FolderTransport(settings)
    assert transport.place("a.ach", b"one") == Placed(Placing.PLACED)
    assert visible(settings.outbox) == {"a.ach": b"one"}
    assert transport.place("a.ach", b"one") == Placed(Placing.WAS_PLACED)
    (settings.outbox / "a.ach").unlink()  # the connector took it
    assert transport.place("a.ach", b"one") == Placed(Placing.WAS_PLACED)
    assert not visible(settings.outbox)


def test_other_bytes_under_a_used_name_are_refused(settings) -> None:
    transport = FolderTransport(settings)
    transport.place("a.ach", b"one")
    assert transport.place("a.ach", b"two") == Placed(Placing.REFUSED)
    assert visible(settings.outbox) == {"a.ach": b"one"}


@pytest.mark.parametrize("taken", [False, True], ids=["left", "taken"])
@pytest.mark.parametrize("when", ["before", "halfway", "after"])
@pytest.mark.parametrize("at", range(1, STEPS_OF_PLACE + 1))
def test_a_crash_at_each_step_shows_the_file_whole_and_once(settings, at, when, taken) -> None:
    with pytest.raises(Crash):
        FolderTransport(settings, CrashingDisk(at, when)).place("a.ach", b"0123456789")
    seen = [visible(settings.outbox)]
    if taken and seen[0]:
        (settings.outbox / "a.ach").unlink()
    FolderTransport(settings).place("a.ach", b"0123456789")
    if taken or not seen[0]:
        seen.append(visible(settings.outbox))
    contents = [content for shown in seen for content in shown.values()]
    assert contents == [b"0123456789"]


def test_placing_has_as_many_steps_as_are_tried(settings) -> None:
    disk = CrashingDisk(0, "before")
    FolderTransport(settings, disk).place("a.ach", b"one")
    assert disk.done == STEPS_OF_PLACE


@pytest.mark.parametrize("at", range(1, STEPS_OF_PLACE + 1))
def test_a_full_disk_is_proved_unless_the_file_was_shown(settings, at) -> None:
    placed = FolderTransport(settings, FailingDisk(at)).place("a.ach", b"one")
    was_shown = bool(visible(settings.outbox))
    assert placed.placing is (Placing.UNKNOWN if was_shown else Placing.NOT_PLACED)
    assert was_shown == (at == STEPS_OF_PLACE)
    assert "No space left" in placed.why


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a.part", "a.tmp", "ä", "a" * 101])
def test_a_name_is_plain(settings, name) -> None:
    with pytest.raises(ValueError, match="name of a file"):
        FolderTransport(settings).place(name, b"")


def test_a_file_is_not_larger_than_its_bound(tmp_path, settings) -> None:
    small = FolderSettings(
        outbox=settings.outbox, inbox=settings.inbox, archive=settings.archive, file_bytes_max=3
    )
    transport = FolderTransport(small)
    with pytest.raises(ValueError, match="more than 3 bytes"):
        transport.place("a", b"1234")
    (settings.inbox / "large").write_bytes(b"1234")
    (settings.inbox / "small").write_bytes(b"123")
    found, left = transport.pick_up()
    assert [file.name for file in found] == ["small"]
    assert [(file.name, file.why) for file in left] == [("large", "it has more than 3 bytes")]


def arrive(settings: FolderSettings, name: str, content: bytes, second: int) -> None:
    path = settings.inbox / name
    path.write_bytes(content)
    os.utime(path, (second, second))


def test_files_come_in_their_order_and_within_a_bound(settings) -> None:
    arrive(settings, "z", b"1", 10)
    arrive(settings, "b", b"3", 20)
    arrive(settings, "a", b"2", 20)
    arrive(settings, ".hidden", b"4", 5)
    arrive(settings, "draft.part", b"5", 5)
    transport = FolderTransport(settings)
    found, left = transport.pick_up(2)
    assert [file.name for file in found] == ["z", "a"]
    assert not left
    again, _ = transport.pick_up()
    assert [file.name for file in again] == ["z", "a", "b"]  # until they are archived


def test_what_was_archived_is_never_handed_over_again(settings) -> None:
    arrive(settings, "a", b"1", 10)
    transport = FolderTransport(settings)
    (file,), _ = transport.pick_up()
    transport.archive(file)
    transport.archive(file)
    assert not visible(settings.inbox)
    arrive(settings, "a", b"1", 20)
    arrive(settings, "b", b"1", 30)
    assert transport.pick_up() == ([], [])
    assert not visible(settings.inbox)
    arrive(settings, "a", b"2", 40)
    (other,), _ = transport.pick_up()
    assert (other.name, other.content) == ("a", b"2")


def test_another_file_under_the_same_name_stays(settings) -> None:
    arrive(settings, "a", b"1", 10)
    transport = FolderTransport(settings)
    (file,), _ = transport.pick_up()
    arrive(settings, "a", b"2", 20)
    transport.archive(file)
    assert visible(settings.inbox) == {"a": b"2"}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(1, STEPS_OF_ARCHIVE + 1))
def test_a_crash_while_archiving_hands_over_what_was_not_archived(settings, at, when) -> None:
    arrive(settings, "a", b"1", 10)
    transport = FolderTransport(settings, CrashingDisk(at, when))
    (file,), _ = transport.pick_up()
    with pytest.raises(Crash):
        transport.archive(file)
    found, _ = FolderTransport(settings).pick_up()
    is_archived = (settings.archive / "received" / file.sha256).exists()
    assert found == ([] if is_archived else [file])
    FolderTransport(settings).archive(file)
    assert FolderTransport(settings).pick_up() == ([], [])


def test_folders_that_are_missing_are_a_wrong_configuration(tmp_path) -> None:
    settings = FolderSettings(
        outbox=tmp_path / "no", inbox=tmp_path / "no", archive=tmp_path / "archive"
    )
    with pytest.raises(Misconfigured, match="there is no folder"):
        FolderTransport(settings).start()
