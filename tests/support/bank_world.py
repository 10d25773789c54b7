"""The scripted bank without a network, under a clock that the test moves, and what its messages say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from settlement_engine.messages.envelope import opened
from settlement_engine.simulator.bank import ScriptedBank
from settlement_engine.simulator.ledger import Ledger, Names
from tests.support.bank_messages import Sent

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.simulator.scenarios import ScenarioScript

START_MS = 1_800_000_000_000
DAY_MS = 86_400_000
ONE = Sent(number=1)


class World:
    """A bank whose clock is moved by the test."""

    def __init__(self, file: Path, script: ScenarioScript) -> None:
        self.file = file
        self.script = script
        self.now_ms = START_MS
        self.open()

    def open(self) -> None:
        self.ledger = Ledger(self.file)
        self.ledger.open()
        self.bank = ScriptedBank(self.ledger, self.script, calls_back=True)

    def crash(self) -> None:
        self.ledger.close()
        self.open()

    def says(self, body: bytes):
        return self.bank.receive(body, self.now_ms)

    def later(self, ms: int) -> None:
        self.now_ms += ms
        self.bank.work(self.now_ms)

    def called_back(self) -> list[Any]:
        """Deliver what is due, and return what it says."""
        said = []
        while due := self.ledger.due_callbacks(self.now_ms):
            for row in due:
                said.append(opened(row["content"]))
                self.ledger.callback_delivered(row["id"])
        return said

    def row(self, sent: Sent = ONE):
        (found,) = self.ledger.find(Names(uetr=sent.uetr))
        return found


def statuses(response) -> list[tuple[str, str | None]]:
    found = opened(response.body).content.transactions
    return [(each.status, each.reasons[0].code if each.reasons else None) for each in found]


def confirmation(response) -> tuple[str, str | None]:
    content = opened(response.body).content
    (answer,) = content.details[0].answers
    return content.confirmation, answer.reasons[0].code if answer.reasons else None


def told(bank: World) -> list[str]:
    return [each.content.transactions[0].status for each in bank.called_back()]
