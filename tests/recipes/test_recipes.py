"""Each recipe of CONTRIBUTING is carried out in a copy of the source tree, and its result is checked there.

A recipe with a missing step fails here, because the tests of the copy require the step.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.sourcecopy import ROOT, SourceCopy

if TYPE_CHECKING:
    from pathlib import Path

LAB = "packages/settlement-lab/src/settlement_lab"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def copy(tmp_path: Path) -> SourceCopy:
    return SourceCopy(tmp_path / "copy")


def test_every_recipe_is_carried_out_here():
    """Dependencies need a registry; whoever changes one tests that recipe."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    recipes = set(re.findall(r"^\*\*(.+?)\.\*\*", text.split("## Recipes")[1], re.MULTILINE))
    carried_out = {
        name.removeprefix("test_").replace("_", " ").capitalize()
        for name in globals()
        if name.startswith("test_") and name != "test_every_recipe_is_carried_out_here"
    }
    assert recipes - {"Change a dependency"} == carried_out


# --- a transition -----------------------------------------------------------------------------------


def test_add_a_transition(copy, postgres_server):
    """A queued settlement may be parked for a person."""
    copy.after(
        "src/settlement_engine/domain/lifecycle.py",
        "        E.LAPSED: Transition(S.FAILED),\n",
        "        E.PARKED: Transition(S.HELD),\n",
    )
    copy.change(
        "tests/unit/domain/state_machine_rules.py",
        "    S.QUEUED: frozenset({E.RELEASED, E.LAPSED, E.CANCELLED}),\n",
        "    S.QUEUED: frozenset({E.RELEASED, E.LAPSED, E.CANCELLED, E.PARKED}),\n",
    )
    copy.after(
        "tests/unit/domain/test_decision_table.py",
        "CASES = [\n",
        '    Case(2, "a queued one is parked", S.QUEUED, E.PARKED, S.HELD, None, NONE),\n',
    )
    number = next_migration(copy)
    folder = f"src/settlement_engine/store/sql/migrations/{number:04d}_queued_parked"
    copy.add(f"{folder}/up.sql", f"-- compatible-from: {number - 1}\nSELECT 1;\n")
    copy.add(f"{folder}/page.sql", copy.run("-m", "settlement_engine.store.state_machine"))
    copy.write_docs()
    copy.uses(postgres_server)
    copy.write_schema()
    copy.test(
        "tests/unit/domain/test_lifecycle.py",
        "tests/unit/domain/test_state_machine_mutations.py",
        "tests/unit/domain/test_decision_table.py",
        "tests/unit/evidence/test_explanation.py",
        "tests/unit/store",
        "tests/docs",
        "tests/migration/test_migrate.py",
        "tests/migration/test_rolling_upgrade.py",
    )
    copy.test("tests/integration/test_store_sql.py", "-k", "page")


# --- a query ----------------------------------------------------------------------------------------

QUERY = """-- name: settlements_in_currency
-- How many settlements in a currency there are, counted no further than the limit.
SELECT count(*) AS settlements FROM (
    SELECT 1 FROM settlement_transactions AS s WHERE s.currency = $1::text LIMIT $2::bigint
) AS counted;

"""
PORT = '''    async def settlements_in(self, currency: str, limit: int) -> int:
        """Count settlements in a currency, no further than the limit."""
'''
IN_POSTGRES = """        row = await self._readers.fetchrow("settlements_in_currency", currency, limit)
        assert row is not None
        counted: int = row["settlements"]
        return counted

"""
IN_MEMORY = """        found = [1 for x in self._records.histories.values() if x.instruction.amount.currency == currency]
        return len(found[:limit])

"""
HISTORY_METHOD = "    async def history(self, settlement_id: UUID) -> list[Moved]:\n"
QUERY_CASE = '''"""A query, on both stores."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_settlements_in_a_currency_are_counted(scene):
    for _ in range(3):
        await scene.new()
    assert await scene.stores.settlements.settlements_in("EUR", 100) == 3
    assert await scene.stores.settlements.settlements_in("EUR", 2) == 2
    assert await scene.stores.settlements.settlements_in("USD", 2) == 0
'''


def test_add_a_query(copy, postgres_server):
    copy.before(
        "src/settlement_engine/store/sql/queries/settlements.sql", "-- name: history\n", QUERY
    )
    copy.before(
        "src/settlement_engine/ports/settlements.py", HISTORY_METHOD, PORT + "        ...\n\n"
    )
    copy.before("src/settlement_engine/store/settlements.py", HISTORY_METHOD, PORT + IN_POSTGRES)
    copy.before(f"{LAB}/memory/settlements.py", HISTORY_METHOD, PORT + IN_MEMORY)
    copy.after(
        "tests/integration/test_store_sql.py",
        "SIGNATURES: dict[str, tuple[str, str]] = {\n",
        '    "settlements_in_currency": ("text int8", "settlements int8"),\n',
    )
    copy.add("tests/contract/test_store_in_currency.py", QUERY_CASE)
    copy.uses(postgres_server)
    copy.test(
        "tests/unit/store/test_sql_files.py",
        "tests/contract/test_store_in_currency.py",
        "tests/integration/test_store_sql.py::test_every_statement_has_the_types_that_its_wrapper_expects",
    )


