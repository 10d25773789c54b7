"""A day of payments over all rails of the bank simulator, its statements of that day, and what must be true then.

What ends in doubt is asked about in vain, so that only the bank's statement can end it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from random import Random
from typing import TYPE_CHECKING, Any, Final

import grpc

from settlement_engine.app.development.simulator import DOLLAR_FILES, SETTLEMENT_ACCOUNTS
from settlement_engine.cli.acting import ACTOR
from settlement_engine.cli.development.sample import FUNDED_UNITS, FUNDING_REFERENCE
from settlement_engine.cli.statements import parts_of
from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc
from settlement_lab.bench.planted_differences import expected_of, mistakes_of, named
from settlement_lab.commands.demo.payments import ACH_BANK, RAIL_BANKS, RAILS
from tests.e2e.world import payment_request, until
from tests.support.bank_day_plan import (
    AGENT,
    CENTS,
    CLOSED,
    TARIFFS,
    TREATMENTS,
    UNITS_MAX,
    Treatment,
    in_mt940,
    script_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.e2e.world import World

SECONDS: Final = 90.0
CALL_SECONDS: Final = 30.0
PAGE_ITEMS: Final = 1_000
BATCH_ITEMS: Final = 250
METADATA: Final = ((ACTOR, "ada"),)
PLAIN: Final = 6
"""How many payments are settled without any trouble, for one of each other treatment."""

FEE: Final = "-12.50"
"""What a bank takes for keeping an account, by an entry of its own."""

CURRENCIES: Final = tuple(sorted(set(RAILS.values())))
IN_DOUBT: Final = (pb.IN_DOUBT, pb.EXECUTING)


@dataclass(slots=True)
class BankDay:
    """The payments of a day over one running engine."""

    world: World
    seed: int
    each: int = 1
    """How many payments there are for each treatment and rail."""

    sent: dict[str, str] = field(default_factory=dict)
    """The treatment of each settlement."""

    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    # --- payments ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Tell the bank how to treat payments; book our funds there, and a fee for each account."""
        self._tell("PUT", "admin/script", script_of(self.seed, 4 * self.each))
        for bank in RAIL_BANKS:
            for currency in CURRENCIES:
                account = {"bank": bank, "currency": currency}
                funds = {"text": FUNDING_REFERENCE, "amount": f"{FUNDED_UNITS}.00", "once": True}
                self._tell("POST", "admin/bookings", account | funds)
                fee = {"text": "ACCOUNT FEE", "amount": FEE}
                self._tell("POST", "admin/bookings", account | fee)

    def pay(self) -> None:
        """Send the payments, and wait until each has ended or is in doubt. Those in doubt block lanes: last."""
        chance = Random(self.seed)
        for is_silent in (False, True):
            kinds = [
                (name, rail)
                for name, treatment in TREATMENTS.items()
                for rail in RAILS
                for _ in range(self._count(treatment, rail, name))
                if treatment.is_silent is is_silent
            ]
            chance.shuffle(kinds)
            for start in range(0, len(kinds), BATCH_ITEMS):
                self._submit(chance, kinds[start : start + BATCH_ITEMS])
            until(self._has_bank_done, SECONDS, "the bank to be done with each payment")
            until(self._have_ended, SECONDS, "each payment to be ended or in doubt")

    def _count(self, treatment: Treatment, rail: str, name: str) -> int:
        if rail == "ach" and not treatment.is_carried_by_ach:
            return 0
        return self.each * (PLAIN if name == "settled" else 1)

    def _submit(self, chance: Random, kinds: Sequence[tuple[str, str]]) -> None:
        requests = []
        for name, rail in kinds:
            source = ACH_BANK if rail == "ach" else chance.choice(RAIL_BANKS)
            is_paid_out = rail != "ach" and chance.random() < 0.5
            requests.append(
                payment_request(
                    rail=rail,
                    from_bank=source,
                    to_bank=chance.choice([bank for bank in RAIL_BANKS if bank != source]),
                    currency=RAILS[rail],
                    amount=f"{chance.randint(1, UNITS_MAX)}.{CENTS[name]}",
                    delivery=pb.DELIVERY_PAY_OUT if is_paid_out else pb.DELIVERY_BOOK,
                )
            )
        wanted = pb.SubmitSettlementsRequest(settlements=requests)
        results = self.world.settlements.SubmitSettlements(wanted, timeout=CALL_SECONDS).results
        for (name, _), result in zip(kinds, results, strict=True):
            assert result.settlement.settlement_id, result
            self.sent[result.settlement.settlement_id] = name

    def _has_bank_done(self) -> bool:
        """Compare by the reference: a file of the ACH names no settlement."""
        lines = {line["reference"]: line for line in self.world.simulator_ledger()}
        for name, found in self.settlements():
            line = lines.get(found.end_to_end_id)
            if line is None or line["state"] != TREATMENTS[name].bank:
                return False
            if "in_part" in name and Decimal(line["returned_amount"]) == 0:
                return False
        return True

    def _have_ended(self) -> bool:
        return not self._others(lambda treatment: treatment.before)

    def _others(self, wanted: Callable[[Treatment], int | None]) -> list[str]:
        """List the settlements that have another status than is wanted; None is in doubt."""
        return [
            f"{found.settlement_id} {name} is {pb.SettlementStatus.Name(found.status)}"
            for name, found in self.settlements()
            if found.status not in (IN_DOUBT if (s := wanted(TREATMENTS[name])) is None else (s,))
        ]

    def settlements(self) -> list[tuple[str, pb.SettlementStatusResponse]]:
        """Read all settlements, each with the name of its treatment."""
        wanted = pb.ListSettlementsRequest(page_size=PAGE_ITEMS)
        found = _pages(self.world.settlements.ListSettlements, wanted, "settlements")
        return [(self.sent[each.settlement_id], each) for each in found]

    # --- statements -------------------------------------------------------------------------------

    def import_statements(self) -> Counter[str]:
        """Import the bank's statements of all accounts, in both formats; return how many of each."""
        stub = rpc.StatementServiceStub(self.world.channel)
        accounts = sorted(self._accounts())
        Random(f"{self.seed} statements").shuffle(accounts)
        taken: Counter[str] = Counter()
        for bank, number, currency in accounts:
            form = "mt940" if bank in in_mt940(self.seed) else "camt053"
            account = {"bank": bank, "account": number, "currency": currency, "format": form}
            for day in self._days():
                content = self._fetch(account | {"date": day})
                if content is None:
                    continue
                parts = parts_of(f"{bank}-{currency}-{day}.{form}", content)
                done = stub.ImportStatement(parts, timeout=CALL_SECONDS, metadata=METADATA)
                *pages, last = (each.outcome for each in done.statements)
                assert set(pages) <= {pb.STATEMENT_OUTCOME_INCOMPLETE}, done
                assert last == pb.STATEMENT_OUTCOME_IMPORTED, done
                taken[form] += 1
        return taken

    def _days(self) -> Iterator[str]:
        """List the days of the payments: two if they run over midnight."""
        day = self.began.date()
        while day <= datetime.now(UTC).date():
            yield day.isoformat()
            day += timedelta(days=1)

    def _accounts(self) -> Iterator[tuple[str, str, str]]:
        """List our accounts that the simulator moves: at the banks, and at each rail's settlement agent."""
        for bank in RAIL_BANKS:
            for currency in CURRENCIES:
                yield bank, self.world.nostro(bank, currency).account_number, currency
        for rail, number in SETTLEMENT_ACCOUNTS.items():
            yield AGENT, number, RAILS[rail]
        operator = DOLLAR_FILES["settlement_routing_number"]
        yield operator, DOLLAR_FILES["settlement_account"], RAILS["ach"]

    def reconcile(self) -> None:
        """Reconcile all accounts, after a run that goes on already."""

        def run() -> bool:
            asked = pb.ReconcileRequest()
            try:
                self.world.settlements.ReconcileAccounts(
                    asked, timeout=CALL_SECONDS, metadata=METADATA
                )
            except grpc.RpcError as error:
                if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.ABORTED:
                    return False
                raise
            return True

        until(run, SECONDS, "a run over all accounts")

    # --- what must be true ------------------------------------------------------------------------

    def check_ended_by_entries(self) -> None:
        """Each doubt is ended by an entry of a statement and by nothing else; what has no entry is not ended."""
        is_booked = partial(self._others, lambda treatment: treatment.after)
        try:
            until(lambda: not is_booked(), SECONDS, "every payment to be as the bank booked it")
        except AssertionError as error:
            raise AssertionError(is_booked()) from error
        for name, found in self.settlements():
            treatment = TREATMENTS[name]
            if treatment.before is None and treatment.after is not None:
                moves = self.world.status(found.settlement_id).moves
                [settled] = [move for move in moves if move.event == "SETTLED"]
                assert settled.detail["statement_says"] in ("debit", "return"), (name, moves)

    def check_breaks(self) -> int:
        """Each break is a planted difference or a fee, rightly named; return how many there are."""
        rails = {number: rail for rail, number in SETTLEMENT_ACCOUNTS.items()}
        expected = [
            key
            for each in self._planted()
            for key in expected_of(
                f"{rails.get(each['account'], each['bank'])} {each['currency']}",
                each["kind"],
                Decimal(each["amount"]),
            )
        ]
        expected += [
            named(f"{bank} {currency}", "UNKNOWN_DEBIT", Decimal(FEE))
            for bank in RAIL_BANKS
            for currency in CURRENCIES
        ]
        stub = rpc.ReconciliationServiceStub(self.world.channel)
        found = [
            named(
                f"{each.bank} {each.currency}",
                pb.BreakKind.Name(each.kind).removeprefix("BREAK_KIND_"),
                Decimal(each.amount),
            )
            for each in _pages(
                stub.ListBreaks, pb.ListBreaksRequest(page_size=PAGE_ITEMS), "breaks"
            )
        ]
        mistakes = mistakes_of(expected, found)
        assert mistakes == [], mistakes
        return len(found)

    def check_closed(self) -> int:
        """What the tariff and the tolerance cover is closed, and froze no payment; return how many there are."""
        planted = [each for each in self._planted() if each["kind"] in CLOSED]
        stub = rpc.AccountServiceStub(self.world.channel)
        closed = Counter(
            (account.bank, account.currency, account.account_number)
            for account in _pages(
                stub.ListAccounts, pb.ListAccountsRequest(page_size=PAGE_ITEMS), "accounts"
            )
            if account.account_number in ("control", "rounding")
            for each in _pages(
                stub.ListTransfers,
                pb.ListTransfersRequest(account_id=account.id, page_size=PAGE_ITEMS),
                "transfers",
            )
            if each.leg == pb.TRANSFER_LEG_DIFFERENCE
        )
        numbers = {"tariff": "control", "rounding": "rounding"}
        assert closed == Counter(
            (each["bank"], each["currency"], numbers[each["kind"]]) for each in planted
        )
        only = {name for each in planted for name in each["references"]} - {
            name
            for each in self._planted()
            if each["kind"] not in CLOSED
            for name in each["references"]
        }
        wrong = [
            (name, each.settlement_id, each.is_frozen, each.finality)
            for name, each in self.settlements()
            if each.end_to_end_id in only
            and (each.is_frozen or each.finality != pb.FINALITY_RECONCILED)
        ]
        assert wrong == [], wrong
        return len(planted)

    def check_proofs(self) -> int:
        """Every account with a statement is proved to zero, and its items add up; return how many there are."""
        stub = rpc.ReconciliationServiceStub(self.world.channel)
        proofs = _pages(stub.ListProofs, pb.ListProofsRequest(page_size=PAGE_ITEMS), "proofs")
        wrong = [each for each in proofs if not each.is_zero]
        assert wrong == [], wrong
        for each in proofs:
            wanted = pb.ListOpenItemsRequest(
                account_id=each.account_id, date=each.booking_date, page_size=PAGE_ITEMS
            )
            items = _pages(stub.ListOpenItems, wanted, "items")
            for side, total in (("theirs", each.unmatched_theirs), ("ours", each.unmatched_ours)):
                own = [Decimal(item.amount) for item in items if item.side == side]
                assert sum(own) == Decimal(total), (each, items)
            assert len(items) == each.unmatched_entries + each.unmatched_postings
        return len(proofs)

    def check_finality(self) -> Counter[int]:
        """What has moved money is reconciled unless a difference touched it; return how many are how final."""
        touched = {name for each in self._planted() for name in each["references"]}
        found = [each for each in self.settlements() if each[1].end_to_end_id not in touched]
        wrong = [
            (name, each.settlement_id, each.finality)
            for name, each in found
            if each.finality != _finality_of(TREATMENTS[name])
        ]
        assert wrong == [], wrong
        return Counter(each.finality for _, each in found)

    # --- calls ------------------------------------------------------------------------------------

    def _planted(self) -> list[dict[str, Any]]:
        url = f"{self.world.address['simulator']}/statements/planted"
        with urllib.request.urlopen(url, timeout=CALL_SECONDS) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def _fetch(self, asked: dict[str, str]) -> bytes | None:
        url = f"{self.world.address['simulator']}/statements?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=CALL_SECONDS) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None  # the account was not open on that day
            raise

    def _tell(self, method: str, path: str, said: object) -> None:
        url = f"{self.world.address['simulator']}/{path}"
        asked = urllib.request.Request(url, json.dumps(said).encode(), method=method)
        urllib.request.urlopen(asked, timeout=CALL_SECONDS).close()


