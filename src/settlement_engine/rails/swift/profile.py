"""The rules of the rail as data with a date: what the bank guarantees, and the versions of the messages."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from settlement_engine.domain.decisions.resending import RailClass
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.kinds import KINDS
from settlement_engine.ports import MessageType, RailCapabilities
from settlement_engine.ports.lanes import LaneLimits

if TYPE_CHECKING:
    from pathlib import Path

_SPOKEN: Final = {
    "transfer": "pacs.009",
    "status": "pacs.002",
    "enquiry": "pacs.028",
    "recall": "camt.056",
    "resolution": "camt.029",
    "money_back": "pacs.004",
}
"""The kind of message whose version each field of a profile names."""


class SwiftProfile(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"money_back": "return"},
):
    """The rules of one bank. The bank states them; the rail contract tests them."""

    published: str
    source: str
    rail_class: Literal["A", "B", "C", "D"]
    is_not_found_definite: bool
    deduplicates_seconds: int
    validity_seconds: int
    answer_timeout_seconds: int
    concurrency_max: int
    transfer: str
    status: str
    enquiry: str
    recall: str
    resolution: str
    money_back: str
    service: str

    def capabilities(self) -> RailCapabilities:
        """Convert the profile to the engine's capabilities."""
        return RailCapabilities(
            rail_class=RailClass(self.rail_class.lower()),
            answer_timeout_seconds=self.answer_timeout_seconds,
            is_not_found_definite=self.is_not_found_definite,
            validity_seconds=self.validity_seconds,
            deduplicates_seconds=self.deduplicates_seconds,
            lane=LaneLimits(concurrency_max=self.concurrency_max),
            messages=(
                _type(self.transfer, Ask.SEND),
                _type(self.enquiry, Ask.ENQUIRE),
                _type(self.recall, Ask.RECALL),
                _type(self.status),
                _type(self.resolution),
                _type(self.money_back),
            ),
        )


def _type(definition: str, ask: Ask | None = None) -> MessageType:
    name, _, version = definition.rpartition(".")
    return MessageType(name=name, versions=(version,), ask=ask)


def shipped_profile() -> SwiftProfile:
    """Read the profile that comes with the engine."""
    text = resources.files(__package__).joinpath("profile.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), SwiftProfile)


def read_profile(path: Path) -> SwiftProfile:
    """Read a profile from a file, with the same keys as ``profile.toml``. Raises Misconfigured."""
    try:
        profile = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), SwiftProfile)
    except (OSError, ValueError) as error:  # TOML, UTF-8 and msgspec's errors are ValueErrors
        raise Misconfigured(
            f"the profile {path} cannot be used",
            why=getattr(error, "strerror", None) or str(error),
            todo="Write it with the keys of the profile that comes with the engine.",
        ) from None
    for field, name in _SPOKEN.items():
        definition: str = getattr(profile, field)
        kind, _, version = definition.rpartition(".")
        if not definition.startswith(name) or version not in _versions(kind):
            what = f"the profile {path} names {definition}, which is no {name} that the engine has"
            raise Misconfigured(what, todo="docs/reference/messages.md lists them.")
    return profile


def _versions(kind: str) -> frozenset[str]:
    known = KINDS.get(f"{kind}.")
    return frozenset() if known is None else frozenset(known.editions)
