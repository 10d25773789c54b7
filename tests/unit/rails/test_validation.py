"""Validation at run time: an invalid order is refused before it is sent, and an invalid answer is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import msgspec
import pytest
from typing_extensions import override

from settlement_engine.app.message_schemas import message_schemas, statement_schemas
from settlement_engine.app.statement_reader import StatementReader
from settlement_engine.config import Config
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import PaymentDetails, PaymentParty
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.schemas import MessageSchemas, schema_names
from settlement_engine.ports import BalanceQuestion, StatementQuestion
from settlement_engine.rails.transport.http import HttpSettings
from settlement_engine.simulator.answers import message_reject
from tests.support.corpora import shared_folder
from tests.support.isorails import NOWHERE, agreed_profile, connection, iso_rail, paid_out
from tests.support.scriptedbank import ScriptedBank
from tests.support.statement_files import chain, file_of
from tests.unit.messages.test_camt_statements import BOTH, document, entry, statement
from tests.unit.rails.builders import CALLER, HandClock, Heard, question

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.rails.iso20022.rail import IsoRail

PAYMENT = PaymentDetails(creditor=PaymentParty(name="Jane Doe"))
SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified"
  targetNamespace="urn:iso:std:iso:20022:tech:xsd:{name}"><xs:element name="Document"><xs:complexType>
  <xs:sequence>{inside}</xs:sequence></xs:complexType></xs:element></xs:schema>"""
ANYTHING = '<xs:any processContents="skip"/>'
NOTHING = '<xs:element name="Never"/>'


def schema(name: str, inside: str) -> MessageSchemas:
    return MessageSchemas({name: SCHEMA.format(name=name, inside=inside).encode()})


def made(schemas: MessageSchemas | None, counted: list[str], endpoint: str) -> IsoRail:
    reached = connection(agreed_profile(), HttpSettings(endpoint=f"{endpoint}/swift"))
    return iso_rail(
        HandClock(), reached, count_alarm=lambda _, alarm: counted.append(alarm), schemas=schemas
    )


def test_a_payment_whose_message_would_be_invalid_is_refused() -> None:
    instruction = paid_out(PAYMENT).instruction
    nowhere = "http://127.0.0.1:1"
    for name, inside in (("pacs.008.001.08", ANYTHING), ("pacs.009.001.08", NOTHING)):
        assert made(schema(name, inside), [], nowhere).fault_of(instruction) == ""
    fault = made(schema("pacs.008.001.08", NOTHING), [], nowhere).fault_of(instruction)
    assert fault.startswith("payment: the message would be invalid: ")


@pytest.mark.parametrize(
    ("inside", "events", "alarms"),
    [(ANYTHING, [Event.SETTLED], []), (NOTHING, [], ["invalid_message"])],
)
async def test_an_invalid_response_is_silence_and_an_alarm(
    tmp_path: Path, inside: str, events: list[Event], alarms: list[str]
) -> None:
    bank = ScriptedBank(tmp_path)
    await bank.open()
    counted: list[str] = []
    rail = made(schema("pacs.002.001.10", inside), counted, bank.endpoint)
    await rail.start()
    payload = rail.prepare(paid_out(PAYMENT), references(CALLER, "k", 1))
    heard = Heard()
    await rail.send([msgspec.structs.replace(question(rail, "k"), payload=payload)], heard)
    await rail.stop()
    await bank.close()
    assert (heard.events, counted) == (events, alarms)


def test_an_invalid_header_refuses_the_payment_too() -> None:
    headed = SCHEMA.format(name="head.001.001.02", inside=NOTHING).replace("Document", "AppHdr")
    rail = made(MessageSchemas({"head.001.001.02": headed.encode()}), [], NOWHERE)
    fault = rail.fault_of(paid_out(PAYMENT).instruction)
    assert fault.startswith("payment: the message would be invalid: ")


@pytest.mark.parametrize(
    ("purpose", "definition"), [("enquire", "pacs.028.001.03"), ("recall", "camt.056.001.08")]
)
async def test_an_invalid_question_does_not_leave_and_says_nothing(
    tmp_path: Path, purpose: str, definition: str
) -> None:
    """It is no proof of anything: the payment has left before."""
    bank = ScriptedBank(tmp_path)
    await bank.open()
    for inside, count in ((NOTHING, 0), (ANYTHING, 1)):
        counted: list[str] = []
        rail = made(schema(definition, inside), counted, bank.endpoint)
        await rail.start()
        payload = rail.prepare(paid_out(PAYMENT), references(CALLER, "k", 1))
        asked = msgspec.structs.replace(question(rail, "k"), payload=payload)
        heard = Heard()
        await getattr(rail, purpose)([asked], heard)
        await rail.stop()
        assert counted == ["invalid_message"] * (1 - count)
        assert len(heard.events) == count
    await bank.close()


async def test_an_invalid_resend_does_not_leave_and_is_undelivered() -> None:
    headed = SCHEMA.format(name="head.001.001.02", inside=NOTHING).replace("Document", "AppHdr")
    counted: list[str] = []
    rail = made(MessageSchemas({"head.001.001.02": headed.encode()}), counted, NOWHERE)
    payload = rail.prepare(paid_out(PAYMENT), references(CALLER, "k", 1))
    again = msgspec.structs.replace(
        question(rail, "k"), payload=payload, is_possible_duplicate=True
    )
    heard = Heard()
    await rail.send([again], heard)
    assert (heard.events, counted) == ([Event.UNDELIVERED], ["invalid_message"])


