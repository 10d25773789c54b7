"""Who acts: the name of a person, for calls that the engine accepts from a named person only."""

from __future__ import annotations

import getpass
import re
from typing import TYPE_CHECKING, Any, Final

import click

from settlement_engine.cli.connection import CALL_SECONDS

if TYPE_CHECKING:
    from settlement_engine.cli.connection import EngineAddress

ACTOR: Final = "settlement-actor"
"""The metadata entry with the name of the person who acts."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
"""The names of persons that the engine accepts."""

who_option: Final = click.option(
    "--as", "who", metavar="NAME", help="Who acts. Default: the user of this machine."
)


def name_of(who: str | None, address: EngineAddress) -> str:
    """Return the name of the person who acts."""
    if who is None and address.certificate is not None:
        return "the person named in the certificate"
    if who is None:
        try:
            who = getpass.getuser()
        except (KeyError, OSError):
            message = "the name of your user is not known: give your name with --as NAME"
            raise click.UsageError(message) from None
    if NAME.fullmatch(who) is None:
        message = f"{who!r} is not a valid name: use --as with up to 64 of A-Z, a-z, 0-9, ._@+-"
        raise click.UsageError(message)
    return who


def acting(who: str | None, address: EngineAddress) -> dict[str, Any]:
    """Return the deadline and the metadata of a call; a certificate replaces the default name."""
    name = name_of(who, address)
    is_named = who is not None or address.certificate is None
    return {"timeout": CALL_SECONDS, "metadata": ((ACTOR, name),) if is_named else ()}
