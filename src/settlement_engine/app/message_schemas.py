"""Reads the schemas of ``[rails] xsd_dir``: those of messages that the engine reads or writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.errors import Misconfigured
from settlement_engine.messages.envelope import HEAD_NAME
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.kinds import versions
from settlement_engine.messages.schemas import MessageSchemas

if TYPE_CHECKING:
    from settlement_engine.config import Config

SUFFIX: Final = ".xsd"


def message_schemas(config: Config) -> MessageSchemas | None:
    """Read and compile the schemas; None when no directory is configured. Raises Misconfigured."""
    folder = config.rails.xsd_dir
    if folder is None:
        return None
    what = f"[rails] xsd_dir {folder} cannot be used"
    known = versions()
    try:
        files = {
            path.name.removesuffix(SUFFIX): path.read_bytes()
            for path in sorted(folder.iterdir())
            if path.name.endswith(SUFFIX)
            and (path.name.removesuffix(SUFFIX) in known or path.name.startswith(HEAD_NAME))
        }
        if not files:
            why = "it has no schema of a message that the engine reads, such as pacs.002.001.10.xsd"
            raise Misconfigured(what, why=why, todo="Put schemas of ISO 20022 into it.")
        return MessageSchemas(files)
    except OSError as error:
        todo = "Name a directory that exists and that the engine may read."
        raise Misconfigured(what, why=error.strerror or "", todo=todo) from None
    except MessageError as error:
        raise Misconfigured(what, why=str(error), todo="Correct the schema.") from None
