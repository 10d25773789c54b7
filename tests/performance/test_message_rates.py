"""The bench measures the rates of messages on correct ones."""

from __future__ import annotations

from settlement_engine.messages.envelope import built, opened
from settlement_lab.bench.message_rates import HEAD, STATUS, TRANSFER, measure


def test_the_rates_are_measured_on_correct_messages():
    assert opened(built("pacs.009.001.08", TRANSFER, HEAD)).content == TRANSFER
    assert opened(STATUS).content.transactions[0].status == "ACSC"
    assert min(measure(0.02)) > 0
