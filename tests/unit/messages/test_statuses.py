"""Only two status codes say that money moved; an unknown code says nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from settlement_engine.messages.codes import CODE_SETS, code_set
from settlement_engine.messages.envelope import opened
from settlement_engine.messages.pacs002 import (
    GroupStatus,
    Notice,
    StatusReportMessage,
    TransactionStatus,
)
from settlement_engine.messages.references import OriginalGroup, Reason
from settlement_engine.messages.statuses import (
    CancelVerdict,
    StatusVerdict,
    cancel_verdict_of,
    reasons_of,
    status_of,
    verdict_of,
)

HEADER = Notice(message_id="M1", created_at=datetime(2026, 11, 28, tzinfo=UTC))
SETTLED = {"ACSC", "ACCC"}


def test_of_all_known_codes_two_say_settled_one_rejected_and_one_cancelled():
    found = {code: verdict_of(code) for code in code_set("transaction_status").codes}
    assert {code for code, verdict in found.items() if verdict is StatusVerdict.SETTLED} == SETTLED
    assert [code for code, verdict in found.items() if verdict is StatusVerdict.REJECTED] == [
        "RJCT"
    ]
    assert [code for code, verdict in found.items() if verdict is StatusVerdict.CANCELLED] == [
        "CANC"
    ]
    assert StatusVerdict.UNKNOWN not in found.values()


@pytest.mark.parametrize("code", ["ZZZZ", "", None, "acsc", "ACSC ", "ACSX", "PART"])
def test_an_unknown_status_code_is_neither_success_nor_rejection(code):
    assert verdict_of(code) is StatusVerdict.UNKNOWN


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("CNCL", CancelVerdict.CANCELLED),
        ("ACCR", CancelVerdict.CANCELLED),
        ("RJCR", CancelVerdict.REFUSED),
        ("PDCR", CancelVerdict.PENDING),
        ("FTNA", CancelVerdict.PENDING),
        ("PACR", CancelVerdict.PENDING),
        ("CONF", CancelVerdict.UNKNOWN),
        ("ZZZZ", CancelVerdict.UNKNOWN),
        (None, CancelVerdict.UNKNOWN),
    ],
)
def test_what_an_answer_to_a_cancellation_is_evidence_of(code, verdict):
    assert cancel_verdict_of(code) is verdict


def group(message_id, status, *reasons):
    return GroupStatus(
        message_id=message_id, message_name="pacs.008.001.08", status=status, reasons=reasons
    )


def payment(message_id, status=None, *reasons):
    original = OriginalGroup(message_id=message_id, message_name="pacs.008.001.08")
    return TransactionStatus(group=original if message_id else None, status=status, reasons=reasons)


@pytest.mark.parametrize(
    ("groups", "of", "status"),
    [
        ([group("A", "RJCT")], payment("A", "ACSC"), "ACSC"),
        ([group("A", "RJCT")], payment("A"), "RJCT"),
        ([group("A", "RJCT")], payment(None), "RJCT"),
        ([group("A", "PART")], payment("A"), None),
        ([group("A", "PART")], payment("A", "RJCT"), "RJCT"),
        ([group("A", "RJCT"), group("B", "ACSC")], payment("B"), "ACSC"),
        ([group("A", "RJCT"), group("B", "ACSC")], payment(None), None),
        ([group("A", "RJCT")], payment("C"), None),
        ([], payment("A"), None),
    ],
)
def test_a_group_status_applies_to_payments_without_their_own_unless_part(groups, of, status):
    report = StatusReportMessage(header=HEADER, groups=tuple(groups), transactions=(of,))
    assert status_of(report, of) == status


def test_the_reasons_of_a_message_are_those_of_a_payment_without_its_own_status():
    closed, whole = Reason(code="AC04"), Reason(code="AM04")
    own, bare, settled = payment("A", "RJCT", closed), payment("A"), payment("A", "ACSC")
    report = StatusReportMessage(
        header=HEADER, groups=(group("A", "RJCT", whole),), transactions=(own, bare, settled)
    )
    found = [reasons_of(report, each) for each in report.transactions]
    assert found == [(closed,), (whole,), ()]


def test_one_report_is_about_payments_and_returns_with_several_statuses():
    text = """<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.002.001.10"><FIToFIPmtStsRpt>
    <GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-28T10:00:00Z</CreDtTm></GrpHdr>
    <OrgnlGrpInfAndSts><OrgnlMsgId>A</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId>
    <GrpSts>PART</GrpSts></OrgnlGrpInfAndSts>
    <OrgnlGrpInfAndSts><OrgnlMsgId>B</OrgnlMsgId><OrgnlMsgNmId>pacs.004.001.09</OrgnlMsgNmId>
    <GrpSts>ACSC</GrpSts></OrgnlGrpInfAndSts>
    <TxInfAndSts><OrgnlGrpInf><OrgnlMsgId>A</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId>
    </OrgnlGrpInf><OrgnlTxId>T1</OrgnlTxId><TxSts>RJCT</TxSts><StsRsnInf><Rsn><Cd>AC04</Cd></Rsn>
    </StsRsnInf></TxInfAndSts>
    <TxInfAndSts><OrgnlGrpInf><OrgnlMsgId>A</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId>
    </OrgnlGrpInf><OrgnlTxId>T2</OrgnlTxId><TxSts>ZZZZ</TxSts></TxInfAndSts>
    <TxInfAndSts><OrgnlGrpInf><OrgnlMsgId>B</OrgnlMsgId><OrgnlMsgNmId>pacs.004.001.09</OrgnlMsgNmId>
    </OrgnlGrpInf><OrgnlTxId>T3</OrgnlTxId></TxInfAndSts>
    </FIToFIPmtStsRpt></Document>"""
    report = opened(text.encode()).content
    statuses = [status_of(report, each) for each in report.transactions]
    assert statuses == ["RJCT", "ZZZZ", "ACSC"]
    verdicts = [StatusVerdict.REJECTED, StatusVerdict.UNKNOWN, StatusVerdict.SETTLED]
    assert [verdict_of(status) for status in statuses] == verdicts
    assert [each.group.message_name[:8] for each in report.transactions][2] == "pacs.004"


ISO_SETS = [name for name in CODE_SETS if not name.startswith("nacha_")]


@pytest.mark.parametrize("name", ISO_SETS)
def test_a_code_set_states_its_source_and_date(name):
    found = code_set(name)
    assert found.set
    assert re.fullmatch(r"20[0-9]{2}-[01][0-9](-[0-3][0-9])?", found.published)
    assert found.source
    assert all(1 <= len(code) <= 4 and text for code, text in found.codes.items())
    assert ("iso20022.org" in found.source) == found.set.startswith("External")


def test_the_code_sets_are_complete():
    sizes = {name: len(code_set(name).codes) for name in CODE_SETS}
    assert sizes["return_reason"] == 104
    assert sizes["status_reason"] == 301
    assert sizes["cancellation_reason"] == 33
    assert sizes["cancellation_rejection"] == 26
