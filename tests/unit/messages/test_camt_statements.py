from __future__ import annotations

from datetime import UTC, date, datetime

import msgspec
import pytest

from settlement_engine.domain.balance_comparison import StatedBalance, booked_balance
from settlement_engine.domain.statements import (
    BalanceType,
    EntryStatus,
    FaultKind,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
)
from settlement_engine.messages.camt052_building import CAMT052, build_camt052
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.statements import read_statements

ACCOUNT = (
    "<Acct><Id><IBAN>DE89370400440532013000</IBAN></Id><Ccy>EUR</Ccy>"
    "<Svcr><FinInstnId><BICFI>DEUTDEFF</BICFI></FinInstnId></Svcr></Acct>"
)


def balance(code, amount, day="2026-11-25", indicator="CRDT", currency="EUR"):
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy='{currency}'>{amount}</Amt>"
        f"<CdtDbtInd>{indicator}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
    )


def entry(amount="10.00", indicator="CRDT", status="<Sts><Cd>BOOK</Cd></Sts>", more="", early=""):
    return (
        f"<Ntry><Amt Ccy='EUR'>{amount}</Amt><CdtDbtInd>{indicator}</CdtDbtInd>{early}{status}"
        f"<BookgDt><Dt>2026-11-25</Dt></BookgDt><ValDt><DtTm>2026-11-26T10:00:00Z</DtTm></ValDt>"
        f"<AcctSvcrRef>THEIR-1</AcctSvcrRef>{more}</Ntry>"
    )


def statement(*parts, identifier="S1", account=ACCOUNT):
    return (
        f"<Stmt><Id>{identifier}</Id><ElctrncSeqNb>7</ElctrncSeqNb>"
        f"<CreDtTm>2026-11-25T22:00:00Z</CreDtTm>{account}{''.join(parts)}</Stmt>"
    )


def document(*statements, version="053.001.08", container="BkToCstmrStmt"):
    return (
        f"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.{version}'><{container}>"
        "<GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-25T22:00:00Z</CreDtTm></GrpHdr>"
        f"{''.join(statements)}</{container}></Document>"
    )


def one(*parts):
    file = read_statements(document(statement(*parts)).encode())
    assert file.faults == ()
    return file.statements[0]


def fault(text):
    file = read_statements(text.encode())
    assert file.statements == ()
    return file.faults[0]


BOTH = (balance("OPBD", "1.00"), balance("CLBD", "11.00"))


def test_a_statement_has_the_expected_values():
    found = one(*BOTH, entry())
    assert found.source is Source.CAMT053
    assert (found.id, found.sequence, found.message_id) == ("S1", 7, "M1")
    assert found.account.servicer == "DEUTDEFF"
    assert found.created == "2026-11-25T22:00:00Z"
    assert [(each.type, each.minor) for each in found.balances] == [
        (BalanceType.OPENING, 100),
        (BalanceType.CLOSING, 1100),
    ]
    (booked,) = found.entries
    assert (booked.minor, booked.status) == (1000, EntryStatus.BOOKED)
    assert (booked.booking_date, booked.value_date) == (date(2026, 11, 25), date(2026, 11, 26))
    assert booked.references.servicer == "THEIR-1"


@pytest.mark.parametrize(("indicator", "minor"), [("CRDT", 1000), ("DBIT", -1000)])
@pytest.mark.parametrize("reversal", ["true", "false", ""])
def test_the_sign_is_the_indicator_whatever_is_reversed(indicator, minor, reversal):
    early = f"<RvslInd>{reversal}</RvslInd>" if reversal else ""
    (found,) = one(*BOTH, entry(indicator=indicator, early=early)).entries
    assert (found.minor, found.is_reversal) == (minor, reversal == "true")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("BOOK", EntryStatus.BOOKED),
        ("PDNG", EntryStatus.PENDING),
        ("FUTR", EntryStatus.FUTURE),
        ("INFO", EntryStatus.INFORMATION),
    ],
)
def test_only_what_is_booked_moves_the_balance(code, status):
    for written in (f"<Sts>{code}</Sts>", f"<Sts><Cd>{code}</Cd></Sts>"):
        found = one(*BOTH, entry(status=written))
        assert found.entries[0].status is status
        assert found.booked_minor() == (1000 if code == "BOOK" else 0)


def detail(amount, reference, currency="EUR", more=""):
    return (
        f"<TxDtls><Refs><EndToEndId>{reference}</EndToEndId></Refs>"
        f"<Amt Ccy='{currency}'>{amount}</Amt>{more}</TxDtls>"
    )


@pytest.mark.parametrize(
    ("details", "differ"),
    [
        ((detail("4.00", "A"), detail("6.00", "B")), False),
        ((detail("4.00", "A"), detail("6.01", "B")), True),
        ((detail("4.00", "A"), detail("6.00", "B", currency="USD")), True),
        (("<Btch><NbOfTxs>3</NbOfTxs></Btch>", detail("4.00", "A"), detail("6.00", "B")), True),
        (("<Btch><NbOfTxs>3</NbOfTxs><TtlAmt Ccy='EUR'>9.99</TtlAmt></Btch>",), True),
        (("<Btch><NbOfTxs>3</NbOfTxs><TtlAmt Ccy='EUR'>10.00</TtlAmt></Btch>",), False),
        ((), False),
    ],
)
def test_details_add_up_or_differ_and_the_amount_is_the_entrys(details, differ):
    (found,) = one(*BOTH, entry(more=f"<NtryDtls>{''.join(details)}</NtryDtls>")).entries
    assert (found.minor, found.details_differ) == (1000, differ)


