from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.kept_messages import MessageDirection
from settlement_engine.domain.lifecycle import Ask, Event
from settlement_engine.errors import Unavailable
from settlement_engine.messages.envelope import opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.monitoring.metrics import Metrics
from settlement_engine.ports import PaymentReferences, StatusReport
from settlement_engine.rails.iso20022.orders import read_order, read_terms
from settlement_engine.rails.iso20022.parties import agent
from settlement_engine.rails.iso20022.rail import IsoRail, one_of
from settlement_engine.rails.transport.http import HttpSettings
from settlement_engine.rails.transport.results import Response
from settlement_engine.simulator.answers import message_reject, payment_return
from settlement_engine.simulator.ledger import Payment
from tests.support.isorails import ACCOUNTS, connection, iso_rail, paid_out, profile_of
from tests.support.isorails import dialect as dialect_of
from tests.unit.rails.builders import CALLER, START, HandClock, Heard, question, settlement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.kept_messages import KeptMessage
    from settlement_engine.ports import Question
    from settlement_engine.rails.iso20022.dialect import Dialect

NAMES = references(CALLER, "k", 1)


@pytest.fixture
def dialect() -> Dialect:
    return dialect_of(profile_of())


def rail(port: int = 1, **settings) -> IsoRail:
    http = HttpSettings(endpoint=f"http://127.0.0.1:{port}", **settings)
    return iso_rail(HandClock(), connection(profile_of(), http))


def test_a_new_bank_is_of_class_d_and_has_all_parts() -> None:
    rules = profile_of().capabilities(START.date())
    assert (rules.rail_class, rules.is_not_found_definite) == ("d", False)
    assert rules.asks == {Ask.SEND, Ask.ENQUIRE, Ask.RECALL}


def test_the_document_says_whose_money_goes_where(dialect) -> None:
    """Booked: from our account at FROM to our account at the settlement agent; nobody else is named."""
    content = opened(dialect.order(settlement("k"), NAMES)).content
    (one,) = content.transfers
    assert (one.debtor.bic, one.debtor_agent.bic, one.creditor.bic) == (
        "SETTGB2L",
        "DEUTDEFF",
        "SETTGB2L",
    )
    assert one.debtor_account.iban == ACCOUNTS.debited
    assert one.creditor_agent.bic == ACCOUNTS.settlement_agent
    assert one.creditor_account.iban == ACCOUNTS.settlement_account
    assert content.header.settlement.account.iban == ACCOUNTS.debited
    assert UUID(hex=one.instruction_id) == settlement("k").id
    assert (one.uetr, one.end_to_end_id) == (str(NAMES.uetr), NAMES.end_to_end_id)


def test_a_bank_is_paid_out_by_an_order_between_institutions(dialect) -> None:
    content = opened(dialect.order(paid_out(), NAMES)).content
    (one,) = content.transfers
    assert (one.debtor.bic, one.creditor.bic) == ("SETTGB2L", "CHASUS33")
    assert (one.creditor_agent, one.creditor_account) == (None, None)


def test_only_the_header_says_that_it_may_be_a_duplicate(dialect) -> None:
    document = dialect.order(settlement("k"), NAMES)
    inside = document.partition(b"\n")[2]
    order = read_order(document)
    first = dialect.sent(document, order, is_possible_duplicate=False)
    again = dialect.sent(document, order, is_possible_duplicate=True)
    assert inside in first
    assert inside in again
    marks = [opened(each).head for each in (first, again)]
    assert [head is not None and head.is_possible_duplicate for head in marks] == [None, True]
    assert opened(first).content == opened(again).content == opened(document).content
    assert re.sub(rb"<PssblDplct>true</PssblDplct>", b"", again) == first


