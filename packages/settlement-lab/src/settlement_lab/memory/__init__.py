"""The store in memory: it implements the ports without PostgreSQL, for simulation and unit tests.

It gives the same results as the SQL functions, guard by guard; one suite (``tests/contract``) tests
both. Each call is atomic, because it awaits nothing between its reads and its writes. It does no I/O
and reads no clock of its own. It must never be used where money has to outlive the process.
"""

from settlement_lab.memory.accounts import MemoryAccounts
from settlement_lab.memory.archive import MemoryArchive
from settlement_lab.memory.audit import MemoryAuditor
from settlement_lab.memory.banks import MemoryBanks
from settlement_lab.memory.barrier import MemoryBarrierStore
from settlement_lab.memory.break_work import MemoryBreakWork
from settlement_lab.memory.breaker_orders import MemoryBreakerOrders
from settlement_lab.memory.covers import MemoryCovers
from settlement_lab.memory.dead_letters import MemoryDeadLetters
from settlement_lab.memory.exceptions import MemoryCases
from settlement_lab.memory.inbound import MemoryInbound
from settlement_lab.memory.issued_statements import MemoryIssuedStatements
from settlement_lab.memory.messages import MemoryMessages
from settlement_lab.memory.notices import MemoryNotices
from settlement_lab.memory.past_balances import MemoryPastBalances
from settlement_lab.memory.rail_files import MemoryRailFiles
from settlement_lab.memory.recalls import MemoryRecalls
from settlement_lab.memory.reconciliation import MemoryReconciliation
from settlement_lab.memory.reconciliation_reads import MemoryReconciliationReader
from settlement_lab.memory.records import Records, Sessions
from settlement_lab.memory.regulatory import MemoryRegulatory
from settlement_lab.memory.reports import MemoryReports
from settlement_lab.memory.resolutions import MemoryResolutions
from settlement_lab.memory.set_aside import MemoryStatementDecisions
from settlement_lab.memory.settlements import MemorySettlements
from settlement_lab.memory.statement_evidence import MemoryEvidence
from settlement_lab.memory.statements import MemoryStatements
from settlement_lab.memory.stream import MemoryGauges, MemoryRegistry, MemoryStream
from settlement_lab.memory.stuck import MemoryStuckFinder

__all__ = [
    "MemoryAccounts",
    "MemoryArchive",
    "MemoryAuditor",
    "MemoryBanks",
    "MemoryBarrierStore",
    "MemoryBreakWork",
    "MemoryBreakerOrders",
    "MemoryCases",
    "MemoryCovers",
    "MemoryDeadLetters",
    "MemoryEvidence",
    "MemoryGauges",
    "MemoryInbound",
    "MemoryIssuedStatements",
    "MemoryMessages",
    "MemoryNotices",
    "MemoryPastBalances",
    "MemoryRailFiles",
    "MemoryRecalls",
    "MemoryReconciliation",
    "MemoryReconciliationReader",
    "MemoryRegistry",
    "MemoryRegulatory",
    "MemoryReports",
    "MemoryResolutions",
    "MemorySettlements",
    "MemoryStatementDecisions",
    "MemoryStatements",
    "MemoryStream",
    "MemoryStuckFinder",
    "Records",
    "Sessions",
]
