"""Evidence: what is written can be read and checked, and nothing of it can be changed unnoticed."""

from __future__ import annotations

import contextlib
import hashlib
import random
from datetime import timedelta

import msgspec
import pytest

from settlement_engine.domain.lifecycle import TRANSITIONS, State
from settlement_engine.errors import WrongState
from settlement_engine.evidence import bundle
from settlement_engine.evidence.bundle import FORMAT, MANIFEST, canonical, manifest_of, root_of
from settlement_engine.evidence.dossier import Dossier
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.evidence.verification import verify
from tests.support.made_histories import HISTORIES, dossier_of
from tests.unit.evidence.test_verified_intent import READERS

VERSION = "1.2.3"


async def files_of(name, **payment_requests):
    return bundle.write(await dossier_of(name, **payment_requests), VERSION)


def faults(files, version=VERSION, root=""):
    return [fault for check in verify(files, version, root).checks for fault in check.faults]


def sealed(files):
    """Make the manifest anew, as a forger would."""
    rest = {name: data for name, data in files.items() if name != MANIFEST}
    return rest | {MANIFEST: canonical(manifest_of(rest))}


def forged(files, **parts):
    """Replace parts of the records, tell the story that they make, and seal them again."""
    written = files | {f"{name}.json": canonical(part) for name, part in parts.items()}
    with contextlib.suppress(ValueError, KeyError, IndexError):  # not every forgery can be told
        written["explanation.txt"] = as_text(explain(bundle.read(written))).encode()
    return sealed(written)


@pytest.mark.parametrize("name", HISTORIES)
async def test_every_life_is_written_read_back_and_found_good(name):
    dossier = await dossier_of(name)
    files = bundle.write(dossier, VERSION)
    assert bundle.read(files) == dossier
    verified = verify(files, VERSION, readers=READERS)
    assert faults(files) == []
    assert verified.is_good
    assert verified.settlement_id == str(dossier.standing.settlement_id)
    assert len(verified.checks) >= 15
    assert all(check.note == "" for check in verified.checks)


async def test_the_same_dossier_gives_the_same_bytes():
    dossier = await dossier_of("returned")
    again = msgspec.json.decode(msgspec.json.encode(dossier), type=Dossier)
    assert bundle.write(dossier, VERSION) == bundle.write(again, VERSION)


async def test_the_root_is_what_the_documentation_says():
    files = await files_of("completed")
    lines = f"{FORMAT}\n" + "".join(
        f"{name} {len(data)} {hashlib.sha256(data).hexdigest()}\n"
        for name, data in sorted(files.items())
        if name not in (MANIFEST, "taken.json")
    )
    root = hashlib.sha256(lines.encode()).hexdigest()
    assert verify(files, VERSION).root_sha256 == root
    assert faults(files, root=root) == []
    assert faults(files, root=root.upper()) == []
    assert faults(files, root="0" * 64) != []


@pytest.mark.parametrize("name", ["completed", "failed_by_the_caller", "rolled_back_by_recall"])
async def test_what_has_ended_has_the_same_root_whenever_it_is_copied(name):
    dossier = await dossier_of(name)
    later = msgspec.structs.replace(dossier, taken_at=dossier.taken_at + timedelta(days=400))
    one, two = bundle.write(dossier, VERSION), bundle.write(later, VERSION)
    assert manifest_of(one).root_sha256 == manifest_of(two).root_sha256
    assert one["taken.json"] != two["taken.json"]
    assert bundle.read(two).taken_at == later.taken_at
    assert faults(two, root=manifest_of(one).root_sha256) == []


# --- changes --------------------------------------------------------------------------------------


async def test_no_byte_of_any_file_can_be_changed():
    files = await files_of("completed_by_attestation")
    dice = random.Random(7)
    for name, data in files.items():
        places = range(len(data)) if len(data) < 300 else dice.sample(range(len(data)), 40)
        for place in places:
            changed = bytearray(data)
            changed[place] ^= 1 << dice.randrange(8)
            assert faults(files | {name: bytes(changed)}), (name, place)


async def test_no_file_can_be_missing():
    files = await files_of("completed_by_attestation")
    assert {"payload-1.bin", "paper-1.bin", "explanation.txt"} <= files.keys()
    for name in files:
        less = {other: data for other, data in files.items() if other != name}
        assert faults(less), name
        if name != MANIFEST:
            assert faults(sealed(less)), f"{name}, although the manifest was made anew"


@pytest.mark.parametrize("name", ["payload-2.bin", "paper-9.bin", "more.json", "readme.txt"])
async def test_no_file_can_be_added(name):
    files = await files_of("completed")
    assert faults(files | {name: b"{}"})
    assert faults(sealed(files | {name: b"{}"}))


