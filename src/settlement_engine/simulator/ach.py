"""The bank as an ACH operator: it receives files of credits, acknowledges, settles and returns entries.

Promises: a file with the same bytes is processed once, and gets the same acknowledgement each time; another
file with the same sender, day and modifier is refused; no entry is debited twice, even if it comes in two
files. An acknowledgement is no settlement: each entry's settlement is advised later. So is each rejection of an
acknowledgement that is lost, because one entry's scenario must not silence the bank about the others.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from settlement_engine.domain.money import format_amount
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.nacha.model import EntryKind
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.simulator.ach_files import acknowledgement, original_of, refusal
from settlement_engine.simulator.events import SimulatorState
from settlement_engine.simulator.ledger import FOUND_MAX, Names
from settlement_engine.simulator.legs import ORDINARY
from settlement_engine.simulator.scenarios import ACCEPTED, Reply, Scenario

if TYPE_CHECKING:
    from settlement_engine.messages.nacha.model import Batch, FileHeader, NachaEntry, NachaFile
    from settlement_engine.simulator.events import Events
    from settlement_engine.simulator.ledger import Ledger
    from settlement_engine.simulator.scenarios import ScenarioScript

SETTLES_AFTER_MS: Final = 1_000
"""An entry settles this long after its file was received, not on its effective date."""


class AchOperator:
    """Processes NACHA files. All calls must come from the ledger's thread."""

    def __init__(self, ledger: Ledger, events: Events) -> None:
        self._ledger = ledger
        self._events = events

    def receive(
        self, name: str, content: bytes, script: ScenarioScript, now_ms: int
    ) -> bytes | None:
        """Process a file; returns its acknowledgement, or None if the file or its acknowledgement is lost."""
        digest = hashlib.sha256(content).hexdigest()
        try:
            file = read_file(content)
        except MessageError as error:
            return refusal(name, digest, str(error))
        entries = file.entries(EntryKind.PAYMENT)
        if not 0 < len(entries) <= FOUND_MAX:
            return refusal(
                name, digest, f"has {len(entries)} payments, and {FOUND_MAX} are the most"
            )
        with self._ledger.writing():
            return self._answer(name, digest, file, script, now_ms)

    def _answer(
        self, name: str, digest: str, file: NachaFile, script: ScenarioScript, now_ms: int
    ) -> bytes | None:
        header = file.header
        identity = f"{header.origin} {header.created_on} {header.modifier}"
        known = self._ledger.known_file(digest, identity)
        if known is None:
            if self._is_lost(name, digest, file, script, now_ms):
                return None
            self._ledger.enter_file(digest, identity, name)
            self._enter(name, digest, file, script, now_ms)
        elif known != digest:
            return refusal(name, digest, "another file of this day has the same modifier")
        payments = self._ledger.find(Names(message_id=digest))
        if known is not None:
            for payment in payments:
                self._ledger.received_again(payment)
        elif payments and payments[0].treatment.reply is Reply.LOST:
            self._events.advise_rejections(payments, now_ms + SETTLES_AFTER_MS)
            return None
        if not payments:
            return refusal(name, digest, "its entries came in another file")
        return acknowledgement(name, digest, payments)

    def _is_lost(
        self, name: str, digest: str, file: NachaFile, script: ScenarioScript, now_ms: int
    ) -> bool:
        """Say whether the file is lost: the scenario of its first entry decides."""
        first = file.entries(EntryKind.PAYMENT)[0]
        chosen = _choice(script, name, first)
        scenario = script.scenario(chosen)
        times, _ = self._ledger.arrive(digest, now_ms)
        return times <= scenario.lost_requests

    def _enter(
        self, name: str, digest: str, file: NachaFile, script: ScenarioScript, now_ms: int
    ) -> None:
        """Record the new entries; an entry that is known from another file is left out."""
        for batch in file.batches:
            for entry in batch.entries:
                is_known = bool(self._ledger.find(Names(trace=entry.trace_number)))
                if entry.kind is not EntryKind.PAYMENT or is_known:
                    continue
                chosen = _choice(script, name, entry)
                scenario = of_the_ach(script.scenario(chosen))
                values = {
                    **_values(file.header, batch, entry),
                    "message_id": digest,
                    "scenario": chosen,
                    "plan": msgspec.json.encode(scenario).decode(),
                    "received_at_ms": now_ms,
                }
                self._events.begin(self._ledger.enter(values), scenario, now_ms)


def _values(header: FileHeader, batch: Batch, entry: NachaEntry) -> dict[str, Any]:
    day = batch.effective_date
    return {
        "rail": "ach",
        "uetr": None,
        "message_name": f"nacha.{batch.entry_class}",
        "instruction_id": "",
        "end_to_end_id": reference_of(entry) or entry.trace_number,
        "trace": entry.trace_number,
        "from_bank": header.destination.strip(),
        "to_bank": entry.receiver,
        "amount_minor": entry.amount_cents,
        "currency": "USD",
        "value_date": day.isoformat() if day else "",
        "content_hash": hashlib.sha256(msgspec.json.encode(entry)).hexdigest(),
        "original": msgspec.json.encode(original_of(header, batch, entry)).decode(),
        "credited_account": entry.account.strip(),
        "leg": ORDINARY,
        "state": SimulatorState.RECEIVED,
        "status": "RCVD",
        "code": "",
    }


def of_the_ach(scenario: Scenario) -> Scenario:
    """Adapt a scenario to files: acceptance first, settlement later, and at most one return, of the whole amount."""
    first = scenario.steps[0]
    if first.status == "RJCT" and first.is_true and first.after_ms == 0:
        return scenario
    later = tuple(
        msgspec.structs.replace(step, after_ms=step.after_ms + SETTLES_AFTER_MS, told_after_ms=None)
        for step in scenario.steps
        if step.status != ACCEPTED.status
    )
    returns = tuple(
        msgspec.structs.replace(
            back, after_ms=back.after_ms + SETTLES_AFTER_MS, percent=100, charges_minor=0
        )
        for back in scenario.returns[:1]
    )
    reply = Reply.LOST if scenario.reply is Reply.LOST else Reply.RESPONSE
    return msgspec.structs.replace(
        scenario, steps=(ACCEPTED, *later), returns=returns, reply=reply, amount_change_minor=0
    )


def reference_of(entry: NachaEntry) -> str:
    """Return the sender's reference: the identification, or the word of the addenda that it is the beginning of."""
    for text in entry.remittance:
        word = text.partition(" ")[0]
        if entry.identification and word.startswith(entry.identification):
            return word
    return entry.identification


def _choice(script: ScenarioScript, name: str, entry: NachaEntry) -> str:
    own = (entry.trace_number, reference_of(entry), entry.identification)
    names = (*own, entry.account, entry.name, name)
    amount = format_amount(entry.amount_cents, "USD")
    return script.choose(tuple(each for each in names if each), amount, "USD")
