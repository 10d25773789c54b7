"""The scripted bank beside ``dev``: started, watched, restarted on the same port, stopped.

Promises: a bank that dies is started again with the same ledger and address; its token for calling back is in a
file that only this user can read. It must be used from the main thread, as the engines.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.app.development.child import PARENT
from settlement_engine.config import AchBank, RealtimeBank, SepaBank, SwiftBank
from settlement_engine.embedded import files
from settlement_engine.errors import Unavailable

if TYPE_CHECKING:
    from settlement_engine.config import Config

READY_SECONDS_MAX: Final = 30.0
STOP_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 5
TOKEN_BYTES: Final = 32
PROFILES: Final = resources.files("settlement_engine.rails.iso20022") / "profiles"
EURO_ACCOUNT: Final = "DE02120300000000202051"
"""Our account where SEPA needs an IBAN: made up, with valid check digits, as the others."""

SETTLEMENT_AGENT: Final = "MARKDEFF"
SETTLEMENT_ACCOUNTS: Final = {
    "swift": "SWIFT-4711",
    "sepa_sct": "DE02500105170137075030",
    "sepa_inst": "DE72500105170137075031",
    "realtime": "REALTIME-4711",
}
"""Our account at the settlement agent, for each rail: one number is one rail's."""

DOLLAR_FILES: Final[dict[str, Any]] = {
    "profile": "simulator_ach",
    "routing_number": "091000019",
    "bank_name": "SCRIPTED BANK",
    "origin": "1234567890",
    "company_id": "1234567890",
    "company_name": "SETTLEMENT DEV",
    "routing_numbers": {"CHASUS33": "021000021"},
    "settlement_routing_number": "231380104",
    "settlement_account": "4711-0815",
    "receiver_name": "SETTLEMENT DEVELOPMENT",
    "close_after_seconds": 1.0,
    "poll_seconds": 0.25,
}
"""Who is named in files, and how soon one is closed: made up, with valid check digits."""

BANK_OF_FILES: Final = "DEUTDEFF"
"""The bank whose account the simulator debits for files, and whose statement has them: the payer of `trigger`."""

COMMAND: Final = (sys.executable, "-m", "settlement_engine", "bank-simulator", "--json")


class DevelopmentBank:
    """One scripted bank in a process of its own, with its ledger in the data directory."""

    def __init__(self, data_dir: Path, callback_url: str) -> None:
        self._data_dir = data_dir
        self._callback_url = callback_url
        self._token_file = data_dir / "bank-simulator.token"
        self._folders = data_dir / "ach"
        self._child: subprocess.Popen[bytes] | None = None
        self._resume_at = 0.0
        self._port = "0"
        self.url = ""
        self.ready_seconds = 0.0

    @property
    def pid(self) -> int | None:
        """The process id, or None if no process runs."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Start it, and wait until it says where it listens. Raises Unavailable."""
        began = time.monotonic()
        self._write_token()
        log = files.open_log(self._data_dir / "bank-simulator.log")
        try:
            self._child = subprocess.Popen(  # noqa: S603 -- the engine's own program
                [*COMMAND, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, PARENT: str(os.getpid())},
                start_new_session=True,  # Ctrl-C goes to us only; engines drain before it stops
            )
        finally:
            log.close()
        self.url = self._said()
        self._port = self.url.rpartition(":")[2]
        self.ready_seconds = time.monotonic() - began

    def _options(self) -> list[str]:
        ledger = self._data_dir / "bank-simulator.db"
        return [
            *("--ledger", str(ledger), "--port", self._port),
            *(() if ledger.exists() else ("--script", str(self._write_script()))),
            *("--callback-url", self._callback_url),
            *("--callback-token-file", str(self._token_file)),
            *("--orders", str(self._folders / "outbox"), "--reports", str(self._folders / "inbox")),
        ]

    def _write_script(self) -> Path:
        """Write what a new bank begins with; later it keeps its own script, as people and tests have changed it."""
        file = self._data_dir / "bank-simulator.json"
        script = {"banks": {DOLLAR_FILES["routing_number"]: BANK_OF_FILES}}
        file.write_text(json.dumps(script), "utf-8")
        return file

    def _write_token(self) -> None:
        if not self._token_file.exists():
            handle = os.open(self._token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(TOKEN_BYTES))

    def _said(self) -> str:
        assert self._child is not None, "it is started first"
        assert self._child.stdout is not None, "its standard output is ours"
        with self._child.stdout as words:
            ready, _, _ = select.select([words], [], [], READY_SECONDS_MAX)
            line = words.readline() if ready else b""
        if not line:
            self.stop()
            raise Unavailable(
                "the scripted bank did not start",
                todo="Read bank-simulator.log in the data directory.",
            )
        return str(json.loads(line)["simulator"])

    def watch(self) -> bool:
        """Say whether it had died and was started again. Where it cannot start, it is tried again later."""
        is_alive = self._child is not None and self._child.poll() is None
        if is_alive or time.monotonic() < self._resume_at:
            return False
        self._resume_at = time.monotonic() + PAUSE_SECONDS
        try:
            self.start()
        except Unavailable:
            return False
        return True

    def stop(self) -> None:
        """Ask it to stop, and end it after the time-out."""
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(timeout=STOP_SECONDS)

    def kill(self) -> None:
        """End it at once, as a crash would; ``watch`` starts it again with the same ledger."""
        if self._child is not None:
            self._child.kill()

    def reached_by(self, config: Config, *, keeps_mock: bool) -> Config:
        """Return the configuration in which payments go to this bank over every rail.

        The mock bank is left out, or stays the first rail.
        """
        swift = SwiftBank(**self._reached("swift", "simulator_swift"), covers=True)
        sepa = tuple(
            SepaBank(
                **self._reached(rail, f"simulator_{rail}"), our_account=EURO_ACCOUNT, rails=(rail,)
            )
            for rail in ("sepa_sct", "sepa_inst")
        )
        realtime = RealtimeBank(**self._reached("realtime", "simulator_fednow"))
        ach = AchBank(enabled=True, folder=self._folders, **DOLLAR_FILES)
        rails = {"swift": (swift,), "sepa": sepa, "realtime": (realtime,), "ach": (ach,)}
        has_mock = keeps_mock and config.banks.mock_enabled
        banks = config.banks.model_copy(update={"mock_enabled": has_mock, **rails})
        return config.model_copy(update={"banks": banks})

    def _reached(self, rail: str, profile: str) -> dict[str, Any]:
        """Return how this bank is reached over a rail: there is a path for each."""
        return {
            "enabled": True,
            "endpoint": f"{self.url}/{rail}",
            "timeout_seconds": ANSWER_SECONDS,
            "profile_file": Path(str(PROFILES / f"{profile}.toml")),
            "callback_token_file": self._token_file,
            "settlement_agent": SETTLEMENT_AGENT,
            "settlement_account": SETTLEMENT_ACCOUNTS[rail],
        }
