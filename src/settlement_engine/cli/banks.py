"""``banks``: put, import, show and list the entries of the bank directory.

Promises: a change is made from the version that it was shown with, so that nobody overwrites the change of
another person unseen; an import stops at the first entry that is refused, says which, and may be repeated.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click
import grpc
from google.protobuf.json_format import ParseDict, ParseError

from settlement_engine.cli.acting import acting, who_option
from settlement_engine.cli.call_errors import translate
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import (
    GOOD,
    WARN,
    as_json,
    counted,
    example,
    mark,
    print_json,
    say,
    table,
)
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.errors import Misconfigured
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.cli.connection import EngineClient

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
FILE_BANKS_MAX: Final = 20_000
AT_ONCE: Final = 100
"""How many entries of a file are on their way at once."""

ADDRESS_FIELDS: Final = ("country", "town_name", "street_name", "building_number", "post_code")
METHODS: Final = {
    wire.CORRESPONDENT_METHOD_SERIAL: "serial through",
    wire.CORRESPONDENT_METHOD_COVER: "cover through",
}
VERSIONS_SHOWN_MAX: Final = 20


@lasting
@click.group()
def banks() -> None:
    """Put, import, show and list the banks with which we settle: the bank directory."""


@lasting
@banks.command()
@click.argument("code")
@click.option("--name", help="The bank's name.")
@click.option("--bic", help="Its BIC. Default: the code, if that is a BIC.")
@click.option("--lei", help="Its LEI.")
@click.option("--country", help="Of its address: the ISO 3166 code.")
@click.option("--town", "town_name", help="Of its address.")
@click.option("--street", "street_name", help="Of its address.")
@click.option("--building", "building_number", help="Of its address: the number of the building.")
@click.option("--post-code", help="Of its address.")
@click.option(
    "--clearing-member",
    "members",
    multiple=True,
    metavar="SYSTEM:ID",
    help="Its number in a clearing system, such as USABA:021000021; may be repeated.",
)
@click.option("--rail", "rails", multiple=True, help="A rail that reaches it; may be repeated.")
@click.option("--withdraw", is_flag=True, help="It no longer stands in the directory.")
@click.option("--restore", is_flag=True, help="It stands in the directory again.")
@who_option
@engine_options
@as_json
@example("""
settlement-engine banks put DEUTDEFF --name "Deutsche Bank AG" --country DE --town Frankfurt
settlement-engine banks put CHASUS33 --clearing-member USABA:021000021 --rail swift --rail ach
settlement-engine banks put OLDBANK1 --withdraw
""")
def put(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    code: str,
    members: tuple[str, ...],
    rails: tuple[str, ...],
    withdraw: bool,
    restore: bool,
    who: str | None,
    address: EngineAddress,
    is_json: bool,
    **texts: str | None,
) -> None:
    """Put a bank into the directory, or change its entry: what is not given stays as it is.

    Standing settlement instructions are put by `banks import`.
    """
    if withdraw and restore:
        message = "give --withdraw or --restore, not both"
        raise click.UsageError(message)
    with reach(address) as engine:
        bank = _present(engine, code)
        request = wire.PutBankRequest(bank=bank, after_version=bank.version)
        _change(request.bank, texts, members, rails)
        if withdraw or restore:
            request.bank.is_withdrawn = withdraw
        written = engine.banks.PutBank(request, **acting(who, address))
    if is_json:
        print_json(as_dict(written))
        return
    _say_written(written)
    _print_bank(written)


def _present(engine: EngineClient, code: str) -> wire.Bank:
    """Return the present entry; an empty one if there is none."""
    try:
        return engine.banks.GetBank(wire.GetBankRequest(code=code), timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        if cast("grpc.Call", error).code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return wire.Bank(code=code)


def _change(
    bank: wire.Bank,
    texts: dict[str, str | None],
    members: tuple[str, ...],
    rails: tuple[str, ...],
) -> None:
    for field in ("name", "bic", "lei"):
        if (text := texts[field]) is not None:
            setattr(bank, field, text)
    for field in ADDRESS_FIELDS:
        if (text := texts[field]) is not None:
            setattr(bank.address, field, text)
    if members:
        del bank.clearing_members[:]
        for member in members:
            system, sign, number = member.partition(":")
            if not sign:
                message = f"--clearing-member {member} is not valid: write SYSTEM:ID"
                raise click.UsageError(message)
            bank.clearing_members.add(system=system, member_id=number)
    if rails:
        bank.rails[:] = rails


@lasting
@banks.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@who_option
@engine_options
@as_json
@example("""
settlement-engine banks import banks.toml
settlement-engine banks import banks.jsonl --as ada
""")
def import_(*, file: Path, who: str | None, address: EngineAddress, is_json: bool) -> None:
    """Import entries from a file: JSON lines, or TOML with `[[banks]]` (a name that ends with .toml).

    The fields are those of `banks show --json`. Each entry is written whole; one that says the same as the present
    version writes nothing, so an import may be repeated.
    """
    entries = _read_file(file)
    written: list[wire.Bank] = []
    with reach(address) as engine:
        for first in range(0, len(entries), AT_ONCE):
            calls = [
                (place, engine.banks.PutBank.future(request, **acting(who, address)))
                for place, request in entries[first : first + AT_ONCE]
            ]
            for place, call in calls:
                try:
                    written.append(call.result())
                except grpc.RpcError as error:
                    raise _refused(error, address, f"{file}, {place}", len(written)) from None
    changed = [bank for bank in written if not bank.unchanged]
    if is_json:
        print_json({"banks": len(written), "changed": [as_dict(bank) for bank in changed]})
        return
    for bank in written:
        for warning in bank.warnings:
            mark(WARN, f"{bank.code}: {warning}")
    mark(GOOD, f"{counted(len(written), 'bank')} read, {len(changed):,} written")


def _read_file(file: Path) -> list[tuple[str, wire.PutBankRequest]]:
    """Read the entries of a file, each with its place there. Raises Misconfigured."""
    if not file.is_file():
        message = f"the file {file} does not exist"
        raise click.UsageError(message)
    if file.stat().st_size > FILE_BYTES_MAX:
        raise _unreadable(str(file), f"it has more than {FILE_BYTES_MAX:,} bytes")
    try:
        text = file.read_text("utf-8")
        found = _toml(text) if file.suffix == ".toml" else _json_lines(text)
        entries = [(place, _entry(f"{file}, {place}", entry)) for place, entry in found]
    except UnicodeDecodeError as error:
        raise _unreadable(str(file), f"it is not UTF-8: {error}") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise _unreadable(str(file), str(error)) from None
    if len(entries) > FILE_BANKS_MAX:
        raise _unreadable(str(file), f"it has more than {FILE_BANKS_MAX:,} banks")
    return entries


def _toml(text: str) -> Iterator[tuple[str, Any]]:
    for number, entry in enumerate(tomllib.loads(text).get("banks", ()), 1):
        yield f"bank {number}", entry


def _json_lines(text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number}", json.loads(line)


def _entry(place: str, entry: Any) -> wire.PutBankRequest:  # noqa: ANN401 -- whatever the file has
    request = wire.PutBankRequest()
    try:
        ParseDict(entry, request.bank)
    except (ParseError, TypeError, AttributeError) as error:
        raise _unreadable(place, str(error)) from None
    return request


def _unreadable(place: str, why: str) -> Misconfigured:
    return Misconfigured(
        f"{place}: cannot be read as an entry of the bank directory",
        why=why,
        todo="See the fields with: settlement-engine banks show CODE --json. Nothing was written.",
    )


def _refused(error: grpc.RpcError, address: EngineAddress, place: str, count: int) -> Exception:
    """Return the error of one entry, which also says where it stands and what was written before."""
    told = translate(error, address.target)
    told.what = f"{place}: {told.what}"
    told.todo = f"{told.todo} {counted(count, 'bank')} before it stand; repeat the import.".strip()
    return told


@lasting
@banks.command()
@click.argument("code")
@click.option("--version", type=click.IntRange(min=1), help="An earlier version of the entry.")
@click.option("--history", is_flag=True, help="Also list who changed the entry, and when.")
@engine_options
@as_json
@example("""
settlement-engine banks show DEUTDEFF
settlement-engine banks show DEUTDEFF --history
settlement-engine banks show DEUTDEFF --version 1 --json
""")
def show(
    *, code: str, version: int | None, history: bool, address: EngineAddress, is_json: bool
) -> None:
    """Show a bank's entry."""
    with reach(address) as engine:
        bank = engine.banks.GetBank(
            wire.GetBankRequest(code=code, version=version or 0), timeout=CALL_SECONDS
        )
        versions = _versions(engine, bank) if history else []
    if is_json:
        shown = as_dict(bank)
        if history:
            shown["history"] = [as_dict(each) for each in versions]
        print_json(shown)
        return
    _print_bank(bank)
    for each in versions:
        withdrawn = ", withdrawn" if each.is_withdrawn else ""
        at = day_and_time(each.changed_time)
        say(f"  version {each.version:<5} by {each.changed_by} at {at}{withdrawn}")


