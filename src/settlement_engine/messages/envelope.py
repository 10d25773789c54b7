"""A message as transmitted: in an envelope, with its business application header, or alone.

Promises: the envelopes in use (``Envelope``, ``Message``, ``Request``, with or without a namespace) are accepted
and must contain exactly one message; otherwise MessageError. A built message reads back as the same values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from lxml import etree

from settlement_engine.messages.building import build
from settlement_engine.messages.errors import MessageError, quoted
from settlement_engine.messages.forms import compiled
from settlement_engine.messages.head import HEAD, HEAD_EDITIONS, Head
from settlement_engine.messages.kinds import KINDS, NAMESPACE, Kind
from settlement_engine.messages.reading import read
from settlement_engine.messages.xml import local, namespace, parse, place_of

if TYPE_CHECKING:
    from lxml.etree import _Element

ENVELOPES: Final = frozenset(
    {
        "Envelope",
        "Message",
        "Request",
        "RequestPayload",
        "BizMsgEnvlp",
        "DataPDU",
        "Body",
        "Payload",
    }
)
ENVELOPES_DEEP_MAX: Final = 5
PARTS_MAX: Final = 50
"""The most elements that are examined in an envelope."""

OUR_ENVELOPE: Final = "urn:swift:xsd:envelope"
_DECLARATION: Final = b"<?xml version='1.0' encoding='UTF-8'?>\n"
_ENVELOPE_END: Final = b"</Envelope>"
HEAD_NAME: Final = "head.001.001."
HEAD_VERSION: Final = "02"
"""The version of the header that CBPR+ and FedNow use."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was read: ``definition`` is its full name, such as ``pacs.008.001.08``."""

    definition: str
    head: Head | None = None
    content: Any

    @property
    def kind(self) -> str:
        """Return the kind, such as ``pacs.008``."""
        return self.definition[:8]


class Parts(msgspec.Struct, kw_only=True):
    """The header and the document of an envelope."""

    head: Any = None
    document: Any = None


def opened(data: bytes) -> Opened:
    """Read a message. Raises MessageError."""
    parts = parts_of(parse(data))
    if parts.document is None:
        raise MessageError("message", "holds no Document")
    head = None if parts.head is None else read_head(parts.head)
    definition, kind = kind_of(parts.document)
    name, version = definition[:-2], definition[-2:]
    form = kind.compiled(name, version)
    root = _only_child(parts.document, f"{{{NAMESPACE}{definition}}}{kind.root}")
    return Opened(definition=definition, head=head, content=read(root, form))


def parts_of(root: _Element) -> Parts:
    """Return header and document. Raises MessageError when there are several, or none."""
    parts = Parts()
    _collect(root, parts, ENVELOPES_DEEP_MAX)
    if parts.document is None and parts.head is None:
        raise MessageError(place_of(root), "is neither a Document nor an envelope of one")
    return parts


def _collect(element: _Element, parts: Parts, deep: int) -> None:
    name = local(element)
    if name == "Document":
        if parts.document is not None:
            raise MessageError(place_of(element), "is a second Document")
        parts.document = element
    elif name == "AppHdr":
        if parts.head is not None:
            raise MessageError(place_of(element), "is a second header")
        parts.head = element
    elif name in ENVELOPES and deep:
        if len(element) > PARTS_MAX:
            raise MessageError(place_of(element), f"has more than {PARTS_MAX} parts")
        for child in element:
            _collect(child, parts, deep - 1)


def kind_of(document: _Element) -> tuple[str, Kind]:
    """Return a document's kind and version according to its namespace. Raises MessageError."""
    space = namespace(document)
    definition = space.removeprefix(NAMESPACE)
    if definition == space:
        raise MessageError(
            place_of(document), f"the namespace {quoted(space)} is none of ISO 20022"
        )
    kind = KINDS.get(definition[:-2])
    if kind is None:
        raise MessageError(place_of(document), f"messages of {quoted(definition)} are not read")
    if definition[-2:] not in kind.editions:
        known = ", ".join(kind.editions)
        text = f"this version of {definition[:8]} is not read; these are: {known}"
        raise MessageError(place_of(document), text)
    return definition, kind


def _only_child(document: _Element, tag: str) -> _Element:
    if len(document) != 1 or document[0].tag != tag:
        name = tag.rpartition("}")[2]
        at = place_of(document[0]) if len(document) else place_of(document, name)
        raise MessageError(at, f"must be {name}, and nothing beside it")
    if (document.text or "").strip() or (document[0].tail or "").strip():
        raise MessageError(place_of(document), "holds text")
    return document[0]


def read_head(element: _Element) -> Head:
    """Read a header. Raises MessageError."""
    space = namespace(element)
    version = space.removeprefix(NAMESPACE + HEAD_NAME)
    if version not in HEAD_EDITIONS:
        raise MessageError(place_of(element), f"a header of {quoted(space)} is not read")
    head = read(element, compiled(HEAD, space, HEAD_EDITIONS[version]))
    assert isinstance(head, Head), "the form's struct"
    return head


def built(
    definition: str, content: object, head: Head | None = None, head_version: str = HEAD_VERSION
) -> bytes:
    """Build a message, in an envelope if it has a header. Raises MessageError."""
    kind = KINDS[definition[:-2]]
    form = kind.compiled(definition[:-2], definition[-2:])
    space = NAMESPACE + definition
    if head is None:
        top = document = etree.Element(f"{{{space}}}Document", nsmap=_only(space))
    else:
        top = etree.Element(f"{{{OUR_ENVELOPE}}}Envelope", nsmap=_only(OUR_ENVELOPE))
        head_space = NAMESPACE + HEAD_NAME + head_version
        at = etree.SubElement(top, f"{{{head_space}}}AppHdr", nsmap=_only(head_space))
        build(at, compiled(HEAD, head_space, HEAD_EDITIONS[head_version]), head)
        document = etree.SubElement(top, f"{{{space}}}Document", nsmap=_only(space))
    root = etree.SubElement(document, f"{{{space}}}{kind.root}")
    assert isinstance(content, form.struct or object), f"{definition} holds a {form.struct}"
    build(root, form, content)
    return etree.tostring(top, encoding="UTF-8", xml_declaration=True)


def enveloped(document: bytes, head: Head, head_version: str = HEAD_VERSION) -> bytes:
    """Put a header before a document that ``built`` made without one, of which no byte is changed."""
    assert document.startswith(_DECLARATION), "only what was built here is enveloped"
    top = etree.Element(f"{{{OUR_ENVELOPE}}}Envelope", nsmap=_only(OUR_ENVELOPE))
    space = NAMESPACE + HEAD_NAME + head_version
    at = etree.SubElement(top, f"{{{space}}}AppHdr", nsmap=_only(space))
    build(at, compiled(HEAD, space, HEAD_EDITIONS[head_version]), head)
    outside = etree.tostring(top, encoding="UTF-8", xml_declaration=True)
    assert outside.endswith(_ENVELOPE_END), "an envelope that holds something has an end"
    inside = document.removeprefix(_DECLARATION)
    return outside.removesuffix(_ENVELOPE_END) + inside + _ENVELOPE_END


def _only(space: str) -> Any:  # noqa: ANN401 -- the stubs do not know the prefix None
    return {None: space}
