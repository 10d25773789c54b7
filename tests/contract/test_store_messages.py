"""Messages: kept once and unchanged, listed in order wherever they are kept, and with the transition they led to."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from settlement_engine.domain.kept_messages import (
    CONTENT_BYTES_MAX,
    KeptMessage,
    MessageDirection,
)
from settlement_engine.domain.lifecycle import TRANSITIONS, Event, State
from settlement_engine.evidence import bundle
from settlement_engine.evidence.verification import verify
from settlement_engine.ports import (
    InboundMessage,
    MessageSource,
    PaymentReferences,
    Result,
    StatusReport,
    TransitionCommand,
)
from settlement_engine.ports.rail_files import FileItem, RailFile
from tests.support.bank_messages import Sent, transfer

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
STATUS = "pacs.002.001.10"
MANY = 100


def message(settlement, number: int = 1, **fields) -> KeptMessage:
    given = {
        "settlement_id": settlement.id,
        "attempt": 1,
        "direction": MessageDirection.IN,
        "rail": "swift",
        "content": f'<a n="{number}">\\"</a>'.encode(),
        "at": AT + timedelta(seconds=number),
        "type": STATUS,
        "message_id": f'S"{number}',
        "response_status": 200,
    }
    return KeptMessage(**(given | fields))


async def listed(scene, settlement, limit: int = MANY, after=None):
    return await scene.stores.messages.messages_of(settlement.id, limit, after)


async def kept(scene, settlement):
    return [each for each in await listed(scene, settlement) if each.type is not None]


async def test_the_first_transmission_is_listed_and_not_stored_again(scene):
    settlement = await scene.bring(State.SENT)
    [sent] = await listed(scene, settlement)
    attempt = settlement.attempt
    assert (sent.direction, sent.content) == (MessageDirection.OUT, attempt.payload)
    assert sent.sha256 == hashlib.sha256(attempt.payload).digest()
    assert (sent.attempt, sent.rail, sent.type) == (1, "mock", None)
    assert (sent.references, sent.at) == (attempt.references, attempt.recorded_at)


async def test_a_message_is_kept_once_with_all_that_is_known_of_it(scene):
    settlement = await scene.bring(State.SENT)
    one = message(settlement)
    await scene.stores.messages.keep([one, one])
    await scene.stores.messages.keep([one])
    [found] = await kept(scene, settlement)
    assert (found.direction, found.attempt, found.rail) == (MessageDirection.IN, 1, "swift")
    assert (found.type, found.message_id, found.response_status) == (STATUS, 'S"1', 200)
    assert (found.content, found.sha256) == (one.content, one.sha256)
    assert found.references == settlement.attempt.references
    other = message(settlement, at=AT + timedelta(seconds=9))
    await scene.stores.messages.keep([other])
    assert len(await kept(scene, settlement)) == 2, "the same bytes came again"


async def test_an_empty_response_is_kept_too(scene):
    settlement = await scene.bring(State.SENT)
    accepted = message(settlement, content=b"", type="", message_id="", response_status=202)
    await scene.stores.messages.keep([accepted])
    [found] = await kept(scene, settlement)
    assert (found.content, found.type, found.response_status) == (b"", "", 202)


async def test_messages_are_listed_in_pages_and_in_order(scene):
    settlement, other = await scene.bring(State.SENT), await scene.bring(State.SENT)
    for number in (3, 1, 2):  # the order in which they are stored counts
        await scene.stores.messages.keep([message(settlement, number), message(other, number)])
    every = await listed(scene, settlement)
    assert [each.message_id for each in every[1:]] == ['S"3', 'S"1', 'S"2']
    paged, after = [], None
    while page := await listed(scene, settlement, 1, after):
        paged += page
        after = page[-1].position
    assert paged == every


async def test_what_came_unasked_is_listed_once(scene):
    settlement = await scene.bring(State.SENT)
    references = PaymentReferences(uetr=settlement.attempt.references.uetr)
    reports = tuple(
        StatusReport(event=event, references=references)
        for event in (Event.ACKNOWLEDGED, Event.SETTLED)
    )
    content = f"came for {settlement.id}".encode()
    came = InboundMessage(
        rail="mock",
        source=MessageSource.CALLBACK,
        content=content,
        reports=reports,
        sender_reference="THEIRS",
    )
    await scene.stores.inbound.record([came])
    _, found = await listed(scene, settlement)
    assert (found.direction, found.content, found.type) == (MessageDirection.IN, content, None)
    assert (found.message_id, found.rail, found.attempt) == ("THEIRS", "mock", 1)
    # What is open at the end of a test would be worked off by the next one.
    for each in await scene.stores.inbound.open_reports(scene.engine_id, MANY):
        if each.settlement_id == settlement.id:
            assert each.report in reports


def step(settlement, event: Event, kept_message: KeptMessage) -> TransitionCommand:
    return TransitionCommand(
        settlement=settlement,
        event=event,
        transition=TRANSITIONS[settlement.state][event],
        due_seconds=60.0,
        message=kept_message,
    )


async def test_a_response_is_stored_with_the_transition_that_it_led_to(scene):
    settlement = await scene.bring(State.LOCKED)
    said = message(settlement)
    command = step(settlement, Event.ACKNOWLEDGED, said)
    [outcome] = await scene.stores.settlements.apply([command], scene.engine_id)
    assert outcome.result is Result.APPLIED
    [found] = await kept(scene, settlement)
    assert found.content == said.content
    loaded = (await scene.stores.settlements.load([settlement.id]))[settlement.id]
    assert loaded.state is State.SENT
    # The writer repeats a batch when it does not know whether it was written.
    [again] = await scene.stores.settlements.apply([command], scene.engine_id)
    assert again.result is Result.STALE
    assert len(await kept(scene, settlement)) == 1


async def test_a_response_is_stored_although_its_transition_is_stale(scene):
    settlement = await scene.bring(State.LOCKED)
    await scene.move(settlement, Event.NO_ANSWER, due_seconds=60.0)
    stale = step(settlement, Event.ACKNOWLEDGED, message(settlement))
    [outcome] = await scene.stores.settlements.apply([stale], scene.engine_id)
    assert outcome.result is Result.STALE
    assert len(await kept(scene, settlement)) == 1


async def test_the_evidence_has_the_messages_and_says_when_one_was_changed(scene):
    settlement = await scene.bring(State.SENT)
    real = transfer(Sent(number=1))
    await scene.stores.messages.keep(
        [
            message(
                settlement, 1, content=real, type="pacs.009.001.08", direction=MessageDirection.OUT
            )
        ]
    )
    dossier = await scene.stores.archive.dossier(settlement.id)
    assert dossier.messages.is_whole
    [record] = dossier.messages.latest
    assert (record.type, record.sha256) == ("pacs.009.001.08", hashlib.sha256(real).hexdigest())
    files = bundle.write(dossier, "1")
    assert files["message-1.bin"] == real
    assert verify(files, "1").is_good
    assert bundle.read(files) == dossier
    changed = files | {"message-1.bin": real + b" "}
    changed[bundle.MANIFEST] = bundle.canonical(bundle.manifest_of(changed))
    faults = [fault for check in verify(changed, "1").checks for fault in check.faults]
    assert faults == ["the bytes of message 1 differ from those that were recorded"]
    without = {name: data for name, data in files.items() if name != "message-1.bin"}
    without[bundle.MANIFEST] = bundle.canonical(bundle.manifest_of(without))
    assert not verify(without, "1").is_good


async def test_a_file_of_payments_is_a_message_of_each_of_them(scene):
    one = await scene.locked(trace="091000094004001")
    other = await scene.locked(trace="091000094004002")
    items = [
        FileItem(
            settlement_id=each.id,
            attempt=1,
            trace=f"09100009{number}",
            fencing_token=each.fencing_token,
        )
        for number, each in ((4_004_001, one), (4_004_002, other))
    ]
    small, large = b"94 columns", b"9" * (CONTENT_BYTES_MAX + 1)
    for content, filed in ((small, items[0]), (large, items[1])):
        wanted = RailFile(
            rail="ach",
            sender=f"messages {len(content)}",
            created_on=AT.date(),
            modifier="A",
            name=f"messages-{len(content)}.ach",
            content=content,
        )
        assert (await scene.stores.rail_files.close_file(wanted, [filed])).is_stored
    [found] = await kept(scene, one)
    assert (found.direction, found.type, found.rail) == (MessageDirection.OUT, "nacha", "ach")
    assert (found.content, found.size_bytes) == (small, len(small))
    assert found.message_id == f"messages-{len(small)}.ach"
    [found] = await kept(scene, other)
    assert (found.content, found.size_bytes) == (b"", len(large))
    assert found.sha256 == hashlib.sha256(large).digest()
    dossier = await scene.stores.archive.dossier(other.id)
    [record] = dossier.messages.latest
    assert (record.file, record.bytes) == ("", len(large))
