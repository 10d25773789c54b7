"""Health: named checks that run periodically; their results are available at any time.

Promises: reading the health costs nothing and queries nothing: it returns the latest result with its age. A
check that hangs is cancelled and fails; a check without a recent result, or without any, counts as failed. Must
never: let a slow dependency make the process look dead (``/healthz`` depends on nothing), or show a secret.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.monitoring.redaction import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

Check = Callable[[], Awaitable[str]]
"""Returns its result in a few words, or raises an error that says what is wrong."""

Known = Callable[[], str]
"""The same for what is known without a query; it is called whenever the health is read."""

CHECK_TIMEOUT_SECONDS: Final = 5.0
STALE_AFTER_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFinding:
    """The result of one check."""

    is_ok: bool
    text: str
    at: float  # monotonic seconds


class HealthBoard:
    """The latest results, and whether this process accepts work at all."""

    def __init__(
        self,
        checks: Mapping[str, Check] | None = None,
        *,
        timeout_seconds: float = CHECK_TIMEOUT_SECONDS,
        stale_after_seconds: float = STALE_AFTER_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks: dict[str, Check] = dict(checks or {})
        self._timeout_seconds = timeout_seconds
        self._stale_after_seconds = stale_after_seconds
        self._monotonic = monotonic
        self._known: dict[str, Known] = {}
        self._findings: dict[str, HealthFinding] = {}
        self._is_draining = False

    def add(self, name: str, check: Check) -> None:
        """Add a check; until its first run it counts as failed."""
        self._require_new(name)
        self._checks[name] = check

    def add_known(self, name: str, known: Known) -> None:
        """Add a check that needs no query: its result is always current."""
        self._require_new(name)
        self._known[name] = known

    def _require_new(self, name: str) -> None:
        is_new = name not in self._checks and name not in self._known
        assert is_new, f"there is a check named {name} already"

    def drain(self) -> None:
        """Report from now on that no new work is accepted."""
        self._is_draining = True

    async def refresh(self) -> None:
        """Run every check once, concurrently."""
        await asyncio.gather(*(self._make(name, check) for name, check in self._checks.items()))

    async def run(self, interval_seconds: float) -> None:
        """Run the checks for ever, at this interval."""
        while True:
            await self.refresh()
            await asyncio.sleep(interval_seconds)

    async def _make(self, name: str, check: Check) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                text, is_ok = await check(), True
        except TimeoutError:
            text, is_ok = f"no answer within {self._timeout_seconds:g} s", False
        except Exception as error:  # noqa: BLE001 - whatever a check raises is its finding
            text, is_ok = str(clean(error)), False
        before = self._findings.get(name)
        self._findings[name] = HealthFinding(is_ok=is_ok, text=text, at=self._monotonic())
        if before is None or before.is_ok is not is_ok:
            (log.info if is_ok else log.warning)("health", check=name, is_ok=is_ok, text=text)

    def _result(self, name: str) -> dict[str, object]:
        finding = self._findings.get(name)
        if finding is None:
            return {"ok": False, "text": "not checked yet", "age_seconds": None}
        age_seconds = round(self._monotonic() - finding.at, 3)
        if age_seconds > self._stale_after_seconds:
            text = f"not checked for too long; was: {finding.text}"
            return {"ok": False, "text": text, "age_seconds": age_seconds}
        return {"ok": finding.is_ok, "text": finding.text, "age_seconds": age_seconds}

    def snapshot(self) -> dict[str, object]:
        """Return everything: ready, draining, and each check with its age in seconds."""
        checks = {name: self._result(name) for name in self._checks}
        checks |= {name: _current_result(known) for name, known in self._known.items()}
        is_ready = not self._is_draining and all(result["ok"] for result in checks.values())
        return {"ready": is_ready, "draining": self._is_draining, "checks": checks}

    @property
    def is_ready(self) -> bool:
        """Return whether the process accepts work."""
        return bool(self.snapshot()["ready"])


def _current_result(known: Known) -> dict[str, object]:
    try:
        text, is_ok = known(), True
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its finding
        text, is_ok = str(clean(error)), False
    return {"ok": is_ok, "text": text, "age_seconds": 0.0}
