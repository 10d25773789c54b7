"""Real foreign messages: the valid ones are read, the others are refused with a position."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from settlement_engine.messages.envelope import built, opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.kinds import versions
from settlement_engine.messages.recognition import recognised
from tests.support.corpora import shared_folder

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = ("corpora/cbpr", "corpora/camt")
READ_AT_LEAST = 60


@cache
def schema(file: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(file))


def is_valid(part: etree._Element) -> bool:
    name = (etree.QName(part).namespace or "").rpartition(":")[2]
    file = shared_folder("iso20022-xsd") / f"{name}.xsd"
    ours = name in versions() or name.startswith("head.001.")
    alone = etree.fromstring(etree.tostring(part))
    return ours and file.exists() and schema(file).validate(alone)


def should_be_read(data: bytes) -> bool:
    try:
        root = etree.fromstring(data)
    except etree.XMLSyntaxError:
        return False
    parts = list(root.iter("{*}Document", "{*}AppHdr"))
    return bool(parts) and all(is_valid(part) for part in parts)


def fault_of(data: bytes) -> MessageError | None:
    try:
        opened(data)
    except MessageError as fault:
        return fault
    return None


def files() -> list[Path]:
    return sorted(file for folder in FOLDERS for file in shared_folder(folder).glob("*.xml"))


def test_every_valid_message_is_read_and_every_other_is_refused_with_its_place():
    wrong, read = [], 0
    for file in files():
        data = file.read_bytes()
        expected = should_be_read(data)
        fault = fault_of(data)
        read += fault is None
        if (fault is None) != expected or (fault and not (fault.place and fault.reason)):
            wrong.append((file.name, str(fault)))
    assert wrong == []
    assert read >= READ_AT_LEAST


def test_a_message_read_and_built_again_reads_the_same():
    rebuilt = 0
    for file in files():
        try:
            message = opened(file.read_bytes())
            data = built(message.definition, message.content, message.head)
        except MessageError as fault:
            if "offset from UTC" in fault.reason or not should_be_read(file.read_bytes()):
                continue
            raise
        assert opened(data) == message, file
        assert should_be_read(data), file
        rebuilt += 1
    assert rebuilt >= READ_AT_LEAST - 20


@pytest.mark.parametrize(
    ("file", "kind", "says"),
    [
        ("test_files_2026_pacs002_status_report_sample.xml", "pacs.002", "ACSP (pending)"),
        ("test_files_2026_camt054_credit_notification_sample.xml", "camt.054", "credit (BOOK)"),
    ],
)
def test_summaries_of_foreign_messages(file, kind, says):
    found = recognised((shared_folder("corpora/cbpr") / file).read_bytes())
    assert found.kind == kind
    assert says in " ".join(found.says)


def test_a_wrong_iban_of_others_is_a_warning():
    name = "test_files_2025_cbprplus_pacs008_sample_dodgy_IBAN_and_bic_mismatch.xml"
    found = recognised((shared_folder("corpora/cbpr") / name).read_bytes())
    assert any(each.place.endswith("iban") and each.is_fault for each in found.odd)


def test_a_statement_behind_a_long_header_is_read_as_a_statement():
    name = "src_cbpr_rules_examples_y2026_camt.052.max.xml"
    data = (shared_folder("corpora/cbpr") / name).read_bytes()
    with pytest.raises(MessageError, match="no status of an entry"):
        recognised(data)
    assert recognised(data.replace(b"<Cd>EXCd</Cd>", b"<Cd>BOOK</Cd>")).kind == "camt.052"
