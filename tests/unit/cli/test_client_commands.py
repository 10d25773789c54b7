"""The commands that talk to a running engine, against one that only pretends."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from google.rpc import code_pb2, error_details_pb2

from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as wire
from tests.unit.cli.fake_engine import ID, FakeEngine, history, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.cli.conftest import Run


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    fake = FakeEngine()
    with serving(fake) as address:
        monkeypatch.setenv("SETTLEMENT_ADDRESS", address)
        yield fake


# --- show, tail -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [ID, "OB-7"])
def test_show_tells_the_life_as_a_path_through_the_page(
    command: Run, engine: FakeEngine, name: str
) -> None:
    said = command("show", name)
    assert said.code == ExitCode.OK
    lines = [line for line in said.out.splitlines() if "──" in line]
    assert len(lines) == 4
    assert "VALIDATING ── CLEARED" in lines[1]
    assert "→ LOCKED ✓ validation_complete ✓ funds_locked" in lines[1]
    assert "+0.250 s" in lines[1]
    assert "✓ settlement_finalized" in lines[3]


@pytest.mark.parametrize(
    ("finality", "word"),
    [(wire.FINALITY_SENT, "sent"), (wire.FINALITY_RECONCILED, "reconciled")],
)
def test_show_and_list_say_how_final_it_is(
    command: Run, engine: FakeEngine, finality: wire.Finality.ValueType, word: str
) -> None:
    engine.settlements[0].finality = finality
    assert f"finality    {word}" in command("show", ID).out
    assert word in command("list").out


def test_show_says_what_comes_next(command: Run, engine: FakeEngine) -> None:
    engine.settlements[0].next_action = "ENQUIRE"
    assert "next: ENQUIRE" in command("show", ID).out


def test_show_names_no_past_time_for_what_comes_next(command: Run, engine: FakeEngine) -> None:
    [found] = engine.settlements
    found.next_action = "it is sent to the rail"
    assert "next: it is sent to the rail\n" in command("show", ID).out
    found.next_action_at.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    assert "sent to the rail, no later than " in command("show", ID).out
    found.next_action_at.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
    assert "sent to the rail, due since " in command("show", ID).out


def test_show_of_an_unknown_settlement_fails(command: Run, engine: FakeEngine) -> None:
    said = command("show", "0199c2d4-0000-7c1a-9d51-1f2a33445566")
    assert said.code == ExitCode.FAILED
    assert "no such settlement" in said.err


def test_show_prints_json(command: Run, engine: FakeEngine) -> None:
    assert len(json.loads(command("show", ID, "--json").out)["moves"]) == 4


def test_show_links_a_compensation_and_what_it_compensates(
    command: Run, engine: FakeEngine
) -> None:
    compensated_id = "0199c2d4-0000-7c1a-9d51-1f2a33445566"
    [found] = engine.settlements
    found.compensates = compensated_id
    found.compensations.add(
        settlement_id="0199c2d4-1111-7c1a-9d51-1f2a33445566",
        status=wire.COMPLETED,
        state="COMPLETED",
        amount="40.00",
        returned="5.00",
    )
    said = command("show", ID).out
    assert f"compensates {compensated_id}" in said
    assert "40.00 EUR, 5.00 came back, COMPLETED, settlement 0199c2d4-1111" in said
    told = json.loads(command("show", ID, "--json").out)
    assert told["compensates"] == compensated_id
    assert [each["amount"] for each in told["compensations"]] == ["40.00"]


def message(direction: str, text: str, **fields: object) -> wire.SettlementMessage:
    made = wire.SettlementMessage(direction=direction, text=text, bytes=len(text), sha256="ab" * 32)
    made.MergeFrom(wire.SettlementMessage(**fields))  # type: ignore[arg-type]
    return made


def test_show_prints_every_message_whole(command: Run, engine: FakeEngine) -> None:
    references = wire.MessageReferences(message_id="M1")
    engine.messages = [
        message("OUT", "<a>\n\u202e</a>", type="pacs.009.001.08", references=references),
        message("IN", "no", response_status=400),
    ]
    said = command("show", ID, "--messages")
    assert said.code == ExitCode.OK
    assert "→ pacs.009.001.08  M1" in said.out
    assert "      <a>\n      \\u202e</a>" in said.out
    assert "← no message of a known type, HTTP 400" in said.out
    assert said.out.count(f"SHA-256 {'ab' * 32}") == 2
    assert [asked.page_token for asked in engine.asked[1:]] == ["", "1"]
    told = json.loads(command("show", ID, "--messages", "--json").out)
    assert [each["direction"] for each in told["messages"]] == ["OUT", "IN"]
    assert told["hasMoreMessages"] is False


def test_show_reads_no_messages_unless_it_is_asked(command: Run, engine: FakeEngine) -> None:
    engine.messages = [message("OUT", "<a/>")]
    assert "SHA-256" not in command("show", ID).out
    assert "messages" not in json.loads(command("show", ID, "--json").out)
    engine.messages = []
    assert "no messages" in command("show", ID, "--messages").out


# --- list, cancel ---------------------------------------------------------------------------------


def test_list_reads_as_many_pages_as_it_needs(command: Run, engine: FakeEngine) -> None:
    engine.settlements = [history() for _ in range(5)]
    said = command("list", "--limit", "4", "--status", "completed", "--bank", "DEUTDEFF", "--json")
    assert len(json.loads(said.out)["settlements"]) == 4
    assert [asked.page_size for asked in engine.asked] == [4, 2]
    assert list(engine.asked[0].statuses) == [wire.COMPLETED]


def test_list_asks_for_compensations(command: Run, engine: FakeEngine) -> None:
    assert command("list", "--compensates", "OB-7").code == ExitCode.OK
    assert engine.asked[-1].compensates == ID
    command("list", "--compensations")
    assert (engine.asked[-1].only_compensations, engine.asked[-1].only_compensated) == (True, False)
    command("list", "--compensated")
    assert (engine.asked[-1].only_compensations, engine.asked[-1].only_compensated) == (False, True)
    for other in ("--compensations", "--compensated"):
        assert command("list", "--stuck", other).code == ExitCode.USAGE


def test_list_prints_a_table(command: Run, engine: FakeEngine) -> None:
    said = command("list")
    assert "OBLIGATION" in said.out
    assert "OB-7" in said.out
    engine.settlements = []
    assert "nothing found" in command("list").out


def test_list_says_how_much_of_all_it_shows(command: Run, engine: FakeEngine) -> None:
    engine.settlements = [history() for _ in range(5)]
    assert "4 of 5" in command("list", "--limit", "4").out.splitlines()
    assert json.loads(command("list", "--limit", "4", "--json").out)["total"] == 5
    engine.total = 10_001
    assert "4 of more than 10,000" in command("list", "--limit", "4").out.splitlines()
    assert [asked.with_total for asked in engine.asked[:2]] == [True, False]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-31T09:30:00+00:00", 1_769_851_800),
        ("2026-01-31T09:30:00Z", 1_769_851_800),
        ("2026-01-31T10:30+01:00", 1_769_851_800),
    ],
)
def test_list_takes_times(command: Run, engine: FakeEngine, text: str, seconds: int) -> None:
    command("list", "--since", text, "--until", text)
    assert (engine.asked[0].since, engine.asked[0].until) == (seconds, seconds)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("3d", 259_200)]
)
def test_list_takes_how_long_ago(command: Run, engine: FakeEngine, text: str, seconds: int) -> None:
    before = int(time.time())
    command("list", "--since", text)
    assert before <= engine.asked[0].since + seconds <= time.time()


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "-5", "1969-01-01", "99999-01-01"])
def test_what_is_no_time_is_wrong_usage(command: Run, engine: FakeEngine, text: str) -> None:
    assert command("list", "--since", text).code == ExitCode.USAGE


def test_a_day_is_the_day_of_this_machine(command: Run, engine: FakeEngine) -> None:
    command("list", "--since", "2026-01-31")
    assert engine.asked[0].since == int(datetime(2026, 1, 31).astimezone().timestamp())


def test_cancel_says_what_became_of_the_request(command: Run, engine: FakeEngine) -> None:
    said = command("cancel", ID)
    assert said.code == ExitCode.OPEN
    assert "RECALLING" in said.out
    assert engine.asked[1].settlement_id == ID
    assert json.loads(command("cancel", ID, "--json").out)["status"] == "RECALLING"


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (wire.RECALL_STATE_REQUESTED, ExitCode.OPEN),
        (wire.RECALL_STATE_PROMISED, ExitCode.OPEN),
        (wire.RECALL_STATE_REFUSED, ExitCode.FAILED),
        (wire.RECALL_STATE_RETURNED, ExitCode.OK),
    ],
)
def test_recall_says_what_became_of_it_and_show_shows_it(
    command: Run, engine: FakeEngine, state: wire.RecallState.ValueType, code: ExitCode
) -> None:
    engine.recall_state = state
    said = command("recall", "OB-7", "--reason", "paid twice", "--as", "ada")
    assert said.code == code
    assert wire.RecallState.Name(state).removeprefix("RECALL_STATE_") in said.out
    assert engine.asked[-1] == wire.RecallSettlementRequest(settlement_id=ID, reason="paid twice")
    assert engine.actors == ["ada"]
    shown = command("show", ID).out
    assert "requested by ada" in shown
    assert "paid twice; bank: LEGL" in shown
    again = json.loads(command("recall", ID, "--reason", "x", "--as", "ada", "--json").out)
    assert again["state"] == wire.RecallState.Name(state)


@pytest.mark.parametrize("name", [ID, "OB-7", "u-1"])
def test_any_name_of_a_settlement_will_do(command: Run, engine: FakeEngine, name: str) -> None:
    assert command("show", name).code == ExitCode.OK
    assert command("cancel", name).code == ExitCode.OPEN
    assert engine.asked[-1] == wire.CancelSettlementRequest(settlement_id=ID)
    assert command("accounts", "transfers", "--settlement", name).code == ExitCode.OK
    assert engine.asked[-1].settlement_id == ID
    assert command("cancel", "nobody").code == ExitCode.FAILED
    assert command("show", "").code == ExitCode.USAGE


# --- accounts -------------------------------------------------------------------------------------


def test_accounts_open_and_fund(command: Run, engine: FakeEngine) -> None:
    words = ("open", "nostro", "DEUTDEFF", "EUR", "--credit-limit", "5.00")
    assert command("accounts", *words).code == ExitCode.OK
    assert engine.asked[0] == wire.OpenAccountRequest(
        kind=wire.NOSTRO, bank="DEUTDEFF", currency="EUR", credit_limit="5.00"
    )
    said = command("accounts", "fund", "DEUTDEFF", "EUR", "10.00", "--reference", "R", "--json")
    assert fundings(engine)[0].amount == "10.00"
    assert fundings(engine)[0].idempotency_key
    assert json.loads(said.out)["available"] == "9.00"


def test_accounts_open_tells_what_the_engine_warns_of(command: Run, engine: FakeEngine) -> None:
    engine.accounts[0].warnings.append("account_number looks like a card number")
    said = command("accounts", "open", "nostro", "DEUTDEFF", "EUR")
    assert said.code == ExitCode.OK
    assert "looks like a card number" in said.out + said.err


FUND = ("accounts", "fund", "DEUTDEFF", "EUR", "10.00")


def fundings(engine: FakeEngine) -> list[wire.FundAccountRequest]:
    return [asked for asked in engine.asked if isinstance(asked, wire.FundAccountRequest)]


def test_the_same_funding_has_the_same_key(command: Run, engine: FakeEngine) -> None:
    command(*FUND, "--reference", "PAY-IN-7")
    command(*FUND[:-1], "10", "--reference", "PAY-IN-7")
    command(*FUND, "--reference", "PAY-IN-7", "--account-number", engine.accounts[0].account_number)
    assert len({asked.idempotency_key for asked in fundings(engine)}) == 1


@pytest.mark.parametrize(
    "other",
    [
        ("accounts", "fund", "DEUTDEFF", "EUR", "10.01", "--reference", "PAY-IN-7"),
        (*FUND, "--reference", "PAY-IN-8"),
        (*FUND, "--reference", "PAY-IN-7", "--account-number", "another"),
        (*FUND, "--reference", "PAY-IN-7", "--idempotency-key", "K-1"),
    ],
)
def test_another_funding_has_another_key(
    command: Run, engine: FakeEngine, other: tuple[str, ...]
) -> None:
    command(*FUND, "--reference", "PAY-IN-7")
    command(*other)
    first, second = fundings(engine)
    assert first.idempotency_key != second.idempotency_key


def test_a_funding_that_nobody_can_tell_from_another_is_asked_about(
    command: Run, engine: FakeEngine
) -> None:
    said = command(*FUND)
    assert said.code == ExitCode.USAGE
    assert "--reference" in said.err
    assert fundings(engine) == []
    assert command(*FUND, "--idempotency-key", "K-1").code == ExitCode.OK


def test_at_a_terminal_the_reference_is_asked_for(
    command: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda *_, **__: "PAY-IN-9")
    assert command(*FUND).code == ExitCode.OK
    assert fundings(engine)[0].reference == "PAY-IN-9"


def test_what_was_done_before_says_so(command: Run, engine: FakeEngine) -> None:
    assert "already" not in command(*FUND, "--reference", "R").out
    engine.accounts[0].replayed = True
    assert "already posted; nothing was posted again" in command(*FUND, "--reference", "R").out
    assert (
        "the account was already open"
        in command("accounts", "open", "nostro", "DEUTDEFF", "EUR").out
    )


def test_accounts_list_reads_every_page(command: Run, engine: FakeEngine) -> None:
    said = command("accounts", "list", "--kind", "nostro", "--json")
    assert len(json.loads(said.out)["accounts"]) == 3
    assert "AVAILABLE" in command("accounts", "list").out


def test_accounts_show_and_switch(command: Run, engine: FakeEngine) -> None:
    assert json.loads(command("accounts", "show", "1", "--json").out)["id"] == "1"
    assert "is not active" in command("accounts", "deactivate", "1").out
    assert "is active" in command("accounts", "activate", "1").out


def test_accounts_transfers(command: Run, engine: FakeEngine) -> None:
    said = command("accounts", "transfers", "--account", "1")
    assert "cash" in said.out
    said = command("accounts", "transfers", "--settlement", ID, "--json")
    assert json.loads(said.out)["transfers"][0]["amount"] == "1000.00"


def test_a_list_that_is_cut_off_says_so(command: Run, engine: FakeEngine) -> None:
    said = command("accounts", "list", "--limit", "2")
    assert "2 shown, and there are more; see more with --limit" in said.out.splitlines()
    assert json.loads(command("accounts", "list", "--limit", "2", "--json").out)["hasMore"]
    assert "there are more" not in command("accounts", "list").out
    assert not json.loads(command("accounts", "list", "--json").out)["hasMore"]


def test_a_terminal_is_told_how_far_a_long_list_is(
    command: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    @contextmanager
    def watched(text: str) -> Iterator[Callable[[str], None]]:
        shown.append(text)
        yield shown.append

    monkeypatch.setattr("settlement_engine.cli.pages.busy", watched)
    command("accounts", "list")  # the pretended engine gives two at a time
    assert shown == ["reading accounts", "reading accounts: 2 so far"]


def test_where_there_is_no_terminal_nothing_is_told_in_between(
    command: Run, engine: FakeEngine
) -> None:
    said = command("accounts", "list", "--json")
    assert said.err == ""
    assert "reading" not in said.out


def test_a_funding_of_which_nothing_was_heard_may_be_repeated(
    command: Run, engine: FakeEngine
) -> None:
    info = error_details_pb2.ErrorInfo(reason="UNAVAILABLE", domain="settlement-engine")
    engine.fail("FundAccount", code_pb2.UNAVAILABLE, "PostgreSQL cannot be reached", info)
    said = command(*FUND, "--reference", "R")
    assert said.code == ExitCode.UNAVAILABLE
    assert (
        "PostgreSQL cannot be reached" in said.err
    )  # what the engine says, and not that none answers
    assert "repeat the command: it is posted only once" in said.err
