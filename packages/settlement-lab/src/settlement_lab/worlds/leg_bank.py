"""The banks of a world as they treat cover payments: each message by itself, whatever becomes of the other one.

One object plays TO, which has the customer's payments, and FROM, which has the covers; a message is told apart by its
message id. Only a cover debits our account. Promises: the fates are drawn from a generator of its own, that of a
payment and those of its covers independently. Must never: know which messages belong together, but for TO, which may
wait for its cover, and sends back the money of what it has refused.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.returns import NOT_STATED, StatedAmount
from settlement_engine.ports import (
    InboundMessage,
    MessageSource,
    PaymentReferences,
    RailClass,
    StatusReport,
)
from settlement_lab.worlds.bank import (
    DECISION_SECONDS,
    LIE_SECONDS,
    LIES_MAX,
    OPEN,
    RAIL_NAME,
    RECALLED,
    REJECTED,
    RETURN_LOOKS_MAX,
    RETURN_SECONDS,
    SETTLED,
    SLOW_DECISION_SECONDS,
    WORDS,
    Bank,
    SimulatedPayment,
)
from settlement_lab.worlds.faults import (
    COVER_REFUSED,
    LEG_SPEAKS_LATE,
    PAIR_SENT_BACK,
    REFUSED_AFTER_COVER,
)

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID

    from settlement_engine.ports import Question, RailCapabilities

COVERS_BEGIN: Final = "C"
"""The first character of the message id of a cover; that of a payment begins otherwise."""

SLOW_SHARE: Final = 0.25
SPEAKING_SHARE: Final = 0.5
LATE_SHARE: Final = 0.3
LATE_SECONDS: Final = (20.0, 60.0, 150.0)
"""How late a bank may still report on its message alone: the pair has usually ended by then."""

COVERED_SECONDS: Final = (0.1, 1.0, 8.0, 60.0, 200.0)
"""How long TO takes to pay its customer once the cover has come; FROM may have forgotten the cover by then."""

SENT_BACK_SHARE: Final = 0.5
"""How often TO sends the money back of a payment that it has refused, and that was covered."""

NOT_TAKEN: Final = (REJECTED, RECALLED)


class LegFate(StrEnum):
    """What a bank will do with a message."""

    SETTLES = auto()
    REFUSED = auto()
    WAITS = auto()  # TO pays its customer once the cover has come
    TURNS = auto()  # TO takes the payment, and refuses it once the cover is under way


FATES_OF_PAYMENTS: Final = (
    *(
        LegFate.SETTLES,
        LegFate.SETTLES,
        LegFate.SETTLES,
        LegFate.WAITS,
        LegFate.WAITS,
        LegFate.WAITS,
    ),
    *(LegFate.REFUSED, LegFate.TURNS, LegFate.TURNS),
)
FATES_OF_COVERS: Final = (
    LegFate.SETTLES,
    LegFate.SETTLES,
    LegFate.SETTLES,
    LegFate.REFUSED,
    LegFate.REFUSED,
)
WAITING: Final = (LegFate.WAITS, LegFate.TURNS)


class LegBank(Bank):
    """See the module. It shares with the world's bank what is known of settlements, and nothing of messages."""

    def __init__(self, bank: Bank, rules: RailCapabilities, chance: Random) -> None:
        super().__init__(
            bank.loop,
            bank.clock,
            bank.faults,
            bank.chronicle,
            rules,
            skew=bank.skew,
            debits=bank.debits,
            contradicted=bank.contradicted,
            returned=bank.returned,
            declined=bank.declined,
            state_of=bank.state_of,
            amount_of=bank.amount_of,
        )
        self.chance = chance
        self.fates: dict[str, LegFate] = {}
        self.payments: dict[UUID, SimulatedPayment] = {}
        self.covers: dict[UUID, list[SimulatedPayment]] = {}
        self.credits: dict[str, int] = {}
        self._uetrs: dict[str, UUID] = {}
        self._owed: set[UUID] = set()
        self._late = 0

    # --- what arrives -------------------------------------------------------------------------------

    @override
    def name_of(self, question: Question) -> str:
        """Return the message id."""
        return question.references.message_id

    @override
    def _write_down(self, question: Question, state: str = OPEN) -> SimulatedPayment:
        leg = super()._write_down(question, state)
        self._uetrs[leg.reference] = question.references.uetr
        is_cover = leg.reference.startswith(COVERS_BEGIN)
        fates = FATES_OF_COVERS if is_cover else FATES_OF_PAYMENTS
        self.fates[leg.reference] = fates[int(self.chance.random() * len(fates))]
        if is_cover:
            self.covers.setdefault(leg.settlement_id, []).append(leg)
        else:
            self.payments[leg.settlement_id] = leg
        return leg

    # --- what the banks do --------------------------------------------------------------------------

    @override
    def _think(self, payment: SimulatedPayment) -> None:
        choices = SLOW_DECISION_SECONDS if self._draws(SLOW_SHARE) else DECISION_SECONDS
        payment.is_acknowledged = self._draws(SPEAKING_SHARE)
        self.later(self._seconds(choices), self._decide, payment)
        if self._is_cover(payment):
            taken = self.payments.get(payment.settlement_id)
            if taken is not None and self._fate(taken) is LegFate.TURNS:
                self.later(self._seconds(choices), self._refuse_covered, taken)

    @override
    def _decide(self, payment: SimulatedPayment) -> None:
        if self._fate(payment) not in WAITING:
            is_settled = self._fate(payment) is LegFate.SETTLES
            self._end(payment, SETTLED if is_settled else REJECTED)

    def _refuse_covered(self, payment: SimulatedPayment) -> None:
        """Refuse a payment whose cover is under way, or has come."""
        if payment.state == OPEN:
            self.faults.note(REFUSED_AFTER_COVER)
            self._end(payment, REJECTED)

    def _end(self, leg: SimulatedPayment, state: str) -> None:
        """Decide about one message, and perhaps report it."""
        if leg.state != OPEN:
            return
        leg.state = state
        self.chronicle.note(f"bank decides {leg.reference[:9]}: {state}")
        if state == SETTLED:
            self._pay(leg)
        elif self._is_cover(leg):
            self.faults.note(COVER_REFUSED)
        if leg.is_acknowledged or self._draws(SPEAKING_SHARE):
            self._speak(leg)
        if self.faults.happens("bank_contradicts"):
            self.later(self._seconds(LIE_SECONDS), self._lie, leg, LIES_MAX)
        if state == SETTLED and self._is_cover(leg) and self.faults.happens("bank_returns"):
            self.later(RETURN_SECONDS, self._return, leg, RETURN_LOOKS_MAX)
        self._owe_perhaps(leg.settlement_id)

    @override
    def _pay(self, payment: SimulatedPayment) -> None:
        """Debit our account for a cover; for a payment, pay the customer. Each must happen once only."""
        if not self._is_cover(payment):
            self.credits[payment.reference] = self.credits.get(payment.reference, 0) + 1
            return
        super()._pay(payment)
        waiting = self.payments.get(payment.settlement_id)
        if waiting is not None and self._fate(waiting) is LegFate.WAITS:
            self.later(self._seconds(COVERED_SECONDS), self._end, waiting, SETTLED)

    @override
    def _take_back(self, question: Question, payment: SimulatedPayment | None) -> Event | None:
        event: Event | None
        if payment is None and self.rules.rail_class is RailClass.B:
            self._write_down(question, RECALLED)  # what is blocked is not decided any more
            event = Event.RECALLED
        else:
            event = super()._take_back(question, payment)
        self._owe_perhaps(question.settlement_id)
        return event

    def _owe_perhaps(self, settlement_id: UUID) -> None:
        """Perhaps let TO send back the money of a payment that it does not have, and whose cover has come."""
        payment = self.payments.get(settlement_id)
        is_refused = payment is not None and payment.state in NOT_TAKEN
        if not is_refused or settlement_id in self._owed or not self.debits.get(settlement_id):
            return
        self._owed.add(settlement_id)
        if self._draws(SENT_BACK_SHARE):
            self.faults.note(PAIR_SENT_BACK)
            self.later(RETURN_SECONDS, self.send_all_back, payment)

    @override
    def _send_back(self, payment: SimulatedPayment, whole: int) -> None:
        self.send_all_back(payment)

    # --- what the banks say -------------------------------------------------------------------------

    @override
    def _speak(self, payment: SimulatedPayment) -> None:
        super()._speak(payment)
        if self._draws(LATE_SHARE):
            self.faults.note(LEG_SPEAKS_LATE)
            message = self._status(payment, WORDS[payment.state])
            self._late += 1
            self.loop.later(self._seconds(LATE_SECONDS), self._tell_late, message)

    def _tell_late(self, message: InboundMessage) -> None:
        self._late -= 1
        self._tell(message)

    @override
    def _status(
        self, payment: SimulatedPayment, event: Event, stated: StatedAmount = NOT_STATED
    ) -> InboundMessage:
        """Make a report on one message alone."""
        self.messages += 1
        name = payment.reference
        references = PaymentReferences(uetr=self._uetrs[name], message_id=name)
        report = StatusReport(
            event=event,
            references=references,
            code="SIM",
            stated=stated,
            confirmation=name if event is Event.SETTLED else "",
        )
        return InboundMessage(
            rail=RAIL_NAME,
            source=MessageSource.PUSHED,
            content=f"{self.messages} {name} {event.value}".encode(),
            reports=(report,),
        )

    def is_torn(self, settlement_id: UUID) -> bool:
        """Say whether TO has paid without a cover, or FROM has paid a cover of what TO has not paid."""
        payment = self.payments.get(settlement_id)
        is_paid = payment is not None and payment.state == SETTLED
        return is_paid is not bool(self.debits.get(settlement_id))

    # --- one message --------------------------------------------------------------------------------

    def _fate(self, leg: SimulatedPayment) -> LegFate:
        return self.fates[leg.reference]

    def _is_cover(self, leg: SimulatedPayment) -> bool:
        return leg.reference.startswith(COVERS_BEGIN)

    def _draws(self, share: float) -> bool:
        return self.chance.random() < share

    def _seconds(self, choices: tuple[float, ...]) -> float:
        return choices[int(self.chance.random() * len(choices))] * (0.5 + self.chance.random())

    @property
    def is_quiet(self) -> bool:
        """Return whether nothing is decided any more; TO may wait for a cover that never comes."""
        undecided = (
            leg
            for leg in self.book.values()
            if leg.state == OPEN and self._fate(leg) not in WAITING
        )
        return not self.under_way and not any(undecided)

    @property
    @override
    def is_at_rest(self) -> bool:
        """Return whether no late report is on its way, either."""
        return self.is_quiet and not self._late
