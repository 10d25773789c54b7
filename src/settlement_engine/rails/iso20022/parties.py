"""Who takes part in an order, in the words of the messages: we, the bank that keeps our account, its receiver.

Promises: a code that has the form of a BIC is named as one, any other as the code under which the directory has it.
Pure. Must never: invent a name or an account that nobody gave.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from settlement_engine.messages.parties import Agent, OtherId, Party, PartyAccount

_BIC: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", re.ASCII)
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", re.ASCII)


class Institution(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are, as far as messages say it."""

    bic: str
    name: str = ""
    lei: str = ""

    def agent(self) -> Agent:
        """Return us as an institution."""
        return agent(self.bic)

    def party(self) -> Party:
        """Return us as the party of a payment."""
        named = agent(self.bic)
        return Party(
            name=self.name or None,
            bic=named.bic,
            lei=self.lei or None,
            organisation_ids=() if named.bic else (OtherId(id=self.bic),),
        )


class OurAccounts(msgspec.Struct, frozen=True, kw_only=True):
    """Our accounts as one bank's messages name them; an empty one is not named.

    ``debited`` is our account with the bank. ``settlement_agent`` and ``settlement_account`` say where our own money
    goes when an order moves it: the rail's settlement agent, and our account there.
    """

    debited: str = ""
    settlement_agent: str = ""
    settlement_account: str = ""


def agent(code: str) -> Agent:
    """Name a bank."""
    return Agent(bic=code) if _BIC.fullmatch(code) else Agent(other_id=code)


def agent_code(named: Agent | None) -> str:
    """Return the code by which ``agent`` has named a bank; empty for none."""
    return "" if named is None else named.bic or named.other_id or ""


def bank_as_party(code: str) -> Party:
    """Name a bank that is itself the party of a payment."""
    if _BIC.fullmatch(code):
        return Party(name=code, bic=code)
    return Party(name=code, organisation_ids=(OtherId(id=code),))


def account(number: str) -> PartyAccount | None:
    """Name an account by its IBAN, or by another number; None for an empty one."""
    if not number:
        return None
    return PartyAccount(iban=number) if _IBAN.fullmatch(number) else PartyAccount(other_id=number)
