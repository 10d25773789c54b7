"""What a bank says of our account with it: entries with references, written as camt.053."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from settlement_engine.domain.statement_import import ReceivedFile
from settlement_engine.engine.statement_import import StatementImport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.ledger import Account
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.domain.statement_import import ImportedStatement
    from tests.support.stores import Stores


def today() -> date:
    """The day on which stores of tests post: they read the real clock."""
    return datetime.now(UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """One entry, signed, in cents."""

    minor: int
    end_to_end: str = ""
    servicer: str = ""
    text: str = ""
    is_reversal: bool = False
    value_date: date = field(default_factory=today)
    booked_on: date | None = None
    """None: the last day of the statement."""


def debit(settlement: Settlement, **changes: object) -> Booked:
    """The debit of a settlement on our account at FROM."""
    assert settlement.attempt is not None
    fields = {
        "minor": -settlement.instruction.amount.minor,
        "end_to_end": settlement.attempt.references.end_to_end_id,
        "value_date": settlement.value_date,
    }
    return Booked(**{**fields, **changes})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class BankDay:
    """One statement of one day, or of several from ``opened_on`` on."""

    account: Account
    opening: int
    entries: Sequence[Booked]
    number: int = 1
    day: date = field(default_factory=today)
    made: int = 22
    closing_minor: int | None = None
    opened_on: date | None = None

    @property
    def closing(self) -> int:
        if self.closing_minor is not None:
            return self.closing_minor
        return self.opening + sum(each.minor for each in self.entries)

    def next(self, *entries: Booked) -> BankDay:
        """The statement of the next day."""
        return BankDay(
            account=self.account,
            opening=self.closing,
            entries=entries,
            number=self.number + 1,
            day=self.day + timedelta(days=1),
        )

    def content(self) -> bytes:
        """Write it as a file."""
        balances = _balance("OPBD", self) + _balance("CLBD", self)
        entries = "".join(_entry(self, each) for each in self.entries)
        made = f"{self.day}T{self.made:02d}:00:00Z"
        return (
            "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'><BkToCstmrStmt>"
            f"<GrpHdr><MsgId>M{self.number}</MsgId><CreDtTm>{made}</CreDtTm></GrpHdr>"
            f"<Stmt><Id>S{self.number}</Id><ElctrncSeqNb>{self.number}</ElctrncSeqNb>"
            f"<CreDtTm>{made}</CreDtTm><Acct><Id><Othr><Id>{self.account.account_number}</Id></Othr>"
            f"</Id><Ccy>{self.account.currency}</Ccy></Acct>{balances}{entries}</Stmt>"
            "</BkToCstmrStmt></Document>"
        ).encode()


async def take(stores: Stores, *days: BankDay) -> list[ImportedStatement]:
    """Import statements, each as a file of its own."""
    found: list[ImportedStatement] = []
    for day in days:
        file = ReceivedFile(name=f"{day.number}.xml", content=day.content(), who="ada")
        found += await StatementImport(stores.statements).import_file(file)
    return found


def _balance(code: str, day: BankDay) -> str:
    minor, on = day.closing, day.day
    if code == "OPBD":
        minor, on = day.opening, day.opened_on or day.day
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_amount(day, minor)}"
        f"<Dt><Dt>{on}</Dt></Dt></Bal>"
    )


def _amount(day: BankDay, minor: int) -> str:
    units, cents = divmod(abs(minor), 100)
    mark = "CRDT" if minor >= 0 else "DBIT"
    return (
        f"<Amt Ccy='{day.account.currency}'>{units}.{cents:02d}</Amt><CdtDbtInd>{mark}</CdtDbtInd>"
    )


def _entry(day: BankDay, each: Booked) -> str:
    reversal = "<RvslInd>true</RvslInd>" if each.is_reversal else ""
    servicer = f"<AcctSvcrRef>{each.servicer}</AcctSvcrRef>" if each.servicer else ""
    end_to_end = f"<EndToEndId>{each.end_to_end}</EndToEndId>" if each.end_to_end else ""
    text = f"<RmtInf><Ustrd>{each.text}</Ustrd></RmtInf>" if each.text else ""
    return (
        f"<Ntry>{_amount(day, each.minor)}{reversal}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{each.booked_on or day.day}</Dt></BookgDt><ValDt><Dt>{each.value_date}</Dt></ValDt>{servicer}"
        f"<NtryDtls><TxDtls><Refs>{end_to_end}</Refs>{_amount(day, each.minor)}{text}</TxDtls>"
        "</NtryDtls></Ntry>"
    )
