"""Labelled cases of matching: entries of both sides, which belong together, and the expected break."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.matching.breaks import BreakKind
from settlement_engine.domain.matching.values import Charge, Ours, Part, Rules, Theirs, Tolerance

if TYPE_CHECKING:
    import random

DAY = date(2026, 11, 25)
RULES = Rules(
    version="test",
    charges=(
        Charge("EUR", 150, "fees:tariff"),
        Charge("EUR", 275, "fees:BANKB", counterparty="BANKB"),
    ),
    tolerances=(Tolerance("EUR", 2, "fx:rounding"),),
)


@dataclass
class Case:
    kind: str
    ours: list[Ours]
    theirs: list[Theirs]
    together: list[tuple[set[str], set[str]]] = field(default_factory=list)
    """The pairs that belong together: they are matched automatically or suggested, and no others are."""
    breaks: list[BreakKind] = field(default_factory=list)
    automatic: bool = True


class Maker:
    """Makes cases with unique references; many share amounts and days."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.count = 0

    def amount(self) -> int:
        minor = self.chance.choice((10_000, 25_000, 25_001, self.chance.randrange(1_000, 90_000)))
        return minor * self.chance.choice((1, -1))

    def ours(self, minor: int, **more) -> Ours:
        self.count += 1
        name = f"{self.count:06d}"
        values = {
            "id": f"o{name}",
            "account": "nostro",
            "minor": minor,
            "currency": "EUR",
            "value_date": DAY + timedelta(days=self.chance.randrange(3)),
            "references": (f"SETTLE-{name}",),
            "end_to_end": f"E2E-{name}",
            "rail_references": (f"RAIL-{name}",),
            "counterparty": self.chance.choice(("BANKA", "BANKB")),
        }
        return msgspec.convert(values | more, Ours)

    def theirs(self, like: Ours, **more) -> Theirs:
        self.count += 1
        values = {
            "id": f"t{self.count:06d}",
            "account": like.account,
            "minor": like.minor,
            "currency": like.currency,
            "value_date": like.value_date + timedelta(days=self.chance.randrange(2)),
            "counterparty": like.counterparty,
        }
        return msgspec.convert(values | more, Theirs)

    def pair(self, kind: str, ours: Ours, theirs: Theirs, *breaks: BreakKind) -> Case:
        together = [({ours.id}, {theirs.id})]
        return Case(kind, [ours], [theirs], together, list(breaks), automatic=not breaks)

    # --- one kind of case each ---

    def by_reference(self) -> Case:
        ours = self.ours(self.amount())
        return self.pair("our reference", ours, self.theirs(ours, given=ours.references))

    def by_end_to_end(self) -> Case:
        ours = self.ours(self.amount())
        return self.pair("end to end", ours, self.theirs(ours, end_to_end=ours.end_to_end.lower()))

    def by_rail(self) -> Case:
        ours = self.ours(self.amount())
        theirs = self.theirs(ours, rail_references=ours.rail_references)
        return self.pair("rail reference", ours, theirs)

    def by_text(self) -> Case:
        ours = self.ours(self.amount())
        name = ours.references[0]
        text = self.chance.choice((f"PAYMENT {name} THANKS", f"REF/{name[:9]}\n{name[9:]} X"))
        return self.pair("text", ours, self.theirs(ours, text=text))

    def by_parts(self) -> Case:
        sign = self.chance.choice((1, -1))
        ours = [self.ours(sign * self.chance.randrange(1, 9_999), value_date=DAY) for _ in range(4)]
        parts = tuple(Part((each.end_to_end,), each.minor) for each in ours)
        whole = self.theirs(ours[0], minor=sum(each.minor for each in ours), parts=parts)
        return Case("parts", ours, [whole], [({each.id for each in ours}, {whole.id})])

    def by_batch(self) -> Case:
        sign, batch = self.chance.choice((1, -1)), f"FILE-{self.count}"
        ours = [
            self.ours(sign * self.chance.choice((500, 700)), batch=batch, value_date=DAY)
            for _ in range(self.chance.randrange(2, 9))
        ]
        whole = self.theirs(ours[0], minor=sum(each.minor for each in ours), given=(batch,))
        return Case("batch", ours, [whole], [({each.id for each in ours}, {whole.id})])

    def by_instalments(self) -> Case:
        ours = self.ours(-9_000)
        theirs = [
            self.theirs(ours, minor=minor, given=ours.references) for minor in (-4_000, -5_000)
        ]
        return Case("instalments", [ours], theirs, [({ours.id}, {each.id for each in theirs})])

    def by_both_sides(self) -> Case:
        batch = f"FILE-{self.count}"
        ours = [self.ours(minor, batch=batch, value_date=DAY) for minor in (300, 400, 500)]
        theirs = [self.theirs(ours[0], minor=minor, given=(batch,)) for minor in (550, 650)]
        sides = {each.id for each in ours}, {each.id for each in theirs}
        return Case("many to many", ours, theirs, [sides])

    def less_a_charge(self) -> Case:
        ours = self.ours(self.amount(), counterparty="BANKB")
        charge = self.chance.choice((150, 275))
        theirs = self.theirs(ours, minor=ours.minor - charge, end_to_end=ours.end_to_end)
        return self.pair("charge", ours, theirs)

    def within_tolerance(self) -> Case:
        ours = self.ours(self.amount())
        minor = ours.minor + self.chance.choice((-2, -1, 1, 2))
        return self.pair("tolerance", ours, self.theirs(ours, minor=minor, given=ours.references))

    def another_amount(self) -> Case:
        ours = self.ours(self.amount())
        theirs = self.theirs(ours, minor=ours.minor + 7_777, given=ours.references)
        if (theirs.minor < 0) != (ours.minor < 0):
            theirs = self.theirs(ours, minor=ours.minor * 2, given=ours.references)
        return self.pair("another amount", ours, theirs, BreakKind.AMOUNT)

    def another_day(self) -> Case:
        ours = self.ours(self.amount())
        late = ours.value_date + timedelta(days=30)
        theirs = self.theirs(ours, given=ours.references, value_date=late)
        return self.pair("another day", ours, theirs, BreakKind.DATE)

    def another_currency(self) -> Case:
        ours = self.ours(self.amount())
        theirs = self.theirs(ours, given=ours.references, currency="USD")
        return self.pair("another currency", ours, theirs, BreakKind.CURRENCY)

    def twice(self) -> Case:
        ours = self.ours(self.amount())
        theirs = [self.theirs(ours, given=ours.references, value_date=DAY) for _ in range(2)]
        return Case("twice", [ours], theirs, [({ours.id}, {theirs[0].id})], [BreakKind.DUPLICATE])

    def twins(self, count: int = 3, *, left: int = 0) -> Case:
        """Several of ours that one end-to-end id names, and as many entries of it, or ``left`` more."""
        name, minor = f"INVOICE-{self.count:06d}", self.amount()
        ours = [
            self.ours(minor, end_to_end=name, value_date=DAY + timedelta(days=place))
            for place in range(count)
        ]
        theirs = [
            self.theirs(ours[0], end_to_end=name, value_date=DAY + timedelta(days=place))
            for place in range(count + left)
        ]
        sides = {each.id for each in ours}, {each.id for each in theirs[:count]}
        return Case("twins", ours, theirs, [sides], [BreakKind.DUPLICATE] * left)

    def twins_and_more(self) -> Case:
        return replace(self.twins(2, left=1), kind="twins and one more")

    def twins_and_less(self) -> Case:
        """Which of ours the bank has not booked is not known."""
        case = self.twins(2)
        ours, theirs = case.ours, case.theirs[:1]
        breaks = [BreakKind.AMBIGUOUS, BreakKind.MISSING_THEIRS]
        sides = {each.id for each in ours}, {theirs[0].id}
        return Case("twins and one less", ours, theirs, [sides], breaks, automatic=False)

    def twins_named(self) -> Case:
        """Each has a reference of its own beside the one that both have: they are no twins."""
        case = self.twins(2)
        theirs = [
            msgspec.structs.replace(their, given=our.references)
            for our, their in zip(case.ours, case.theirs, strict=True)
        ]
        pairs = [({o.id}, {t.id}) for o, t in zip(case.ours, theirs, strict=True)]
        return Case("twins with names", case.ours, theirs, pairs)

    def debited_and_suspended(self) -> Case:
        """The bank has debited one payment twice, and our books have followed: twins by every reference."""
        case = self.twice()
        again = msgspec.structs.replace(case.ours[0], id=f"{case.ours[0].id}/11")
        sides = {case.ours[0].id, again.id}, {each.id for each in case.theirs}
        return Case("twice, and suspended", [*case.ours, again], case.theirs, [sides])

    def taken_back(self) -> Case:
        ours = self.ours(self.amount())
        theirs = self.theirs(ours, minor=-ours.minor, given=ours.references, is_reversal=True)
        return self.pair("taken back", ours, theirs, BreakKind.REVERSAL)

    def not_theirs(self) -> Case:
        return Case("not theirs", [self.ours(self.amount())], [], [], [BreakKind.MISSING_THEIRS])

    def not_ours(self) -> Case:
        minor = self.amount()
        theirs = self.theirs(self.ours(minor), text="an unexpected payment")
        kind = BreakKind.UNKNOWN_DEBIT if minor < 0 else BreakKind.MISSING_OURS
        return Case("not ours", [], [theirs], [], [kind])

    def same_amount_and_day(self) -> Case:
        """Equal amount and day, but another payment: never matched automatically."""
        ours = self.ours(-10_000)
        theirs = self.theirs(ours, given=("SOMEBODY-ELSES",), text="another purpose")
        breaks = [BreakKind.UNKNOWN_DEBIT, BreakKind.MISSING_THEIRS]
        return Case("chance", [ours], [theirs], [], breaks, automatic=False)

    def almost_its_name(self) -> Case:
        """A reference that only begins like ours, with our amount."""
        ours = self.ours(-10_000)
        name = ours.references[0]
        theirs = self.theirs(ours, given=(f"{name}0",), text=f"{name}0 and X{name}")
        breaks = [BreakKind.UNKNOWN_DEBIT, BreakKind.MISSING_THEIRS]
        return Case("almost", [ours], [theirs], [], breaks, automatic=False)

    def sum_alone(self) -> Case:
        """Belongs together without a common reference: counts for recall, never for precision."""
        ours = [self.ours(-self.chance.randrange(1_000, 9_000)) for _ in range(2)]
        whole = self.theirs(ours[0], minor=sum(each.minor for each in ours))
        return Case("sum alone", ours, [whole], [({each.id for each in ours}, {whole.id})])

    def every(self) -> list[Case]:
        return [
            self.by_reference(),
            self.by_end_to_end(),
            self.by_rail(),
            self.by_text(),
            self.by_parts(),
            self.by_batch(),
            self.by_instalments(),
            self.by_both_sides(),
            self.less_a_charge(),
            self.within_tolerance(),
            self.another_amount(),
            self.another_day(),
            self.another_currency(),
            self.twice(),
            self.taken_back(),
            self.not_theirs(),
            self.not_ours(),
            self.same_amount_and_day(),
            self.almost_its_name(),
            self.sum_alone(),
            self.twins(),
            self.twins_and_more(),
            self.twins_and_less(),
            self.twins_named(),
            self.debited_and_suspended(),
        ]
