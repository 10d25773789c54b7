"""Write the generated parts of docs/ from the code, or check that they are fresh (`--check`).

A generated part stands between `<!-- BEGIN name -->` and `<!-- END name -->`; the text around it is
written by hand. Each function of this module that is named in `PARTS` writes one part.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

import click

from settlement_engine import errors
from settlement_engine.api.errors import CODES, HTTP_CODES
from settlement_engine.cli import COMMANDS, cli
from settlement_engine.cli.failures import ExitCode
from settlement_engine.config import (
    PROFILE_DEFAULTS,
    Config,
    RealtimeBank,
    env_name,
    flatten,
    masked,
)
from settlement_engine.domain import lifecycle
from settlement_engine.domain.announcement import announcement_type
from settlement_engine.domain.lifecycle import ENDS, STATUS, TRANSITIONS, Event, State, is_recorded
from settlement_engine.domain.money import Money
from settlement_engine.domain.notices import (
    DISCREPANCY,
    ESCALATED,
    NOTICE_TYPES,
    RECALLS,
    RECONCILED,
    REOPENED_DAY,
    DiscrepancyReported,
    OutboxNotice,
)
from settlement_engine.domain.recalls import RecallState
from settlement_engine.domain.settlement import Moved
from settlement_engine.events.announce import Announcer
from settlement_engine.events.notice_messages import NoticeAnnouncer
from settlement_engine.messages.codes import CODE_SETS, code_set
from settlement_engine.messages.kinds import KINDS
from settlement_engine.monitoring.metrics import Metrics
from settlement_engine.ports import Announcement
from settlement_engine.rails.iso20022.profile import shipped_profile, shipped_profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from settlement_engine.rails.iso20022.profile import IsoProfile

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"
PROTO: Final = ROOT / "src" / "settlement_engine" / "proto" / "settlement.proto"
MARK: Final = re.compile(r"(<!-- BEGIN ([a-z-]+) -->\n)(.*?)(<!-- END \2 -->)", re.DOTALL)
SHARED: Final = (
    *("--address", "--ca", "--cert", "--key", "--json"),
    *("--config", "--set", "--debug", "--no-color"),
)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


def code(text: object) -> str:
    return f"`{text}`" if str(text) else ""


# --- the page -------------------------------------------------------------------------------------


def meanings(kind: type) -> dict[str, str]:
    """Read the comment behind each member: ``NAME = auto()  # meaning``."""
    found = re.findall(r"^ {4}(\w+) = auto\(\)  # (.+)$", inspect.getsource(kind), re.MULTILINE)
    return dict(found)


def diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> PENDING"]
    for state, rows in TRANSITIONS.items():
        ways: dict[State, list[str]] = {}
        for event, row in rows.items():
            if row.state is not state:
                ways.setdefault(row.state, []).append(event.name)
        for target, events in ways.items():
            lines.append(f"    {state.name} --> {target.name}: {' / '.join(events)}")
    lines += [f"    {state.name} --> [*]" for state in TRANSITIONS if state in ENDS]
    return "\n".join([*lines, "```"]) + "\n"


def transitions_of_the_state_machine() -> str:
    def row_cells() -> Iterator[Sequence[str]]:
        for state, rows in TRANSITIONS.items():
            for event, row in rows.items():
                target = row.state.name if is_recorded(state, row) else f"{row.state.name} (stays)"
                does, asks = (part.name if part else "" for part in (row.do, row.ask))
                yield state.name, event.name, target, does, asks, ", ".join(row.reached)

    return table(("in", "when", "to", "do", "then ask", "checkpoints reached"), row_cells())


def states() -> str:
    said = meanings(State)
    return table(
        ("state", "public status", "meaning"),
        ((s.name, f"{STATUS[s].name} = {STATUS[s].value}", said[s.name]) for s in State),
    )


def events() -> str:
    said = meanings(Event)
    return table(("event", "what happened"), ((event.name, said[event.name]) for event in Event))


def work_and_questions() -> str:
    said = meanings(lifecycle.Do)
    return table(("do", "inside the transaction"), ((do, said[do]) for do in said))


# --- errors ---------------------------------------------------------------------------------------


def error_classes() -> str:
    return table(
        ("class", "`reason`", "gRPC", "HTTP", "meaning", "the same call again"),
        ([_error_name(kind, depth), *_error_cells(kind)] for kind, depth in _family()),
    )


