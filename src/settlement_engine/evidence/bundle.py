"""Evidence: a dossier as files with a root hash over all of them.

Promises: the same dossier gives the same bytes, file by file; the files can be read back into the same
dossier; the root hash covers every byte of every file except the file with the time of the export. It must
never contain a secret.

Each JSON file is in one canonical form: fields sorted, two blanks of indentation, a line feed at the end.
The root is the SHA-256 of a line for the format and one for each file (name, length, SHA-256) but
``taken.json``.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime  # noqa: TC003 - msgspec reads the types
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID  # noqa: TC003 - as above

import msgspec

from settlement_engine.domain.lifecycle import TRANSITIONS
from settlement_engine.errors import CorruptRecord, WrongState
from settlement_engine.evidence.dossier import (
    NO_COMPENSATIONS,
    AccountRecord,
    AnswersRecord,
    AttemptRecord,
    CompensationsRecord,
    Dossier,
    EntryRecord,
    ExceptionRecord,
    HoldRecord,
    InstructionRecord,
    MessagesRecord,
    MoveRecord,
    ProposalRecord,
    RecallStepRecord,
    Record,
    StandingRecord,
    TransferRecord,
)
from settlement_engine.evidence.explanation import as_text, explain

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

FORMAT: Final = "settlement-engine/evidence/2"
EVIDENCE_BYTES_MAX: Final = 12 * 1024 * 1024
"""The most bytes of all files together; more is refused when writing and when reading."""

FILES_MAX: Final = 192
MANIFEST: Final = "manifest.json"
EXPLANATION: Final = "explanation.txt"
ABOUT: Final = "about.json"
TAKEN: Final = "taken.json"
"""The file with the time of the export. The root hash leaves it out, so that a settlement that has ended has the
same root hash at each export."""

STATE_MACHINE: Final = "state-machine.json"

PARTS: Final[Mapping[str, Any]] = {
    "accounts": tuple[AccountRecord, ...],
    "answers": AnswersRecord,
    "attempts": tuple[AttemptRecord, ...],
    "exceptions": tuple[ExceptionRecord, ...],
    "hold": HoldRecord | None,
    "instruction": InstructionRecord,
    "moves": tuple[MoveRecord, ...],
    "proposals": tuple[ProposalRecord, ...],
    "standing": StandingRecord,
    "transfers": tuple[TransferRecord, ...],
}
"""The parts of a dossier with a JSON file each, and their types."""

MESSAGES: Final = "messages.json"
"""The messages to and from the bank. Evidence of older versions has no such file."""

RECALL: Final = "recall.json"
"""The steps of a recall after completion; without a recall there is no such file."""

COMPENSATIONS: Final = "compensations.json"
"""What the settlement compensates, and what compensates it; there is no such file if it is neither."""

ENTRIES: Final = "statement-entries.json"
"""What statements of banks say of the settlement; there is no such file if none does."""

_BYTES: Final = re.compile(r"(payload|paper|message)-([1-9][0-9]{0,17})\.bin", re.ASCII)


class About(Record, frozen=True, kw_only=True):
    """What the evidence is about, and which program and state machine made it."""

    format: str
    engine_version: str
    state_machine_sha256: str
    settlement_id: UUID


class Taken(Record, frozen=True, kw_only=True):
    """When the copy was made, by the database's clock."""

    taken_at: datetime


class TransitionRow(Record, frozen=True, kw_only=True):
    """A transition of the state machine."""

    state: str
    event: str
    to_state: str
    do: str
    ask: str
    reached: tuple[str, ...]


class FileRecord(Record, frozen=True, kw_only=True):
    """A file with its size and hash."""

    name: str
    bytes: int
    sha256: str


class Manifest(Record, frozen=True, kw_only=True):
    """The list of all other files, by name, and the root hash."""

    format: str
    files: tuple[FileRecord, ...]
    root_sha256: str


def canonical(value: object) -> bytes:
    """Write a value as canonical JSON."""
    encoded = msgspec.json.encode(value, order="sorted")
    return msgspec.json.format(encoded, indent=2) + b"\n"


def transition_rows() -> tuple[TransitionRow, ...]:
    """Return the state machine as data."""
    return tuple(
        TransitionRow(
            state=state.value,
            event=event.value,
            to_state=row.state.value,
            do=row.do.value if row.do else "",
            ask=row.ask.value if row.ask else "",
            reached=row.reached,
        )
        for state, rows in TRANSITIONS.items()
        for event, row in rows.items()
    )


def state_machine_version() -> str:
    """Return the version of the state machine: the hash of its transitions."""
    return hashlib.sha256(canonical(transition_rows())).hexdigest()


