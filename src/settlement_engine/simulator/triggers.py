"""What each scenario does, in a sentence for people. ``trigger --list`` prints them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SENTENCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "settle": "It settles in its first response.",
        "accept_then_settle": "It accepts, and settles soon after.",
        "settle_by_callback": "It settles, and says so by call-back only.",
        "reject": "It rejects: the account is closed (AC04).",
        "lost_request": "The first request is lost on its way.",
        "lost_answer": "It settles, and its response is lost.",
        "slow": "It answers after three seconds.",
        "twice": "It says everything twice.",
        "out_of_order": "It says that it has settled before it says that it has accepted.",
        "accept_then_reject": "It accepts, and rejects soon after (AM04).",
        "reject_then_settle": "It says that it has rejected, and settles all the same.",
        "settle_then_reject": "It settles, and says later that it has rejected.",
        "refuse_message": "It refuses the message itself (admi.002).",
        "settle_twice": "It settles, and reports a second debit.",
        "other_amount": "It settles another amount than was asked for.",
        "late_return": "It settles, and the money comes back.",
        "partial_return": "It settles, and the money comes back in two parts, less charges.",
        "unknown_at_first": "Its response is lost, and for two seconds it does not know the payment.",
        "recall_refused": "It accepts, and refuses to give the payment back.",
        "recall_delayed": "It accepts, and gives the payment back after a while.",
        "recall_accepted": "It accepts, and gives the payment back.",
        "settle_recall_refused": "It settles, and refuses to give the money back.",
        "settle_recall_delayed": "It settles, decides a recall later, and returns the money.",
        "silent_for_a_day": "It settles, and says nothing about it for a day.",
        "server_error": "It answers with server errors for a minute.",
        "half_response": "It settles, and the connection ends in the middle of its response.",
        "wrong_reference": "It answers about another payment.",
    }
)