def test_the_terms_are_read_back(dialect) -> None:
    terms = read_terms(dialect.order(settlement("k"), NAMES))
    assert terms is not None
    assert (terms.from_bank, terms.to_bank, terms.amount) == ("DEUTDEFF", "", "12.50")
    assert terms.references == NAMES
    paid = read_terms(dialect.order(paid_out(), NAMES))
    assert paid is not None
    assert (paid.to_bank, paid.references) == ("CHASUS33", NAMES)
    assert read_terms(b"<") is None
    order = read_order(dialect.order(settlement("k"), NAMES))
    assert read_terms(dialect.recall(order, NAMES, "R1", START)) is None


def test_a_bank_without_a_bic_is_named_by_its_code() -> None:
    assert agent("BANK0001").bic is None
    assert agent("BANK0001").other_id == "BANK0001"


def test_a_question_names_the_payment_and_is_named_after_it(dialect) -> None:
    order = read_order(dialect.order(settlement("k"), NAMES))
    asked = opened(dialect.enquiry(order, NAMES, "Q1", START)).content
    assert asked.questions[0].uetr == str(NAMES.uetr)
    assert asked.questions[0].group.message_id == NAMES.message_id
    recalled = opened(dialect.recall(order, NAMES, "R1", START)).content
    assert recalled.underlying[0].cancellations[0].uetr == str(NAMES.uetr)
    with pytest.raises(MessageError):
        read_order(b"<a/>")


async def test_what_did_not_leave_is_undelivered_and_an_unsent_question_is_silence() -> None:
    made = rail()
    await made.start()
    for ask, events in ((made.send, [Event.UNDELIVERED]), (made.enquire, []), (made.recall, [])):
        heard = Heard()
        await ask([question(made, "k")], heard)
        assert heard.events == events
    await made.stop()


async def test_a_cancelled_call_tells_what_never_left() -> None:
    heard_by_bank = asyncio.Event()
    closing = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        heard_by_bank.set()
        await closing.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    made = rail(server.sockets[0].getsockname()[1], connections_max=1)
    await made.start()
    heard = Heard()
    asked = [question(made, "first"), question(made, "second")]
    call = asyncio.ensure_future(made.send(asked, heard))
    await heard_by_bank.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [(each.settlement_id, each.event) for each in heard.answers] == [
        (asked[1].settlement_id, Event.UNDELIVERED)
    ]
    closing.set()
    server.close()
    await made.stop()


class Kept:
    """Keeps messages in order, or refuses to."""

    def __init__(self) -> None:
        self.messages: list[KeptMessage] = []
        self.failure: Exception | None = None

    async def __call__(self, messages: Sequence[KeptMessage]) -> None:
        if self.failure is not None:
            raise self.failure
        self.messages += messages


def again(made: IsoRail, key: str) -> Question:
    return msgspec.structs.replace(question(made, key), is_possible_duplicate=True)


async def test_what_is_sent_is_stored_before_it_leaves() -> None:
    """The port is shut: whatever is stored was stored before anything could leave."""
    made, kept, names = rail(), Kept(), references(CALLER, "k", 1)
    made.keep_messages(kept)
    await made.start()
    await made.send([question(made, "k")], Heard())
    assert not kept.messages, "its bytes are those of the attempt"
    await made.send([again(made, "k")], Heard())
    await made.enquire([question(made, "k")], Heard())
    await made.recall([question(made, "k")], Heard())
    assert [(each.type, each.message_id) for each in kept.messages] == [
        ("pacs.009.001.08", names.message_id),
        ("pacs.028.001.03", "Q" + names.message_id[1:]),
        ("camt.056.001.08", "R" + names.message_id[1:]),
    ]
    for each in kept.messages:
        assert (each.direction, each.rail, each.attempt) == (MessageDirection.OUT, "swift", 1)
        assert opened(each.content).definition == each.type
        assert each.at == START
    await made.stop()


