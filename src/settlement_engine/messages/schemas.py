"""Validation against the XML schemas of ISO 20022, where they are available.

The readers check a message against this package's forms, which skip elements that are not used. A schema checks
all of them. The schemas are not distributed with the engine; iso20022.org provides them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lxml import etree

from settlement_engine.messages.camt_statements import FILE_BYTES_MAX, FILE_MARKUP_MAX
from settlement_engine.messages.envelope import parts_of
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.kinds import NAMESPACE
from settlement_engine.messages.statements import may_be_large
from settlement_engine.messages.xml import namespace, parse

if TYPE_CHECKING:
    from collections.abc import Mapping


class MessageSchemas:
    """The schemas against which messages are validated; a message that has none of them is valid."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._schemas = {name: Schema(data) for name, data in files.items()}

    def check(self, message: bytes) -> None:
        """Validate a message's header and document. Raises MessageError."""
        for part in _parts(message):
            name = namespace(part).removeprefix(NAMESPACE)
            if name in self._schemas:
                self._schemas[name].validate_part(part)


class Schema:
    """One schema, ready to validate."""

    def __init__(self, data: bytes) -> None:
        try:
            self._schema = etree.XMLSchema(parse(data))
        except etree.XMLSchemaParseError as error:
            raise MessageError("schema", str(error)) from None

    def validate(self, message: bytes, name: str) -> None:
        """Validate the part of a message that has this root element. Raises MessageError."""
        for part in _parts(message):
            if namespace(part) == NAMESPACE + name:
                self.validate_part(part)

    def validate_part(self, part: etree._Element) -> None:
        """Validate a header or a document. Raises MessageError."""
        if self._schema.validate(etree.ElementTree(part)):
            return
        log: Any = self._schema.error_log
        fault = next(iter(log), None)  # another thread that validates may have emptied it
        if fault is None:
            raise MessageError("message", "is invalid against its schema")
        raise MessageError(f"line {fault.line}", fault.message)


def schema_names(message: bytes) -> list[str]:
    """Return the schema names of a message's header and document."""
    return [namespace(part).removeprefix(NAMESPACE) for part in _parts(message)]


def _parts(message: bytes) -> list[etree._Element]:
    """Return a message's header and document, as far as they are of ISO 20022; statements may be large."""
    if may_be_large(message):
        root = parse(message, bytes_max=FILE_BYTES_MAX, markup_max=FILE_MARKUP_MAX)
    else:
        root = parse(message)
    parts = parts_of(root)
    found = [part for part in (parts.head, parts.document) if part is not None]
    return [part for part in found if namespace(part).startswith(NAMESPACE)]
