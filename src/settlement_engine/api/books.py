"""Builds the handlers of the calls that read the books of the past, issue from them, and reconcile them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from settlement_engine.api.balances import BalanceCalls
from settlement_engine.api.break_work import BreakWorkCalls
from settlement_engine.api.issued_statements import IssuedPorts, IssuedStatementCalls
from settlement_engine.api.reconciliation import ReconciliationCalls, ReconciliationPorts
from settlement_engine.api.regulatory import RegulatoryCalls, RegulatoryPorts
from settlement_engine.api.settlement_reports import SettlementReportCalls

if TYPE_CHECKING:
    from settlement_engine.api.call import Undisturbed
    from settlement_engine.api.settings import ApiSettings
    from settlement_engine.ports import AccountStore, PastBalances, ReportStore, SettlementProofs


class BookPorts(NamedTuple):
    """What the calls are built over."""

    past_balances: PastBalances
    issued: IssuedPorts
    reconciliation: ReconciliationPorts
    proofs: SettlementProofs
    reports: ReportStore
    regulatory: RegulatoryPorts


class BookCalls:
    """The handlers."""

    def __init__(
        self,
        ports: BookPorts,
        accounts: AccountStore,
        undisturbed: Undisturbed,
        settings: ApiSettings,
    ) -> None:
        zone = settings.zone
        self.balances = BalanceCalls(accounts, ports.past_balances, zone)
        self.issued = IssuedStatementCalls(
            ports.issued, undisturbed, zone, trusts_names=settings.trusts_names
        )
        self.reconciliation = ReconciliationCalls(ports.reconciliation, undisturbed)
        self.break_work = BreakWorkCalls(
            ports.reconciliation.breaks,
            ports.reconciliation.reader,
            undisturbed,
            trusts_names=settings.trusts_names,
        )
        self.settlement_reports = SettlementReportCalls(ports.reports, zone)
        self.regulatory = RegulatoryCalls(
            ports.regulatory, undisturbed, zone, trusts_names=settings.trusts_names
        )
