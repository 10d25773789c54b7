"""The demo's tests run its command as the tests of the command line do."""

from tests.unit.cli.conftest import _nowhere, command

__all__ = ["_nowhere", "command"]