async def test_the_manifest_lists_each_file_once_and_in_order():
    files = await files_of("completed")
    shown = msgspec.json.decode(files[MANIFEST], type=bundle.Manifest)
    for listed in (shown.files[::-1], (*shown.files, shown.files[0]), shown.files[1:]):
        other = bundle.Manifest(format=FORMAT, files=listed, root_sha256=root_of(listed))
        assert faults(files | {MANIFEST: canonical(other)})


async def test_json_in_another_form_is_refused():
    files = await files_of("completed")
    compact = msgspec.json.format(files["moves.json"], indent=0)
    assert any("canonical" in fault for fault in faults(sealed(files | {"moves.json": compact})))
    assert any("cannot be read" in fault for fault in faults(sealed(files | {"hold.json": b"[["})))


async def test_another_format_is_refused():
    files = await files_of("completed")
    about = msgspec.json.decode(files["about.json"], type=bundle.About)
    other = msgspec.structs.replace(about, format="settlement-engine/evidence/1")
    assert faults(sealed(files | {"about.json": canonical(other)}))


# --- forgeries whose hashes are right ---------------------------------------------------------------


async def the_parts():
    dossier = await dossier_of("completed_after_doubt")
    return dossier, bundle.write(dossier, VERSION)


def changed(records, place, **fields):
    replaced = list(records)
    replaced[place] = msgspec.structs.replace(records[place], **fields)
    return tuple(replaced)


async def test_a_move_that_is_not_on_the_page_is_found():
    dossier, files = await the_parts()
    skipped = dossier.moves[:1] + dossier.moves[2:]
    for moves in (
        skipped,
        changed(dossier.moves, 1, to_state=State.SENT),
        changed(dossier.moves, 2, seq=4),
        changed(dossier.moves, 3, position=dossier.moves[1].position),
        dossier.moves[:-1],
        (),
    ):
        assert faults(forged(files, moves=moves))


async def test_an_end_without_its_move_is_found():
    dossier, files = await the_parts()
    for fields in (
        {"state": State.ROLLED_BACK},
        {"ended_at": None},
        {"seq": 9},
        {"created_at": dossier.taken_at},
    ):
        standing = msgspec.structs.replace(dossier.standing, **fields)
        assert faults(forged(files, standing=standing)), fields


async def test_references_of_another_key_are_found():
    dossier, files = await the_parts()
    payment_request = msgspec.structs.replace(dossier.instruction, idempotency_key="another")
    assert any(
        "references" in fault for fault in faults(forged(files, instruction=payment_request))
    )
    attempts = changed(dossier.attempts, 0, message_id="M" + "0" * 34)
    assert any("references" in fault for fault in faults(forged(files, attempts=attempts)))
    doubled = dossier.attempts * 2
    assert any("in order" in fault for fault in faults(forged(files, attempts=doubled)))


async def test_another_amount_is_found_wherever_it_stands():
    dossier, files = await the_parts()
    payment_request = msgspec.structs.replace(dossier.instruction, amount_minor=501, amount="5.01")
    hold = msgspec.structs.replace(dossier.hold, amount_minor=501)
    transfers = changed(dossier.transfers, 0, amount_minor=501)
    for parts in (
        {"instruction": payment_request},
        {"hold": hold},
        {"transfers": transfers},
        {"instruction": payment_request, "hold": hold},
        {"instruction": payment_request, "hold": hold, "transfers": transfers},
    ):
        assert faults(forged(files, **parts)), parts.keys()
    text = msgspec.structs.replace(dossier.instruction, amount="50.0")
    assert faults(forged(files, instruction=text))
    money = msgspec.structs.replace(dossier.instruction, amount_minor=0)
    assert faults(forged(files, instruction=money))


async def test_transfers_that_the_moves_did_not_make_are_found():
    dossier, files = await the_parts()
    turned = changed(
        dossier.transfers,
        1,
        debit_id=dossier.transfers[1].credit_id,
        credit_id=dossier.transfers[1].debit_id,
    )
    for transfers in (
        (),
        dossier.transfers[:1],
        dossier.transfers * 2,
        turned,
        changed(dossier.transfers, 0, currency="USD"),
        changed(dossier.transfers, 0, at=dossier.taken_at),
    ):
        assert faults(forged(files, transfers=transfers))
    pending = await dossier_of("sent")
    early = forged(bundle.write(pending, VERSION), transfers=dossier.transfers)
    assert faults(early)


