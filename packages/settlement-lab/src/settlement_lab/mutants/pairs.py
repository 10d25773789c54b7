"""Mutants of cover payments: two messages to two banks, one UETR, and one debit at most."""

from __future__ import annotations

from typing import Final

from settlement_lab.mutants.patching import Cut, Mutant

_DECISIONS: Final = "settlement_engine.domain.decisions.pairs"
_OUTCOME: Final = f"{_DECISIONS}:cover_outcome"
_ANSWERS: Final = "settlement_engine.rails.pair_answers"
_PAIRS: Final = {"pairs": 1.0}
_LINGERING: Final = {**_PAIRS, "request_lingers": 0.5, "answer_lost": 0.3}

PAIRS_MUTANTS: Final[dict[str, Mutant]] = {
    # --- what both banks say --------------------------------------------------------------------
    "one_bank_ends_a_pair": Mutant(
        "what one bank reports of its message ends the pair",
        (
            Cut(
                f"{_DECISIONS}:is_of_one_bank",
                "    return (bool(answer.report_id) or is_old) and answer.event in _OF_BOTH_BANKS\n",
                "    return False\n",
            ),
        ),
        seed=1,
        emphasis=_PAIRS,
    ),
    "one_bank_disproves_a_pair": Mutant(
        "what one bank reports of its message disproves what two people attested of the pair",
        (
            Cut(
                "settlement_engine.domain.decisions.after_the_end:judge",
                "    if is_of_one_bank(settlement, answer):\n",
                "    if False:\n",
            ),
        ),
        seed=3,
        emphasis=_PAIRS,
    ),
    "payment_settles_a_pair": Mutant(
        "a pair is settled when its payment is",
        (
            Cut(
                f"{_DECISIONS}:_with_payment",
                "is_both = payment is cover is LegSays.SETTLED",
                "is_both = payment is LegSays.SETTLED",
            ),
        ),
        seed=1,
        emphasis=_PAIRS,
    ),
    "cover_settles_a_pair": Mutant(
        "a pair is settled when its cover is",
        (
            Cut(
                f"{_DECISIONS}:_with_payment",
                "is_both = payment is cover is LegSays.SETTLED",
                "is_both = cover is LegSays.SETTLED",
            ),
        ),
        seed=14,
        emphasis=_PAIRS,
    ),
    "refused_payment_releases_a_pair": Mutant(
        "a refused payment releases the hold although its cover has left",
        (
            Cut(
                _OUTCOME,
                "    if payment in _NOT_PAID and cover in _NOT_PAID:\n",
                "    if payment in _NOT_PAID:\n",
            ),
        ),
        seed=1,
        emphasis=_PAIRS,
    ),
    "unknown_cover_is_refused": Mutant(
        "a cover that its bank does not know counts as refused",
        (
            Cut(
                _OUTCOME,
                "    if payment in _NOT_PAID and cover in _NOT_PAID:\n",
                "    if payment in _NOT_PAID and cover in {*_NOT_PAID, LegSays.UNKNOWN}:\n",
            ),
        ),
        seed=46,
        emphasis=_LINGERING,
    ),
    "recalled_payment_releases_a_pair": Mutant(
        "a payment that TO gives back releases the hold although its cover has left",
        (
            Cut(
                f"{_DECISIONS}:recalls_cover",
                "    return has_left and payment in _NOT_PAID.values()\n",
                "    return False\n",
            ),
        ),
        seed=3,
        emphasis=_PAIRS,
    ),
    # --- what leaves ----------------------------------------------------------------------------
    "cover_sent_again_unrecognised": Mutant(
        "a cover that may have left is sent again although its bank would not recognise it",
        (
            Cut(
                f"{_DECISIONS}:may_send_cover",
                "    return not cover.has_left or may_send_again(cover, rules, now)\n",
                "    return True\n",
            ),
        ),
        seed=18,
        emphasis=_LINGERING,
    ),
    "cover_sent_without_intent": Mutant(
        "a cover is sent by an engine that has not recorded its send intent",
        (
            Cut(
                f"{_ANSWERS}:is_due",
                "    if not question.cover_due or cover is None or cover.refusal is not None:\n"
                "        return False\n"
                "    return sha256_of(cover) == question.cover_due\n",
                "    return cover is not None and cover.refusal is None\n",
            ),
        ),
        seed=1,
        emphasis=_PAIRS,
    ),
    "silent_cover_never_left": Mutant(
        "a cover without an answer counts as one that did not leave",
        (
            Cut(
                f"{_ANSWERS}:Pairs.said_of_cover",
                "    says = LegSays.SILENT if answer is None else",
                "    says = LegSays.UNSENT if answer is None else",
            ),
        ),
        seed=164,
        emphasis=_LINGERING,
    ),
    "repaired_without_refusal": Mutant(
        "a cover is repaired although its bank has not refused it",
        (
            Cut(
                "settlement_engine.domain.covers:check_still_refused",
                "    if says in (LegSays.REFUSED, LegSays.GIVEN_BACK, LegSays.UNKNOWN):\n",
                "    if says in LegSays:\n",
            ),
            Cut(
                "settlement_engine.domain.covers:check_repair",
                "    if cover is None or cover.refusal is None:\n",
                "    if cover is None:\n",
            ),
            Cut(
                "settlement_lab.memory.covers:MemoryCovers._is_new",
                " or (stored and stored[-1].refusal is None)",
            ),
        ),
        seed=3,
        emphasis=_PAIRS,
    ),
}
