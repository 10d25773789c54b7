"""How commands are defined: imported when they are called, with the same general options everywhere.

Promises: listing the commands imports none of them; ``--debug`` and ``--no-color`` work at every level.
"""

from __future__ import annotations

import difflib
import importlib
import os
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import click

from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import override
else:

    def override(method: object) -> object:
        """Replace the real one at run time: its import takes a third of the time of `--help`."""
        return method


PACKAGE: Final = "settlement_engine.cli"
ADDED: Final = "settlement_engine.commands"
"""The group of entry points under which another package brings commands."""

Sections: TypeAlias = "Mapping[str, Mapping[str, tuple[str, str]]]"
AnyCommand = TypeVar("AnyCommand", bound=click.Command)


class Lasting:
    """The options that every command has; they stay set until the process ends."""

    def __init__(self) -> None:
        self.is_debugging = False

    def __call__(self, command: AnyCommand) -> AnyCommand:
        """Give a command ``--debug`` and ``--no-color``."""
        flags = {"is_flag": True, "is_eager": True, "expose_value": False}
        command.params += [
            click.Option(
                ["--debug"],
                help="Show tracebacks of errors.",
                callback=self._set_debugging,
                **flags,
            ),
            click.Option(
                ["--no-color"], help="Print no colors.", callback=self._set_colorless, **flags
            ),
        ]
        return command

    def _set_debugging(self, _context: object, _option: object, value: bool) -> None:  # noqa: FBT001 -- click calls it so
        self.is_debugging = self.is_debugging or value

    def _set_colorless(self, _context: object, _option: object, value: bool) -> None:  # noqa: FBT001
        if value:
            os.environ["NO_COLOR"] = "1"


lasting: Final = Lasting()


def added_command(name: str, *, package: str) -> click.Command:
    """Import a command that another package brings; Misconfigured where that is not installed."""
    from importlib.metadata import entry_points  # it costs as much as all of --help

    for entry in entry_points(group=ADDED, name=name):
        if entry.dist is not None and entry.dist.name == package:
            found = entry.load()
            assert isinstance(found, click.Command)
            return found
    raise Misconfigured(
        f"the command {name} is not installed",
        why=f"it is part of the package {package}, which is installed apart from the engine",
        todo=f"Install {package} of the same version; in a checkout: make setup.",
    )


class LazyGroup(click.Group):
    """A group that lists its commands by name and imports a command only when it is called.

    ``sections`` maps a heading to its commands, each with its location and its short help. Commands under
    the empty heading are hidden. The location is a module and a function (``module:name``), or the name of
    another package that brings the command and may not be installed.
    """

    def __init__(self, *, sections: Sections, **settings: Any) -> None:  # noqa: ANN401 -- click's
        super().__init__(**settings)
        self._sections = sections

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's
        """Name the commands."""
        return [name for heading, names in self._sections.items() if heading for name in names]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's
        """Import a command."""
        for commands in self._sections.values():
            if cmd_name in commands:
                module, _, attribute = commands[cmd_name][0].partition(":")
                if not attribute:
                    return added_command(cmd_name, package=module)
                found = getattr(importlib.import_module(f"{PACKAGE}.{module}"), attribute)
                assert isinstance(found, click.Command)
                return found
        return None

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown name suggest a similar one, without importing any."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            alike = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f", did you mean {alike[0]}?" if alike else ""
            message = f"there is no command {args[0]}{hint}"
            raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's
        """List the commands under their headings."""
        for heading, commands in self._sections.items():
            if heading:
                with formatter.section(heading):
                    formatter.write_dl([(name, text) for name, (_, text) in commands.items()])
