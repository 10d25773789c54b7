"""The cover of a customer's payment: a pacs.009 COV to FROM, made from the pacs.008 that TO has. Pure.

Promises: the first cover is a function of the payment's bytes, so that it is the same whenever it is made. Must never:
cover another amount than the payment's, or have its message id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from settlement_engine.domain.bank_codes import is_same_bank
from settlement_engine.messages.envelope import built
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.pacs008 import CustomerTransfer
from settlement_engine.messages.pacs009 import (
    CoveredTransfer,
    InstitutionTransfer,
    InstitutionTransfers,
)
from settlement_engine.messages.references import SettlementInformation
from settlement_engine.messages.transfers import TransferHeader
from settlement_engine.rails.iso20022.details import account_of
from settlement_engine.rails.iso20022.orders import read_order
from settlement_engine.rails.iso20022.parties import agent, agent_code

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.domain.bank_directory import CorrespondentRoute
    from settlement_engine.messages.parties import Agent, PartyAccount
    from settlement_engine.rails.iso20022.orders import Order
    from settlement_engine.rails.iso20022.profile import IsoProfile

_COVERED_FIELDS: Final = frozenset(CoveredTransfer.__struct_fields__) & frozenset(
    CustomerTransfer.__struct_fields__
)


def payer_of(payment: Order) -> str:
    """Return FROM, the bank that pays the cover of a payment."""
    return agent_code(payment.header.settlement.instructing_reimbursement_agent)


def cover_of(profile: IsoProfile, payload: bytes, message_id: str) -> bytes:
    """Build the first cover of a payment. Raises MessageError for bytes that are none."""
    payment = read_order(payload)
    settlement = payment.header.settlement
    keeper = settlement.instructed_reimbursement_agent
    paid = settlement.instructed_reimbursement_account
    return _built(
        profile, payment, message_id, payment.header.created_at, _at(payment, keeper, paid)
    )


def repaired_cover(
    profile: IsoProfile, payload: bytes, message_id: str, route: CorrespondentRoute, now: datetime
) -> bytes:
    """Build another cover, through the correspondent that the directory names now, and of today."""
    payment = read_order(payload)
    keeper, paid = agent(route.correspondent), account_of(route.account)
    return _built(profile, payment, message_id, now, _at(payment, keeper, paid))


def _at(payment: Order, keeper: Agent | None, paid: PartyAccount | None) -> dict[str, Any]:
    """Say where TO is paid: on its account, with FROM itself or with a correspondent."""
    is_beside = not is_same_bank(agent_code(keeper), payer_of(payment))
    return {"creditor_agent": keeper if is_beside else None, "creditor_account": paid}


def _built(
    profile: IsoProfile, payment: Order, message_id: str, at: datetime, sides: dict[str, Any]
) -> bytes:
    one, header = payment.transfer, payment.header
    if not isinstance(one, CustomerTransfer) or not payment.is_covered:
        raise MessageError("Document", "is no payment that is covered")
    us, payer = header.instructing_agent, header.settlement.instructing_reimbursement_agent
    if us is None or payer is None or header.instructed_agent is None:
        raise MessageError("GrpHdr", "does not name the banks of a cover")
    ours = header.settlement.instructing_reimbursement_account
    transfer = InstitutionTransfer(
        instruction_id=message_id,
        end_to_end_id=one.transaction_id or one.end_to_end_id,
        uetr=one.uetr,
        amount=one.amount,
        settlement_date=max(filter(None, (one.settlement_date, at.date()))),
        debtor=us,
        debtor_account=ours,
        debtor_agent=payer,
        creditor=header.instructed_agent,
        covers=CoveredTransfer(**{name: getattr(one, name) for name in _COVERED_FIELDS}),
        **sides,
    )
    is_named = profile.settlement_method == "INDA"
    content = InstitutionTransfers(
        header=TransferHeader(
            message_id=message_id,
            created_at=at,
            transactions=1,
            settlement=SettlementInformation(
                method=profile.settlement_method, account=ours if is_named else None
            ),
            instructing_agent=us,
            instructed_agent=payer,
        ),
        transfers=(transfer,),
    )
    return built(profile.institution, content)
