"""One payment at a bank simulator: which scenario it gets, and what the bank's ledger says of it afterwards.

Promises: a scenario is ordered for one payment, by its reference; no other payment is touched. Every exchange has a
time-out and a bound. Must never: speak to a bank that is not a simulator.
"""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from settlement_engine.api.call import LOCAL_CALLER
from settlement_engine.domain.identifiers import references
from settlement_engine.errors import Misconfigured, Unavailable
from settlement_engine.simulator.legs import PAYMENT
from settlement_engine.simulator.scenarios import SCENARIOS, RecallReply
from settlement_engine.simulator.triggers import SENTENCES

if TYPE_CHECKING:
    from collections.abc import Mapping

HTTP_SECONDS: Final = 5.0
HTTP_OK: Final = 200
RESPONSE_BYTES_MAX: Final = 64 * 1024 * 1024
WHY_CHARACTERS_MAX: Final = 500
SETTLING_SECONDS: Final = 1.5
"""How long after the last planned step of a scenario its report may still be on the way."""

RECALLS: Final = "recall_"
"""The beginning of the names of scenarios in which a payment is recalled before it has settled."""

LATE_RECALLS: Final = "settle_recall_"
"""The beginning of the names of scenarios in which a payment is recalled after it has settled."""

WHOLE_PERCENT: Final = 100

MS_PER_SECOND: Final = 1_000
NAME_CHARACTERS: Final = 15
"""So many characters of a payment's end-to-end id stand in every rail's message: an ACH entry has no room for more."""


def sentences() -> Mapping[str, str]:
    """Return every scenario with its sentence."""
    return SENTENCES


def story_seconds(scenario: str) -> float:
    """Return how long after a payment the bank may still report about it."""
    return SCENARIOS[scenario].told_ms / MS_PER_SECOND + SETTLING_SECONDS


def recalled_when(scenario: str) -> str:
    """Return the state in which the payment has to be recalled; nothing if the scenario is not about a recall."""
    if scenario.startswith(RECALLS):
        return "SENT"
    return "COMPLETED" if scenario.startswith(LATE_RECALLS) else ""


def comes_back(scenario: str) -> bool:
    """Say whether all of the money comes back after it has settled: the story ends with that."""
    plan = SCENARIOS[scenario]
    is_given_back = scenario.startswith(LATE_RECALLS) and plan.recall is not RecallReply.REFUSE
    return is_given_back or sum(each.percent for each in plan.returns) >= WHOLE_PERCENT


def is_left_open(scenario: str) -> bool:
    """Say whether the bank says nothing more once it has refused the recall: the payment stays open."""
    return scenario.startswith(RECALLS) and SCENARIOS[scenario].recall is RecallReply.REFUSE


def differs_over_files(scenario: str) -> str:
    """Say what an ACH operator, who takes entries in files, does otherwise; nothing if it does the same."""
    plan = SCENARIOS[scenario]
    if plan.amount_change_minor:
        return "in a file it settles the amount that was asked for: an entry has no other"
    if len(plan.returns) > 1:
        return "in a file the money comes back in one part: an entry is returned whole"
    return ""


def order_scenario(simulator: str, scenario: str, idempotency_key: str) -> None:
    """Have the payment of a local caller's key treated so. Raises Unavailable, Misconfigured."""
    name = references(LOCAL_CALLER, idempotency_key, 1).end_to_end_id[:NAME_CHARACTERS] + "*"
    _exchange(simulator, "/admin/rules", json.dumps({"scenario": scenario, "reference": name}))


def book_funding(simulator: str, bank: str, currency: str, amount: str, text: str) -> None:
    """Have an amount booked on our account at a bank, unless it was before. Raises Unavailable, Misconfigured."""
    booking = {"bank": bank, "currency": currency, "amount": amount, "text": text, "once": True}
    _exchange(simulator, "/admin/bookings", json.dumps(booking))


def ledger_entry(simulator: str, end_to_end_id: str) -> dict[str, Any] | None:
    """Return what the bank's ledger has of a payment; None if it was never received.

    Of a cover payment it is the last cover: the other leg has the same references and moves no money, and a cover that
    was rejected may be followed by another one.
    """
    found: dict[str, Any] | None = None
    short = end_to_end_id[:NAME_CHARACTERS]
    for line in _exchange(simulator, "/ledger").splitlines():
        entry: dict[str, Any] = json.loads(line)
        is_named = end_to_end_id and entry["end_to_end_id"] in (end_to_end_id, short)
        if is_named and entry["leg"] != PAYMENT:
            found = entry
    return found


def _exchange(simulator: str, path: str, body: str | None = None) -> bytes:
    """Ask the simulator. Raises Unavailable, Misconfigured."""
    parts = urlsplit(simulator)
    if parts.scheme != "http" or not parts.hostname:
        raise Misconfigured("the simulator's address must be like http://host:port")
    connection = HTTPConnection(parts.hostname, parts.port or 80, timeout=HTTP_SECONDS)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        said = response.read(RESPONSE_BYTES_MAX)
    except (OSError, HTTPException) as error:
        what = f"the simulator at {simulator} is not reachable"
        raise Unavailable(what, why=str(error)) from None
    finally:
        connection.close()
    if response.status != HTTP_OK:
        why = said.decode("utf-8", "replace")[:WHY_CHARACTERS_MAX]
        raise Misconfigured(f"the simulator has refused {path}", why=why)
    return said
