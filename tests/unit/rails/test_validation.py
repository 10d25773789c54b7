"""Validation at run time: an invalid order is refused before it is sent, and an invalid answer is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from settlement_engine.app.message_schemas import message_schemas
from settlement_engine.config import Config
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.payment import PaymentDetails, PaymentParty
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.schemas import MessageSchemas
from settlement_engine.rails.transport.http import HttpSettings
from settlement_engine.simulator.answers import message_reject
from tests.support.corpora import shared_folder
from tests.support.isorails import agreed_profile, connection, iso_rail, paid_out
from tests.support.scriptedbank import ScriptedBank
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


def test_what_we_write_is_valid_against_the_schemas_of_iso() -> None:
    schemas = message_schemas(configured(shared_folder("iso20022-xsd")))
    rail = made(schemas, [], "http://127.0.0.1:1")
    assert rail.fault_of(paid_out(PAYMENT).instruction) == ""
