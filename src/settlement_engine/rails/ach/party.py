"""Who is named in a file: the bank that it goes to, we as its sender and company, and the account that is paid.

Pure. Must never: invent an identifier that the configuration does not give.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from settlement_engine.messages.nacha.routing import INSTITUTION_DIGITS

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class AchParty:
    """The parties of one bank's files.

    ``destination`` is the bank's routing number, under whose first eight digits our entries have their traces;
    ``origin`` is what it calls us. ``company_id`` and ``company_name`` head a batch. ``receiver`` is the routing
    number of the settlement agent that keeps ``account``, ours, where our own money is moved to. ``zone`` is the
    time zone of a file's day. ``routing_numbers`` are those of the banks that can be paid out to, by folded code.
    """

    destination: str
    destination_name: str
    origin: str
    origin_name: str
    company_id: str
    company_name: str
    receiver: str
    account: str
    account_kind: str
    name: str
    description: str
    zone: str
    routing_numbers: Mapping[str, str] = field(default_factory=dict)

    @property
    def institution(self) -> str:
        """The first eight digits of the bank's routing number."""
        return self.destination[:INSTITUTION_DIGITS]

    @property
    def sender(self) -> str:
        """The two parties of a file: its modifier distinguishes their files of one day."""
        return f"{self.origin} {self.destination}"