def test_an_entry_of_one_payment_has_its_references():
    more = detail("10.00", "E2E-1", more="<RmtInf><Ustrd>Invoice 4711</Ustrd></RmtInf>")
    (found,) = one(*BOTH, entry(more=f"<NtryDtls>{more}</NtryDtls>")).entries
    assert found.references.end_to_end == "E2E-1"
    assert found.text == "Invoice 4711"


def test_a_faulty_statement_does_not_affect_the_others():
    good, bad = statement(*BOTH), statement(*BOTH, entry(status="<Sts>MAYB</Sts>"))
    file = read_statements(document(good, bad, good).encode())
    assert len(file.statements) == 2
    (found,) = file.faults
    assert "Stmt[2]" in found.place
    assert "Ntry/Sts" in found.place
    assert "no status of an entry" in found.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (document(statement(*BOTH, entry(amount="1.005"))), "decimals"),
        (document(statement(*BOTH, entry(amount="-1.00"))), "must be a decimal number"),
        (document(statement(*BOTH, entry(indicator="CREDIT"))), "neither CRDT nor DBIT"),
        (document(statement(*BOTH, entry(early="<CdtDbtInd>DBIT</CdtDbtInd>"))), "more than once"),
        (document(statement(balance("OPBD", "1.00", day="2026-02-30"))), "is no date"),
        (document(statement()), "a statement has balances"),
        (document(), "there is no statement"),
        (document(statement(*BOTH, entry().replace("Ntry>", "Ntrz>"))), "is not expected here"),
        (document(statement(*BOTH), version="053.001.99"), "is not read"),
        (document(statement(*BOTH, account="<Acct><Id/></Acct>")), "has no identifier"),
        (document(statement(*BOTH))[:-40], "is not XML"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>" + document(statement(*BOTH)), "document type is refused"),
    ],
)
def test_an_unreadable_file_has_a_reason(text, reason):
    found = fault(text)
    assert found.kind is FaultKind.UNREADABLE
    assert reason in found.reason
    assert found.place


@pytest.mark.parametrize(
    "text",
    [
        document(statement(*BOTH), container="BkToCstmrAcctRpt"),
        document(statement(*BOTH), version="052.001.08"),
        document(version="056.001.08", container="FIToFIPmtCxlReq"),
        "<html/>",
    ],
)
def test_another_kind_of_message_is_a_fault_not_an_empty_result(text):
    assert fault(text).kind is FaultKind.WRONG_CONTAINER


@pytest.mark.parametrize(
    ("codes", "opening", "closing"),
    [
        (("OPBD", "ITBD"), BalanceType.OPENING, BalanceType.CLOSING_INTERMEDIATE),
        (("ITBD", "ITBD"), BalanceType.OPENING_INTERMEDIATE, BalanceType.CLOSING_INTERMEDIATE),
        (("ITBD", "CLBD"), BalanceType.OPENING_INTERMEDIATE, BalanceType.CLOSING),
        (("PRCD", "CLBD"), BalanceType.OPENING, BalanceType.CLOSING),
    ],
)
def test_pages_begin_and_end_with_intermediate_balances(codes, opening, closing):
    found = one(*(balance(code, f"{at}.00") for at, code in enumerate(codes)))
    first, last = found.opening(), found.closing()
    assert first is not None
    assert last is not None
    assert (first.type, first.minor) == (opening, 0)
    assert (last.type, last.minor) == (closing, 100)


def test_an_account_without_a_currency_has_that_of_its_amounts():
    account = ACCOUNT.replace("<Ccy>EUR</Ccy>", "")
    file = read_statements(document(statement(*BOTH, account=account)).encode())
    assert file.statements[0].account.currency == "EUR"
    mixed = statement(balance("OPBD", "1"), balance("CLBD", "1", currency="USD"), account=account)
    assert "nothing else says it" in fault(document(mixed)).reason


def test_the_content_of_a_statement_is_the_same_in_another_file():
    alone = read_statements(document(statement(*BOTH)).encode()).statements[0]
    second = read_statements(document(statement(), statement(*BOTH)).encode()).statements[0]
    assert alone.place != second.place
    assert alone.content_hash() == second.content_hash()


def test_a_report_of_a_balance_reads_back_as_it_was_written():
    report = Statement(
        source=Source.CAMT052,
        account=StatementAccount("NOSTRO-1", "OTHER", "EUR", "DEUTDEFF"),
        id="BAL1",
        entries=(),
        balances=(StatementBalance(BalanceType.INTERMEDIATE, -4_275, "EUR", date(2026, 11, 25)),),
        created="2026-11-25T22:00:00+00:00",
        version=CAMT052,
        message_id="M1",
    )
    [read] = read_statements(build_camt052(report)).statements
    assert read == msgspec.structs.replace(report, place=read.place, balances=read.balances)
    found = booked_balance(read, "camt.052")
    assert found == StatedBalance(-4_275, datetime(2026, 11, 25, 22, tzinfo=UTC), "camt.052")
    undated = msgspec.structs.replace(read, created="2026-11-25T22:00:00")
    assert booked_balance(undated, "camt.052") is None
    foreign = msgspec.structs.replace(read.account, currency="USD")
    assert booked_balance(msgspec.structs.replace(read, account=foreign), "camt.052") is None
    [available] = read_statements(
        document(
            statement(balance("CLAV", "5.00")).replace("Stmt>", "Rpt>"),
            version="052.001.08",
            container="BkToCstmrAcctRpt",
        ).encode()
    ).statements
    assert booked_balance(available, "camt.052") is None
    with_entries = msgspec.structs.replace(report, entries=("any",))
    with pytest.raises(MessageError):
        build_camt052(with_entries)
