"""Rails of ISO 20022 for tests: one bank or several, with what the scripted bank guarantees, or with nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from settlement_engine.domain.payment import Delivery, PaymentDetails
from settlement_engine.rails.iso20022.connections import BankConnection, Connections
from settlement_engine.rails.iso20022.dialect import Dialect
from settlement_engine.rails.iso20022.parties import Institution, OurAccounts
from settlement_engine.rails.iso20022.profile import IsoProfile, shipped_profile
from settlement_engine.rails.iso20022.rail import IsoRail
from settlement_engine.rails.transport.http import HttpSettings, HttpTransport
from tests.unit.rails.builders import settlement

if TYPE_CHECKING:
    from collections.abc import Callable

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.messages.schemas import MessageSchemas
    from settlement_engine.ports import Clock

US = Institution(bic="SETTGB2L", name="Settlement Engine Tests")
ACCOUNTS = OurAccounts(
    debited="DE02120300000000202051",
    settlement_agent="MARKDEFF",
    settlement_account="DE02500105170137075030",
)
SHIPPED = {"swift": "swift", "sepa_sct": "sepa_sct", "sepa_inst": "sepa_inst", "realtime": "fednow"}
"""Each rail, and a shipped profile for it."""

NOWHERE = "http://127.0.0.1:1"


def profile_of(rail: str = "swift", **changes: Any) -> IsoProfile:
    return msgspec.structs.replace(shipped_profile(SHIPPED[rail]), **changes)


def agreed_profile(rail: str = "swift", **changes: Any) -> IsoProfile:
    """What the scripted bank guarantees."""
    return msgspec.structs.replace(shipped_profile(f"simulator_{SHIPPED[rail]}"), **changes)


def dialect(profile: IsoProfile, accounts: OurAccounts = ACCOUNTS) -> Dialect:
    return Dialect(US, profile, accounts)


def connection(
    profile: IsoProfile,
    http: HttpSettings | None = None,
    *,
    name: str = "bank",
    banks: tuple[str, ...] = (),
    currencies: tuple[str, ...] = (),
    answer_seconds: int = 5,
    states_balances: bool = False,
) -> BankConnection:
    return BankConnection(
        name=name,
        profile=profile,
        dialect=dialect(profile),
        transport=HttpTransport(http or HttpSettings(endpoint=NOWHERE)),
        answer_seconds=answer_seconds,
        banks=frozenset(banks),
        currencies=frozenset(currencies),
        states_balances=states_balances,
    )


def iso_rail(
    clock: Clock,
    *connections: BankConnection,
    name: str = "swift",
    count_alarm: Callable[[str, str], None] | None = None,
    kind: type[IsoRail] = IsoRail,
    schemas: MessageSchemas | None = None,
) -> IsoRail:
    reached = connections or (connection(profile_of(name)),)
    return kind(name, Connections(reached), clock, count_alarm, schemas)


def paid_out(payment: PaymentDetails | None = None, key: str = "k") -> Settlement:
    """A settlement by which TO, or its customer, is paid."""
    made = settlement(key)
    instruction = replace(made.instruction, payment=payment, requested_delivery=Delivery.PAY_OUT)
    return replace(made, instruction=instruction)
