"""The engine's part of case management: it opens cases for people, and carries out what two of them attest.

Promises: a payment that is in doubt for too long becomes one case, by the database's clock. Before an attestation is
applied, the bank is asked once more, and a final status of the bank wins. *Not settled* is not applied to a payment
that was sent again, or acknowledged, after it was attested. An approved proposal survives a crash: it is processed
again until its settlement has ended. It is applied as a transition, guarded by state, sequence number and fencing
token. Must never: move money in any other way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.decisions.people import DEFINITE, bank_wins, more_definite
from settlement_engine.domain.lifecycle import TRANSITIONS, Ask
from settlement_engine.domain.proposals import ATTESTED, OF_PARKED, is_outdated
from settlement_engine.engine.asker import question_of
from settlement_engine.engine.external_timeout import external_timeout
from settlement_engine.engine.integrity import may_be_put, silence
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.ports import Answer, EnquiryRail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.proposals import Proposal
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.integrity import Integrity
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.mailbox import Mailbox
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import (
        CaseStore,
        Meter,
        ResolutionStore,
        SendRail,
        SettlementStore,
    )

TAKE_UP_MARGIN_SECONDS: Final = 1.0
"""Another engine takes up a proposal only this long after the bank's answer to this one can arrive."""

log = structlog.get_logger(__name__)


class EngineCases:
    """What the API uses of case management (``ports.CaseManagement``), together with the engine's own worker."""

    def __init__(
        self,
        settings: EngineSettings,
        cases: CaseStore,
        resolutions: ResolutionStore,
        rails: Mapping[str, SendRail],
    ) -> None:
        self._settings = settings
        self._rails = rails
        self.cases = cases
        self.resolutions = resolutions

    @property
    def proposal_valid_seconds(self) -> float:
        """For how many seconds a proposal may be approved."""
        return self._settings.proposal_valid_seconds

    def rail_class(self, rail: str) -> str:
        """Return the class of a rail; empty for one that this engine does not have."""
        found = self._rails.get(rail)
        return found.capabilities.rail_class.value if found is not None else ""

    def takes_enquiries(self, rail: str) -> bool:
        """Say whether a rail is asked for a payment's status; one that this engine does not have may be."""
        found = self._rails.get(rail)
        return found is None or Ask.ENQUIRE in found.capabilities.asks