def _family(
    kind: type[errors.SettlementEngineError] = errors.SettlementEngineError, depth: int = 0
) -> Iterator[tuple[type[errors.SettlementEngineError], int]]:
    if kind.__module__ == errors.__name__:
        yield kind, depth
        for below in kind.__subclasses__():
            yield from _family(below, depth + 1)


def _error_name(kind: type, depth: int) -> str:
    return "&nbsp;" * 3 * depth + code(kind.__name__)


def _error_cells(kind: type[errors.SettlementEngineError]) -> list[str]:
    status = CODES[kind]
    meaning = (kind.__doc__ or "").strip().splitlines()[0].replace("``", "`")
    again = "after a while" if kind in (errors.Overloaded, errors.Unavailable) else "no"
    again = "yes" if kind is errors.Contention else again
    http = str(HTTP_CODES[status])
    return [code(kind.reason), status.name, http, meaning, again]


# --- configuration --------------------------------------------------------------------------------


def config_keys() -> str:
    explained = _explanations((ROOT / "config.toml").read_text("utf-8"))
    defaults = flatten(Config())
    sections: dict[str, list[Sequence[str]]] = {}
    for key, value in defaults.items():
        section, _, name = key.rpartition(".")
        profiles = [
            f"{profile}: {code(masked(values[key]))}"
            for profile, values in PROFILE_DEFAULTS.items()
            if key in values
        ]
        default = "; ".join([code(masked(value)) or "empty", *profiles])
        cells = (code(name), default, explained[key], code(env_name(key)))
        sections.setdefault(section, []).append(cells)
    columns = ("key", "default", "meaning", "environment")
    return "\n".join(
        (f"## [{section}]\n\n{_about(section)}\n\n" if section else "") + table(columns, cells)
        for section, cells in sections.items()
    )


def _about(section: str) -> str:
    return inspect.cleandoc(Config.model_fields[section].default.__doc__ or "")


def _explanations(text: str) -> dict[str, str]:
    """Read the comment above each key: every key has one of its own."""
    found: dict[str, str] = {}
    section, comment = "", ""
    for line in text.splitlines():
        header = re.fullmatch(r"(?:# )?\[{1,2}([a-z.]+)\]{1,2}", line)
        key = re.match(r"(?:# )?([a-z_]+) = ", line)
        if header:
            section, comment = header[1], comment if "[[" in line else ""
            if "[[" in line:
                found[section] = comment
        elif key:
            name = f"{section}.{key[1]}" if section else key[1]
            found.setdefault(name, comment)
            comment = ""
        elif line.startswith("# "):
            comment = f"{comment.rstrip()} {line[2:]}".strip()
        else:
            comment = ""
    return found


# --- metrics, commands, calls ---------------------------------------------------------------------


def metrics() -> str:
    registry = Metrics("0").registry
    rows = []
    for collector in list(registry._collector_to_names):
        for family in collector.collect():
            if family.name.startswith("process_"):
                continue
            labels = getattr(collector, "_labelnames", ())
            name = f"{family.name}_total" if family.type == "counter" else family.name
            rows.append((code(name), family.type, ", ".join(labels), family.documentation))
    return table(("metric", "type", "labels", "meaning"), rows)


def commands() -> str:
    parts = []
    for heading, names in COMMANDS.items():
        for name in names:
            found = cli.get_command(click.Context(cli), name)
            assert found is not None
            if heading:
                parts += [f"## {heading}\n"] if name == next(iter(names)) else []
                parts += _command(f"settlement-engine {name}", found)
    return "\n".join(parts)


