"""Whatever a caller or an operator can meet is documented, and what is documented exists."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import click
import pytest

from settlement_engine import errors
from settlement_engine.api.call import LOCAL_CALLER
from settlement_engine.cli import COMMANDS, cli
from settlement_engine.config import Config, env_name, known_keys
from settlement_engine.domain.announcement import NAMED_BY_EVENT
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.domain.settlement import FIRST_ATTEMPT
from settlement_engine.monitoring.metrics import Metrics
from settlement_engine.rails.scripts import MILLION, SCRIPTS, BookState, Fates
from settlement_engine.store.audit import all_checks
from tests.docs.markdown import ROOT, blocks

REFERENCE = ROOT / "docs" / "reference"
PROGRAM = "settlement-engine"


def page(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


def first_cells(text: str) -> list[str]:
    return re.findall(r"^\| (?:&nbsp;)*`([\w.]+)` \|", text, re.MULTILINE)


# --- what exists is documented ----------------------------------------------------------------------


def test_every_refusal_is_documented_in_order_of_precedence():
    documented = [cell for cell in first_cells(page("errors.md")) if cell in set(RefusalCode)]
    assert documented == [code.value for code in RefusalCode]


def test_every_refusal_says_what_to_do():
    for code in RefusalCode:
        found = re.search(
            rf"^\| `{code.value}` \| (.+?) \| (.+?) \|$", page("errors.md"), re.MULTILINE
        )
        assert found is not None
        assert all(cell.strip().endswith(".") for cell in found.groups()), code


def test_every_check_of_prove_is_documented_once():
    text = (ROOT / "docs" / "operating" / "prove.md").read_text("utf-8")
    cells = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
    documented = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(documented) == sorted(all_checks())


def test_every_error_is_documented():
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.SettlementEngineError)
    }
    assert classes <= set(first_cells(page("errors.md")))


def test_every_key_is_documented_with_its_variable():
    text = page("config.md")
    for key in known_keys():
        assert re.search(
            rf"^\| `{key.rpartition('.')[2]}` \|.*\| `{env_name(key)}` \|$", text, re.MULTILINE
        ), key


def test_every_key_is_explained_in_config_toml():
    text = (ROOT / "config.toml").read_text("utf-8")
    sections = {name: field for name, field in Config.model_fields.items() if name != "profile"}
    for name in sections:
        assert f"[{name}]" in text
    for key in known_keys():
        section, _, last = key.rpartition(".")
        is_table = f"[[{key}]]" in text
        assert is_table or re.search(rf"^(# )?{last} = ", text, re.MULTILINE), f"{section}.{last}"


def test_every_metric_is_documented():
    families = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Metrics("0").registry.collect()
        if not family.name.startswith("process_")
    }
    assert families == set(first_cells(page("metrics.md").partition("## Health")[0]))


def test_every_command_is_documented():
    text = page("cli.md")
    for heading, names in COMMANDS.items():
        for name in names:
            assert not heading or f"### `{PROGRAM} {name}`" in text, name


def test_every_call_is_documented():
    proto = (ROOT / "src/settlement_engine/proto/settlement.proto").read_text("utf-8")
    calls = re.findall(r"^  rpc (\w+)\(", proto, re.MULTILINE)
    assert len(calls) >= 14
    assert set(calls) <= set(first_cells(page("api.md")))


def test_every_state_and_event_is_documented():
    text = page("lifecycle.md")
    for one in (*State, *Event):
        assert re.search(rf"^\| {one.name} \|", text, re.MULTILINE), one


def test_every_script_of_the_mock_bank_is_documented():
    text = (ROOT / "docs/start/ten-minutes.md").read_text("utf-8")
    for word in SCRIPTS:
        assert f"`{word}`" in text, word


def test_no_meaning_is_left_out():
    for name, place in (("config.md", 2), ("metrics.md", 3), ("errors.md", 4)):
        for line in page(name).splitlines():
            cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
            if re.fullmatch(r"(&nbsp;)*`\w+`", cells[0]) and len(cells) > place:
                assert cells[place], f"{name}: {line}"


def test_every_key_has_a_comment_of_its_own_that_is_whole_sentences():
    lines = (ROOT / "config.toml").read_text("utf-8").splitlines()
    for before, line in pairwise(lines):
        if re.match(r"(# )?[a-z_]+ = ", line) and not re.match(r"# (\[\[|[a-z_]+ = )", before):
            assert re.fullmatch(r"# .+\.", before), f"{before!r} above {line!r}"


# --- what is documented exists ----------------------------------------------------------------------


def commands_in(text: str) -> list[list[str]]:
    """Find the calls of our program in a shell block, one list of words each."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words and Path(words[0]).name == PROGRAM:
            found.append(words[1:])
    return found


