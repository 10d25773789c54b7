"""What the mock bank does with a payment: the table of scripts, and chance for payments without one.

A payment may carry a script in ``metadata["simulate"]``. The script and the seed alone decide its fate,
so that the same run meets the same luck. Pure: no clock and no I/O.
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
WORD_SHOWN_MAX: Final = 40
"""No more of an unknown script's name than this is quoted back."""


class BookState(StrEnum):
    """What the bank's book says of a payment."""

    RECEIVED = auto()  # it lies there and nobody ever says a word about it
    ACKNOWLEDGED = auto()  # taken in; it will be settled or rejected later
    SETTLED = auto()  # the money moved
    CONTRADICTED = auto()  # the money moved, and the bank's advice says that it did not
    REJECTED = auto()  # a definite no
    RECALLED = auto()  # given back, or barred before it came


FINAL: Final = frozenset(
    {BookState.SETTLED, BookState.CONTRADICTED, BookState.REJECTED, BookState.RECALLED}
)
"""States that stay for ever."""

DEBITED: Final = frozenset({BookState.SETTLED, BookState.CONTRADICTED})
"""States whose entering debits the sender's account."""


class Reason(NamedTuple):
    """Why the bank says no: a code of ISO 20022's external reason set, and words."""

    code: str
    text: str


NO_REASON: Final = Reason("", "")
CLOSED_ACCOUNT: Final = Reason("AC04", "the account at the bank is closed")
BANK_LACKS_FUNDS: Final = Reason("AM04", "the account at the bank lacks funds")
EXPIRED: Final = Reason("TM01", "arrived after the time until which it was valid")
UNREADABLE: Final = Reason("FF01", "the message cannot be read")
NO_CONNECTION: Final = Reason("", "no connection: not a byte left")
SECOND_THOUGHTS: Final = Reason("MS03", "rejected, says the bank that had said settled")
BARRED: Final = Reason("CUST", "recalled before it was carried out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How the bank and the network treat one payment.

    The first ``lost_sendings`` vanish on the way; the first ``undelivered_sendings`` provably never
    leave. ``is_answered`` says whether the sender hears of a sending that arrived. ``is_late`` means
    that the end comes only after the late time.
    """

    end: BookState = BookState.SETTLED
    reason: Reason = NO_REASON
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
"""Every script by its word. ``lost_request`` and ``undelivered`` settle once a sending has arrived."""


class Fate(NamedTuple):
    """What becomes of a payment on its first receipt: its state now, its end, and when that comes."""

    state: BookState
    end: BookState
    due_after_ms: int | None
    reason: Reason


def rejected(reason: Reason) -> Fate:
    """Make the fate of a payment that the bank refuses at once."""
    return Fate(BookState.REJECTED, BookState.REJECTED, None, reason)


def script_of(word: str) -> Script:
    """Look up a script; an unknown word, like none at all, is answered in the plain way."""
    return SCRIPTS.get(word, PLAIN)


def _refuse_unknown(word: str) -> Fate:
    known = ", ".join(SCRIPTS)
    shown = word[:WORD_SHOWN_MAX]
    return rejected(Reason("NARR", f"there is no script {shown!r}; there are {known}"))


class Fates:
    """Decides fates: by script if there is one, else by a draw from seed and reference."""

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
            word: self._fate(script, settlement_delay_ms, late_ms)
            for word, script in SCRIPTS.items()
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

    def of(self, reference: str, word: str) -> Fate:
        """Decide; the same reference under the same seed always has the same fate."""
        if word:
            return self._scripted.get(word) or _refuse_unknown(word)
        if self._successes_per_million == MILLION:
            return self._settles
        digest = blake2b(reference.encode(), digest_size=8, key=self._seed).digest()
        rest, drawn = divmod(int.from_bytes(digest, "big"), MILLION)
        return self._settles if drawn < self._successes_per_million else self._fails[rest % 2]
