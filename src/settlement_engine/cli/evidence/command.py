"""The commands ``evidence export`` and ``evidence verify``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from typing_extensions import override

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.evidence.packing import pack, unpack
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.histories import by_name
from settlement_engine.cli.output import BAD, GOOD, as_json, busy, example, mark, print_json, say
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from settlement_engine.evidence.verification import Verified

EXPORT = "export"
_ROOT: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class _Group(click.Group):
    """A group in which ``evidence ID`` is short for ``evidence export ID``."""

    @override
    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Insert ``export`` if the first argument is an ID."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = [EXPORT, *args]
        return super().parse_args(context, args)


@lasting
@click.group(cls=_Group)
@example("""
settlement-engine evidence export 0199c2d4-6f0e-7c1a-9d51-1f2a33445566 -o evidence.zip
settlement-engine evidence verify evidence.zip
""")
def evidence() -> None:
    """Export the evidence of a settlement, or verify such a file.

    `evidence ID -o FILE` is short for `evidence export ID -o FILE`.
    """


@lasting
@evidence.command(EXPORT)
@click.argument("name", metavar="ID")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The zip file to write; an existing file is not overwritten.",
)
@engine_options
@as_json
@example("""
settlement-engine evidence export 0199c2d4-6f0e-7c1a-9d51-1f2a33445566 -o evidence.zip
""")
def export(*, name: str, output: Path, address: EngineAddress, is_json: bool) -> None:
    """Write all records of a settlement to a file. ID is any of its references, as for `show`."""
    with reach(address) as engine, busy("collecting the evidence"):
        answer = engine.settlements.GetEvidence(by_name(name), timeout=CALL_SECONDS)
    data = pack({each.name: each.content for each in answer.files})
    try:
        with output.open("xb") as file:
            file.write(data)
    except OSError as error:
        what = f"{output} cannot be written"
        todo = "Choose another file with --output."
        raise Misconfigured(what, why=error.strerror or "", todo=todo) from error
    if is_json:
        told = {"settlementId": answer.settlement_id, "rootSha256": answer.root_sha256}
        print_json({**told, "file": str(output), "bytes": len(data)})
        return
    mark(GOOD, f"{output}: {len(answer.files)} files, {len(data):,} bytes")
    say(f"  settlement  {answer.settlement_id}")
    say(f"  root        {answer.root_sha256}")
    say("  Keep the root in another place: `evidence verify --root` compares the file with it.")


def _whole_root(context: click.Context, option: click.Parameter, text: str) -> str:
    """Refuse an incomplete root hash: two different hashes may begin with the same digits."""
    if text and _ROOT.fullmatch(text) is None:
        message = "the root has 64 hexadecimal digits, as printed by evidence export"
        raise click.BadParameter(message, context, option)
    return text


@lasting
@evidence.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--root",
    "root_sha256",
    default="",
    callback=_whole_root,
    help="The root hash that the export printed: all 64 hexadecimal digits.",
)
@as_json
@example("""
settlement-engine evidence verify evidence.zip
settlement-engine evidence verify evidence.zip --root 41954b2a68ec0170b074b54f609a87de5bf08220a1ba5436a992679b4714b626
""")
def verify(*, file: Path, root_sha256: str, is_json: bool) -> int:
    """Verify a file. This needs no engine and no database."""
    from settlement_engine.app.evidence import verify_evidence

    verified = verify_evidence(unpack(file), root_sha256)
    if is_json:
        print_json(_as_dict(verified))
    else:
        _print(verified, is_root_noted=bool(root_sha256))
    return ExitCode.OK if verified.is_good else ExitCode.FAILED


def _as_dict(verified: Verified) -> dict[str, Any]:
    return {
        "isGood": verified.is_good,
        "settlementId": verified.settlement_id,
        "rootSha256": verified.root_sha256,
        "checks": [
            {
                "title": each.title,
                "isGood": each.is_good,
                "faults": list(each.faults),
                "note": each.note,
            }
            for each in verified.checks
        ],
    }


def _print(verified: Verified, *, is_root_noted: bool) -> None:
    for each in verified.checks:
        note = f" ({each.note})" if each.note else ""
        mark(GOOD if each.is_good else BAD, f"{each.title}{note}")
        for fault in each.faults:
            say(f"    {fault}")
    say()
    if verified.settlement_id:
        say(f"  settlement  {verified.settlement_id}")
    say(f"  root        {verified.root_sha256}")
    if not verified.is_good:
        mark(BAD, "verification failed: the file was changed, or its records are inconsistent")
    elif is_root_noted:
        mark(GOOD, "verified: the records are consistent, and the root matches")
    else:
        mark(GOOD, "the records are consistent; compare the root with the one from the export")