async def test_an_invalid_request_for_a_statement_or_a_balance_does_not_leave() -> None:
    rail = made(schema("camt.060.001.05", NOTHING), [], NOWHERE)
    names = {"bank": "DEUTDEFF", "account_number": "1", "currency": "EUR"}
    answer = await rail.statement(StatementQuestion(**names, day=date(2026, 1, 30)))
    assert not answer.was_reached
    assert "Never" in answer.reason
    assert "Never" in (await rail.balance(BalanceQuestion(**names))).reason


async def test_an_invalid_call_back_is_refused() -> None:
    stored = []

    async def receive(messages: object) -> None:
        stored.append(messages)

    body = message_reject("M1", "X", "no", 0)
    for inside in (NOTHING, ANYTHING):
        rail = made(schema("admi.002.001.01", inside), [], "http://127.0.0.1:1")
        rail.listen(receive)
        if inside == NOTHING:
            with pytest.raises(MessageError, match="Never"):
                await rail.take(body, {"bank"})
        else:
            await rail.take(body, {"bank"})
    assert len(stored) == 1


def configured(folder: Path) -> Config:
    return Config.model_validate({"rails": {"xsd_dir": folder}})


def test_the_schemas_of_the_directory_are_those_of_our_messages(tmp_path: Path) -> None:
    assert message_schemas(Config()) is None
    (tmp_path / "pain.001.001.03.xsd").write_text("not read")
    with pytest.raises(Misconfigured, match="xsd_dir"):
        message_schemas(configured(tmp_path))
    with pytest.raises(Misconfigured, match="xsd_dir"):
        message_schemas(configured(tmp_path / "missing"))
    for broken in (
        "<",
        "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'><xs:no/></xs:schema>",
    ):
        (tmp_path / "pacs.002.001.10.xsd").write_text(broken)
        with pytest.raises(Misconfigured, match="xsd_dir"):
            message_schemas(configured(tmp_path))


class Taken(MessageSchemas):
    """The schemas of ISO, with the names of what was validated."""

    def __init__(self, folder: Path) -> None:
        super().__init__({each.stem: each.read_bytes() for each in sorted(folder.glob("*.xsd"))})
        self.names: list[str] = []

    @override
    def check(self, message: bytes) -> None:
        self.names += schema_names(message)
        super().check(message)


@pytest.mark.parametrize("name", ["swift", "sepa_sct", "sepa_inst", "realtime"])
async def test_every_kind_that_we_write_is_valid_against_the_schemas_of_iso(
    tmp_path: Path, name: str
) -> None:
    schemas = Taken(shared_folder("iso20022-xsd"))
    bank = ScriptedBank(tmp_path)
    await bank.open()
    counted: list[str] = []
    reached = connection(agreed_profile(name), HttpSettings(endpoint=f"{bank.endpoint}/{name}"))
    rail = iso_rail(
        HandClock(),
        reached,
        name=name,
        count_alarm=lambda _, alarm: counted.append(alarm),
        schemas=schemas,
    )
    await rail.start()
    made = paid_out(PAYMENT)
    currency = "USD" if name == "realtime" else "EUR"
    paid = replace(made, instruction=replace(made.instruction, amount=Money(12_50, currency)))
    payload = rail.prepare(paid, references(CALLER, "k", 1))
    assert rail.fault_of(paid.instruction) == ""
    asked = msgspec.structs.replace(question(iso_rail(HandClock()), "k"), payload=payload)
    heard = Heard()
    await rail.send([asked], heard)
    await rail.send([msgspec.structs.replace(asked, is_possible_duplicate=True)], heard)
    await rail.enquire([asked], heard)
    await rail.recall([asked], heard)
    names = {"bank": "DEUTDEFF", "account_number": "1", "currency": currency}
    await rail.statement(StatementQuestion(**names, day=date(2026, 1, 30)))
    await rail.balance(BalanceQuestion(**names))
    await rail.stop()
    await bank.close()
    profile = agreed_profile(name)
    assert "invalid_message" not in counted
    written = {profile.enquiry, profile.recall, "camt.060.001.05"}
    assert written <= set(schemas.names)


async def test_statements_are_validated_where_their_schema_is_there(tmp_path: Path) -> None:
    said = document(statement(*BOTH, entry())).encode()
    [version] = schema_names(said)
    assert statement_schemas(None) is None
    kept = await StatementReader(xsd_dir=tmp_path).read(said, None, "")
    assert len(kept.statements) == 1, "there is no schema of it"
    file = tmp_path / f"{version}.xsd"
    for inside, count in ((ANYTHING, 1), (NOTHING, 0)):
        file.write_text(SCHEMA.format(name=version, inside=inside))
        for at_once in (0, 10**6):  # in a process of its own, or at once
            reader = StatementReader(inline_bytes_max=at_once, xsd_dir=tmp_path)
            found = await reader.read(said, None, "")
            assert len(found.statements) == count
            reasons = [each.reason for each in found.faults]
            assert all(each.startswith("is invalid against its schema: line ") for each in reasons)
            assert len(reasons) == 1 - count
            assert len((await reader.read(file_of(*chain("1", 1)), None, "")).statements) == 1
    apart = StatementReader(inline_bytes_max=0, xsd_dir=tmp_path)
    file.write_text("<")  # the directory has changed since the engine began
    [fault] = (await apart.read(said, None, "")).faults
    assert "xsd_dir" in fault.reason
