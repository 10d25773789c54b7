"""Evidence as one zip file; the same files always give the same bytes.

Promises: nothing is compressed, so a small file cannot expand to a large one; sizes and counts are checked
before content is read; a file that differs in one byte from what ``pack`` writes for its contents is
refused. Names contain no folders, so no file can be written elsewhere.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from typing import TYPE_CHECKING, Final

from settlement_engine.errors import CorruptRecord
from settlement_engine.evidence.bundle import EVIDENCE_BYTES_MAX, FILES_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME_CHARACTERS_MAX: Final = 64
OVERHEAD_BYTES_MAX: Final = FILES_MAX * 256
"""The size of the zip headers: one before each file, and one per file in the list at the end."""

FILE_BYTES_MAX: Final = EVIDENCE_BYTES_MAX + OVERHEAD_BYTES_MAX

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,58}\.(json|txt|bin)", re.ASCII)
_FIRST_MOMENT: Final = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE: Final = 0o100444 << 16
_END: Final = struct.Struct("<4s4H2LH")
_END_MARK: Final = b"PK\x05\x06"
_UNIX: Final = 3


def pack(files: Mapping[str, bytes]) -> bytes:
    """Write the files as a zip file; the same files give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _FIRST_MOMENT)
            entry.create_system = _UNIX
            entry.external_attr = _PLAIN_FILE
            archive.writestr(entry, files[name])
    return packed.getvalue()


def unpack(path: Path) -> dict[str, bytes]:
    """Read the files of a zip file. Raises CorruptRecord for whatever ``pack`` would not have written."""
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise _refusal(f"it has {size} bytes; the maximum is {FILE_BYTES_MAX}")
        data = path.read_bytes()
    except OSError as error:
        raise _refusal(error.strerror or str(error)) from error
    _check_end(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(entries)
            files = {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise _refusal(str(error)) from error
    if pack(files) != data:
        raise _refusal("it contains bytes that an export does not write")
    return files


def _check_end(data: bytes) -> None:
    """Check the end record before the list of files is read."""
    if len(data) < _END.size:
        raise _refusal("it is too short to be a zip file")
    mark, _, _, _, count, listed_bytes, listed_at, comment = _END.unpack(data[-_END.size :])
    if mark != _END_MARK or comment:
        raise _refusal("it does not end like an exported file")
    if count > FILES_MAX or listed_bytes > OVERHEAD_BYTES_MAX:
        raise _refusal(f"it lists {count} files; the maximum is {FILES_MAX}")
    if listed_at + listed_bytes + _END.size != len(data):
        raise _refusal("its list of files is at the wrong place")


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if len(names) > FILES_MAX or len(set(names)) != len(names):
        raise _refusal("it contains too many files, or the same file twice")
    total = 0
    for entry in entries:
        name = entry.filename
        if len(name) > NAME_CHARACTERS_MAX or _NAME.fullmatch(name) is None:
            raise _refusal("it contains a file with an unknown name")
        is_plain = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits
        if not is_plain or entry.file_size != entry.compress_size:
            raise _refusal(f"{name} is compressed or encrypted, which an export never does")
        total += entry.file_size
    if total > EVIDENCE_BYTES_MAX:
        raise _refusal(f"its files have {total} bytes; the maximum is {EVIDENCE_BYTES_MAX}")


def _refusal(why: str) -> CorruptRecord:
    return CorruptRecord(
        "the file is not an unchanged evidence export",
        why=why,
        todo="Export it again: settlement-engine evidence export ID -o FILE.zip",
    )
