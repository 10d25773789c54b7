"""Commands that take an amount: they report ``-5`` as a wrong amount, not as an unknown option."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: object) -> object:
        """Replace the real one at run time: its import would slow down each start."""
        return method


_NEGATIVE: Final = re.compile(r"-[0-9.,]+", re.ASCII)
_SHIELD: Final = "\0"
"""A prefix for negative numbers while click parses the options; no real argument can contain it."""


class AmountCommand(click.Command):
    """A command that reads a negative number as an argument, so that the engine refuses the amount."""

    @override
    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments with negative numbers hidden from the option parser."""
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