class CaseWorker:
    """Works on cases and approved proposals at regular intervals."""

    def __init__(  # noqa: PLR0913 - the parts of the engine that it hands on to
        self,
        settings: EngineSettings,
        case_management: EngineCases,
        *,
        store: SettlementStore,
        rails: Mapping[str, SendRail],
        mailbox: Mailbox,
        lease: EngineLease,
        gate: Gate,
        integrity: Integrity,
        meter: Meter,
    ) -> None:
        self._settings = settings
        self._case_management = case_management
        self._store = store
        self._rails = rails
        self._mailbox = mailbox
        self._lease = lease
        self._gate = gate
        self._integrity = integrity
        self._meter = meter
        timeout_seconds = [
            rail.capabilities.answer_timeout_seconds
            for rail in rails.values()
            if Ask.ENQUIRE in rail.capabilities.asks  # no other rail is asked before an attestation
        ]
        longest = max(timeout_seconds, default=0.0) + TAKE_UP_MARGIN_SECONDS
        self._pause_seconds = max(settings.resolve_pause_seconds, longest)

    async def run(self) -> None:
        """Work for ever; during a recovery nothing is decided for the rails whose gate is closed."""
        while True:
            if self._gate.is_ajar:
                try:
                    await self.look()
                except (Unavailable, Contention, Broken) as error:
                    log.warning("cases_not_checked", why=error.why or error.what)
            await asyncio.sleep(self._settings.case_interval_seconds)

    async def look(self) -> None:
        """Open new cases, close those of ended settlements, carry out approved proposals."""
        cases, batch_max = self._case_management.cases, self._settings.case_batch_max
        opened = await cases.open_doubts(self._settings.doubt_limits, batch_max)
        if opened:
            self._meter.invariant_warning("doubt_too_long", opened)
            log.warning("cases_opened", count=opened)
        if parked := await cases.open_held(batch_max):
            log.warning("parked_for_people", count=parked)
        await cases.close_ended(batch_max)
        proposals = await self._case_management.resolutions.take_up(self._pause_seconds, batch_max)
        if proposals:
            await self._act(proposals)

    async def _act(self, proposals: Sequence[Proposal]) -> None:
        try:
            found = await self._store.load([proposal.settlement_id for proposal in proposals])
        except Broken as error:
            if len(proposals) == 1:
                log.warning("proposal_not_read", why=error.why or error.what)
                return
            for proposal in proposals:  # one record that cannot be read costs no other's proposal
                await self._act([proposal])
            return
        await self._act_on(proposals, found)

    async def _act_on(
        self, proposals: Sequence[Proposal], found: Mapping[UUID, Settlement]
    ) -> None:
        by_rail: dict[str, list[tuple[Proposal, Settlement]]] = {}
        for proposal in proposals:
            settlement = found.get(proposal.settlement_id)
            if (
                settlement is None
                or ATTESTED[proposal.finding] not in TRANSITIONS[settlement.state]
            ):
                continue  # it has ended meanwhile, or is being sent again at the moment: until the next look
            if is_outdated(proposal, settlement):
                continue  # it was sent again, or the bank has it: the next look ends the proposal
            if proposal.finding in OF_PARKED:  # nothing was sent, so that no bank has to be asked
                log.warning("parked_decided", proposal=proposal.id, settlement=str(settlement.id))
                self._mailbox.hear([_attest(proposal, settlement, "")])
                continue
            assert settlement.attempt is not None, "what may be attested was sent"
            if not self._gate.is_open_for(settlement.attempt.route.rail):
                continue  # its bank has not delivered its list yet: until a later look
            if not may_be_put(
                Ask.ENQUIRE, settlement, self._integrity.of_question(settlement, Ask.ENQUIRE)
            ):
                # Under altered references the bank would be asked about another payment.
                log.error("resolution_waits", settlement=str(settlement.id), why="altered")
                continue
            by_rail.setdefault(settlement.attempt.route.rail, []).append((proposal, settlement))
        async with asyncio.TaskGroup() as group:
            for name, pairs in by_rail.items():
                rail = self._rails.get(name)
                if (
                    rail is None
                ):  # another engine may have this rail: nothing is done without asking the bank
                    self._meter.invariant_warning("rail_missing", len(pairs))
                    log.error("resolution_waits", rail=name, count=len(pairs))
                else:
                    group.create_task(self._resolve(rail, pairs))

    async def _resolve(self, rail: SendRail, pairs: list[tuple[Proposal, Settlement]]) -> None:
        """Ask the bank once more; its final status wins, otherwise the attestation is applied."""
        said = await self._enquire(rail, [settlement for _, settlement in pairs])
        heard = []
        for proposal, settlement in pairs:
            word = said.get(settlement.id)
            outcome = (word or silence(settlement)).event.value
            log.warning(
                "resolution_acted_on",
                proposal=proposal.id,
                settlement=str(settlement.id),
                finding=proposal.finding.value,
                bank_said=outcome,
            )
            wins = word is not None and bank_wins(word, proposal.finding, settlement.state)
            if word is not None and not wins:
                self._mailbox.keep_message(word)
            heard.append(word if word and wins else _attest(proposal, settlement, outcome))
        self._mailbox.hear(heard)

    def _hear_late(self, answers: Sequence[Answer]) -> None:
        """Pass on what came too late for a decision, if it is definite; the message of the rest is kept."""
        self._mailbox.hear([each for each in answers if each.event in DEFINITE])
        for answer in answers:
            if answer.event not in DEFINITE:
                self._mailbox.keep_message(answer)

    async def _enquire(
        self, rail: SendRail, settlements: Sequence[Settlement]
    ) -> dict[UUID, Answer]:
        """Ask a rail about settlements, and keep the most definite answer to each."""
        found: dict[UUID, Answer] = {}
        is_over = False

        def report(answers: Sequence[Answer]) -> None:
            if is_over:  # too late for this decision, but the rail's status is still processed
                self._hear_late(answers)
                return
            for answer in answers:
                before = found.get(answer.settlement_id)
                chosen = found[answer.settlement_id] = more_definite(before, answer)
                if before is not None:
                    self._mailbox.keep_message(before if chosen is answer else answer)

        if Ask.ENQUIRE not in rail.capabilities.asks:
            return found  # this bank takes no enquiries: the attestation is applied without asking
        assert isinstance(rail, EnquiryRail), "a rail that takes enquiries can be asked"
        questions = [question_of(settlement, Ask.ENQUIRE) for settlement in settlements]
        try:
            async with external_timeout(rail.capabilities.answer_timeout_seconds):
                await rail.enquire(questions, report)
        except TimeoutError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever goes wrong out there is silence
            log.warning("question_failed", rail=rail.name, ask="enquire", error=repr(error))
        is_over = True
        return found


def _attest(proposal: Proposal, settlement: Settlement, bank_said: str) -> Answer:
    """Make the answer of two people, with its evidence; valid only at the current sequence number."""
    attempt = settlement.attempt
    return Answer(
        settlement_id=settlement.id,
        event=ATTESTED[proposal.finding],
        attempt=attempt.number if attempt is not None else 0,
        seq=settlement.seq,
        papers={
            "proposal": str(proposal.id),
            "proposed_by": proposal.proposed_by,
            "approved_by": proposal.decided_by,
            "reason": proposal.reason,
            "evidence_sha256": proposal.evidence_sha256.hex(),
            "bank_said": bank_said,
        },
    )