# --- a migration ------------------------------------------------------------------------------------

MIGRATION = """-- compatible-from: {before}
-- Who approved a settlement's limit.
ALTER TABLE settlement_transactions ADD COLUMN approved_by text;
"""


def next_migration(copy: SourceCopy) -> int:
    folder = copy.root / "src/settlement_engine/store/sql/migrations"
    return max(int(path.name[:4]) for path in folder.iterdir()) + 1


def test_add_a_migration(copy, postgres_server):
    number = next_migration(copy)
    copy.add(
        f"src/settlement_engine/store/sql/migrations/{number:04d}_approved/up.sql",
        MIGRATION.format(before=number - 1),
    )
    copy.uses(postgres_server)
    copy.write_schema()
    assert "approved_by text" in copy.read("src/settlement_engine/store/sql/schema.sql")
    copy.test("tests/migration/test_migrate.py", "tests/migration/test_rolling_upgrade.py")


# --- a refusal --------------------------------------------------------------------------------------

BLOCKS = """        if instruction.metadata.get("purpose") == "GAMBLING":
            return Refusal(code=RefusalCode.PURPOSE_FORBIDDEN, detail={"text": "gambling"})
"""
REFUSAL_CASE = '''"""The refusal, from the rule to the sentence."""

from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.evidence.sentences import refusal_sentence
from settlement_engine.screening.builtin import ScreeningRules
from tests.support.histories import payment_request


def test_a_forbidden_purpose_is_refused_with_a_sentence():
    refusal = ScreeningRules().refuse(payment_request(metadata={"purpose": "GAMBLING"}))
    assert refusal.code is RefusalCode.PURPOSE_FORBIDDEN
    assert refusal_sentence(refusal.code, refusal.detail) == "the purpose is not allowed: gambling"
'''


def test_add_a_refusal(copy):
    domain = "src/settlement_engine/domain"
    code = '    RISK_LIMIT_EXCEEDED = "RISK_LIMIT_EXCEEDED"\n'
    copy.before(f"{domain}/preconditions.py", code, '    PURPOSE_FORBIDDEN = "PURPOSE_FORBIDDEN"\n')
    copy.before(
        "tests/unit/domain/test_preconditions.py",
        '        "RISK_LIMIT_EXCEEDED",\n        "NOT_COMPENSABLE",\n',
        '        "PURPOSE_FORBIDDEN",\n',
    )
    copy.before(
        "src/settlement_engine/evidence/sentences.py",
        "    RefusalCode.RISK_LIMIT_EXCEEDED: _said(",
        '    RefusalCode.PURPOSE_FORBIDDEN: _said("the purpose is not allowed"),\n',
    )
    copy.before(
        "docs/reference/errors.md",
        "| `RISK_LIMIT_EXCEEDED` |",
        "| `PURPOSE_FORBIDDEN` | The purpose is not allowed. | Ask compliance. |\n",
    )
    copy.before(
        "src/settlement_engine/screening/builtin.py",
        "        amount = instruction.amount\n",
        BLOCKS,
    )
    copy.add("tests/unit/screening/test_purpose.py", REFUSAL_CASE)
    copy.test(
        "tests/unit/screening",
        "tests/unit/domain/test_preconditions.py",
        "tests/unit/evidence/test_explanation.py",
        "tests/docs/test_complete.py",
    )


# --- an exception -----------------------------------------------------------------------------------

EXCEPTION = '''class QuotaExceeded(CallerError):
    """The caller has asked for more than was agreed with it. Nothing was written."""

    reason = "QUOTA_EXCEEDED"


'''


def test_add_an_exception(copy):
    errors = "src/settlement_engine/errors.py"
    copy.before(errors, "class Misconfigured(", EXCEPTION)
    last = "    │   └── NotOffered\n"
    copy.change(errors, last, "    │   ├── NotOffered\n    │   └── QuotaExceeded\n")
    copy.after(
        "tests/unit/test_errors.py",
        '        "CallerError": "CALLER_ERROR",\n',
        '        "QuotaExceeded": "QUOTA_EXCEEDED",\n',
    )
    copy.after(
        "src/settlement_engine/api/errors.py",
        "        errors.WrongState: _Code.FAILED_PRECONDITION,\n",
        "        errors.QuotaExceeded: _Code.RESOURCE_EXHAUSTED,\n",
    )
    copy.write_docs()
    copy.test("tests/unit/test_errors.py", "tests/unit/api/test_errors.py", "tests/docs")


