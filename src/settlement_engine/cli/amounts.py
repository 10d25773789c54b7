"""Commands that take an amount: ``-5`` is a wrong amount there, and not an unknown option."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: object) -> object:
        """Stand in for the real one, which costs time at each start."""
        return method


_NEGATIVE: Final = re.compile(r"-[0-9.,]+", re.ASCII)
_SHIELD: Final = "\0"
"""What stands before a negative number while the options are told apart; no argument can hold it."""


class AmountCommand(click.Command):
    """Passes a negative number on as the argument that it is, so that it is refused for what it is."""

    @override
    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        with_value = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and not parameter.is_flag
            for name in parameter.opts
        }
        before = ["", *args]
        shielded = [
            _SHIELD + word if _NEGATIVE.fullmatch(word) and previous not in with_value else word
            for previous, word in zip(before, args, strict=False)
        ]
        rest = super().parse_args(context, shielded)
        for name, value in context.params.items():
            if isinstance(value, str):
                context.params[name] = value.removeprefix(_SHIELD)
        return rest
