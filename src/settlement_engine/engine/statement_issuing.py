"""Issues statements to the banks that have accounts here: camt.053 and MT950.

Promises: the bytes are made once, and are the same whenever they are asked for; a statement that cannot be written in
its format takes no number. Must never: send a statement anywhere; whoever asked for it does that.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from settlement_engine.domain.check_digits import fault_of_bic
from settlement_engine.domain.issued_statements import IssuedFormat, statement_of
from settlement_engine.errors import WrongState
from settlement_engine.messages.camt053_building import StatementHolder, build_camt053
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.mt_building import build_mt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine.domain.issued_statements import (
        AccountBooking,
        IssuedStatement,
        StatementOrder,
    )
    from settlement_engine.ports import IssuedStatementStore


class StatementIssuing:
    """See ``ports.HolderStatementIssuer``. ``servicer_bic`` is ours; it may be empty, but not for MT950."""

    def __init__(
        self,
        store: IssuedStatementStore,
        servicer_bic: str,
        check: Callable[[bytes], None] | None = None,
    ) -> None:
        """``check`` validates a camt.053 before it is issued. Raises MessageError."""
        self._store = store
        self._servicer_bic = servicer_bic
        self._check = check

    async def issue(self, order: StatementOrder) -> IssuedStatement:
        """Issue the statement of a booking date, or return it; see the port."""
        return await self._store.issue(order, partial(self._build, order.format))

    def _build(
        self, wanted: IssuedFormat, issued: IssuedStatement, bookings: Sequence[AccountBooking]
    ) -> bytes:
        statement = statement_of(issued, bookings, wanted, self._servicer_bic)
        bank = issued.account.bank
        holder = "" if fault_of_bic(bank) else bank
        try:
            if wanted is IssuedFormat.CAMT053:
                content = build_camt053(statement, StatementHolder(name=bank, bic=holder))
                if self._check is not None:
                    self._check(content)
                return content
            return build_mt(statement, holder)
        except MessageError as error:
            what = f"the statement cannot be written as {wanted}"
            todo = "Issue it in the other format, or set [institution] bic if it is empty."
            raise WrongState(what, why=f"{error.place} {error.reason}", todo=todo) from error
