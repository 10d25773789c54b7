"""What is kept of the decisions about statements in memory: proposals, approvals, and what is set aside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.statement_chain import head_of
from settlement_engine.domain.statements import Statement

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.domain.statement_chain import StatementHead
    from settlement_engine.domain.statement_decisions import StatementProposal


@dataclass(slots=True)
class SetAsideRecords:
    """Proposals, the numbers of the approved ones in the order of their approval, and what is set aside."""

    proposals: list[StatementProposal] = field(default_factory=list)
    approved: list[int] = field(default_factory=list)
    statements: set[int] = field(default_factory=set)
    proved: dict[int, int] = field(default_factory=dict)
    """By account, the last approval of which its last proofs know."""

    def decisions(self) -> list[tuple[int, StatementProposal]]:
        """Return the approved proposals with the places of their approvals, in this order."""
        return [
            (place, self.proposals[number - 1])
            for place, number in enumerate(self.approved, start=1)
        ]

    def last_decision(self, statement_id: int) -> int:
        """Return the place of the last approval about a statement; 0: there is none."""
        about = [place for place, each in self.decisions() if statement_id in each.statement_ids]
        return max(about, default=0)

    def head(self, statement_id: int, said: object) -> StatementHead:
        """Return the head of a kept statement, which says whether it is set aside."""
        assert isinstance(said, Statement), "only statements are kept"
        is_set_aside = statement_id in self.statements
        return msgspec.structs.replace(head_of(said), is_set_aside=is_set_aside)

    def unproved(self, end_of_day: set[int], upto: datetime) -> set[int]:
        """Return the accounts whose last proofs do not know of an approval about one of these statements."""
        return {
            each.account_id
            for place, each in self.decisions()
            if place > self.proved.get(each.account_id, 0)
            and each.decided_at is not None
            and each.decided_at <= upto
            and not end_of_day.isdisjoint(each.statement_ids)
        }
