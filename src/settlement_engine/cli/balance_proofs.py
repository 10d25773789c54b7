"""What ``prove --date`` prints: the proofs of our accounts at banks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.output import BAD, GOOD, WARN, counted, mark, print_json, say, table
from settlement_engine.domain.money import format_amount

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from settlement_engine.domain.proof import BalanceProof

COLUMNS: Final = (
    *("ACCOUNT", "DAY", "OURS", "+ OPEN THEIRS", "- OPEN OURS", "+ OPENING", "+ UNEXPLAINED"),
    *("= THEIRS", "", "PROOF"),
)


def tell_proofs(url: str, day: date | None, account_id: int | None, *, is_json: bool) -> ExitCode:
    """Print the proofs, and return the exit code: 0 if all of them are zero."""
    from settlement_engine.app.database import balance_proofs

    found = asyncio.run(balance_proofs(url, day, account_id))
    if is_json:
        print_json({"proofs": [proof_dict(*each) for each in found]})
    else:
        print_proofs(found)
    return ExitCode.OK if all(proof.is_zero for _, _, proof in found) else ExitCode.UNBALANCED


def print_proofs(found: Sequence[tuple[int, str, BalanceProof]]) -> None:
    """Print proofs as a table."""
    if not found:
        mark(WARN, "no account has a proof for this day")
        return
    table(COLUMNS, [_row(*each) for each in found], right=COLUMNS[2:8])
    for account_id, _, proof in found:
        if proof.held_back_by:
            say(f"  account {account_id}: {proof.held_back_by}")
    zero = sum(proof.is_zero for _, _, proof in found)
    sign = GOOD if zero == len(found) else BAD
    mark(sign, f"{counted(len(found), 'account')}, {zero} proved to zero")


def _row(account_id: int, currency: str, proof: BalanceProof) -> tuple[str, ...]:
    amounts = (
        proof.our_closing_minor,
        proof.unmatched_theirs_minor,
        proof.unmatched_ours_minor,
        proof.opening_difference_minor,
        proof.difference_minor,
        proof.their_closing_minor,
    )
    state = "zero" if proof.is_zero else "held back" if proof.held_back_by else "NOT ZERO"
    return (
        str(account_id),
        proof.booking_date.isoformat(),
        *(format_amount(minor, currency) for minor in amounts),
        currency,
        state,
    )


def proof_dict(account_id: int, currency: str, proof: BalanceProof) -> dict[str, Any]:
    """Return the proof with its amounts as decimal texts, named as in the JSON of ListProofs."""
    said = msgspec.structs.asdict(proof)
    amounts = {
        _camel(name.removesuffix("_minor")): format_amount(minor, currency)
        for name, minor in said.items()
        if name.endswith("_minor")
    }
    return {
        "accountId": str(account_id),
        "currency": currency,
        "bookingDate": proof.booking_date.isoformat(),
        **amounts,
        "unmatchedEntries": proof.unmatched_theirs,
        "unmatchedPostings": proof.unmatched_ours,
        "heldBackBy": proof.held_back_by,
        "isZero": proof.is_zero,
    }


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