# --- a call -----------------------------------------------------------------------------------------

RPC = """  // Says how many settlements in a currency there are.
  rpc CountSettlements(CountSettlementsRequest) returns (CountSettlementsResponse);

"""
MESSAGES = """
message CountSettlementsRequest {
  string currency = 1;
}

message CountSettlementsResponse {
  int64 settlements = 1;
}
"""
METHOD = '''    async def count(
        self, request: pb.CountSettlementsRequest, call: Call
    ) -> pb.CountSettlementsResponse:
        """Count settlements in a currency."""
        del call
        found: Found = []
        check_filter("", request.currency, found)
        refuse(found)
        wanted = SettlementFilter(currency=request.currency, limit=TOTAL_MAX)
        counted = await self._settlements.count_settlements(wanted)
        return pb.CountSettlementsResponse(settlements=counted)

'''
CALL_CASE = '''"""The call, over gRPC and JSON."""

from settlement_engine.proto import settlement_pb2 as pb


async def test_settlements_are_counted_over_grpc_and_json(edge):
    answer = await edge.settlements.CountSettlements(pb.CountSettlementsRequest(currency="EUR"))
    assert answer.settlements == 0
    status, body, _ = await edge.post("CountSettlements", {"currency": "EUR"})
    assert status == 200
    assert body.get("settlements", "0") == "0"
    status, body, _ = await edge.post("CountSettlements", {"currency": "euros"})
    assert status == 400
'''


def test_add_a_call(copy):
    proto = "src/settlement_engine/proto/settlement.proto"
    copy.before(proto, "  // Lists settlements, newest first.\n  rpc ListSettlements(", RPC)
    (copy.root / proto).write_text(copy.read(proto) + MESSAGES, "utf-8")
    copy.run("tools/proto.py")
    service = "src/settlement_engine/api/service.py"
    copy.after(
        service,
        '            "ListSettlements": Unary(pb.ListSettlementsRequest, self.list_settlements),\n',
        '            "CountSettlements": Unary(pb.CountSettlementsRequest, self.count),\n',
    )
    copy.before(service, "    async def list_settlements(\n", METHOD)
    copy.add("tests/unit/api/test_count.py", CALL_CASE)
    copy.write_docs()
    copy.test("tests/unit/api", "tests/docs")


# --- a screening provider ---------------------------------------------------------------------------

PROVIDER = '''"""A screening provider that parks payments above a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.lifecycle import Event
from settlement_engine.ports import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine.domain.settlement import Settlement


class CarefulScreening:
    """Parks payments above the limit."""

    def __init__(self, largest_minor: int) -> None:
        self._largest_minor = largest_minor

    async def screen(
        self, settlements: Sequence[Settlement], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Answer a batch."""
        report([self._answer(settlement) for settlement in settlements])

    def _answer(self, settlement: Settlement) -> Answer:
        is_large = settlement.instruction.amount.minor > self._largest_minor
        event = Event.PARKED if is_large else Event.CLEARED
        return Answer(settlement_id=settlement.id, event=event)
'''
PROVIDER_CASE = '''"""The engine uses the provider that was added."""

from settlement_engine.app.screening import configured_screening
from settlement_engine.config.loading import load
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.money import Money
from tests.unit.screening.test_builtin import settlement


async def test_the_provider_is_used():
    wanted = {"profile": "dev", "screening.provider": "careful", "screening.careful_minor": 500}
    screening = configured_screening(load(None, wanted).config)
    asked = [settlement("OB", amount=Money(minor, "EUR")) for minor in (500, 501)]
    heard = []
    await screening.screen(asked, heard.extend)
    assert [answer.event for answer in heard] == [Event.CLEARED, Event.PARKED]
'''


def test_add_a_screening_provider(copy):
    copy.add("src/settlement_engine/screening/careful.py", PROVIDER)
    registry = "src/settlement_engine/app/screening.py"
    copy.before(
        registry,
        "PROVIDERS: Final",
        "def _careful(config: Config) -> Screening:\n"
        "    return CarefulScreening(config.screening.careful_minor)\n\n\n",
    )
    copy.after(registry, '{"builtin": _builtin', ', "careful": _careful')
    copy.after(
        registry,
        "import BuiltinScreening\n",
        "from settlement_engine.screening.careful import CarefulScreening\n",
    )
    copy.after(
        "src/settlement_engine/config/sections.py",
        'provider: str = Field(default="builtin", min_length=1, max_length=64)\n',
        "    careful_minor: int = Field(default=1_000_000, ge=1)\n",
    )
    copy.after(
        "config.toml",
        'provider = "builtin"\n',
        "# The largest amount that the careful screening does not park.\ncareful_minor = 1000000\n",
    )
    copy.add("tests/unit/screening/test_careful.py", PROVIDER_CASE)
    copy.write_docs()
    copy.test("tests/unit/screening", "tests/unit/test_screening_provider.py", "tests/docs")


