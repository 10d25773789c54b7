"""The options of ``submit`` that say more about a payment, and how a payment's details are shown.

Promises: what is not given is not sent, so that the same command as before is the same request as before. The engine
checks the texts; only a file that is no payment is refused here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from google.protobuf.json_format import MessageToDict, Parse, ParseError

from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FILE_BYTES_MAX: Final = 64 * 1024
DELIVERIES: Final = {"book": wire.DELIVERY_BOOK, "pay_out": wire.DELIVERY_PAY_OUT}

_TEXTS: Final = {
    "debtor_name": ("debtor.name", "The debtor's name."),
    "debtor_iban": ("debtor.account.iban", "The debtor's account, by its IBAN."),
    "debtor_account": ("debtor.account.other_id", "The debtor's account, by another number."),
    "creditor_name": ("creditor.name", "The creditor's name."),
    "creditor_iban": ("creditor.account.iban", "The creditor's account, by its IBAN."),
    "creditor_account": ("creditor.account.other_id", "The creditor's account, by another number."),
    "creditor_bic": ("creditor.agent_bic", "The creditor's bank, if that is not TO."),
    "remittance": ("remittance", "A text for the creditor."),
    "creditor_reference": ("creditor_reference", "The creditor's own reference: RF..."),
    "purpose": ("purpose", "An ISO purpose code, such as TRAD."),
    "charge_bearer": ("charge_bearer", "Who bears charges: DEBT, CRED, SHAR or SLEV."),
    "end_to_end_id": ("end_to_end_id", "Your reference, which every bank passes on."),
}
"""The options with a text: the field of the payment details that each sets, and its help."""


class Said(NamedTuple):
    """What the options say about a payment; None and empty where they say nothing."""

    payment: wire.PaymentDetails | None
    rail: str
    delivery: str
    metadata: Mapping[str, str]
    compensates: str = ""

    def write(self, request: wire.SettlementRequest) -> None:
        """Set the fields of the request that were said."""
        if self.payment is not None:
            request.payment.CopyFrom(self.payment)
        if self.rail:
            request.rail = self.rail
        if self.delivery:
            request.delivery = DELIVERIES[self.delivery]
        request.metadata.update(self.metadata)
        request.compensates = self.compensates

    def content(self) -> dict[str, object]:
        """Return what was said beside the metadata, to derive a name from it."""
        content: dict[str, object] = {}
        if self.payment is not None:
            content["payment"] = MessageToDict(self.payment)
        if self.rail:
            content["rail"] = self.rail
        if self.delivery:
            content["delivery"] = self.delivery
        if self.compensates:
            content["compensates"] = self.compensates
        return content


def payment_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command; it gets them as one ``said``."""

    def gather(**arguments: Any) -> object:  # noqa: ANN401 -- whatever the command takes
        file: Path | None = arguments.pop("payment")
        texts = {name: arguments.pop(name) for name in _TEXTS}
        said = Said(
            payment=_payment(file, texts),
            rail=arguments.pop("rail"),
            delivery=arguments.pop("delivery") or "",
            metadata=_pairs(arguments.pop("metadata")),
            compensates=arguments.pop("compensates"),
        )
        return function(said=said, **arguments)

    gather.__doc__ = function.__doc__
    gather.__name__ = function.__name__
    gather.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    decorated: Any = gather
    for option in reversed(list(_options())):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _options() -> Iterator[Callable[[Any], Any]]:
    yield click.option("--rail", default="", help="The rail to take, such as swift.")
    yield click.option(
        "--delivery",
        type=click.Choice(list(DELIVERIES), case_sensitive=False),
        help="Book the money for TO, or have it paid out. Default: pay_out with payment details.",
    )
    yield click.option(
        "--payment",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Payment details as JSON, as the API takes them; the options for them take precedence.",
    )
    yield click.option(
        "--metadata", multiple=True, metavar="KEY=VALUE", help="Additional data; may be repeated."
    )
    yield click.option(
        "--compensates",
        metavar="ID",
        default="",
        help="The completed settlement that this one pays back. Two other people have to release it.",
    )
    for name, (_, text) in _TEXTS.items():
        yield click.option(f"--{name.replace('_', '-')}", default="", help=text)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign:
            message = f"--metadata {text} is not valid: write key=value"
            raise click.UsageError(message)
        pairs[key] = value
    return pairs


def _payment(file: Path | None, texts: Mapping[str, str]) -> wire.PaymentDetails | None:
    """Put together what the file and the options say; None when neither says anything."""
    if file is None and not any(texts.values()):
        return None
    payment = wire.PaymentDetails() if file is None else _read(file)
    for name, text in texts.items():
        if not text:
            continue
        *parts, field = _TEXTS[name][0].split(".")
        inside: Any = payment
        for part in parts:
            inside = getattr(inside, part)
        setattr(inside, field, text)
    return payment


def _read(file: Path) -> wire.PaymentDetails:
    """Read payment details from a file."""
    with file.open("rb") as opened:
        content = opened.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        message = f"{file} has more than {FILE_BYTES_MAX} bytes"
        raise click.UsageError(message)
    if not content.lstrip().startswith(b"{"):
        message = f"{file} contains no payment details: it is no JSON object"
        raise click.UsageError(message)
    try:
        return Parse(content, wire.PaymentDetails())
    except (ParseError, UnicodeDecodeError) as error:
        message = f"{file} contains no payment details: {error}"
        raise click.UsageError(message) from None


def delivery_name(number: wire.Delivery.ValueType) -> str:
    """Return the name of a delivery as it is shown; empty for one that a later version has added."""
    return {wire.DELIVERY_BOOK: "booked", wire.DELIVERY_PAY_OUT: "paid out"}.get(number, "")


def payment_facts(payment: wire.PaymentDetails) -> list[tuple[str, str]]:
    """Return the details of a payment as pairs of title and text."""
    return [
        ("debtor", _party(payment.debtor)),
        ("creditor", _party(payment.creditor)),
        ("remittance", payment.remittance or payment.creditor_reference),
        ("purpose", payment.purpose),
        ("charges", payment.charge_bearer),
        ("end to end", payment.end_to_end_id),
    ]


def _party(party: wire.PaymentParty) -> str:
    account = party.account.iban or party.account.other_id
    place = " ".join(part for part in (party.address.town_name, party.address.country) if part)
    return ", ".join(part for part in (party.name, account, party.agent_bic, place) if part)
