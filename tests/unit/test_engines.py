"""Engine processes: replaced when they die, not in a hot loop, and gone when we go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from settlement_engine.app.development import engines
from settlement_engine.app.development.engines import BoundPorts, DevelopmentEngine
from settlement_engine.errors import Unavailable
from tests.support.waiting import until_blocking as until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT_SECONDS = 20.0
READY = """
import json, os, signal, sys, time
print("hello from the engine", os.environ["COLOUR"], flush=True)
with os.fdopen(int(os.environ["SETTLEMENT_READY_PIPE"]), "w") as pipe:
    json.dump({"grpc": 1, "http": 2, "metrics": 3}, pipe)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep(60)
"""
STUBBORN = READY.replace("sys.exit(0)", "None").replace("60)", "60); time.sleep(60)")
DEAD = "import sys; print('no disk'); sys.exit(9)"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], DevelopmentEngine]]:
    made: list[DevelopmentEngine] = []

    def make_engine(code: str) -> DevelopmentEngine:
        command = (sys.executable, "-c", code)
        engine = DevelopmentEngine({"COLOUR": "blue"}, tmp_path / "engine.log", command)
        made.append(engine)
        engine.start()
        return engine

    yield make_engine
    for engine in made:
        engine.end(0.0)


def test_an_engine_says_where_it_listens_and_writes_its_log(
    make: Callable[[str], DevelopmentEngine], tmp_path: Path
) -> None:
    engine = make(READY)
    engine.await_ready()
    assert engine.ports == BoundPorts(grpc=1, http=2, metrics=3)
    assert "hello from the engine blue" in (tmp_path / "engine.log").read_text(encoding="utf-8")


def test_a_first_start_that_fails_is_told_with_the_engines_last_words(
    make: Callable[[str], DevelopmentEngine],
) -> None:
    engine = make(DEAD)
    with pytest.raises(Unavailable) as caught:
        engine.await_ready()
    assert "status 9" in caught.value.why
    assert "no disk" in caught.value.why


@pytest.mark.kill
def test_an_engine_that_was_killed_is_replaced_and_both_changes_are_told(
    make: Callable[[str], DevelopmentEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "YOUNG_SECONDS", 0.0)
    engine = make(READY)
    engine.await_ready()
    assert not engine.watch()
    before = engine.kill()
    until(engine.watch)
    assert engine.pid != before
    assert not engine.is_ready
    until(engine.watch)
    assert engine.is_ready
    assert engine.restarts == 1


def test_an_engine_that_keeps_dying_is_not_started_in_a_hot_loop(
    make: Callable[[str], DevelopmentEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("settlement_engine.app.development.engines.time.monotonic", lambda: now[0])
    engine = make(DEAD)
    waits: list[float] = []
    for restarts in range(1, 8):
        child = engine._child
        assert child is not None
        child.wait(timeout=TIMEOUT_SECONDS)
        began = now[0]
        while not engine.watch():
            now[0] += 0.01
        assert engine.restarts == restarts
        waits.append(now[0] - began)
    assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8], abs=0.02)
    assert max(waits) == pytest.approx(engines.PAUSE_MAX_SECONDS, abs=0.02)


def test_an_engine_that_drains_ends_with_zero(make: Callable[[str], DevelopmentEngine]) -> None:
    engine = make(READY)
    engine.await_ready()
    child = engine._child
    assert child is not None
    engine.drain()
    engine.end(TIMEOUT_SECONDS)
    assert child.returncode == 0
    assert engine.pid is None


@pytest.mark.kill
def test_an_engine_that_does_not_drain_is_killed(make: Callable[[str], DevelopmentEngine]) -> None:
    engine = make(STUBBORN)
    engine.await_ready()
    child = engine._child
    assert child is not None
    engine.drain()
    engine.end(0.2)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.kill
def test_an_engine_dies_with_whoever_began_it(tmp_path: Path) -> None:
    code = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import os, time
from settlement_engine.app.development.child import die_with_parent
die_with_parent()
open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
time.sleep(60)
'''], env={{**os.environ, "SETTLEMENT_PARENT_PID": str(os.getpid())}})
child.wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    pid_file = tmp_path / "pid"
    until(lambda: pid_file.exists() and bool(pid_file.read_text(encoding="ascii")))
    pid = int(pid_file.read_text(encoding="ascii"))
    parent.kill()
    parent.wait(timeout=TIMEOUT_SECONDS)
    until(lambda: _is_gone(pid))


def _is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_nothing_of_our_environment_but_the_needed_reaches_an_engine(
    make: Callable[[str], DevelopmentEngine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SETTLEMENT_SERVER__HOST", "elsewhere")
    monkeypatch.setenv("PGPASSWORD", "secret")
    engine = make("import os; print(sorted(os.environ))\n" + READY)
    engine.await_ready()
    words = (tmp_path / "engine.log").read_text(encoding="utf-8")
    assert "PATH" in words
    assert "SETTLEMENT_SERVER__HOST" not in words
    assert "PGPASSWORD" not in words
    assert os.environ["PGPASSWORD"] == "secret"
