"""What ``prove --items`` prints: the items that were open at the end of the day of each proof.

Promises: it says whether the items add up to the figures of the proof. Where they do not, and nothing has changed since
the proof, the books are wrong.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from settlement_engine.cli.balance_proofs import print_proofs, proof_dict
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.output import BAD, GOOD, WARN, counted, mark, print_json, say, table
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.open_items import ItemSums, added_up, sums_of

if TYPE_CHECKING:
    from datetime import date

    from settlement_engine.app.database import ProofWithItems
    from settlement_engine.domain.open_items import OpenItem

COLUMNS: Final = (
    *("SIDE", "BOOKED", "VALUE", "AMOUNT", "", "ITEM", "REFERENCE OR TEXT"),
    *("MATCHED ON", "MATCH"),
)
TEXT_CHARACTERS: Final = 40


def tell_items(
    url: str, day: date | None, account_id: int | None, limit: int, *, is_json: bool
) -> ExitCode:
    """Print the proofs with their items; the exit code is 0 if all are zero and their items add up to them."""
    from settlement_engine.app.database import proofs_with_items

    found = asyncio.run(proofs_with_items(url, day, account_id, limit))
    if is_json:
        print_json({"proofs": [_as_dict(each) for each in found]})
    else:
        print_proofs([(each.account_id, each.as_of.currency, each.as_of.proof) for each in found])
        for each in found:
            _print(each)
    is_well = all(each.as_of.proof.is_zero and not _is_wrong(each) for each in found)
    return ExitCode.OK if is_well else ExitCode.UNBALANCED


def _adds_up(found: ProofWithItems) -> bool:
    return added_up(found.items) == sums_of(found.as_of.proof)


def _is_wrong(found: ProofWithItems) -> bool:
    """Say whether the items are not those of the proof, although nothing has changed since."""
    return found.as_of.is_current and not found.has_more and not _adds_up(found)


def _print(found: ProofWithItems) -> None:
    proof, currency = found.as_of.proof, found.as_of.currency
    due = sums_of(proof)
    say()
    say(f"account {found.account_id} at the end of {proof.booking_date}: {_said(due, currency)}")
    if found.items:
        table(COLUMNS, [_row(each) for each in found.items], right=("AMOUNT",))
    if found.has_more:
        say(f"{len(found.items):,} shown, and there are more; see more with --limit")
    elif _adds_up(found):
        mark(GOOD, "the items add up to the proof")
    elif found.as_of.is_current:
        mark(BAD, f"the items add up to something else: {_said(added_up(found.items), currency)}")
    else:
        mark(WARN, "the books have changed since the proof: reconcile the account, and ask again")


def _said(sums: ItemSums, currency: str) -> str:
    theirs = format_amount(sums.theirs_minor, currency)
    ours = format_amount(sums.ours_minor, currency)
    return (
        f"{counted(sums.theirs, 'open entry', 'open entries')} of {theirs} {currency},"
        f" {counted(sums.ours, 'open posting')} of {ours} {currency}"
    )


def _row(item: OpenItem) -> tuple[str, ...]:
    return (
        item.side.value,
        item.booked_on.isoformat(),
        _day(item.value_date),
        format_amount(item.minor, item.currency),
        item.currency,
        item.name,
        (item.references[0] if item.references else item.text)[:TEXT_CHARACTERS],
        _day(item.matched_on) or "open",
        str(item.match_id or ""),
    )


def _day(day: date | None) -> str:
    return day.isoformat() if day is not None else ""


def _as_dict(found: ProofWithItems) -> dict[str, Any]:
    """Return the proof and its items, named as in the JSON of ListOpenItems."""
    as_of = found.as_of
    return {
        **proof_dict(found.account_id, as_of.currency, as_of.proof),
        "items": [_item_dict(each) for each in found.items],
        "hasMore": found.has_more,
        "isCurrent": as_of.is_current,
        "addsUp": None if found.has_more else _adds_up(found),
    }


def _item_dict(item: OpenItem) -> dict[str, Any]:
    said = {
        "side": item.side.value,
        "name": item.name,
        "amount": format_amount(item.minor, item.currency),
        "currency": item.currency,
        "bookingDate": item.booked_on,
        "valueDate": item.value_date,
        "references": list(item.references),
        "text": item.text,
        "matchId": str(item.match_id) if item.match_id is not None else None,
        "matchedBy": item.matched_by or None,
        "matchedOn": item.matched_on,
        "matchedTime": item.matched_at,
    }
    built: dict[str, Any] = msgspec.to_builtins(said)
    return {name: value for name, value in built.items() if value is not None}