VARIABLES: Final = {"SETTLEMENT_RECONCILIATION__TARIFFS": json.dumps(TARIFFS)}
"""The environment of an engine that knows the charges of the bank."""


def run_day(world: World, seed: int, each: int = 1) -> BankDay:
    """Let a day pass, and check all that must be true at its end."""
    day = BankDay(world, seed, each)
    day.prepare()
    day.pay()
    assert set(day.import_statements()) == {"camt053", "mt940"}
    day.check_ended_by_entries()
    day.reconcile()
    day.check_breaks()
    assert day.check_closed() > 0
    assert day.check_proofs() == len(RAIL_BANKS) * len(CURRENCIES) + len(RAILS)
    assert set(day.check_finality()) >= {pb.FINALITY_RECONCILED, pb.FINALITY_SENT}
    world.prove()
    return day


def _finality_of(treatment: Treatment) -> int:
    if treatment.after is None:
        return pb.FINALITY_SENT
    is_moved = treatment.after in (pb.COMPLETED, pb.RETURNED)
    return pb.FINALITY_RECONCILED if is_moved else pb.FINALITY_UNSPECIFIED


def _pages(call: Callable[..., Any], wanted: Any, name: str) -> list[Any]:
    found: list[Any] = []
    while True:
        page = call(wanted, timeout=CALL_SECONDS)
        items: Iterable[Any] = getattr(page, name)
        found += items
        wanted.page_token = page.next_page_token
        if not page.next_page_token:
            return found
