"""What the kernel reports about processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from settlement_lab.bench import machine, processes
from settlement_lab.bench.processes import Pids

NOBODY = Pids(engines=(), postgres=None, nats=None)


def test_cpu_time_includes_child_processes():
    burning = "import os, time\nos.fork()\nend = time.process_time() + 0.3\n"
    burning += "while time.process_time() < end: pass\nprint(1, flush=True)\ntime.sleep(30)"
    child = subprocess.Popen(
        [sys.executable, "-c", burning], stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline()
        assert child.stdout.readline()
        try:
            found = processes.spent(Pids(engines=(child.pid,), postgres=child.pid, nats=None))
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    for spent in (found.engine, found.postgres):
        assert spent >= 0.5, "the fork's time is included"
    assert found.client > 0


def test_an_ended_process_has_no_cpu_time():
    found = processes.spent(NOBODY)
    assert (found.engine, found.postgres, found.nats) == (0, 0, 0)
    assert processes.peak_bytes(NOBODY) == 0


def test_the_memory_peak_is_at_least_the_current_memory():
    own = Pids(engines=(os.getpid(),), postgres=None, nats=None)
    assert processes.peak_bytes(own) >= processes.resident_bytes(own) > 1024**2


def test_the_machine_is_described(tmp_path):
    began = time.monotonic()
    assert machine.measure_fsyncs(tmp_path, seconds=0.05) > 0
    assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == []
