"""Kills engine and bank simulator under load over all rails, and compares the two ledgers afterwards.

The bank's ledger is the judge: each completed settlement was debited exactly once, what was returned came back, no
other one was debited, and the bank has no payment that our books do not have.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from settlement_engine.cli.development.sample import FUNDED_UNITS
from settlement_engine.proto import settlement_pb2 as pb
from settlement_lab.commands.demo.payments import RAILS
from tests.e2e.world import ENDED, until
from tests.support.railload import CALL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.e2e.world import World

BACK_SECONDS_MAX = 60.0
ENDS_SECONDS_MAX = 180.0
PAGE_ITEMS = 1_000
VICTIMS = ("engine", "simulator", "both")
PAYER = "DEUTDEFF"


def kill_at_random(world: World, kills: int, seed: int) -> Counter[str]:
    """Kill engine, simulator or both so many times; each is running again before the next kill."""
    chance = Random(seed)
    done: Counter[str] = Counter()
    for _ in range(kills):
        time.sleep(chance.uniform(0.1, 1.5))
        victim = chance.choice(VICTIMS)
        before = _pids(world)
        killed = {name for name in before if victim in (name, "both")}
        for name in killed:
            with suppress(ProcessLookupError):
                os.kill(before[name], signal.SIGKILL)
        back = partial(_is_another, world, before, killed)
        until(back, BACK_SECONDS_MAX, f"{victim} to be started again")
        done[victim] += 1
    return done


def _is_another(world: World, before: Mapping[str, int], killed: Iterable[str]) -> bool:
    """Say whether other processes run in place of the killed ones, and the engine takes payments again."""
    now = _pids(world)
    try:
        is_ready = world.get("/readyz")[0] == HTTPStatus.OK
    except OSError:
        return False
    return is_ready and all(now[name] != before[name] for name in killed)


def _pids(world: World) -> dict[str, int]:
    address = world.address
    (engine,) = address["engine_pids"] or (0,)
    return {"engine": engine, "simulator": address["simulator_pid"] or 0}


# --- the two ledgers --------------------------------------------------------------------------------


class AtTheBank(NamedTuple):
    """What the bank did with a payment: how often it was debited, and what has not come back of that."""

    debits: int = 0
    net: Decimal = Decimal(0)

    def plus(self, line: Mapping[str, Any]) -> AtTheBank:
        """Return it with another line of the ledger."""
        net = Decimal(line["debited_amount"]) - Decimal(line["returned_amount"])
        return AtTheBank(self.debits + line["times_debited"], self.net + net)


def check_both_ledgers(world: World, sent: int) -> list[pb.SettlementStatusResponse]:
    """Wait until everything has ended and both ledgers agree; return the settlements."""
    world.close_channel()
    wrong: list[str] = ["nothing was compared"]

    def agreed() -> list[pb.SettlementStatusResponse] | None:
        try:
            ours = all_settlements(world)
        except grpc.RpcError:
            return None
        wrong[:] = [f"{each.settlement_id} is {each.state}" for each in ours if not _ended(each)]
        # What was recalled comes back a while after the settlement has ended, so both change until they agree.
        wrong[:] = wrong or differences(ours, world.simulator_ledger())
        return None if wrong else ours

    with suppress(AssertionError):
        until(agreed, ENDS_SECONDS_MAX, "both ledgers to agree")
    assert wrong == []
    ours = all_settlements(world)
    assert len(ours) == sent
    assert totals_differ(world, ours) == {}
    assert world.prove()["differences"] == []
    return ours


def all_settlements(world: World) -> list[pb.SettlementStatusResponse]:
    """Read all settlements."""
    found: list[pb.SettlementStatusResponse] = []
    wanted = pb.ListSettlementsRequest(page_size=PAGE_ITEMS)
    while True:
        page = world.settlements.ListSettlements(wanted, timeout=CALL_SECONDS)
        found += page.settlements
        wanted.page_token = page.next_page_token
        if not page.next_page_token:
            return found


def _ended(settlement: pb.SettlementStatusResponse) -> bool:
    return settlement.status in ENDED


def differences(
    ours: Sequence[pb.SettlementStatusResponse], lines: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Compare every settlement that has ended with the bank's ledger, and say where they differ."""
    bank: dict[str, AtTheBank] = {}
    for line in lines:
        name = line["end_to_end_id"]
        bank[name] = bank.get(name, AtTheBank()).plus(line)
    wrong = [f"the bank alone has {each}" for each in bank.keys() - {o.end_to_end_id for o in ours}]
    for each in ours:
        found, wanted = bank.get(each.end_to_end_id, AtTheBank()), _wanted(each)
        if found != wanted:
            wrong.append(f"{each.settlement_id} over {each.rail} is {each.state}: {found}")
    return wrong


def _wanted(settlement: pb.SettlementStatusResponse) -> AtTheBank:
    """Return what the bank has to have done with a settlement, by its final state."""
    if settlement.status == pb.COMPLETED:
        return AtTheBank(1, Decimal(settlement.amount))
    return AtTheBank(1) if settlement.status == pb.RETURNED else AtTheBank()


def totals_differ(
    world: World, ours: Iterable[pb.SettlementStatusResponse]
) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """Compare what has left the payer's account: by our books, by the bank's, and by the settlements.

    Returns the currencies in which they differ. Nothing may be held any more.
    """
    settled = {currency: Decimal(0) for currency in RAILS.values()}
    debited = dict(settled)
    for each in ours:
        settled[each.currency] += Decimal(each.amount) if each.status == pb.COMPLETED else 0
    for line in world.simulator_ledger():
        debited[line["currency"]] += AtTheBank().plus(line).net
    found = {}
    for currency, amount in settled.items():
        account = world.nostro(PAYER, currency)
        left = FUNDED_UNITS - Decimal(account.posted)
        if {left, debited[currency]} != {amount} or Decimal(account.held):
            found[currency] = (left, debited[currency], amount)
    return found
