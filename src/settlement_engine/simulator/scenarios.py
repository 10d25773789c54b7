"""How the bank treats a payment: named scenarios, and the rules that choose one of them. Pure.

A scenario is data: the statuses of the payment, when and how they are reported, which messages are lost, and
which returns follow. It is stored with the payment at its first receipt, so that neither a restart nor another
script changes it later.
"""

from __future__ import annotations

from enum import StrEnum, auto
from fnmatch import fnmatchcase
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.errors import Misconfigured
from settlement_engine.simulator.differences import DifferenceRule  # noqa: TC001 -- a struct's field
from settlement_engine.simulator.legs import ORDINARY, PAYMENT, Leg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RULES_MAX: Final = 1_000
STEPS_MAX: Final = 20
WHOLE_PERCENT: Final = 100
DAY_MS: Final = 86_400_000


class Reply(StrEnum):
    """How the sender of a payment learns its first status."""

    RESPONSE = auto()  # in the response; later statuses by call-back
    CALLBACK = auto()  # by call-back only: the response (202) has no status
    BOTH = auto()  # in the response, and by call-back as well
    LOST = auto()  # the connection ends without a response
    HALF = auto()  # the connection ends in the middle of the response
    REFUSED = auto()  # the message is refused (admi.002), and with it the payment


class RecallReply(StrEnum):
    """The bank's answer to a recall."""

    ACCEPT = auto()
    REFUSE = auto()
    PENDING = auto()  # and accepts it later, if ``recall_after_ms`` is set


class ScenarioStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A status of the payment, ``after_ms`` after its receipt.

    ``told_after_ms`` is when it is reported, also counted from the receipt; without it, at ``after_ms``.
    If ``is_true`` is false, the status is reported but not applied to the ledger: a false report. With
    ``names_another_debit`` the report has the reference of a second debit.
    """

    status: str
    code: str = ""
    after_ms: int = 0
    told_after_ms: int | None = None
    is_true: bool = True
    names_another_debit: bool = False


class MoneyBack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A return after settlement: a percentage of the amount, from which charges are deducted.

    If ``is_told`` is false, no message tells of it: it is booked, and only the statement has it.
    """

    after_ms: int
    code: str = "AC04"
    percent: int = 100
    charges_minor: int = 0
    is_told: bool = True