def _command(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"### `{path}`\n"
    about, _, examples = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
    yield about.strip() + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _command(f"{path} {name}", below)
        return
    yield f"```text\n{path} {usage}\n```\n"
    options = [one for one in command.params if isinstance(one, click.Option)]
    own = [one for one in options if not set(one.opts) & {*SHARED, "--help"}]
    if own:
        yield table(("option", "meaning"), (_option(one, context) for one in own))
    shared = [one.opts[-1] for one in options if set(one.opts) & set(SHARED)]
    yield "Also: " + ", ".join(code(name) for name in shared) + ".\n"
    if examples:
        yield f"```sh\n{inspect.cleandoc(examples)}\n```\n"


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    record = option.get_help_record(context)
    assert record is not None
    return code(record[0]), record[1]


def exit_codes() -> str:
    """Write the exit codes with their meanings."""
    found = re.findall(r"^ {4}\w+ = (\d+)  # (.+)$", inspect.getsource(ExitCode), re.MULTILINE)
    assert len(found) == len(ExitCode), "each exit code has a comment with its meaning"
    return table(("code", "meaning"), found)


def calls() -> str:
    """Write the services of the proto: each call with the comment above it."""
    text = PROTO.read_text("utf-8")
    parts = []
    for service in re.finditer(r"^service (\w+) \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE):
        found = re.findall(
            r"((?:^ {2}// .*\n)+) {2}rpc (\w+)\((.*?)\) returns \((.*?)\);",
            service[2],
            re.MULTILINE,
        )
        rows = []
        for comment, name, request, answer in found:
            about = " ".join(line.strip().removeprefix("// ") for line in comment.splitlines())
            rows.append((code(name), code(request), code(answer), about))
        columns = ("call", "request", "answer", "what it does")
        parts.append(f"### settlement.{service[1]}\n\n" + table(columns, rows))
    return "\n".join(parts)


# --- announcements --------------------------------------------------------------------------------


def announcements() -> str:
    kinds: dict[str, list[str]] = {}
    for state, rows in TRANSITIONS.items():
        for event, row in rows.items():
            if is_recorded(state, row):
                kind = announcement_type(_moved(state, event, row.state))
                kinds.setdefault(kind, []).append(f"{event.name} in {state.name}")
    return table(("`ce-type`", "after"), ((code(kind), ", ".join(kinds[kind])) for kind in kinds))


def announcement_example() -> str:
    announcement = Announcement(
        moved=_moved(State.IN_DOUBT, Event.SETTLED, State.COMPLETED),
        obligation_id="OBL-2",
        from_bank="DEUTDEFF",
        to_bank="CHASUS33",
        amount=Money(500, "EUR"),
        value_date=date(2026, 1, 14),
        priority=0,
    )
    message = Announcer(prefix="settlement", source="/settlement-engine").message(announcement)
    body = json.dumps(json.loads(message.body), indent=2, ensure_ascii=False)
    headers = message.headers.replace("\r\n", "\n")
    return f"```text\n{headers}```\n\n```json\n{body}\n```\n"


NOTICED: Final = {
    DISCREPANCY: "a run of reconciliation whose report for a currency has an account that is not balanced",
    RECONCILED: "a proof of zero for an account's booking day, new or changed",
    REOPENED_DAY: "the proof of a day that was zero and is zero no more",
    ESCALATED: "a step of the escalation table: an open break has reached a level",
    RECALLS[RecallState.REQUESTED]: "a recall was asked for",
    RECALLS[RecallState.IN_PROCESS]: "the bank has the recall, and has not decided",
    RECALLS[RecallState.OVERDUE]: "the time for an answer has passed; a late one still counts",
    RECALLS[RecallState.PROMISED]: "the bank has accepted it; the money is not back yet",
    RECALLS[RecallState.REFUSED]: "the bank has refused it",
    RECALLS[RecallState.RETURNED]: "all of the money has come back",
}


def notices() -> str:
    rows = ((code(kind), NOTICED[kind]) for kind in NOTICE_TYPES)
    return table(("`ce-type`", "after"), rows)


def notice_example() -> str:
    reported = DiscrepancyReported(
        run_id=UUID("0199c2d4-7a10-7f00-8c11-5a5a5a5a5a5a"),
        currency="EUR",
        started_for="schedule",
        report_date=date(2026, 1, 14),
        total_accounts=16,
        balanced_accounts=14,
        discrepancy_accounts=2,
        total_discrepancy_minor="1234",
        outcomes={"balanced": 14, "identified": 1, "pending": 1},
        open_breaks=3,
    )
    at = datetime(2026, 1, 15, 2, 0, 3, 250000, tzinfo=UTC)
    announcer = NoticeAnnouncer(prefix="settlement", source="/settlement-engine")
    message = announcer.message(OutboxNotice(position=17, at=at, fact=reported))
    body = json.dumps(json.loads(message.body), indent=2, ensure_ascii=False)
    headers = message.headers.replace("\r\n", "\n")
    return f"```text\n{headers}```\n\n```json\n{body}\n```\n"


def _moved(state: State, event: Event, target: State) -> Moved:
    return Moved(
        position=1204,
        settlement_id=UUID("0199c2d4-6f0e-7c1a-9d51-1f2a33445566"),
        seq=4,
        from_state=state,
        event=event,
        to_state=target,
        at=datetime(2026, 1, 14, 9, 30, 0, 125000, tzinfo=UTC),
        detail={"confirmation": "CONF-7"},
    )


def decisions() -> str:
    lines = []
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        title = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})\n")
    return "".join(lines)


# --- messages -------------------------------------------------------------------------------------


