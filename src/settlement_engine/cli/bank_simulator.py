"""The command ``bank-simulator``: runs the scripted bank as a separate process.

Promises: the first line of output is the address at which it listens; it exits with 0 on SIGTERM and Ctrl-C.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.output import GOOD, as_json, example, mark, print_json, print_json_line

if TYPE_CHECKING:
    from settlement_engine.app.bank_simulator import BankOptions

A_FILE = click.Path(dir_okay=False, path_type=Path)

A_FOLDER = click.Path(file_okay=False, path_type=Path)


@lasting
@click.command("bank-simulator")
@click.option(
    "--ledger",
    "ledger_file",
    type=A_FILE,
    default=Path(".data/bank-simulator.db"),
    show_default=True,
    help="The file of the bank's ledger; it is kept when the bank restarts.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, help="The port; 0 chooses a free one."
)
@click.option(
    "--script", "script_file", type=A_FILE, help="How payments are treated, in YAML or JSON."
)
@click.option(
    "--callback-url",
    default="",
    help="Where to send call-backs; {rail} in it is the payment's rail.",
)
@click.option(
    "--callback-ca", type=A_FILE, help="The CA certificates that verify the receiver of call-backs."
)
@click.option(
    "--callback-token-file",
    type=A_FILE,
    help="The file with the token for `Authorization: Bearer` in call-backs.",
)
@click.option(
    "--cert",
    "certificate",
    type=A_FILE,
    help="The server certificate; with it, only TLS is accepted.",
)
@click.option("--key", type=A_FILE, help="The private key of the certificate.")
@click.option(
    "--client-ca", type=A_FILE, help="The CA certificates that verify the clients' certificates."
)
@click.option("--orders", type=A_FOLDER, help="Read NACHA files here: the outbox of the ACH rail.")
@click.option(
    "--reports", type=A_FOLDER, help="Write acknowledgements and returns here: the rail's inbox."
)
@click.option("--list-scenarios", "is_listing", is_flag=True, help="Print all scenarios and exit.")
@as_json
@example("""
settlement-engine bank-simulator --port 8099 --script scenarios.yaml
settlement-engine bank-simulator --list-scenarios
curl -s http://127.0.0.1:8099/ledger
curl -s 'http://127.0.0.1:8099/statements?bank=DEUTDEFF&currency=USD&date=2026-11-29'
""")
def bank_simulator(*, is_listing: bool, is_json: bool, **given: Any) -> None:  # noqa: ANN401 -- click's
    """Run a simulated bank that speaks ISO 20022 over HTTP and keeps its own ledger.

    It receives pacs.008, pacs.009, pacs.028, camt.056 and camt.060 at POST /messages, or at POST /swift/messages,
    /sepa_sct/messages, /sepa_inst/messages and /realtime/messages, and treats each payment as its script says.
    GET /ledger lists the payments that it received and debited, as JSON lines. GET /statements gives out account
    statements (camt.053 or MT940), and GET /statements/planted lists the differences that the script puts into them.
    GET /balance?bank=B&currency=C states a balance as of now; balances_off_minor of the script makes it a wrong one.
    With --orders and --reports it also acts as an ACH operator: it reads NACHA files, acknowledges them, returns
    entries, and writes each day's statement.
    """
    from settlement_engine.app.bank_simulator import BankOptions, run_bank, scenarios
    from settlement_engine.app.development.child import PARENT, die_with_parent

    if PARENT in os.environ:
        die_with_parent()
    if is_listing:
        print_json(scenarios())
        return

    def ready(address: str) -> None:
        if is_json:
            print_json_line({"simulator": address})
        else:
            mark(GOOD, f"ready: {address}")

    options = BankOptions(**given)
    _check(options)
    run_bank(options, ready)


def _check(options: BankOptions) -> None:
    has_certificate, has_key = options.certificate is not None, options.key is not None
    if has_certificate != has_key or (options.client_ca is not None and not has_certificate):
        message = "--cert and --key go together, and --client-ca needs both"
        raise click.UsageError(message)
    if (options.orders is None) != (options.reports is None):
        message = "--orders and --reports go together"
        raise click.UsageError(message)
