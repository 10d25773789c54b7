"""The report shows the measured figures next to the limit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from settlement_lab.bench import report
from settlement_lab.bench.limit import Limit
from settlement_lab.bench.machine import Machine
from settlement_lab.bench.measure import Figures
from settlement_lab.bench.stress import StressResult

FIGURES = Figures(
    name="batch",
    spread="many",
    seconds=10.0,
    settlements=40_000,
    refused=3,
    faults={},
    accepted_per_second=4_100.0,
    completed_per_second=4_050.0,
    announced_per_second=4_000.0,
    latency_ms={"p50": 12.34, "p99": 99.9},
    end_ms={},
    open_most=4_000,
    engine_us=150.0,
    postgres_us=200.0,
    nats_us=60.0,
    client_us=20.0,
    commits=0.012,
    wal_bytes=4_096.0,
    engine_peak_bytes=100 * 1024**2,
    limit_per_second=8_000.0,
    limit_us=110.0,
)
LIMIT = Limit(
    spread="many",
    batch=500,
    per_second=8_000.0,
    postgres_us=90.0,
    client_us=20.0,
    commits=0.006,
    wal_bytes=2_048.0,
)
MACHINE = Machine(
    processor="a processor",
    cores=2,
    memory_bytes=24 * 1024**3,
    kernel="6.1",
    python="3.11.7",
    postgres="18.6",
    nats="2.15.1",
    load_before=0.5,
    fsyncs_per_second=5_000.0,
)


def test_a_row_has_a_cell_for_each_column():
    assert len(report.row(FIGURES)) == len(report.COLUMNS)
    assert len(report.row(replace(FIGURES, latency_ms={}))) == len(report.COLUMNS)
    assert len(report.limit_row(LIMIT)) == len(report.LIMIT_COLUMNS)


def test_the_ratio_uses_the_slower_of_the_completed_and_announced_rates():
    assert FIGURES.ratio == pytest.approx(0.5)
    assert replace(FIGURES, completed_per_second=2_000.0).ratio == pytest.approx(0.25)
    assert replace(FIGURES, announced_per_second=0.0).ratio == pytest.approx(4_050 / 8_000)
    assert replace(FIGURES, limit_per_second=0.0).ratio == 0


def test_the_document_is_json_and_holds_the_ratio():
    outcome = StressResult(name="recovery", lines=["fine"], figures={"asked_seconds": 1.0})
    found = report.document(MACHINE, 900.0, [LIMIT], [FIGURES], [outcome.document()])
    told = json.loads(json.dumps(found))
    assert told["rows"][0]["ratio"] == pytest.approx(0.5)
    assert told["machine"]["cores"] == 2
    assert told["trials"][0]["is_good"] is True


def test_faults_are_reported_with_their_scenario():
    faulty = replace(FIGURES, faults={"INTERNAL: what": 2})
    assert report.fault_lines([FIGURES, faulty]) == ["batch/many: 2 times INTERNAL: what"]


def test_a_markdown_table_has_a_line_for_each_row_and_numbers_on_the_right():
    outcome = StressResult(name="recovery", lines=["one | two", "three"], is_good=False)
    rows = report.outcome_rows([outcome])
    assert report.markdown_table(report.OUTCOME_COLUMNS, rows, ("what came of it",)) == [
        "| further scenario |  | what came of it |",
        "| --- | --- | ---: |",
        "| recovery | NOT as it should be | one \\| two; three |",
    ]
