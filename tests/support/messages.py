"""Messages for tests: random values of any form, determined by a seed."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Final

from settlement_engine.domain.money import Money
from settlement_engine.messages import leaves, parties
from settlement_engine.messages.forms import (
    AMOUNT,
    INSIDE,
    LEAF,
    RECORD,
    SKIPPED,
    Compiled,
    Step,
    compiled,
)
from settlement_engine.messages.head import HEAD, HEAD_EDITIONS, Head
from settlement_engine.messages.kinds import KINDS, NAMESPACE

LETTERS: Final = "abcXYZ019 /-?:().,'+äöß€&<>\"漢\t\n\r"


class Maker:
    """Makes values of a form by a seed: many fields are absent, the others have any allowed value."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.likely = self.chance.choice([0.05, 0.2, 0.4])

    def content(self, definition: str) -> Any:
        name, version = definition[:-2], definition[-2:]
        return self.record(KINDS[name].compiled(name, version))

    def head(self, version: str) -> Head:
        space = f"{NAMESPACE}head.001.001.{version}"
        head = self.record(compiled(HEAD, space, HEAD_EDITIONS[version]))
        assert isinstance(head, Head)
        return head

    def record(self, form: Compiled, depth: int = 0) -> Any:
        assert form.struct is not None
        values: dict[str, Any] = {}
        self.fill(form, values, depth)
        return form.struct(**values)

    def fill(self, form: Compiled, values: dict[str, Any], depth: int) -> None:
        steps = [step for step in form.steps if step.how != SKIPPED]
        if form.is_choice:
            steps = [self.chance.choice(steps)]
        for step in steps:
            wanted = form.is_choice or step.is_required
            if not wanted and self.chance.random() > self.likely / (1 + depth / 3):
                continue
            if step.how == INSIDE:
                assert step.form is not None
                self.fill(step.form, values, depth + 1)
            elif step.is_list:
                count = self.chance.randint(1, min(step.most or 3, 3))
                values[step.field] = tuple(self.one(step, depth) for _ in range(count))
            else:
                values[step.field] = self.one(step, depth)

    def one(self, step: Step, depth: int) -> Any:
        if step.how == RECORD:
            assert step.form is not None
            return self.record(step.form, depth + 1)
        if step.how == AMOUNT:
            currency, most = self.chance.choice(
                [("EUR", 15), ("JPY", 18), ("KWD", 15), ("CLF", 14)]
            )
            return Money(self.chance.randrange(10**most), currency)
        assert step.how == LEAF
        assert step.leaf is not None
        return self.leaf(step.leaf)

    def leaf(self, leaf: leaves.Leaf) -> Any:
        if leaf.codes:
            return self.chance.choice(leaf.codes)
        if leaf.most:
            length = self.chance.randint(1, min(leaf.most, 40))
            return "".join(self.chance.choice(LETTERS) for _ in range(length))
        return self.chance.choice(_EXAMPLES[leaf])


_PLUS_ONE: Final = timezone(timedelta(hours=1))
_EXAMPLES: Final[dict[leaves.Leaf, list[Any]]] = {
    leaves.COUNT: [0, 1, 999_999_999_999_999],
    leaves.PAGE: [1, 99_999],
    leaves.DATE: [date(2026, 11, 28), date(1, 1, 1), date(2024, 2, 29)],
    leaves.DATE_TIME: [
        datetime(2026, 11, 28, 17, 0, 0, 250_000, tzinfo=_PLUS_ONE),
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
    leaves.UTC_TIME: [datetime(2026, 11, 28, 17, 0, 0, 250_000, tzinfo=_PLUS_ONE)],
    leaves.TIME: ["17:00:00+01:00", "00:00:00"],
    leaves.BOOLEAN: [True, False],
    leaves.DECIMAL: ["0", "1.50", "123456789012345678"],
    leaves.NUMBER: ["0", "12", "123456789012345678"],
    leaves.RATE: ["1.0825", "0.0000000001"],
    leaves.ANY: ["UTF-8", "HIGH"],
    leaves.BIC: ["DEUTDEFF", "CHASUS33XXX"],
    leaves.BIC_2009: ["DEUTDEFF", "CHASUS33XXX"],
    leaves.IBAN: ["DE89370400440532013000", "GB82WEST12345698765432"],
    leaves.LEI: ["213800KUD8LAJWSQ9D15"],
    leaves.PHONE: ["+49-301234567", "+1-(212)-555"],
    parties._FOUR: ["aB12"],
    leaves.COUNTRY: ["DE", "XK"],
    leaves.CURRENCY: ["EUR"],
    leaves.UETR: ["0123abcd-0123-4abc-8abc-0123456789ab"],
}