class Coming(msgspec.Struct, frozen=True, kw_only=True):
    """A planned return: its amount, whether it is the last one, and whether a message tells of it."""

    amount_minor: int
    charges_minor: int
    code: str
    is_last: bool
    is_told: bool = True


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one payment is treated. Times are milliseconds from its first receipt.

    The first ``lost_requests`` arrivals are ignored. For ``errors_for_ms`` every message about the payment gets
    a server error, and the payment is not received. Before ``visible_after_ms`` the response to an enquiry is
    that there is no such payment; before ``silent_for_ms`` an enquiry gets no response. With
    ``settles_with_cover`` the payment leg of a cover payment settles (ACCC) when its cover was debited, unless it
    has ended before; for others it has no meaning.
    """

    steps: tuple[ScenarioStep, ...] = (ScenarioStep(status="ACSC"),)
    reply: Reply = Reply.RESPONSE
    reply_delay_ms: int = 0
    copies: int = 1
    lost_requests: int = 0
    errors_for_ms: int = 0
    visible_after_ms: int = 0
    silent_for_ms: int = 0
    amount_change_minor: int = 0
    names_another_payment: bool = False
    returns: tuple[MoneyBack, ...] = ()
    recall: RecallReply = RecallReply.ACCEPT
    recall_after_ms: int = 0
    settles_with_cover: bool = False

    @property
    def told_ms(self) -> int:
        """When everything has been reported, at the earliest, if no message is lost."""
        return max(
            self.reply_delay_ms,
            self.recall_after_ms,
            *(step.told_after_ms or step.after_ms for step in self.steps),
            *(back.after_ms for back in self.returns),
        )

    def __post_init__(self) -> None:
        """Check the times and numbers. Raises ValueError."""
        times = (
            *(step.after_ms for step in self.steps),
            *(back.after_ms for back in self.returns),
            *(self.reply_delay_ms, self.errors_for_ms, self.visible_after_ms, self.silent_for_ms),
            *(self.lost_requests, self.copies, self.recall_after_ms),
        )
        if min(times) < 0 or not 0 < len(self.steps) <= STEPS_MAX:
            message = f"a scenario has 1 to {STEPS_MAX} steps, and no time or number below 0"
            raise ValueError(message)


def parts_of(total_minor: int, returns: Sequence[MoneyBack]) -> list[int]:
    """Divide an amount by percentages; if they add up to 100, the last part contains the remainder."""
    parts = [total_minor * back.percent // 100 for back in returns]
    if sum(back.percent for back in returns) == WHOLE_PERCENT:
        parts[-1] = total_minor - sum(parts[:-1])
    return parts


def of_the_leg(scenario: Scenario, leg: Leg) -> Scenario:
    """Adapt a scenario to the payment leg of a cover payment, in which none of our money moves or comes back.

    A scenario that only settles at once waits for the cover instead; other steps are carried out as written.
    """
    if leg != PAYMENT:
        return scenario
    steps = tuple(step for step in scenario.steps if not step.names_another_debit)
    waits = steps in ((), Scenario().steps)
    return msgspec.structs.replace(
        scenario,
        steps=(AWAITS_COVER,) if waits else steps,
        settles_with_cover=waits or scenario.settles_with_cover,
        amount_change_minor=0,
        returns=(),
    )


ACCEPTED: Final = ScenarioStep(status="ACSP")
AWAITS_COVER: Final = ScenarioStep(status="ACSP", code="G004")
PAID_OUT: Final = ScenarioStep(status="ACCC")
"""The status of the payment leg of a cover payment before and after its cover was debited."""

SOON_MS: Final = 300
SETTLES_SOON: Final = (ACCEPTED, ScenarioStep(status="ACSC", after_ms=SOON_MS))

SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        "settle": Scenario(),
        "accept_then_settle": Scenario(steps=SETTLES_SOON),
        "settle_by_callback": Scenario(steps=SETTLES_SOON, reply=Reply.CALLBACK),
        "reject": Scenario(steps=(ScenarioStep(status="RJCT", code="AC04"),)),
        "lost_request": Scenario(lost_requests=1),
        "lost_answer": Scenario(reply=Reply.LOST),
        "slow": Scenario(reply_delay_ms=3_000),
        "twice": Scenario(steps=SETTLES_SOON, reply=Reply.BOTH, copies=2),
        "out_of_order": Scenario(
            steps=(
                ScenarioStep(status="ACSP", told_after_ms=2 * SOON_MS),
                ScenarioStep(status="ACSC", after_ms=SOON_MS // 2, told_after_ms=SOON_MS),
            ),
            reply=Reply.CALLBACK,
        ),
        "accept_then_reject": Scenario(
            steps=(ACCEPTED, ScenarioStep(status="RJCT", code="AM04", after_ms=SOON_MS))
        ),
        "reject_then_settle": Scenario(
            steps=(
                ScenarioStep(status="RJCT", code="AC04", is_true=False),
                ScenarioStep(status="ACSC", after_ms=SOON_MS),
            )
        ),
        "settle_then_reject": Scenario(
            steps=(
                ScenarioStep(status="ACSC"),
                ScenarioStep(status="RJCT", code="MS03", after_ms=SOON_MS, is_true=False),
            )
        ),
        "refuse_message": Scenario(
            steps=(ScenarioStep(status="RJCT", code="NARR"),), reply=Reply.REFUSED
        ),
        "settle_twice": Scenario(
            steps=(
                ScenarioStep(status="ACSC"),
                ScenarioStep(
                    status="ACSC", after_ms=SOON_MS, is_true=False, names_another_debit=True
                ),
            )
        ),
        "other_amount": Scenario(amount_change_minor=-1),
        "late_return": Scenario(returns=(MoneyBack(after_ms=2 * SOON_MS),)),
        "partial_return": Scenario(
            returns=(
                MoneyBack(after_ms=SOON_MS, percent=40, code="AM09"),
                MoneyBack(after_ms=2 * SOON_MS, percent=60, charges_minor=1),
            )
        ),
        "unknown_at_first": Scenario(reply=Reply.LOST, visible_after_ms=2_000),
        "recall_refused": Scenario(steps=(ACCEPTED,), recall=RecallReply.REFUSE),
        "recall_delayed": Scenario(
            steps=(ACCEPTED,), recall=RecallReply.PENDING, recall_after_ms=2 * SOON_MS
        ),
        "recall_accepted": Scenario(steps=(ACCEPTED,)),
        "settle_recall_refused": Scenario(recall=RecallReply.REFUSE),
        "settle_recall_delayed": Scenario(recall=RecallReply.PENDING, recall_after_ms=2 * SOON_MS),
        "silent_for_a_day": Scenario(reply=Reply.LOST, silent_for_ms=DAY_MS),
        "server_error": Scenario(errors_for_ms=60_000),
        "half_response": Scenario(reply=Reply.HALF),
        "wrong_reference": Scenario(names_another_payment=True),
    }
)
"""The scenarios by name. Failures of whole connections, such as a TLS failure, are outages (``OutageKind``)."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a scenario is chosen: a payment must match all given fields.

    ``reference`` is a pattern with ``*``, which one of the payment's references must match. ``leg`` is ``payment``
    or ``cover``, for one leg of cover payments. ``one_in`` selects about one payment in so many.
    """

    scenario: str
    reference: str = ""
    amount: str = ""
    currency: str = ""
    leg: Leg = ORDINARY
    one_in: int = 1


class ScenarioScript(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bank does: the first rule that matches chooses the scenario, else it is ``default``.

    ``leg_defaults`` has the default of one leg of cover payments, if it is another one. ``scenarios`` are defined by
    the script itself. ``differences`` are put into the statements. ``banks`` maps other codes of a bank, such as its
    routing number, to the one under which its accounts are kept. ``balances_off_minor`` says by how much the balances
    that a bank states are wrong. With ``bars_recalled`` the bank accepts the recall of a payment that it has not
    received, and rejects the payment if it arrives later.
    """

    seed: int = 1
    bars_recalled: bool = False
    default: str = "settle"
    leg_defaults: dict[Leg, str] = {}
    rules: tuple[Rule, ...] = ()
    scenarios: dict[str, Scenario] = {}
    differences: tuple[DifferenceRule, ...] = ()
    banks: dict[str, str] = {}
    balances_off_minor: dict[str, int] = {}

    def checked(self) -> ScenarioScript:
        """Return the script. Raises Misconfigured, with what is wrong."""
        chosen = (rule.scenario for rule in self.rules)
        for name in (self.default, *self.leg_defaults.values(), *chosen):
            if name not in self.scenarios and name not in SCENARIOS:
                known = ", ".join((*self.scenarios, *SCENARIOS))
                raise Misconfigured(f"there is no scenario {name!r}", why=f"there are {known}")
        if len(self.rules) > RULES_MAX or any(rule.one_in < 1 for rule in self.rules):
            raise Misconfigured(f"a script has at most {RULES_MAX} rules, and one_in is 1 or more")
        if max(map(len, (self.differences, self.banks, self.balances_off_minor))) > RULES_MAX:
            what = (
                f"a script has at most {RULES_MAX} differences, codes of banks, and wrong balances"
            )
            raise Misconfigured(what)
        return self

    def scenario(self, name: str) -> Scenario:
        """Return a scenario by name; those of the script take precedence."""
        found = self.scenarios.get(name) or SCENARIOS.get(name)
        assert found is not None, "a script is checked before it is used"
        return found

    def choose(
        self, names: tuple[str, ...], amount: str, currency: str, leg: Leg = ORDINARY
    ) -> str:
        """Choose the scenario of a payment. The same references with the same seed give the same choice."""
        for place, rule in enumerate(self.rules):
            is_of_leg = rule.leg in (ORDINARY, leg)
            agrees = is_of_leg and _agrees(rule, names, amount, currency)
            if agrees and self._is_drawn(rule, place, names):
                return rule.scenario
        return self.leg_defaults.get(leg, self.default)

    def _is_drawn(self, rule: Rule, place: int, names: tuple[str, ...]) -> bool:
        if rule.one_in == 1:
            return True
        text = "\n".join((str(self.seed), str(place), *names))
        drawn = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
        return drawn % rule.one_in == 0


def _agrees(rule: Rule, names: tuple[str, ...], amount: str, currency: str) -> bool:
    return (
        (not rule.reference or any(fnmatchcase(name, rule.reference) for name in names))
        and rule.amount in ("", amount)
        and rule.currency in ("", currency)
    )
