"""What a newcomer sees: with the sample data, the first reconciliation with the simulated bank is balanced."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from settlement_engine.cli.development.sample import BANKS, CURRENCIES
from settlement_engine.cli.failures import ExitCode
from tests.e2e.test_command_line import Done, run
from tests.e2e.world import World, until

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNTS = len(BANKS) * len(CURRENCIES)
SECONDS = 60.0


def reconciled(world: World) -> dict[str, Any]:
    """Import the statements of today, and reconcile; the engine does the same as they arrive."""
    today = datetime.now(UTC).date().isoformat()
    fetched = run(world, "statements", "fetch", "--date", today, "--json")
    assert fetched.out.count('"FETCHED"') >= ACCOUNTS, fetched

    def once() -> Done | None:
        done = run(world, "reconcile", "--json")
        return None if "CONTENTION" in done.err + done.out else done

    done = until(once, SECONDS, "the runs after the arrival to end")
    assert done.code == ExitCode.OK, done
    found: dict[str, Any] = done.json
    return found


def test_the_first_reconciliation_after_the_statements_is_balanced(tmp_path: Path) -> None:
    with World(tmp_path, "--simulator", "--sample-data") as world:
        for currency in ("EUR", "USD"):
            paid = world.execute(from_bank="DEUTDEFF", to_bank="CHASUS33", currency=currency)
            world.wait_for(paid.settlement_id)
        found = reconciled(world)
        assert found["balancedAccounts"] == found["totalAccounts"] >= ACCOUNTS
        proved = [each for each in found["accounts"] if "proof" in each]
        assert {each["status"] for each in proved} == {"RECONCILIATION_STATUS_BALANCED"}
        assert run(world, "breaks", "list", "--json").json["breaks"] == []
