"""Faults of a message are reported with their position, and each kind of envelope is accepted."""

from __future__ import annotations

import pytest

from settlement_engine.messages.envelope import opened
from settlement_engine.messages.errors import MessageError

SPACE = "urn:iso:std:iso:20022:tech:xsd:pacs.002.001.10"
HEAD_SPACE = "urn:iso:std:iso:20022:tech:xsd:head.001.001.02"
HEADER = "<GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-28T10:00:00Z</CreDtTm></GrpHdr>"
HEAD = f"""<AppHdr xmlns="{HEAD_SPACE}">
<Fr><FIId><FinInstnId><BICFI>DEUTDEFF</BICFI></FinInstnId></FIId></Fr>
<To><FIId><FinInstnId><BICFI>CHASUS33</BICFI></FinInstnId></FIId></To>
<BizMsgIdr>B1</BizMsgIdr><MsgDefIdr>pacs.002.001.10</MsgDefIdr><CreDt>2026-11-28T10:00:00Z</CreDt>
</AppHdr>"""
STATUS = "<TxInfAndSts><OrgnlEndToEndId>E1</OrgnlEndToEndId><TxSts>ACSC</TxSts></TxInfAndSts>"


def document(inner: str = HEADER + STATUS, space: str = SPACE) -> str:
    return f'<Document xmlns="{space}"><FIToFIPmtStsRpt>{inner}</FIToFIPmtStsRpt></Document>'


def fault(text: str) -> MessageError:
    with pytest.raises(MessageError) as caught:
        opened(text.encode())
    return caught.value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("<?xml version='1.0' encoding='UTF-8'?><!-- a comment --><?a hint?>\n", "\n<!-- end -->"),
        ("\ufeff", ""),
        (f"<Envelope>{HEAD}", "</Envelope>"),
        (f'<Envelope xmlns="urn:swift:xsd:envelope">{HEAD}', "</Envelope>"),
        (f"<Message>{HEAD}", "</Message>"),
        (f'<m:Message xmlns:m="urn:x">{HEAD}', "</m:Message>"),
        (f"<Request><Hint/>{HEAD}", "</Request>"),
        (f'<DataPDU xmlns="urn:swift:saa:xsd:saa.2.0"><Body>{HEAD}', "</Body></DataPDU>"),
    ],
)
def test_a_message_is_opened_from_every_envelope_in_use(before, after):
    message = opened((before + document() + after).encode())
    assert (message.kind, message.definition) == ("pacs.002", "pacs.002.001.10")
    assert message.content.transactions[0].status == "ACSC"
    assert (message.head is not None) == ("AppHdr" in before)


def test_a_prefix_or_another_order_of_white_space_changes_nothing():
    text = document().replace("<", "<p:").replace("<p:/", "</p:").replace("xmlns=", "xmlns:p=")
    assert opened(text.encode()) == opened(document().replace("><", ">\n  <").encode())


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("", "line", "is not XML"),
        ("<Document", "line", "is not XML"),
        ("<Other/>", "Other (line 1)", "neither a Document"),
        (f"<Envelope>{HEAD}</Envelope>", "message", "holds no Document"),
        (f"<Envelope>{document()}{document()}</Envelope>", "Envelope/Document[2]", "second"),
        (document(space="urn:other"), "Document (line 1)", "'urn:other' is none of ISO 20022"),
        (document(space=SPACE[:-2] + "11"), "Document (line 1)", "these are: 03, 10, 12"),
        (document(space=SPACE.replace("pacs", "pain")), "Document (line 1)", "are not read"),
        (f'<Document xmlns="{SPACE}"/>', "Document/FIToFIPmtStsRpt", "nothing beside"),
        (f'<Document xmlns="{SPACE}"><PmtRtr/></Document>', "Document/PmtRtr", "must be FIToFI"),
        (document(STATUS), "Document/FIToFIPmtStsRpt/GrpHdr", "is missing"),
        (document(STATUS + HEADER), "Document/FIToFIPmtStsRpt/GrpHdr", "is out of order"),
        (document(HEADER * 2), "Document/FIToFIPmtStsRpt/GrpHdr[2]", "too often"),
        (document(HEADER + "<Extra/>"), "Document/FIToFIPmtStsRpt/Extra", "is not expected"),
        (document(HEADER + "loose"), "Document/FIToFIPmtStsRpt/GrpHdr", "followed by"),
        (document("loose" + HEADER), "Document/FIToFIPmtStsRpt", "holds the text"),
        (
            document(HEADER + STATUS * 2 + STATUS.replace("ACSC", "ACSCX")),
            "Document/FIToFIPmtStsRpt/TxInfAndSts[3]/TxSts",
            "has 5 characters",
        ),
        (
            document(HEADER + STATUS.replace("<TxSts>", '<TxSts a="b">')),
            "Document/FIToFIPmtStsRpt/TxInfAndSts/TxSts",
            "has an attribute",
        ),
        (
            document(HEADER + STATUS.replace("ACSC", "<a/>")),
            "Document/FIToFIPmtStsRpt/TxInfAndSts/TxSts/a",
            "is not expected",
        ),
        (
            document(HEADER.replace("2026-11-28", "2026-02-30")),
            "Document/FIToFIPmtStsRpt/GrpHdr/CreDtTm",
            "no time of the calendar",
        ),
        (
            document().replace(f'xmlns="{SPACE}"><F', f'xmlns="{SPACE}">text<F'),
            "Document (line 1)",
            "holds text",
        ),
    ],
)
def test_a_fault_is_reported_with_its_position(text, place, reason):
    found = fault(text)
    assert found.place.startswith(place)
    assert reason in found.reason