# --- a scheme ---------------------------------------------------------------------------------------

SCHEME_CASE = '''"""The scheme that was added is a rail, by its name and as a file of one's own, and keeps the contract."""

from datetime import date
from pathlib import Path

import pytest

from settlement_engine.app.application import SystemClock
from settlement_engine.app.rails import built_rails
from settlement_engine.config import load
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.money import Money
from settlement_engine.messages.envelope import opened
from tests.support.isorails import paid_out
from tests.unit.rails.test_iso_details import NAMES, PAYMENT

FILE = Path("src/settlement_engine/rails/iso20022/profiles/chaps.toml")


@pytest.mark.parametrize("named", [{"profile": "chaps"}, {"profile_file": str(FILE)}])
def test_the_scheme_is_a_rail(named):
    bank = {"enabled": True, "endpoint": "http://127.0.0.1:8099/realtime", **named}
    wanted = {"profile": "dev", "banks.realtime": [bank], "banks.mock_enabled": False}
    rail = built_rails(load(None, wanted, search=False).config, SystemClock()).registry.rails["realtime"]
    rules = rail.capabilities
    assert (rules.rail_class, rules.currencies) == ("d", frozenset({"GBP"}))
    assert rules.needs[Delivery.PAY_OUT] == ("creditor.name", "purpose")
    made = paid_out(PAYMENT)
    from dataclasses import replace
    pounds = replace(made, instruction=replace(made.instruction, amount=Money(100, "GBP")))
    message = opened(rail.prepare(pounds, NAMES))
    assert message.definition == "pacs.008.001.08"
'''


def test_add_a_scheme(copy):
    """The profile is the one in the guide."""
    guide = copy.read("docs/guides/add-a-rail.md")
    (profile,) = re.findall(r"```toml\n(# Profile.*?)```", guide, re.DOTALL)
    copy.add("src/settlement_engine/rails/iso20022/profiles/chaps.toml", profile)
    copy.add("tests/unit/test_chaps.py", SCHEME_CASE)
    copy.test("tests/unit/test_chaps.py", "tests/unit/rails/test_iso_profiles.py")


# --- a rail -----------------------------------------------------------------------------------------

RAIL = '''"""A rail with its own name and a mock bank of its own."""

from __future__ import annotations

from settlement_engine.rails.mock import MockRail


class PaperRail(MockRail):
    """Satisfies the contract of every rail."""

    name = "paper"
'''
WORLD = """class PaperWorld(MockWorld):
    def make(self) -> SendRail:
        return PaperRail(self._settings, self._clock)


"""
RAIL_CASE = '''"""The rail that was added is started and stopped."""

from settlement_engine.app.application import Application
from settlement_engine.config.loading import load


async def test_the_engine_has_the_rail(tmp_path):
    wanted = {"profile": "dev", "database.url": "postgresql:///x"}
    config = load(None, {**wanted, "banks.mock_book_file": str(tmp_path / "book")}).config
    application = Application(config)
    assert list(application.rails) == ["mock", "paper"]
    assert "paper" in application.case_management._rails
    await application.rails["paper"].start()
    await application.close()
'''


def test_add_a_rail(copy):
    copy.add("src/settlement_engine/rails/paper.py", RAIL)
    rails = "src/settlement_engine/app/rails.py"
    copy.after(
        rails,
        "import MockRail\n",
        "from settlement_engine.rails.paper import PaperRail\n",
    )
    copy.before(
        rails,
        "def _connections(",
        "def _paper(config: Config, clock: Clock) -> PaperRail:\n"
        "    settings = mock_settings(config)\n"
        "    book = settings.book_file.with_suffix('.paper')\n"
        "    return PaperRail(replace(settings, book_file=book), clock)\n\n\n",
    )
    copy.after(rails, "from dataclasses import dataclass", ", replace")
    copy.after(
        rails,
        'RailEntry("mock", "banks", lambda: mock),',
        ' RailEntry("paper", "banks", lambda: _paper(config, clock)),',
    )
    contract = "tests/contract/test_rail_contract.py"
    copy.after(
        contract,
        "import MockRail\n",
        "from settlement_engine.rails.paper import PaperRail\n",
    )
    copy.before(contract, "WORLDS: tuple[Any, ...] = (", WORLD)
    copy.after(contract, "WORLDS: tuple[Any, ...] = (\n    MockWorld,\n", "    PaperWorld,\n")
    copy.add("tests/unit/test_paper_rail.py", RAIL_CASE)
    copy.test(contract, "tests/unit/test_paper_rail.py")