async def test_a_hold_that_does_not_follow_the_moves_is_found():
    dossier, files = await the_parts()
    for fields in (
        {"outcome": "released"},
        {"outcome": "", "resolved_at": None},
        {"resolved_at": dossier.taken_at},
        {"locked_at": dossier.taken_at},
        {"account_id": dossier.attempts[0].target_id},
        {"currency": "USD"},
    ):
        hold = msgspec.structs.replace(dossier.hold, **fields)
        assert faults(forged(files, hold=hold)), fields
    assert faults(forged(files, hold=None))
    failed = bundle.write(await dossier_of("failed_by_refusal"), VERSION)
    assert faults(forged(failed, hold=dossier.hold))


async def test_payment_bytes_that_were_not_recorded_are_found():
    _, files = await the_parts()
    other = sealed(files | {"payload-1.bin": b"other bytes"})
    assert any("recorded" in fault for fault in faults(other))


async def test_accounts_that_are_not_identified_are_found():
    dossier, files = await the_parts()
    for accounts in (
        dossier.accounts[1:],
        dossier.accounts * 2,
        changed(dossier.accounts, 0, currency="USD"),
    ):
        assert faults(forged(files, accounts=accounts))


async def test_announcements_under_other_names_are_found():
    dossier, files = await the_parts()
    for fields in ({"event_id": "x.1"}, {"event_type": "settlement.failed"}):
        moves = changed(dossier.moves, 1, **fields)
        assert any("announced" in fault for fault in faults(forged(files, moves=moves)))


async def test_answers_that_the_page_does_not_know_are_found():
    dossier, files = await the_parts()
    odd = changed(dossier.answers.latest, 0, state=State.COMPLETED)
    answers = msgspec.structs.replace(dossier.answers, latest=odd)
    assert faults(forged(files, answers=answers))
    fewer = msgspec.structs.replace(dossier.answers, total=0)
    assert faults(forged(files, answers=fewer))


async def test_another_story_is_found():
    _, files = await the_parts()
    other = sealed(files | {"explanation.txt": b"All went well."})
    assert faults(other) == ["it is another text"]
    assert faults(other, version="9.9.9") == [], "another version may tell it in other words"


async def test_another_page_is_noted_and_its_own_rows_are_what_counts():
    dossier, files = await the_parts()
    rows = bundle.transition_rows()
    assert len(rows) == sum(len(each) for each in TRANSITIONS.values())
    assert faults(sealed(files | {"state-machine.json": canonical(rows[1:])}))
    about = msgspec.json.decode(files["about.json"], type=bundle.About)
    page = canonical((*rows, msgspec.structs.replace(rows[0], event="newly_made")))
    version = hashlib.sha256(page).hexdigest()
    other = canonical(msgspec.structs.replace(about, state_machine_sha256=version))
    verified = verify(sealed(files | {"state-machine.json": page, "about.json": other}), VERSION)
    assert verified.is_good
    assert "another version" in " ".join(check.note for check in verified.checks)
    assert dossier.standing.state is State.COMPLETED


async def test_what_two_people_attested_is_checked():
    dossier = await dossier_of("rolled_back_by_attestation")
    files = bundle.write(dossier, VERSION)
    for fields in (
        {"decided_by": "Mara"},
        {"decision": "declined"},
        {"finding": "settled"},
        {"finding": "perhaps"},
        {"reason": "another reason"},
        {"proposed_by": "nobody"},
        {"evidence_name": "other.pdf"},
        {"evidence_sha256": "0" * 64},
        {"expires_at": dossier.proposals[0].proposed_at},
    ):
        proposals = changed(dossier.proposals, 0, **fields)
        assert faults(forged(files, proposals=proposals)), fields
    without = {name: data for name, data in files.items() if name != "paper-1.bin"}
    assert faults(forged(without, proposals=()))
    assert faults(sealed(files | {"paper-1.bin": b"another page"}))


# --- bounds -----------------------------------------------------------------------------------------


async def test_more_than_may_be_is_neither_written_nor_read(monkeypatch):
    dossier = await dossier_of("completed")
    monkeypatch.setattr(bundle, "EVIDENCE_BYTES_MAX", 1000)
    with pytest.raises(WrongState, match="exceeds the maximum size"):
        bundle.write(dossier, VERSION)
    monkeypatch.setattr(bundle, "EVIDENCE_BYTES_MAX", 10**9)
    monkeypatch.setattr(bundle, "FILES_MAX", 5)
    with pytest.raises(WrongState, match="exceeds the maximum size"):
        bundle.write(dossier, VERSION)


async def test_whatever_the_files_hold_there_is_an_answer():
    """Random damage with right hashes: a check fails or nothing was said that can be checked."""
    files = await files_of("completed_by_attestation")
    dice = random.Random(11)
    names = [name for name in files if name.endswith(".json") and name != MANIFEST]
    for _ in range(400):
        name = dice.choice(names)
        data = bytearray(files[name])
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.choice(b'0123456789abc"{}[],:- \\')
        verify(sealed(files | {name: bytes(data)}), VERSION)
