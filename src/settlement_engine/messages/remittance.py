"""Remittance information: texts, and references of documents and creditors."""

from __future__ import annotations

import msgspec

from settlement_engine.messages.forms import Form, either, inside, many, opt, skip
from settlement_engine.messages.leaves import MAX35, MAX140, choice
from settlement_engine.messages.parties import PARTY, Party


class StructuredRemittance(msgspec.Struct, frozen=True, kw_only=True):
    """A creditor's reference (``SCOR``: ISO 11649), and the parties of the invoice."""

    reference_type: str | None = None
    reference_type_own: str | None = None
    reference_issuer: str | None = None
    reference: str | None = None
    invoicer: Party | None = None
    invoicee: Party | None = None
    texts: tuple[str, ...] = ()


_STRUCTURED = Form(
    StructuredRemittance,
    (
        *skip("RfrdDocInf"),
        *skip("RfrdDocAmt", most=1),
        inside(
            "CdtrRefInf",
            inside(
                "Tp",
                either(
                    "CdOrPrtry",
                    opt(
                        "Cd",
                        "reference_type",
                        choice("RADM", "RPIN", "FXDR", "DISP", "PUOR", "SCOR"),
                    ),
                    opt("Prtry", "reference_type_own", MAX35),
                    least=1,
                ),
                opt("Issr", "reference_issuer", MAX35),
            ),
            opt("Ref", "reference", MAX35),
        ),
        opt("Invcr", "invoicer", PARTY),
        opt("Invcee", "invoicee", PARTY),
        *skip("TaxRmt", "GrnshmtRmt", most=1, since=2019),
        many("AddtlRmtInf", "texts", MAX140, most=3),
    ),
)
REMITTANCE = (
    many("Ustrd", "remittance_texts", MAX140),
    many("Strd", "structured_remittance", _STRUCTURED),
)