def test_a_fault_names_its_line():
    assert fault("\n\n" + document(HEADER + "\n<Extra/>")).place.endswith("Extra (line 4)")


@pytest.mark.parametrize("encoding", ["UTF-8", "ISO-8859-1", "windows-1252"])
def test_text_is_read_in_every_supported_encoding(encoding):
    text = f"<?xml version='1.0' encoding='{encoding}'?>" + document().replace("E1", "Ä1")
    found = opened(text.encode(encoding)).content
    assert found.transactions[0].end_to_end_id == "Ä1"


def test_a_wrong_account_number_is_not_repeated():
    account = "<DbtrAcct><Id><IBAN>de893704</IBAN></Id></DbtrAcct>"
    inner = STATUS.replace("</TxInf", f"<OrgnlTxRef>{account}</OrgnlTxRef></TxInf")
    assert fault(document(HEADER + inner)).reason == "the text is not an IBAN"


def test_a_header_of_another_version_is_not_guessed_at():
    text = f"<Envelope>{HEAD}{document()}</Envelope>".replace("head.001.001.02", "head.001.001.09")
    assert "head.001.001.09" in fault(text).reason


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        ("1.001", "EUR", "has 3 decimals, but EUR has 2"),
        ("1.5", "JPY", "has 1 decimals, but JPY has 0"),
        ("1.000001", "CLF", "has 6 decimals"),
        ("-1", "EUR", "decimal number"),
        ("1e3", "EUR", "decimal number"),
        ("", "EUR", "decimal number"),
        (".", "EUR", "decimal number"),
        ("1", "QQQ", "is not an active currency"),
        ("1", "eur", "is not a currency code"),
        ("1" * 19, "JPY", "more than 18 digits"),
        ("1" * 17, "EUR", "more than 18 digits"),
    ],
)
def test_an_invalid_amount_text_is_refused(amount, currency, reason):
    charge = (
        f'<ChrgsInf><Amt Ccy="{currency}">{amount}</Amt>'
        "<Agt><FinInstnId><BICFI>DEUTDEFF</BICFI></FinInstnId></Agt></ChrgsInf>"
    )
    found = fault(document(HEADER + STATUS.replace("</TxInfAndSts>", charge + "</TxInfAndSts>")))
    assert found.place.startswith("Document/FIToFIPmtStsRpt/TxInfAndSts/ChrgsInf/Amt")
    assert reason in found.reason


def test_an_amount_without_a_currency_is_refused():
    charge = "<ChrgsInf><Amt>1</Amt></ChrgsInf>"
    found = fault(document(HEADER + STATUS.replace("</TxInfAndSts>", charge + "</TxInfAndSts>")))
    assert found.reason == "has no currency"


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("12.50", "EUR", 1250),
        ("12.50000", "EUR", 1250),
        ("+007", "JPY", 7),
        (".5", "EUR", 50),
        ("3.", "KWD", 3000),
        ("0", "EUR", 0),
        ("1.0001", "CLF", 10001),
        ("2.5", "HRK", 250),
    ],
)
def test_an_amount_is_read_exactly(amount, currency, minor):
    charge = (
        f'<ChrgsInf><Amt Ccy="{currency}">{amount}</Amt>'
        "<Agt><FinInstnId><BICFI>DEUTDEFF</BICFI></FinInstnId></Agt></ChrgsInf>"
    )
    text = document(HEADER + STATUS.replace("</TxInfAndSts>", charge + "</TxInfAndSts>"))
    read = opened(text.encode()).content.transactions[0].charges[0].amount
    assert (read.minor, read.currency) == (minor, currency)
