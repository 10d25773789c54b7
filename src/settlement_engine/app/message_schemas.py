"""Reads the schemas of ``[rails] xsd_dir``: those of messages and statements that the engine reads or writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from settlement_engine.errors import Misconfigured
from settlement_engine.messages.envelope import HEAD_NAME
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.kinds import versions
from settlement_engine.messages.schemas import MessageSchemas

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from settlement_engine.config import Config

SUFFIX: Final = ".xsd"
STATEMENT: Final = re.compile(r"camt\.05[234]\.001\.[0-9]{2}", re.ASCII)


def message_schemas(config: Config) -> MessageSchemas | None:
    """Read and compile the schemas; None when no directory is configured. Raises Misconfigured."""
    folder = config.rails.xsd_dir
    return None if folder is None else _read(folder, _is_of_message, must_be=True)


def statement_schemas(folder: Path | None) -> MessageSchemas | None:
    """Read the schemas of statements in a directory; None without a directory. Raises Misconfigured."""
    return None if folder is None else _read(folder, STATEMENT.fullmatch, must_be=False)


def _is_of_message(name: str) -> bool:
    is_statement = STATEMENT.fullmatch(name) is not None
    return name in versions() or name.startswith(HEAD_NAME) or is_statement


def _read(folder: Path, is_wanted: Callable[[str], object], *, must_be: bool) -> MessageSchemas:
    what = f"[rails] xsd_dir {folder} cannot be used"
    try:
        files = {
            path.name.removesuffix(SUFFIX): path.read_bytes()
            for path in sorted(folder.iterdir())
            if path.name.endswith(SUFFIX) and is_wanted(path.name.removesuffix(SUFFIX))
        }
        if not files and must_be:
            why = "it has no schema of a message that the engine reads, such as pacs.002.001.10.xsd"
            raise Misconfigured(what, why=why, todo="Put schemas of ISO 20022 into it.")
        return MessageSchemas(files)
    except OSError as error:
        todo = "Name a directory that exists and that the engine may read."
        raise Misconfigured(what, why=error.strerror or "", todo=todo) from None
    except MessageError as error:
        raise Misconfigured(what, why=str(error), todo="Correct the schema.") from None