def write(dossier: Dossier, engine_version: str) -> dict[str, bytes]:
    """Write a dossier as files, with the manifest. Raises WrongState if it exceeds the limits."""
    about = About(
        format=FORMAT,
        engine_version=engine_version,
        state_machine_sha256=state_machine_version(),
        settlement_id=dossier.standing.settlement_id,
    )
    files = {f"{name}.json": canonical(getattr(dossier, name)) for name in PARTS}
    files |= {f"payload-{number}.bin": data for number, data in dossier.payloads.items()}
    files |= {f"paper-{number}.bin": data for number, data in dossier.papers.items()}
    files |= {f"message-{number}.bin": data for number, data in dossier.contents.items()}
    if dossier.messages.latest:
        files[MESSAGES] = canonical(dossier.messages)
    if dossier.recall:
        files[RECALL] = canonical(dossier.recall)
    if dossier.entries:
        files[ENTRIES] = canonical(dossier.entries)
    if dossier.compensations != NO_COMPENSATIONS:
        files[COMPENSATIONS] = canonical(dossier.compensations)
    files[ABOUT] = canonical(about)
    files[TAKEN] = canonical(Taken(taken_at=dossier.taken_at))
    files[STATE_MACHINE] = canonical(transition_rows())
    files[EXPLANATION] = as_text(explain(dossier)).encode()
    files[MANIFEST] = canonical(manifest_of(files))
    fault = bounds_fault(files)
    if fault:
        what = "the evidence exceeds the maximum size"
        raise WrongState(what, why=fault)
    return dict(sorted(files.items()))


def manifest_of(files: Mapping[str, bytes]) -> Manifest:
    """List the files with their hashes."""
    listed = tuple(
        FileRecord(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in sorted(files.items())
        if name != MANIFEST
    )
    return Manifest(format=FORMAT, files=listed, root_sha256=root_of(listed))


def root_of(listed: tuple[FileRecord, ...]) -> str:
    """Return the root hash: over the list of files without ``taken.json``."""
    hashed = hashlib.sha256(f"{FORMAT}\n".encode())
    for each in listed:
        if each.name == TAKEN:
            continue
        hashed.update(f"{each.name} {each.bytes} {each.sha256}\n".encode())
    return hashed.hexdigest()


def bounds_fault(files: Mapping[str, bytes]) -> str:
    """Say which limit of evidence is exceeded; empty if none is."""
    total = sum(len(data) for data in files.values())
    if len(files) <= FILES_MAX and total <= EVIDENCE_BYTES_MAX:
        return ""
    return f"{len(files)} files with {total} bytes; at most {FILES_MAX} with {EVIDENCE_BYTES_MAX}"


def read_file(files: Mapping[str, bytes], name: str, kind: type[T]) -> T:
    """Read a JSON file; any form but the canonical one is refused. Raises CorruptRecord."""
    data = files.get(name)
    if data is None:
        raise CorruptRecord(f"{name} is missing")
    try:
        found = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptRecord(f"{name} cannot be read", why=str(error)) from error
    if canonical(found) != data:
        raise CorruptRecord(f"{name} is not in its canonical form")
    return found


def read(files: Mapping[str, bytes]) -> Dossier:
    """Read a dossier back from its files. Raises CorruptRecord."""
    taken = read_file(files, TAKEN, Taken)
    parts = {name: read_file(files, f"{name}.json", kind) for name, kind in PARTS.items()}
    if MESSAGES in files:
        parts["messages"] = read_file(files, MESSAGES, MessagesRecord)
    if RECALL in files:
        parts["recall"] = read_file(files, RECALL, tuple[RecallStepRecord, ...])
    if ENTRIES in files:
        parts["entries"] = read_file(files, ENTRIES, tuple[EntryRecord, ...])
    if COMPENSATIONS in files:
        parts["compensations"] = read_file(files, COMPENSATIONS, CompensationsRecord)
    kept: dict[str, dict[int, bytes]] = {"payload": {}, "paper": {}, "message": {}}
    for name, data in sorted(files.items()):
        if match := _BYTES.fullmatch(name):
            kept[match[1]][int(match[2])] = data
    return Dossier(
        taken_at=taken.taken_at,
        payloads=kept["payload"],
        papers=kept["paper"],
        contents=kept["message"],
        **parts,
    )


def expected_names(dossier: Dossier) -> set[str]:
    """Return the names of the files that the evidence must have, and no others."""
    return {
        *(f"{name}.json" for name in PARTS),
        *(f"payload-{attempt.number}.bin" for attempt in dossier.attempts),
        *(f"paper-{proposal.id}.bin" for proposal in dossier.proposals),
        *(message.file for message in dossier.messages.latest if message.file),
        *((MESSAGES,) if dossier.messages.latest else ()),
        *((RECALL,) if dossier.recall else ()),
        *((ENTRIES,) if dossier.entries else ()),
        *((COMPENSATIONS,) if dossier.compensations != NO_COMPENSATIONS else ()),
        *(ABOUT, STATE_MACHINE, EXPLANATION, MANIFEST, TAKEN),
    }
