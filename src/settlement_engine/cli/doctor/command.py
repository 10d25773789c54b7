"""The command ``doctor``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.development.command import DATA_DIR
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.output import BAD, WARN, as_json, counted, example, mark, print_json, say
from settlement_engine.cli.settings import config_options


@lasting
@click.command()
@config_options
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA_DIR,
    show_default=True,
    help="The data directory of `dev`.",
)
@as_json
@example("""
settlement-engine doctor
settlement-engine doctor --json
""")
def doctor(
    *, config_file: Path | None, settings: tuple[str, ...], data_dir: Path, is_json: bool
) -> int:
    """Check this machine and its settings for problems."""
    from settlement_engine.cli.doctor.machine import check_machine
    from settlement_engine.cli.doctor.settings import check_settings

    data_dir = data_dir.absolute()
    findings = [*check_machine(data_dir), *check_settings(config_file, settings, data_dir)]
    failed = [finding for finding in findings if finding.sign == BAD]
    code = ExitCode.FAILED if failed else ExitCode.OK
    if is_json:
        print_json([asdict(finding) for finding in findings])
        return code
    for finding in findings:
        mark(finding.sign, f"{finding.title}: {finding.detail}")
        if finding.todo:
            say(f"    do: {finding.todo}")
    warnings = sum(finding.sign == WARN for finding in findings)
    say()
    say(f"{counted(len(failed), 'problem')}, {counted(warnings, 'warning')}")
    return code