def _versions(engine: EngineClient, bank: wire.Bank) -> list[wire.Bank]:
    """Return the last versions up to this one, the latest first."""
    numbers = range(bank.version, max(bank.version - VERSIONS_SHOWN_MAX, 0), -1)
    return [
        engine.banks.GetBank(
            wire.GetBankRequest(code=bank.code, version=number), timeout=CALL_SECONDS
        )
        for number in numbers
    ]


@lasting
@banks.command("list")
@click.option("--currency", default="", help="Only those with a standing instruction in it.")
@click.option("--rail", default="", help="Only those that state this rail.")
@click.option("--withdrawn", is_flag=True, help="Also list those that were withdrawn.")
@limit_option()
@engine_options
@as_json
@example("""
settlement-engine banks list
settlement-engine banks list --rail swift --currency USD --json
""")
def list_(
    *,
    currency: str,
    rail: str,
    withdrawn: bool,
    limit: int,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """List the banks of the directory, by code."""
    wanted = wire.ListBanksRequest(currency=currency, rail=rail, include_withdrawn=withdrawn)
    with reach(address) as engine:
        listed = read_pages(engine.banks.ListBanks, wanted, limit, "banks")
    if is_json:
        many = [as_dict(bank) for bank in listed.items]
        print_json({"banks": many, "hasMore": listed.has_more})
        return
    columns = ("CODE", "BIC", "NAME", "", "CURRENCIES", "RAILS", "VERSION", "")
    table(columns, [_row(bank) for bank in listed.items], right=("VERSION",))
    say_how_much(listed)


def _row(bank: wire.Bank) -> tuple[str, ...]:
    return (
        bank.code,
        bank.bic,
        bank.name,
        bank.address.country,
        " ".join(each.currency for each in bank.instructions),
        " ".join(bank.rails),
        str(bank.version),
        "withdrawn" if bank.is_withdrawn else "",
    )


def _say_written(bank: wire.Bank) -> None:
    if bank.unchanged:
        mark(WARN, f"{bank.code} says this already, in version {bank.version}; nothing was written")
    else:
        mark(GOOD, f"{bank.code} is written as version {bank.version}")
    for warning in bank.warnings:
        mark(WARN, warning)


def _print_bank(bank: wire.Bank) -> None:
    address = bank.address
    street = f"{address.street_name} {address.building_number}".strip()
    town = f"{address.post_code} {address.town_name}".strip()
    lines = [
        ("code", bank.code + (" (withdrawn)" if bank.is_withdrawn else "")),
        ("BIC", bank.bic),
        ("name", bank.name),
        (
            "address",
            ", ".join(filter(None, (street, town, address.country_sub_division, address.country))),
        ),
        ("LEI", bank.lei),
        *((each.system, each.member_id) for each in bank.clearing_members),
        *((each.currency, _words_of(each)) for each in bank.instructions),
        ("rails", ", ".join(bank.rails) or "not stated"),
        ("version", f"{bank.version}, by {bank.changed_by} at {day_and_time(bank.changed_time)}"),
    ]
    for title, text in lines:
        if text:
            say(f"  {title:<9} {text}")


def _words_of(each: wire.StandingInstruction) -> str:
    ours = each.our_account.iban or each.our_account.other_id
    theirs = each.their_account.iban or each.their_account.other_id
    method = METHODS.get(each.method, "")
    parts = (
        f"our account {ours}" if ours else "",
        f"their account {theirs}" if theirs else "",
        f"{method} {each.correspondent}" if method else "",
    )
    return ", ".join(filter(None, parts)) or "no account stated"