async def test_what_cannot_be_stored_does_not_leave() -> None:
    connected = asyncio.Event()

    async def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    made, kept, heard = rail(server.sockets[0].getsockname()[1]), Kept(), Heard()
    made.keep_messages(kept)
    await made.start()
    kept.failure = Unavailable("lost")
    await made.enquire([question(made, "k")], heard)
    await made.recall([question(made, "k")], heard)
    assert not heard.answers, "nobody was asked: that is no answer"
    await made.send([again(made, "k")], heard)
    [answer] = heard.answers
    assert (answer.event, answer.is_held_back) == (Event.UNDELIVERED, True)
    assert not connected.is_set()
    await made.send([question(made, "k")], heard)
    assert connected.is_set(), "a first transmission was recorded with its intent"
    server.close()
    await made.stop()


async def test_a_send_that_waits_to_be_stored_tells_that_it_never_left() -> None:
    async def keep(_messages: Sequence[KeptMessage]) -> None:
        await asyncio.Event().wait()

    made, heard = rail(), Heard()
    made.keep_messages(keep)
    await made.start()
    call = asyncio.ensure_future(made.send([again(made, "k")], heard))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert heard.events == [Event.UNDELIVERED]
    await made.stop()


def report(event: Event) -> StatusReport:
    return StatusReport(event=event, references=PaymentReferences())


@pytest.mark.parametrize(
    ("events", "chosen"),
    [
        ([], None),
        ([Event.ACKNOWLEDGED], Event.ACKNOWLEDGED),
        ([Event.SETTLED, Event.ACKNOWLEDGED], Event.SETTLED),
        ([Event.SETTLED, Event.SETTLED], Event.SETTLED),
        ([Event.SETTLED, Event.REJECTED], None),
    ],
)
def test_of_several_reports_the_final_one_counts_and_a_contradiction_none(events, chosen) -> None:
    found = one_of([report(event) for event in events])
    assert (None if found is None else found.event) is chosen


async def test_what_nobody_asked_for_is_stored_before_it_is_acknowledged() -> None:
    made = rail()
    stored = []

    async def receive(messages) -> None:
        stored.extend(messages)

    made.listen(receive)
    body = message_reject("M1", "X", "no", 0)
    await made.take(body, {"bank"})
    assert [(each.content, each.reports) for each in stored] == [(body, ())]
    for bad in (b"<", b"x" * 2_000_000):
        with pytest.raises(MessageError):
            await made.take(bad, {"bank"})
    assert len(stored) == 1


async def test_what_a_person_has_to_hear_of_is_counted_by_name() -> None:
    counted = []
    made = iso_rail(HandClock(), count_alarm=lambda *each: counted.append(each))

    async def receive(_messages) -> None:
        return

    made.listen(receive)
    await made.take(message_reject("M1", "X", "no", 0), {"bank"})
    assert counted == [("swift", "unexpected_message")]
    metrics = Metrics("0")
    metrics.rail_alarm(*counted[0])
    assert b'rail_alarms_total{alarm="unexpected_message",rail="swift"} 1.0' in metrics.text()


async def test_a_return_in_a_response_is_stored_as_a_message_of_its_own(monkeypatch) -> None:
    """Whatever was asked, money that comes back is booked: the response is heard like a call-back."""
    made, stored, heard = rail(), [], Heard()

    async def receive(messages) -> None:
        stored.extend(messages)

    async def post(*_: object) -> Response:
        said: dict[str, Any] = dict.fromkeys(set(Payment.__struct_fields__) - {"debited_minor"}, "")
        said |= {
            "id": 1,
            "uetr": str(NAMES.uetr),
            "end_to_end_id": NAMES.end_to_end_id,
            "message_id": NAMES.message_id,
            "message_name": "pacs.009.001.08",
            "currency": "EUR",
            "debited_minor": 12_50,
        }
        body = payment_return("RET1", Payment(**said), 12_50, 0, "AC04", 0)
        return Response(status=200, body=body)

    made.listen(receive)
    monkeypatch.setattr(made._connections.all[0].transport, "post", post)
    await made.enquire([question(made, "k")], heard)
    assert heard.answers == []
    ((report,),) = [each.reports for each in stored]
    assert (report.event, report.stated.minor) == (Event.RETURNED, 12_50)
