"""Files of statements that tests import: MT940, as banks write them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

FIRST_DAY = date(2026, 3, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One statement of one day. Amounts are signed, in cents."""

    account: str
    number: int
    opening: int
    amounts: tuple[int, ...] = ()
    day: date = FIRST_DAY
    id: str = "STMT"
    currency: str = "EUR"
    closing: int | None = None

    @property
    def end(self) -> int:
        """Return the closing balance."""
        return self.opening + sum(self.amounts) if self.closing is None else self.closing


def block(day: Day) -> str:
    """Write a statement as MT940."""
    when = f"{day.day:%y%m%d}"
    lines = [
        f":20:{day.id}{day.number}",
        f":25:{day.account}",
        f":28C:{day.number}/1",
        f":60F:{_signed(day.opening, when, day.currency)}",
    ]
    for place, amount in enumerate(day.amounts, 1):
        mark = "C" if amount > 0 else "D"
        lines.append(
            f":61:{when}{when[2:]}{mark}{_digits(amount)}NTRFOURS{place}//BANK{day.number}"
        )
        lines.append(f":86:payment {place} of {day.number}")
    lines += [f":62F:{_signed(day.end, when, day.currency)}", "-"]
    return "\r\n".join(lines) + "\r\n"


def file_of(*days: Day) -> bytes:
    """Write a file of statements."""
    return "".join(map(block, days)).encode("ascii")


def chain(account: str, days: int, *, entries: int = 2, first_number: int = 1) -> list[Day]:
    """Return statements of successive days, each beginning where the last one ended."""
    found: list[Day] = []
    balance = 100_000
    for place in range(days):
        amounts = tuple((-1) ** n * (1_00 + 7 * place + n) for n in range(entries))
        made = Day(
            account=account,
            number=first_number + place,
            opening=balance,
            amounts=amounts,
            day=FIRST_DAY + timedelta(days=place),
        )
        found.append(made)
        balance = made.end
    return found


def _signed(minor: int, when: str, currency: str) -> str:
    return f"{'D' if minor < 0 else 'C'}{when}{currency}{_digits(minor)}"


def _digits(minor: int) -> str:
    return f"{abs(minor) // 100},{abs(minor) % 100:02d}"