CALLS = [
    pytest.param(words, id=f"{block.page}: {' '.join(words)[:60]}")
    for block in blocks("sh")
    for words in commands_in(block.text)
]


@pytest.mark.parametrize("words", CALLS)
def test_every_command_that_is_shown_is_understood(words):
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, rest[0]
        command, rest = found, rest[1:]
    context = command.make_context(command.name, rest, resilient_parsing=False)
    assert context.params is not None


def test_commands_are_shown():
    assert len(CALLS) > 25


def test_every_target_of_make_that_is_shown_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    shown = {
        found
        for block in blocks("sh")
        for found in re.findall(r"^make (\w+)", block.text, re.MULTILINE)
    }
    assert shown
    assert shown <= targets


def test_every_variable_that_is_named_is_read():
    from settlement_engine.config.loading import ENV_OTHERS

    known = {env_name(key) for key in known_keys()} | ENV_OTHERS
    pages = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    named = {
        name
        for path in pages
        for name in re.findall(r"\bSETTLEMENT_[A-Z][A-Z_]+[A-Z]\b", path.read_text("utf-8"))
    }
    assert named - known <= {"SETTLEMENT_ENGINE_ERROR", "SETTLEMENT_WINDOW_CLOSED"}


def test_every_key_that_is_named_exists():
    sections = "|".join(Config.model_fields)
    known = set(known_keys())
    for path in [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]:
        for found in re.findall(
            rf"`((?:{sections})\.[a-z_]+)(?: = [^`]*)?`", path.read_text("utf-8")
        ):
            is_event = found.startswith("settlement.") and found.rpartition(".")[2] in {
                "accepted",
                *(event.value for event in NAMED_BY_EVENT),
                "reopened",
                *(state.value for state in State),
            }
            is_file = found == "settlement.proto"
            assert found in known or is_event or is_file, f"{path.name}: {found}"


def test_the_curl_examples_carry_a_request_that_is_understood():
    from settlement_engine.api.read_json import read_json
    from settlement_engine.api.translate import to_instruction
    from settlement_engine.proto import settlement_pb2 as wire

    bodies = [body for block in blocks("sh") for body in re.findall(r"-d '(\{.*?\})'", block.text)]
    assert len(bodies) >= 3
    for body in bodies:
        request = read_json(body.encode(), wire.SettlementRequest)
        assert to_instruction(request, caller="reader").amount.minor == 1_250


def test_the_first_settlements_of_the_readme_complete():
    """The mock bank rejects some payments by its dice; those of the first page must not be among them."""
    banks = Config().banks
    fates = Fates(
        successes_per_million=int(banks.mock_success_rate * MILLION),
        seed=banks.mock_seed,
        settlement_delay_ms=0,
        late_ms=0,
    )
    text = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(r'--obligation-id (\S+)|"obligationId":"(\S+?)"', text)
    assert len(named) >= 3
    for word in ("".join(pair) for pair in named):
        reference = references(LOCAL_CALLER, word, FIRST_ATTEMPT).end_to_end_id
        assert fates.of(reference, "").state is BookState.SETTLED, word
