"""The demo's report: what happened, and which guarantees held.

Promises: the numbers come from the books, not from the demo's own counters.
"""

from __future__ import annotations

from collections import Counter
from statistics import quantiles
from typing import TYPE_CHECKING, Final

from settlement_engine.cli.messages import status_name
from settlement_engine.cli.output import BAD, GOOD, mark, say
from settlement_engine.proto import settlement_pb2 as wire
from settlement_lab.commands.demo.payments import RAILS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_lab.commands.demo.checks import PromiseCheck
    from settlement_lab.commands.demo.payments import DemoOrder
    from settlement_lab.commands.demo.story import Story

PERCENT: Final = 100


def print_story(story: Story, payments: Sequence[DemoOrder]) -> None:
    """Print what happened."""
    count = len(story.settlements)
    last = max((_ended(found) for found in story.settlements), default=story.began_at)
    seconds = max(last - story.began_at, 1e-6)
    say(f"  {count:,} settlements in {seconds:.1f} s including the crash: {count / seconds:,.0f}/s")
    say(f"  {_latencies(story, payments)}")
    statuses = Counter(status_name(found.status).lower() for found in story.settlements)
    parts = [f"{status.replace('_', ' ')} {number:,}" for status, number in statuses.most_common()]
    say(f"  {' · '.join(parts)}")
    refusals = Counter(found.refusal_code for found in story.settlements if found.refusal_code)
    parts = [f"{code} {number:,}" for code, number in refusals.most_common()]
    say(f"  refusals: {' · '.join(parts) or 'none'}")
    scripts = Counter(request.metadata["simulate"] for request in payments if request.metadata)
    parts = [f"{name.replace('_', ' ')} {number:,}" for name, number in sorted(scripts.items())]
    say(f"  simulated bank faults: {' · '.join(parts) or 'none'}")
    say(f"  over the bank simulator: {_rails(story)}")
    say(f"  {_crash(story)}")


def print_checks(checks: Sequence[PromiseCheck]) -> None:
    """Print which guarantees held."""
    for check in checks:
        mark(GOOD if check.is_true else BAD, f"{check.promise} ({check.detail})")


def _rails(story: Story) -> str:
    """Say how many settlements each rail of the bank simulator carried, and how they ended."""
    parts: list[str] = []
    for rail in RAILS:
        statuses = Counter(
            status_name(f.status).lower().replace("_", " ")
            for f in story.settlements
            if f.rail == rail
        )
        ends = ", ".join(f"{number:,} {name}" for name, number in statuses.most_common())
        parts.append(f"{rail} {ends or 'none'}")
    return " · ".join(parts)


def _crash(story: Story) -> str:
    if not story.killed_at:
        return "the engine was not killed"
    open_then = [found for found in story.settlements if _was_open(found, story.killed_at)]
    after = [_ended(found) for found in open_then]
    first = f"{min(after) - story.killed_at:.1f} s" if after else "-"
    back = f"{story.back_at - story.killed_at:.1f} s" if story.back_at else "-"
    return (
        f"crash: kill -9 while {len(open_then):,} settlements were open; ready again after {back},"
        f" the first of them ended after {first}; {story.resent:,} instructions were sent again"
    )


def _latencies(story: Story, payments: Sequence[DemoOrder]) -> str:
    odd = {request.obligation_id for request in payments if request.metadata or request.rail}
    took = [
        _ended(found) - _created(found)
        for found in story.settlements
        if found.status == wire.COMPLETED
        and found.obligation_id not in odd
        and not _was_open(found, story.killed_at)
    ]
    if len(took) < PERCENT:
        return "too few settlements for latency percentiles"
    cuts = quantiles(took, n=PERCENT)
    middle, slow = cuts[49] * 1000, cuts[98] * 1000
    return f"latency from accepted to completed: p50 {middle:,.0f} ms · p99 {slow:,.0f} ms"


def _was_open(found: wire.SettlementStatusResponse, at: float) -> bool:
    return _created(found) <= at < _ended(found)


def _created(found: wire.SettlementStatusResponse) -> float:
    return found.created_time.ToNanoseconds() / 1e9


def _ended(found: wire.SettlementStatusResponse) -> float:
    return found.ended_time.ToNanoseconds() / 1e9
