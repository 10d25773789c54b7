"""Built messages read back as the same values and are valid against the schemas; invalid values are refused."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from settlement_engine.domain.money import Money
from settlement_engine.messages.envelope import built, opened, parts_of
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.kinds import versions
from settlement_engine.messages.pacs002 import Notice, StatusReportMessage, TransactionStatus
from settlement_engine.messages.schemas import Schema, schema_names
from settlement_engine.messages.xml import parse
from tests.support.corpora import shared_folder
from tests.support.messages import Maker

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
HEADED = StatusReportMessage(
    header=Notice(message_id="M1", created_at=datetime(2026, 11, 28, tzinfo=UTC)),
    transactions=(TransactionStatus(uetr="0123abcd-0123-4abc-8abc-0123456789ab", status="ACSC"),),
)


@pytest.mark.parametrize("definition", versions())
@EXAMPLES
@given(seed=st.integers(0, 2**32))
def test_a_built_message_reads_back_with_every_field(definition, seed):
    content = Maker(seed).content(definition)
    message = opened(built(definition, content))
    assert message.definition == definition
    assert message.content == content
    assert message.head is None


@pytest.mark.parametrize("version", ["01", "02", "03"])
@EXAMPLES
@given(seed=st.integers(0, 2**32))
def test_a_header_is_built_and_reads_back(version, seed):
    head = Maker(seed).head(version)
    assert opened(built("pacs.002.001.10", HEADED, head, version)).head == head


@pytest.mark.parametrize("version", ["01", "02", "03"])
def test_a_header_that_is_built_is_valid_against_its_schema(version):
    folder, name = shared_folder("iso20022-xsd"), f"head.001.001.{version}"
    for seed in range(60):
        data = built("pacs.002.001.10", HEADED, Maker(seed).head(version), version)
        schema(folder, name).validate(data, name)


@cache
def schema(folder: Path, name: str) -> Schema:
    return Schema((folder / f"{name}.xsd").read_bytes())


@pytest.mark.parametrize("definition", versions())
def test_a_built_message_is_valid_against_its_schema(definition):
    folder = shared_folder("iso20022-xsd")
    if not (folder / f"{definition}.xsd").exists():
        pytest.skip(f"there is no schema of {definition}")
    for seed in range(60):
        data = built(definition, Maker(seed).content(definition), Maker(seed).head("02"))
        assert schema_names(data) == ["head.001.001.02", definition]
        for name in schema_names(data):
            schema(folder, name).validate(data, name)


def test_a_schema_refuses_with_the_line():
    folder = shared_folder("iso20022-xsd")
    data = built("pacs.002.001.10", HEADED).replace(b"<MsgId>M1</MsgId>", b"")
    with pytest.raises(MessageError) as caught:
        schema(folder, "pacs.002.001.10").validate(data, "pacs.002.001.10")
    assert caught.value.place.startswith("line ")
    assert "MsgId" in caught.value.reason


def without(content, field):
    return msgspec.structs.replace(content, **{field: None})


def test_a_missing_field_is_named_before_anything_is_built():
    header = without(HEADED.header, "message_id")
    with pytest.raises(MessageError) as caught:
        built("pacs.002.001.10", msgspec.structs.replace(HEADED, header=header))
    assert caught.value.place == "Document/FIToFIPmtStsRpt/GrpHdr/MsgId"
    assert caught.value.reason == "is missing"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"uetr": "0123ABCD-0123-4ABC-8ABC-0123456789AB"}, "OrgnlUETR"),
        ({"end_to_end_id": "x" * 36}, "OrgnlEndToEndId"),
        ({"end_to_end_id": ""}, "OrgnlEndToEndId"),
        ({"end_to_end_id": "a\x00b"}, "OrgnlEndToEndId"),
        ({"accepted_at": datetime(2026, 11, 28)}, "AccptncDtTm"),  # noqa: DTZ001 -- the fault
    ],
)
def test_a_value_that_its_type_does_not_allow_is_refused_with_its_place(change, place):
    transaction = msgspec.structs.replace(HEADED.transactions[0], **change)
    with pytest.raises(MessageError) as caught:
        built("pacs.002.001.10", msgspec.structs.replace(HEADED, transactions=(transaction,)))
    assert caught.value.place == f"Document/FIToFIPmtStsRpt/TxInfAndSts/{place}"


@pytest.mark.parametrize("minor", [-1, 10**18])
def test_an_amount_that_no_message_carries_is_refused(minor):
    content = Maker(1).content("pacs.009.001.08")
    transfer = msgspec.structs.replace(content.transfers[0], amount=Money(minor, "EUR"))
    with pytest.raises(MessageError, match="IntrBkSttlmAmt"):
        built("pacs.009.001.08", msgspec.structs.replace(content, transfers=(transfer,)))


def test_two_elements_of_one_choice_are_refused():
    content = Maker(1).content("camt.056.001.08")
    agent = Maker(1).content("pacs.009.001.08").transfers[0].debtor
    party = Maker(1).content("pacs.008.001.08").transfers[0].debtor
    assignment = msgspec.structs.replace(
        content.assignment, assigner=party, assigner_institution=agent
    )
    with pytest.raises(MessageError, match="exactly one of Pty, Agt"):
        built("camt.056.001.08", msgspec.structs.replace(content, assignment=assignment))


def test_the_possible_duplicate_mark_is_written_and_read():
    head = msgspec.structs.replace(Maker(3).head("02"), is_possible_duplicate=True)
    data = built("pacs.002.001.10", HEADED, head)
    assert b"<PssblDplct>true</PssblDplct>" in data
    found = opened(data).head
    assert found is not None
    assert found.is_possible_duplicate is True


def test_the_same_values_build_the_same_bytes():
    content = Maker(5).content("pacs.008.001.08")
    assert built("pacs.008.001.08", content) == built("pacs.008.001.08", content)


def test_each_part_declares_its_own_namespace_once():
    data = built("pacs.002.001.10", HEADED, Maker(1).head("02"))
    parts = parts_of(parse(data))
    assert etree.QName(parts.head).namespace == "urn:iso:std:iso:20022:tech:xsd:head.001.001.02"
    assert data.count(b"xmlns=") == 3
    assert b"ns0:" not in data
