"""What answers mean, row by row of the decision table: only what proves something becomes an event."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.money import Money
from settlement_engine.domain.returns import StatedAmount
from settlement_engine.messages import camt029, pacs002, pacs004
from settlement_engine.messages.admi002 import MessageReject
from settlement_engine.messages.camt056 import Assignment
from settlement_engine.messages.codes import code_set
from settlement_engine.messages.envelope import built
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.parties import Agent
from settlement_engine.messages.references import (
    AgentCharge,
    OriginalGroup,
    OriginalTransaction,
    Reason,
    SettlementInformation,
)
from settlement_engine.ports import PaymentReferences
from settlement_engine.rails.classification import (
    SILENCE,
    Asked,
    Classified,
    Purpose,
    classify,
    unasked,
)
from settlement_engine.rails.reports import Alarm
from settlement_engine.rails.transport.results import NoResponse, NothingSent, Response

UETR = UUID("0123abcd-0123-4abc-8abc-0123456789ab")
OTHER_UETR = UUID("1123abcd-0123-4abc-8abc-0123456789ab")
OURS = PaymentReferences(uetr=UETR, end_to_end_id="E1", message_id="M1")
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
BANK = Agent(bic="DEUTDEFF")

SEND = Asked(purpose=Purpose.SEND, payment=OURS)
RESEND = Asked(purpose=Purpose.SEND, payment=OURS, is_possible_duplicate=True)
ENQUIRE = Asked(purpose=Purpose.ENQUIRE, payment=OURS, question_id="Q1")
RECALL = Asked(purpose=Purpose.RECALL, payment=OURS, question_id="R1")
PURPOSES = [SEND, RESEND, ENQUIRE, RECALL]


def response(status: int, body: bytes = b"") -> Response:
    return Response(status=status, body=body)


def group(status: str | None = None, name: str = "pacs.009.001.08", message: str = "M1"):
    return pacs002.GroupStatus(message_id=message, message_name=name, status=status)


def payment(
    status: str | None, *codes: str, uetr: UUID = UETR, e2e: str = "E1", **more
) -> pacs002.TransactionStatus:
    reasons = tuple(Reason(code=code, texts=("because",)) for code in codes)
    return pacs002.TransactionStatus(
        uetr=str(uetr), end_to_end_id=e2e, status=status, reasons=reasons, **more
    )


def statuses(*payments, groups=()) -> bytes:
    header = pacs002.Notice(message_id="S1", created_at=NOW)
    content = pacs002.StatusReportMessage(
        header=header, groups=tuple(groups), transactions=payments
    )
    return built("pacs.002.001.10", content)


def reject(reference: str) -> bytes:
    content = MessageReject(related_reference=reference, reason="XSD1", description="no such field")
    return built("admi.002.001.01", content)


def resolution(status: str | None, *codes: str, confirmation: str = "CNCL", uetr=UETR) -> bytes:
    answer = camt029.CancellationAnswer(
        uetr=str(uetr), status=status, reasons=tuple(Reason(code=code) for code in codes)
    )
    content = camt029.Resolution(
        assignment=Assignment(
            id="A1", assigner_institution=BANK, assignee_institution=BANK, created_at=NOW
        ),
        confirmation=confirmation,
        details=(camt029.Answers(answers=(answer,)),),
    )
    return built("camt.029.001.09", content)


def returned(*returns: pacs004.ReturnedTransaction, group_returned=None, total=None) -> bytes:
    header = pacs004.ReturnHeader(
        message_id="T1",
        created_at=NOW,
        transactions=max(len(returns), 1),
        total_amount=total,
        settlement_date=date(2026, 11, 30),
        settlement=SettlementInformation(method="INDA"),
    )
    content = pacs004.PaymentReturn(header=header, group=group_returned, returns=returns)
    return built("pacs.004.001.09", content)


def events(classified) -> list[tuple[str, str]]:
    return [(report.event.name, report.code) for report in classified.reports]


# --- the transport ------------------------------------------------------------------------------------


def test_row_5_zero_bytes_are_undelivered_for_the_payment_and_nothing_for_a_question() -> None:
    for asked in (SEND, RESEND):
        assert events(classify(asked, NothingSent("refused"))) == [("UNDELIVERED", "")]
    for asked in (ENQUIRE, RECALL):
        assert classify(asked, NothingSent("refused")) == SILENCE


@pytest.mark.parametrize("asked", PURPOSES)
def test_row_7_whatever_happens_after_the_first_byte_is_silence(asked) -> None:
    assert classify(asked, NoResponse("reset")) == SILENCE


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("asked", PURPOSES)
@pytest.mark.parametrize("body", [b"", b"<html>", statuses(payment("RJCT", "AC04"))])
def test_row_8_a_server_error_is_silence_whatever_it_says(asked, status, body) -> None:
    assert classify(asked, response(status, body)) == SILENCE


@pytest.mark.parametrize(
    "status", [100, 201, 204, 301, 307, 401, 403, 404, 405, 408, 421, 425, 429, 451]
)
def test_a_status_that_judges_no_message_is_silence_and_an_alarm(status) -> None:
    alarmed = Classified(alarms=(Alarm.UNEXPECTED_RESPONSE,))
    for asked in PURPOSES:
        for body in (b"", statuses(payment("RJCT", "AC04"))):
            assert classify(asked, response(status, body)) == alarmed


# --- row 9: duplicates --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 409])
@pytest.mark.parametrize(("code", "event"), [("ACSC", "SETTLED"), ("ACSP", "ACKNOWLEDGED")])
def test_row_9_a_duplicate_takes_the_first_result(status, code, event) -> None:
    found = classify(RESEND, response(status, statuses(payment(code))))
    assert [report.event.name for report in found.reports] == [event]
    assert not found.alarms


@pytest.mark.parametrize("body", [b"", b"duplicate", reject("M1")])
def test_row_9_without_a_result_a_duplicate_is_silence(body) -> None:
    for asked in (SEND, RESEND):
        assert classify(asked, response(409, body)) == Classified(alarms=(Alarm.DUPLICATE,))


@pytest.mark.parametrize("code", ["DUPL", "AM05"])
@pytest.mark.parametrize("status", [200, 409, 422])
def test_row_9_rejected_as_a_duplicate_is_no_no(code, status) -> None:
    body = statuses(payment("RJCT", code))
    for asked in (SEND, RESEND):
        assert classify(asked, response(status, body)) == Classified(alarms=(Alarm.DUPLICATE,))
    pushed = unasked(body)
    assert (pushed.reports, pushed.alarms) == ((), (Alarm.DUPLICATE,))
    # Asked for the state of the payment itself, the bank says that it was not carried out.
    assert events(classify(ENQUIRE, response(200, body))) == [("REJECTED", code)]


# --- row 10: refused as a message ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 413, 415, 422])
@pytest.mark.parametrize("body", [b"", b"{}", b"<html>"])
def test_row_10_a_4xx_for_this_message_is_a_no(status, body) -> None:
    assert events(classify(SEND, response(status, body))) == [("REJECTED", f"HTTP{status}")]


@pytest.mark.parametrize("status", [200, 400, 422])
def test_row_10_a_reject_of_this_message_is_a_no(status) -> None:
    assert events(classify(SEND, response(status, reject("M1")))) == [("REJECTED", "XSD1")]


@pytest.mark.parametrize("status", [200, 400, 422])
def test_a_reject_of_another_message_is_silence(status) -> None:
    found = classify(SEND, response(status, reject("M2")))
    assert found == Classified(alarms=(Alarm.OTHER_PAYMENT,))


@pytest.mark.parametrize("body", [b"", b"{}", reject("M1")])
def test_that_a_resend_is_refused_says_nothing_of_the_first_sending(body) -> None:
    found = classify(RESEND, response(400, body))
    assert found == Classified(alarms=(Alarm.RESEND_REFUSED,))


@pytest.mark.parametrize("asked", [ENQUIRE, RECALL])
def test_that_a_question_is_refused_says_nothing_of_the_payment(asked) -> None:
    refused = classify(asked, response(200, reject(asked.question_id)))
    assert refused == Classified(alarms=(Alarm.QUESTION_REFUSED,))
    assert classify(asked, response(400)) == Classified(alarms=(Alarm.UNEXPECTED_RESPONSE,))


# --- statuses -----------------------------------------------------------------------------------------

SETTLED = {"ACSC", "ACCC"}
NO = {"RJCT": "AC04", "CANC": "CANC"}


@pytest.mark.parametrize("code", [*code_set("transaction_status").codes, "XYZ9"])
@pytest.mark.parametrize("asked", [SEND, RESEND, ENQUIRE])
def test_every_status_of_the_code_set_and_an_invented_one(asked, code) -> None:
    reasons = ("AC04",) if code == "RJCT" else ()
    found = classify(asked, response(200, statuses(payment(code, *reasons))))
    if code == "XYZ9":
        assert found == Classified(alarms=(Alarm.UNKNOWN_STATUS,))
        return
    expected = "SETTLED" if code in SETTLED else "REJECTED" if code in NO else "ACKNOWLEDGED"
    assert [report.event.name for report in found.reports] == [expected]
    assert found.reports[0].code == ("AC04" if code == "RJCT" else code)
    assert not found.alarms


def test_row_11_an_accepted_message_is_acknowledged_and_an_empty_200_is_nothing() -> None:
    assert events(classify(SEND, response(202))) == [("ACKNOWLEDGED", "")]
    assert classify(ENQUIRE, response(202)) == SILENCE
    assert classify(RECALL, response(202)) == SILENCE
    for asked in PURPOSES:
        assert classify(asked, response(200)).alarms == (Alarm.UNEXPECTED_RESPONSE,)


def test_row_12_a_no_keeps_its_reason_and_its_words() -> None:
    (report,) = classify(SEND, response(200, statuses(payment("RJCT", "AC04")))).reports
    assert (report.event, report.code, report.text) == (Event.REJECTED, "AC04", "because")
    assert report.references.uetr == UETR


def test_row_18_another_amount_is_stated() -> None:
    original = OriginalTransaction(settlement_amount=Money(999, "EUR"))
    body = statuses(payment("ACSC", original=original, account_servicer_reference="B1"))
    (report,) = classify(ENQUIRE, response(200, body)).reports
    assert report.stated == StatedAmount(minor=999, currency="EUR")
    assert report.references.rail_reference == "B1"


@pytest.mark.parametrize(
    "body",
    [
        statuses(payment("RJCT", "AC04", uetr=OTHER_UETR)),
        statuses(payment("RJCT", "AC04", e2e="E2")),
        statuses(payment("RJCT", "AC04", uetr=OTHER_UETR, e2e="E1")),
    ],
)
def test_what_is_said_of_another_payment_is_not_believed(body) -> None:
    for asked in PURPOSES:
        assert classify(asked, response(200, body)) == Classified(alarms=(Alarm.OTHER_PAYMENT,))


@pytest.mark.parametrize("body", [b"<", b"{}", b"<!DOCTYPE a><a/>", b"\x00" * 10])
def test_what_nobody_can_read_is_silence_and_an_alarm(body) -> None:
    for asked in PURPOSES:
        found = classify(asked, response(200, body))
        assert found == Classified(alarms=(Alarm.UNREADABLE_RESPONSE,))
    with pytest.raises(MessageError):
        unasked(body)


# --- message and payment ------------------------------------------------------------------------------


def test_the_status_of_a_message_in_parts_is_not_that_of_its_payments() -> None:
    body = statuses(payment(None), groups=[group("PART")])
    assert classify(SEND, response(200, body)) == SILENCE
    body = statuses(payment("ACSC"), groups=[group("PART")])
    assert events(classify(SEND, response(200, body))) == [("SETTLED", "ACSC")]


def test_a_payments_own_status_comes_before_that_of_its_message() -> None:
    body = statuses(payment("ACSP"), groups=[group("RJCT")])
    assert events(classify(SEND, response(200, body))) == [("ACKNOWLEDGED", "ACSP")]


def test_the_status_of_a_message_counts_for_payments_without_one() -> None:
    body = statuses(payment(None), groups=[group("RJCT")])
    assert events(classify(SEND, response(200, body))) == [("REJECTED", "")]


@pytest.mark.parametrize(("status", "event"), [("RJCT", "REJECTED"), ("ACSC", "SETTLED")])
def test_a_message_without_payments_speaks_for_the_one_that_it_held(status, event) -> None:
    (report,) = classify(SEND, response(200, statuses(groups=[group(status)]))).reports
    assert (report.event.name, report.references) == (event, PaymentReferences(message_id="M1"))
    assert classify(SEND, response(200, statuses(groups=[group("PART")]))) == SILENCE


def test_several_payments_and_kinds_in_one_report() -> None:
    """The status of a return of ours (of a pacs.004) is not that of the payment that it returns."""
    ours = OriginalGroup(message_id="M1", message_name="pacs.008.001.08")
    second = OriginalGroup(message_id="M2", message_name="pacs.009.001.08")
    ret = OriginalGroup(message_id="M3", message_name="pacs.004.001.09")
    body = statuses(
        payment("ACSP", group=ours),
        payment("RJCT", "AC04", uetr=OTHER_UETR, e2e="E2", group=second),
        payment("RJCT", "AC01", group=ret),
    )
    found = unasked(body)
    said = [
        (r.event.name, r.references.end_to_end_id, r.references.message_id) for r in found.reports
    ]
    assert said == [("ACKNOWLEDGED", "E1", "M1"), ("REJECTED", "E2", "M2")]
    assert events(classify(SEND, response(200, body))) == [("ACKNOWLEDGED", "ACSP")]


# --- not found ----------------------------------------------------------------------------------------


def test_not_found_is_an_answer_only_where_the_bank_names_our_question() -> None:
    assert events(classify(ENQUIRE, response(404, reject("Q1")))) == [("NOT_FOUND", "")]
    assert classify(ENQUIRE, response(404, reject("Q2"))).alarms == (Alarm.OTHER_PAYMENT,)
    for asked, body in ((ENQUIRE, b""), (ENQUIRE, b"<html>"), (SEND, reject("M1"))):
        assert classify(asked, response(404, body)) == Classified(
            alarms=(Alarm.UNEXPECTED_RESPONSE,)
        )


# --- rows 15 to 17: recalls ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "confirmation", "event"),
    [
        (None, "CNCL", "RECALLED"),
        ("ACCR", "CNCL", "RECALLED"),
        ("RJCR", "CNCL", "RECALL_REFUSED"),
        (None, "RJCR", "RECALL_REFUSED"),
        (None, "PDCR", "ACKNOWLEDGED"),
        ("PDCR", "RJCR", "ACKNOWLEDGED"),
    ],
)
def test_rows_15_and_16_what_is_said_to_a_recall(status, confirmation, event) -> None:
    body = resolution(status, "LEGL", confirmation=confirmation)
    assert events(classify(RECALL, response(200, body))) == [(event, "LEGL")]


def test_row_16_that_a_recall_is_being_worked_on_is_news_only_to_whoever_asks() -> None:
    pending = resolution(None, confirmation="PDCR")
    assert unasked(pending).reports == ()
    assert [r.event.name for r in unasked(resolution(None)).reports] == ["RECALLED"]
    assert classify(RECALL, response(200, resolution(None, confirmation="XYZ9"))).alarms == (
        Alarm.UNKNOWN_STATUS,
    )


def test_an_accepted_recall_that_names_a_return_says_that_the_money_moved() -> None:
    """It is a promise; the money itself comes by a pacs.004."""
    answer = camt029.CancellationAnswer(
        uetr=str(UETR), settled=camt029.Settled(amount=Money(5, "EUR"))
    )
    content = camt029.Resolution(
        assignment=Assignment(
            id="A1", assigner_institution=BANK, assignee_institution=BANK, created_at=NOW
        ),
        confirmation="CNCL",
        details=(camt029.Answers(answers=(answer,)),),
    )
    body = built("camt.029.001.09", content)
    assert events(classify(RECALL, response(200, body))) == [("SETTLED", "CNCL")]


def test_row_17_a_status_may_answer_a_recall() -> None:
    assert events(classify(RECALL, response(200, statuses(payment("ACSC"))))) == [
        ("SETTLED", "ACSC")
    ]
    assert events(classify(RECALL, response(200, statuses(payment("CANC"))))) == [
        ("RECALLED", "CANC")
    ]


# --- row 23: returns ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["AC04", "CUST", "ZZ99"])
def test_row_23_a_return_is_a_return_under_any_code(code) -> None:
    each = pacs004.ReturnedTransaction(
        return_id="RT1",
        uetr=str(UETR),
        end_to_end_id="E1",
        amount=Money(900, "EUR"),
        charges=(AgentCharge(amount=Money(100, "EUR"), agent=BANK),),
        reasons=(Reason(code=code),),
    )
    (report,) = unasked(returned(each)).reports
    assert (report.event, report.code) == (Event.RETURNED, code)
    assert report.references == PaymentReferences(uetr=UETR, end_to_end_id="E1")
    assert report.stated == StatedAmount(
        minor=900,
        currency="EUR",
        charges_minor=100,
        value_date=date(2026, 11, 30),
        reference="RT1",
        charged_by=((str(BANK.bic), 100),),
    )


def test_row_23_a_message_that_comes_back_whole_names_itself() -> None:
    whole = pacs004.ReturnedGroup(message_id="M1", message_name="pacs.008.001.08")
    (report,) = unasked(returned(group_returned=whole, total=Money(1_000, "EUR"))).reports
    assert report.references == PaymentReferences(message_id="M1")
    assert (report.stated.minor, report.stated.reference) == (1_000, "T1")


def test_a_message_that_is_no_answer_is_an_alarm() -> None:
    body = reject("M1")
    assert unasked(body).alarms == (Alarm.UNEXPECTED_MESSAGE,)