def message_kinds() -> str:
    rows = [
        (code(name[:8]), kind.root, ", ".join(kind.editions))
        for name, kind in sorted(KINDS.items())
    ]
    return table(("kind", "element under `Document`", "versions"), rows)


def code_sets() -> str:
    found = [(name, code_set(name)) for name in CODE_SETS]
    rows = [(code(name), each.set, each.published, str(len(each.codes))) for name, each in found]
    return table(("file", "set", "published", "codes"), rows)


# --- rails ----------------------------------------------------------------------------------------

NOT_SHIPPED_FOR_BANKS: Final = "simulator_"
"""The profiles for the simulated bank are for tests and development."""


def rail_profiles() -> str:
    columns = (
        *("profile", "scheme", "published", "class", "carries", "finality", "final by"),
        *("time-out, s", "valid, s", "*not found* means something"),
    )
    rows = []
    for name, each in _profiles():
        means = f"after {each.not_found_after_seconds} s" if each.is_not_found_definite else "never"
        rows.append(
            (
                *(code(name), each.scheme, str(each.published), each.rail_class),
                ", ".join(each.currencies) or "all currencies",
                *(each.finality, ", ".join(each.settled_by)),
                *(str(each.answer_seconds_max), str(each.validity_seconds), means),
            )
        )
    return table(columns, rows)


def rail_limits() -> str:
    rows = [
        (code(name), limit.currency, str(limit.since), limit.least or "none", limit.most or "none")
        for name, each in _profiles()
        for limit in each.limits
    ]
    return table(("profile", "currency", "from", "least", "most"), rows)


def rail_messages() -> str:
    rows = []
    for name, each in _profiles():
        needs = "; ".join(
            f"{delivery.upper()}: {', '.join(map(code, paths))}"
            for delivery, paths in each.needs.items()
            if paths
        )
        spoken = (each.customer, each.institution, each.status, each.enquiry, each.recall)
        rows.append(
            (
                code(name),
                ", ".join(code(definition) for definition in spoken if definition),
                ", ".join(each.charge_bearers),
                code(each.characters) or "all of UTF-8",
                needs or "nothing",
            )
        )
    return table(("profile", "messages", "charge bearers", "characters", "a request needs"), rows)


def rail_bank_keys() -> str:
    explained = _explanations((ROOT / "config.toml").read_text("utf-8"))
    rows = []
    for name, field in RealtimeBank.model_fields.items():
        known = explained.get(f"banks.swift.{name}") or explained[f"banks.realtime.{name}"]
        # The first key's explanation follows that of the table.
        meaning = "Whether payments are sent to it." if name == "enabled" else known
        rows.append((code(name), code(masked(field.default)) or "empty", meaning))
    rows.append((code("rails"), "both", explained["banks.sepa.rails"]))
    rows.append((code("covers"), code("false"), explained["banks.swift.covers"]))
    return table(("key", "default", "meaning"), rows)


def _profiles() -> list[tuple[str, IsoProfile]]:
    names = [name for name in shipped_profiles() if not name.startswith(NOT_SHIPPED_FOR_BANKS)]
    return [(name, shipped_profile(name)) for name in names]


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "announcement-example": announcement_example,
    "announcements": announcements,
    "notice-example": notice_example,
    "notices": notices,
    "calls": calls,
    "code-sets": code_sets,
    "commands": commands,
    "config-keys": config_keys,
    "decisions": decisions,
    "diagram": diagram,
    "error-classes": error_classes,
    "events": events,
    "exit-codes": exit_codes,
    "message-kinds": message_kinds,
    "metrics": metrics,
    "rail-bank-keys": rail_bank_keys,
    "rail-limits": rail_limits,
    "rail-messages": rail_messages,
    "rail-profiles": rail_profiles,
    "rows": transitions_of_the_state_machine,
    "states": states,
    "work": work_and_questions,
}


def written(text: str) -> str:
    """Return a page with its generated parts replaced."""
    return MARK.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n{part[4]}", text)


def pages() -> dict[Path, tuple[str, str]]:
    """Return each page with generated parts: its current and its expected text."""
    found = {}
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text("utf-8")
        if MARK.search(text):
            found[path] = (text, written(text))
    return found


def main(arguments: list[str]) -> int:
    stale = {path: new for path, (old, new) in pages().items() if old != new}
    for path, new in stale.items():
        print(f"docs: {path.relative_to(ROOT)} is {'stale' if arguments else 'written'}")
        if not arguments:
            path.write_text(new, "utf-8")
    if stale and arguments:
        print("docs: run  .venv/bin/python tools/docs.py")
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
