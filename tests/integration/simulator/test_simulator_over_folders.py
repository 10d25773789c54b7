"""The bank as an operator of the ACH, reached by the folders that rails use."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from settlement_engine.messages.nacha.building import build_file
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.rails.transport.folder import FolderSettings, FolderTransport, Placing
from tests.support import nacha
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folders(tmp_path: Path) -> FolderTransport:
    settings = FolderSettings(
        outbox=tmp_path / "out", inbox=tmp_path / "in", archive=tmp_path / "archive"
    )
    settings.outbox.mkdir()
    settings.inbox.mkdir()
    made = FolderTransport(settings)
    made.start()
    return made


async def reported(folders: FolderTransport, count: int) -> list[bytes]:
    """Pick up and archive until so many files have come."""
    contents: list[bytes] = []

    def has_all() -> bool:
        found, _ = folders.pick_up()
        for file in found:
            contents.append(file.content)
            folders.archive(file)
        return len(contents) >= count

    await until(has_all)
    return contents


@pytest.mark.kill
async def test_a_file_is_acknowledged_settled_and_returned_over_a_kill(
    start_bank, folders, tmp_path
) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("rules: [{reference: INV-BACK, scenario: late_return}]")
    options = ("--orders", str(tmp_path / "out"), "--reports", str(tmp_path / "in"))
    bank = await start_bank(*options, "--script", str(script))
    batch = nacha.batch(nacha.entry(1), nacha.entry(2, identification="INV-BACK"))
    data = build_file(nacha.file(batch)).data
    assert folders.place("a.ach", data).placing is Placing.PLACED
    (acknowledgement,) = await reported(folders, 1)
    assert json.loads(acknowledgement)["status"] == "accepted"
    await bank.end(signal.SIGKILL)
    await bank.start()
    said = await reported(folders, 3)
    advices = [json.loads(each) for each in said if each.startswith(b"{")]
    assert [each["items"][0]["status"] for each in advices] == ["settled", "settled"]
    (returned,) = [read_file(each) for each in said if not each.startswith(b"{")]
    assert returned.totals.credit_cents == 123_456
    lines = await bank.ledger()
    assert [(line["times_debited"], line["state"]) for line in lines] == [
        (1, "settled"),
        (1, "returned"),
    ]
    assert lines[0]["trace"] == nacha.entry(1).trace_number
