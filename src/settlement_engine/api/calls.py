"""Builds the handlers of all calls once, for both gRPC and HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from settlement_engine.api.accounts import AccountCalls
from settlement_engine.api.banks import BankCalls
from settlement_engine.api.books import BookCalls, BookPorts
from settlement_engine.api.call import Drain, Undisturbed
from settlement_engine.api.covers import CoverCalls
from settlement_engine.api.dossiers import DossierCalls
from settlement_engine.api.exceptions import ExceptionCalls
from settlement_engine.api.intake import IntakeCalls
from settlement_engine.api.messages import MessageCalls
from settlement_engine.api.rails import RailCalls
from settlement_engine.api.recalls import RecallCalls
from settlement_engine.api.service import SettlementCalls
from settlement_engine.api.statements import StatementCalls, StatementPorts
from settlement_engine.api.streams import EventStreams, ManySettlements
from settlement_engine.api.turns import CALLS_IDLE_RATIO, Turns
from settlement_engine.domain.stuck import StuckLimits
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.api.call import Service
    from settlement_engine.api.settings import ApiSettings
    from settlement_engine.ports import (
        AccountStore,
        Archive,
        BankStore,
        CaseManagement,
        CoverOrders,
        DeadLetterStore,
        Engine,
        MessageStore,
        RailControl,
        Recalls,
        SettlementStore,
        Stream,
        StuckFinder,
    )


class PaymentOrders(NamedTuple):
    """What people order about payments that were sent."""

    recalls: Recalls
    covers: CoverOrders


class Calls:
    """The handlers of all calls, built over the ports that they use."""

    def __init__(  # noqa: PLR0913 - the ports that are served
        self,
        *,
        engine: Engine,
        settlements: SettlementStore,
        accounts: AccountStore,
        banks: BankStore,
        orders: PaymentOrders,
        stream: Stream,
        archive: Archive,
        finder: StuckFinder,
        dead_letters: DeadLetterStore,
        case_management: CaseManagement,
        messages: MessageStore,
        rails: RailControl,
        statements: StatementPorts,
        books: BookPorts,
        settings: ApiSettings,
        stuck_limits: StuckLimits | None = None,
    ) -> None:
        self.drain = Drain()
        self.undisturbed = Undisturbed()
        self.turns = Turns(CALLS_IDLE_RATIO)
        named = {"trusts_names": settings.trusts_names}
        self.settlement = SettlementCalls(engine, settlements, books.proofs, settings, self.turns)
        find, limits = self.settlement.find, stuck_limits or StuckLimits()
        self.dossier = DossierCalls(find, archive, finder, limits)
        self.recalls = RecallCalls(self.settlement, orders.recalls, self.undisturbed, **named)
        self.covers = CoverCalls(orders.covers, self.undisturbed, **named)
        self.messages = MessageCalls(find, messages)
        needs_listed = settings.needs_listed_banks
        self.account = AccountCalls(accounts, self.undisturbed, needs_listed_banks=needs_listed)
        self.books = BookCalls(books, accounts, self.undisturbed, settings)
        self.bank = BankCalls(banks, self.undisturbed, **named)
        self.exceptions = ExceptionCalls(case_management, self.undisturbed, **named)
        self.rails = RailCalls(rails, self.undisturbed, **named)
        self.statements = StatementCalls(statements, self.undisturbed, self.drain, **named)
        self.intake = IntakeCalls(engine, dead_letters, self.undisturbed)
        self.events = EventStreams(engine, stream, settings, self.drain)
        self.many = ManySettlements(self.settlement, settings, self.drain)

    def services(self) -> Mapping[str, Service]:
        """Map each service's full name to its unary calls."""
        named: dict[str, Service] = {
            "SettlementService": {
                **self.settlement.unary(),
                **self.dossier.unary(),
                **self.recalls.unary(),
                **self.covers.unary(),
                **self.messages.unary(),
                **self.books.reconciliation.runs(),
            },
            "AccountService": {**self.account.unary(), **self.books.balances.unary()},
            "BankService": self.bank.unary(),
            "IntakeService": self.intake.unary(),
            "ExceptionService": self.exceptions.unary(),
            "RailService": self.rails.unary(),
            "StatementService": {**self.statements.unary(), **self.books.issued.unary()},
            "ReconciliationService": {
                **self.books.reconciliation.unary(),
                **self.books.break_work.unary(),
            },
            "ReportService": {
                **self.books.settlement_reports.unary(),
                **self.books.regulatory.unary(),
            },
        }
        known = pb.DESCRIPTOR.services_by_name
        return {known[name].full_name: service for name, service in named.items()}
