"""What the mock bank does with a payment: the table of scripts, and a random choice for payments without one.

A payment may name a script in ``metadata["simulate"]``. Promises: the outcome depends only on script, reference
and seed, so the same run gives the same results. Must never: read a clock, or do I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MILLION: Final = 1_000_000
NAME_SHOWN_MAX: Final = 40
"""The most characters of an unknown script's name that the rejection quotes."""


class BookState(StrEnum):
    """The state of a payment in the bank's ledger."""

    RECEIVED = auto()  # received, and never answered
    ACKNOWLEDGED = auto()  # accepted; it will be settled or rejected later
    SETTLED = auto()  # the money moved
    CONTRADICTED = auto()  # the money moved, and the bank later reports that it did not
    REJECTED = auto()  # rejected, final
    RECALLED = auto()  # recalled, or blocked before it arrived


FINAL: Final = frozenset(
    {BookState.SETTLED, BookState.CONTRADICTED, BookState.REJECTED, BookState.RECALLED}
)
"""The final states."""

DEBITED: Final = frozenset({BookState.SETTLED, BookState.CONTRADICTED})
"""States whose entering debits the sender's account."""


class RejectionReason(NamedTuple):
    """Why the bank rejects: a code of ISO 20022's external reason code set, and text."""

    code: str
    text: str


NO_REASON: Final = RejectionReason("", "")
CLOSED_ACCOUNT: Final = RejectionReason("AC04", "the account at the bank is closed")
BANK_LACKS_FUNDS: Final = RejectionReason("AM04", "the account at the bank lacks funds")
EXPIRED: Final = RejectionReason("TM01", "arrived after the time until which it was valid")
UNREADABLE: Final = RejectionReason("FF01", "the message cannot be read")
NO_CONNECTION: Final = RejectionReason("", "no connection: not a byte left")
LATE_REJECTION: Final = RejectionReason("MS03", "rejected, says the bank that had said settled")
BARRED: Final = RejectionReason("CUST", "recalled before it was carried out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How the bank and the network treat one payment.

    The first ``lost_sendings`` transmissions are lost in transit; the first ``undelivered_sendings`` are proved
    never transmitted. ``is_answered`` says whether the bank responds to a transmission that arrived. ``is_late``
    means that the final status comes only after the late time.
    """

    end: BookState = BookState.SETTLED
    reason: RejectionReason = NO_REASON
    lost_sendings: int = 0
    undelivered_sendings: int = 0
    is_answered: bool = True
    is_late: bool = False


PLAIN: Final = Script()

SCRIPTS: Final[Mapping[str, Script]] = MappingProxyType(
    {
        "settle": PLAIN,
        "reject": Script(end=BookState.REJECTED, reason=CLOSED_ACCOUNT),
        "lost_request": Script(lost_sendings=1),
        "lost_answer": Script(is_answered=False),
        "late_settle": Script(is_answered=False, is_late=True),
        "late_reject": Script(
            end=BookState.REJECTED, reason=BANK_LACKS_FUNDS, is_answered=False, is_late=True
        ),
        "silent": Script(end=BookState.RECEIVED, is_answered=False),
        "contradict": Script(end=BookState.CONTRADICTED),
        "undelivered": Script(undelivered_sendings=2),
    }
)
"""Every script by its name. ``lost_request`` and ``undelivered`` settle once a transmission has arrived."""


class Fate(NamedTuple):
    """The outcome of a payment at its first receipt: its state now, its final state, and when that is due."""

    state: BookState
    end: BookState
    due_after_ms: int | None
    reason: RejectionReason


def rejected(reason: RejectionReason) -> Fate:
    """Return the outcome of a payment that the bank rejects at once."""
    return Fate(BookState.REJECTED, BookState.REJECTED, None, reason)


def script_of(name: str) -> Script:
    """Return a script; for an unknown or empty name, the plain one."""
    return SCRIPTS.get(name, PLAIN)


def _reject_unknown(name: str) -> Fate:
    known = ", ".join(SCRIPTS)
    shown = name[:NAME_SHOWN_MAX]
    return rejected(RejectionReason("NARR", f"there is no script {shown!r}; there are {known}"))


class Fates:
    """Decides outcomes: by script if there is one, else at random from seed and reference."""

    def __init__(
        self,
        *,
        successes_per_million: int,
        seed: int,
        settlement_delay_ms: int,
        late_ms: int,
    ) -> None:
        self._successes_per_million = successes_per_million
        self._seed = blake2b(str(seed).encode(), digest_size=32).digest()
        self._scripted = {
            name: self._fate(script, settlement_delay_ms, late_ms)
            for name, script in SCRIPTS.items()
        }
        self._settles = self._scripted["settle"]
        self._fails = (rejected(CLOSED_ACCOUNT), rejected(BANK_LACKS_FUNDS))

    @staticmethod
    def _fate(script: Script, settlement_delay_ms: int, late_ms: int) -> Fate:
        wait_ms = settlement_delay_ms if script.end in DEBITED else 0
        if script.is_late:
            wait_ms = late_ms
        if wait_ms == 0:
            return Fate(script.end, script.end, None, script.reason)
        return Fate(BookState.ACKNOWLEDGED, script.end, wait_ms, script.reason)

    def of(self, reference: str, script: str) -> Fate:
        """Decide the outcome; the same reference, script and seed always give the same one."""
        if script:
            return self._scripted.get(script) or _reject_unknown(script)
        if self._successes_per_million == MILLION:
            return self._settles
        digest = blake2b(reference.encode(), digest_size=8, key=self._seed).digest()
        upper, drawn = divmod(int.from_bytes(digest, "big"), MILLION)
        return self._settles if drawn < self._successes_per_million else self._fails[upper % 2]
