"""``reports``: reports of reconciliation, and reports on what was settled."""

from __future__ import annotations

from settlement_engine.cli.reconciliation import reports
from settlement_engine.cli.regulatory_reports import regulatory
from settlement_engine.cli.settlement_reports import settlements

reports.add_command(settlements)
reports.add_command(regulatory)

__all__ = ["reports"]
