"""What happens outside the engines: in the network, at the bank, in time and by people, each at any moment.

Promises: the bank is an honest bank of the rail's class and does nothing that such a bank could not do.
Messages are lost, late and delivered twice, and a bank answers after any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_lab.model.parts import TAKEN, Attest, ModelBankRecord, ModelWorld, Recall
from settlement_lab.model.rails import LAST_PHASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_lab.model.parts import SearchBound
    from settlement_lab.model.rails import ModelRail

Change = tuple[str, ModelWorld, str]
"""What happened, the state of the world after it, and what is wrong with it (empty if nothing)."""


class ModelSurroundings:
    """Everything outside the engines, for one rail; ``faults`` are rules that a mutation has removed."""

    def __init__(self, rail: ModelRail, bound: SearchBound, faults: frozenset[str]) -> None:
        self._rail = rail
        self._bound = bound
        self._is_deduplicating = rail.is_deduplicating and "bank not idempotent" not in faults
        self._is_enforcing = rail.is_enforcing_validity and "bank ignores validity" not in faults
        self._is_lying = "people attest without evidence" in faults

    def is_forgotten(self, world: ModelWorld) -> bool:
        """Return whether the bank no longer recognises our reference."""
        return world.phase >= self._rail.forgets_in

    def is_shut(self, world: ModelWorld) -> bool:
        """Return whether an instruction that arrives now is no longer executed."""
        is_expired = world.phase >= self._rail.expires_in
        if self._is_enforcing:
            return is_expired
        is_over = world.phase == LAST_PHASE
        return is_over and not (is_expired and self._rail.is_enforcing_validity)

    def says_not_found(self, world: ModelWorld) -> bool:
        """Return whether the answer to an enquiry may be *not found*."""
        is_unknown = world.bank is ModelBankRecord.NONE or self.is_forgotten(world)
        return is_unknown or not self._rail.is_not_found_definite

    def changes(self, world: ModelWorld, *, is_sending: bool, is_ended: bool) -> Iterator[Change]:
        """Return everything that may happen next; ``is_sending`` if an engine is about to send.

        ``is_ended`` says that the settlement has ended: a return that comes earlier is not reported.
        """
        yield from self._on_the_way(world)
        yield from self._in_the_bank(world, is_ended=is_ended)
        yield from self._of_time(world, is_sending=is_sending)
        yield from self._of_people(world)

    def _on_the_way(self, world: ModelWorld) -> Iterator[Change]:
        count, recall = world.under_way, world.recall
        if count:
            yield "an instruction is lost", world._replace(under_way=count - 1), ""
            if self._rail.may_deliver_twice and count < self._bound.under_way:
                yield "an instruction is duplicated", world._replace(under_way=count + 1), ""
            yield self._arrival(world._replace(under_way=count - 1), is_unowned=False)
        if world.unowned:
            rest = world._replace(unowned=world.unowned - 1)
            yield self._arrival(rest, is_unowned=True)
        if recall in (Recall.UNDER_WAY, Recall.REFUSED_AND_UNDER_WAY):
            rest = world._replace(recall=Recall(recall - 1))
            yield "a recall is lost", rest, ""
            yield self._recalled(rest)

    def _arrival(self, world: ModelWorld, *, is_unowned: bool) -> Change:
        """Let an instruction reach the bank; only the bank knows what it decided about it."""
        is_known = (
            self._is_deduplicating
            and not is_unowned
            and world.bank is not ModelBankRecord.NONE
            and not self.is_forgotten(world)
        )
        if is_known:
            return "an instruction arrives again and is recognised", world, ""
        if self.is_shut(world):
            late = (
                world._replace(bank=ModelBankRecord.LATE)
                if world.bank is ModelBankRecord.NONE
                else world
            )
            return "an instruction arrives too late and is refused", late, ""
        taken = world._replace(bank=ModelBankRecord.PENDING)
        if world.bank in TAKEN:
            return (
                "the bank accepts it a second time",
                taken,
                "double: a second payment is accepted",
            )
        return "the bank accepts the instruction", taken, ""

    def _recalled(self, world: ModelWorld) -> Change:
        refused = world._replace(recall=Recall.REFUSED)
        if world.bank is ModelBankRecord.PENDING:
            return "the bank gives it back", world._replace(bank=ModelBankRecord.RECALLED), ""
        if (
            world.bank is ModelBankRecord.NONE
            and self._rail.has_tombstones
            and not self.is_forgotten(world)
        ):
            return (
                "the bank blocks it for the future",
                world._replace(bank=ModelBankRecord.BARRED),
                "",
            )
        return "the bank refuses the recall", refused, ""

    def _in_the_bank(self, world: ModelWorld, *, is_ended: bool) -> Iterator[Change]:
        if world.bank is ModelBankRecord.PENDING:
            yield "the bank settles", world._replace(bank=ModelBankRecord.SETTLED), ""
            yield "the bank rejects", world._replace(bank=ModelBankRecord.REJECTED), ""
        elif world.bank is ModelBankRecord.SETTLED and is_ended:
            yield "the receiver sends it back", world._replace(bank=ModelBankRecord.RETURNED), ""

    def _of_time(self, world: ModelWorld, *, is_sending: bool) -> Iterator[Change]:
        phase = world.phase + 1
        if phase > LAST_PHASE:
            return
        # Payments that have not settled are rejected at the end of the day; the bank decides before that.
        if phase == LAST_PHASE and world.bank is ModelBankRecord.PENDING:
            return
        # A bank without enforced validity remembers a payment longer than any message is under way.
        is_forgetting = phase == self._rail.forgets_in and not self._rail.is_enforcing_validity
        if is_forgetting and (world.under_way or is_sending):
            return
        yield f"time passes (phase {phase})", world._replace(phase=phase), ""

    def _of_people(self, world: ModelWorld) -> Iterator[Change]:
        """Two people attest what the closed statement shows, and nothing else."""
        match world.attest:
            case Attest.NOBODY if world.phase == LAST_PHASE or self._is_lying:
                is_paid = world.bank in TAKEN - {ModelBankRecord.PENDING}
                if is_paid and not self._is_lying:
                    said = world._replace(attest=Attest.ONE_SAYS_SETTLED)
                    yield "one person says: settled", said, ""
                elif world.phase == LAST_PHASE or self._is_lying:
                    said = world._replace(attest=Attest.ONE_SAYS_NOT)
                    yield "one person says: not settled", said, ""
            case Attest.ONE_SAYS_SETTLED:
                yield "another agrees", world._replace(attest=Attest.SETTLED), ""
            case Attest.ONE_SAYS_NOT:
                yield "another agrees", world._replace(attest=Attest.NOT_SETTLED), ""
            case _:
                pass
