"""The rules of the project that no linter knows, as tests over the source of all its distributions.

Where a rule has exceptions they are listed here with the reason. A list may only get shorter: an entry
that is no longer needed fails as well.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "settlement_engine"
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")
BESIDE = [
    ROOT / "packages" / "settlement-client" / "src",
    ROOT / "packages" / "settlement-lab" / "src",
]
MODULES = {
    path.relative_to(root).as_posix(): path
    for root in (SOURCE, *BESIDE)
    for path in sorted(root.rglob("*.py"))
    if not GENERATED.search(path.name)
}
"""The engine's files as they are called in it, the others' with the name of their package."""

TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_AIM = 40
CODE_COLUMNS_MAX = 100
TEXT_COLUMNS_MAX = 120

LONG_FUNCTIONS = {
    "cli/development/command.py dev": 53,  # twelve options, each an argument of the command
    "settlement_lab/commands/simulate.py simulate": 45,  # ten options, and which of four things they are about
    "cli/submit.py submit": 42,  # as many options again
    "settlement_lab/commands/demo/story.py _collect": 41,  # the demonstration's one pass over what came back
    "settlement_lab/worlds/node.py __init__": 51,  # every part of a process, put together in one place
}

NOT_SAID = {
    # Abbreviations of words that are written out.
    *("txn", "txns", "src", "dst", "dest"),
    # Abbreviations. `id`, `bic`, `uetr` and `utc` are words.
    *("amt", "acct", "cfg", "conf", "req", "resp", "ctx", "conn", "curr", "idx", "tmp", "val"),
    *("num", "cnt", "mgr", "obj", "ref", "refs", "util", "utils", "helper", "helpers", "manager"),
}
SAID_ANYWAY = {
    "cli/instants.py ctx": "click calls the argument so, and passes it by name",
    "cli/commands.py ctx": "click calls the argument so, and passes it by name",
    "rails/mock_bank.py ref": "in a comprehension, of payments by reference",
    "rails/mock_book.py ref": "in a comprehension, of payments by reference",
}

TIMEOUTS = {
    "engine/external_timeout.py external_timeout",  # waits for somebody outside; its argument has the unit
    "api/gateway.py _GRPC_TIMEOUT",  # the grammar of the header of this name
    "settlement_lab/commands/demo/outside.py timeout",  # aiohttp's own object, with several times in it
}

SQL = re.compile(
    r"\bSELECT\b[\s\S]+\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\s+\S+\s+SET\b|\bDELETE\s+FROM\b"
    r"|\b(CREATE|ALTER|DROP)\s+(TABLE|TYPE|INDEX|VIEW|FUNCTION|TRIGGER)\b"
)
SQL_ANYWAY = {
    "store/state_machine.py": "writes the page as SQL, for a migration",
    "rails/mock_statements.py": "the mock bank's own book, in SQLite, is not our database",
    "settlement_client/inbox.py": "runs in the database of a consumer, who names the table",
}

WITHOUT_FLOATS = [
    *("domain/money.py", "domain/ledger.py", "domain/settlement.py", "domain/preconditions.py"),
    *("domain/identifiers.py", "domain/lifecycle.py", "domain/decisions/after_the_end.py"),
    *("store/accounts.py", "store/settlements.py", "store/rows.py", "store/audit.py"),
    *("api/grammar.py", "api/translate.py", "api/render.py", "api/accounts.py"),
    *("screening/builtin.py", "rails/mock_message.py"),
    *("messages/amounts.py", "messages/leaves.py", "messages/reading.py", "messages/building.py"),
    *(
        f"messages/nacha/{name}.py"
        for name in ("building", "columns", "entries", "model", "reading")
    ),
]

VAGUE = re.compile(r"(^|_)(utils?|helpers?|common|managers?|misc|stuff|base|lib|tools?)(_|$)")


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{name} {node.name}", node


def named_here() -> Iterator[tuple[str, str]]:
    """Every identifier that we have chosen in the source of the distributions."""
    return names_in(TREES)


def names_in(trees: dict[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """Every identifier that was chosen: of modules, classes, functions, arguments, variables."""
    for name, tree in trees.items():
        yield name, Path(name).stem
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=word) | ast.AsyncFunctionDef(name=word):
                    yield name, word
                case ast.ClassDef(name=word) | ast.arg(arg=word):
                    yield name, word
                case ast.Name(id=word, ctx=ast.Store()) | ast.Attribute(attr=word, ctx=ast.Store()):
                    yield name, word
                case _:
                    pass


def words(identifier: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)]


def tracked_files() -> list[Path]:
    """What is in the repository, or would be with the next commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked_files():
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


# --- size -------------------------------------------------------------------------------------------


def test_no_file_is_too_long():
    lengths = {name: path.read_text().count("\n") for name, path in MODULES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_no_function_is_too_long():
    lengths = {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in functions()}
    long = {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_AIM}
    assert [name for name, lines in long.items() if lines > FUNCTION_LINES_MAX] == []
    assert [name for name in long if name not in LONG_FUNCTIONS] == []
    assert [name for name in long if long[name] > LONG_FUNCTIONS[name]] == []


def test_the_list_of_long_functions_only_shrinks():
    lengths = {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in functions()}
    needed = {name for name, lines in lengths.items() if lines > FUNCTION_LINES_AIM}
    assert LONG_FUNCTIONS.keys() - needed == set()


def test_no_line_is_too_long():
    """Code keeps to 100 columns; a sentence in a comment or a string may run a little further."""
    code = {tokenize.NAME, tokenize.NUMBER}
    long = set()
    for name, path in MODULES.items():
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if len(re.sub(r"  # (noqa|type): .*", "", line)) > TEXT_COLUMNS_MAX:
                long.add(f"{name}:{number}")
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type in code and token.end[1] > CODE_COLUMNS_MAX:
                    long.add(f"{name}:{token.start[0]}")
    assert sorted(long) == []


# --- words ------------------------------------------------------------------------------------------


def test_every_module_has_a_docstring():
    assert [name for name, tree in TREES.items() if not ast.get_docstring(tree)] == []


def test_no_component_has_a_vague_name():
    parts = {part for name in TREES for part in Path(name).with_suffix("").parts}
    assert [part for part in sorted(parts) if VAGUE.search(part)] == []


def test_nothing_is_left_to_be_done_later():
    # Three X alone are no marker: they are the head office in a BIC, and no currency in ISO 4217.
    marker, head_office = "|".join(("FIX" + "ME", "TO" + "DO", "HA" + "CK")), "XX" + "X"
    later = re.compile(rf"\b({marker})\b|(#|--|//) *{head_office}\b|\b{head_office}:")
    exempt = {"LICENSE", "requirements.lock", "requirements-pg16.lock"}
    found = []
    for name, text in texts():
        if name in exempt or not name.endswith(
            (".py", ".sql", ".toml", ".md", ".proto", "Makefile")
        ):
            continue
        if later.search(text):
            found.append(name)
    assert found == []


def test_a_word_means_one_thing():
    said = {
        f"{name} {identifier}"
        for name, identifier in named_here()
        if NOT_SAID.intersection(words(identifier))
    }
    assert sorted(said - SAID_ANYWAY.keys()) == []
    assert SAID_ANYWAY.keys() - said == set()


def test_a_timeout_says_its_unit():
    plain = [
        f"{name} {identifier}"
        for name, identifier in named_here()
        if "timeout" in words(identifier)
        and not re.search(r"_(seconds|ms)$", identifier.lower())
        and f"{name} {identifier}" not in TIMEOUTS
    ]
    assert plain == []


# --- private words ----------------------------------------------------------------------------------

PRIVATE = {
    # Words that meant something here only. The field's terms are used instead (docs/glossary.md).
    *("doorbell", "timetable", "surveyor", "witness", "suspicion", "incarnation", "graveyard"),
    *("ordeal", "ordeals", "yardstick", "surgery", "backroom", "wish", "wishes", "wished"),
    *("matter", "matters", "clerk", "desk", "era", "eras", "anomaly", "anomalies", "crowd"),
    *("strangers", "patience", "lives", "bury", "presence", "silences", "road", "resting"),
}
PRIVATE_ANYWAY = {
    "messages/reading.py _check_presence": "whether an element is there; no engine is meant",
    "embedded/proctable.py lives_in": "a verb: the process lives in a container",
}


def test_nothing_is_called_by_a_private_word():
    said = {
        f"{name} {identifier}"
        for name, identifier in named_here()
        if PRIVATE.intersection(words(identifier))
    }
    assert sorted(said - PRIVATE_ANYWAY.keys()) == []
    assert PRIVATE_ANYWAY.keys() - said == set()


def test_no_test_is_called_by_a_private_word():
    """In the sentences that are the names of tests, two of these words are ordinary verbs."""
    private = PRIVATE - {"matter", "lives"}
    paths = [path for root in ("tests", "tools") for path in sorted((ROOT / root).rglob("*.py"))]
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in paths}
    said = [
        f"{name} {identifier}"
        for name, identifier in names_in(trees)
        if private.intersection(words(identifier))
    ]
    assert said == []


PRIVATE_TEXTS = {
    # What meant something here only, in any text: code, comments, docs, SQL. Each expression is narrow, so
    # that the ordinary words stay: a page of a list, a row of a table, a line of a file, the next step.
    "state machine": r"\brows? of the page\b|\bon the page\b(?! as)|\bthe page has no row\b",
    "point of no return": r"\bline P\b|\bbeyond P\b",
    "history": r"\b(a|whose|its|the|told|real) (life|lives) of\b|\btold_lives\b|\breal lives\b",
    "status, report": r"\b(late|bank's|rail's) word\b|\bis no news\b",
    "request": r"\bwish(es|ed)?\b|_wish\b",
    "case, case worker": r"\b(open|these|a) matters?\b(?! of)|\bclerks?\b|\bthe desk\b",
    "dead-letter queue": r"\bburied\b|\bgraveyard\b",
    "system epoch": r"\beras\b|\b(an|the|new|later|earlier|our) era\b|\bincarnations\b",
    "stream check": r"\bsuspicions?\b|\bwitness(es)?\b",
    "component, boundary": r"(?<!clearing )\bhouses?\b|\bbackroom\b",
    "notifier, calendar, cursor": r"\bdoorbell\b|\btimetable\b|\bsurveyor\b|\brings? (the|no) bell\b",
    "unowned settlements": r"\bstrangers\b",
    "timeout, in-flight": r"\bpatience\b|\bcrowds?\b|\bsilences\b",
    "invariant warning": r"\banomal(y|ies)\b",
    "stress test, baseline": r"\bordeals?\b|\bsurgery\b|\byardstick\b",
}
"""Private texts by the term that is used instead (docs/glossary.md)."""

PRIVATE_TEXTS_ANYWAY = (
    "CHANGELOG.md",  # says what was renamed
    "docs/decisions/",  # records are never rewritten
    "src/settlement_engine/store/sql/migrations/",  # ran already
    "src/settlement_engine/store/sql/schema.sql",  # is written from them
    "src/settlement_engine/store/state_machine.py",  # writes the text of a migration that ran
    "tests/unit/test_tidy.py",  # lists them
)


def test_no_text_says_a_private_word():
    pattern = re.compile("|".join(PRIVATE_TEXTS.values()), re.IGNORECASE)
    said = [
        f"{name}:{number}: {found.group()}"
        for name, text in texts()
        if name.endswith((".py", ".sql", ".toml", ".md", ".proto", "Makefile"))
        and not name.startswith(PRIVATE_TEXTS_ANYWAY)
        for number, line in enumerate(text.splitlines(), start=1)
        for found in pattern.finditer(line)
    ]
    assert said == []


def test_no_two_classes_have_one_name():
    """Names with an underscore are a module's own."""
    where: dict[str, list[str]] = {}
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(name)
    assert {name: files for name, files in where.items() if len(files) > 1} == {}


# --- money and SQL ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITHOUT_FLOATS)
def test_there_is_no_float_near_money(name):
    floats = [
        node.lineno
        for node in ast.walk(TREES[name])
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Name) and node.id in ("float", "Decimal"))
        or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    ]
    assert floats == []


def test_sql_stands_in_sql_files():
    """A string that is no docstring and holds a statement is SQL in Python."""
    found = set()
    for name, tree in TREES.items():
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if id(node) not in docstrings and SQL.search(node.value):
                found.add(name)
    assert found == SQL_ANYWAY.keys()


def test_migrations_are_numbered_from_one_without_a_gap_or_a_repetition():
    """Two branches that add one with the same number would make every new database fail."""
    folder = ROOT / "src" / "settlement_engine" / "store" / "sql" / "migrations"
    numbers = sorted(int(each.name[:4]) for each in folder.iterdir() if each.name[0].isdigit())
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_named_query_is_used():
    queries = SOURCE / "store" / "sql" / "queries"
    names = {
        name
        for path in queries.glob("*.sql")
        for name in re.findall(r"^-- name: (\w+)$", path.read_text(), flags=re.MULTILINE)
    }
    code = "\n".join(path.read_text() for path in (SOURCE / "store").glob("*.py"))
    proofs = {name for name in names if name.startswith("prove_")}  # store/audit.py runs them all
    assert names
    assert [name for name in sorted(names - proofs) if f'"{name}"' not in code] == []


def test_every_query_says_what_it_does():
    for path in (SOURCE / "store" / "sql" / "queries").glob("*.sql"):
        for found in re.finditer(r"^-- name: (\w+)\n(.*)$", path.read_text(), flags=re.MULTILINE):
            assert found[2].startswith("-- "), f"{path.name}: {found[1]} has no comment"


# --- time in tests ----------------------------------------------------------------------------------

REAL_WAITS = (
    # Real processes that die, freeze or run for long: time itself is a part of what is tested there.
    *(
        "tests/failure/",
        "tests/soak/",
        "tests/e2e/",
        "tests/support/soak_",
        "tests/support/railkills.py",
        "tests/support/statement_kills.py",
        "tests/support/takeover.py",
    ),
    "tests/support/waiting.py",  # the one place that waits for a condition
)
VIRTUAL_CLOCKS = (
    "tests/unit/engine/",
    "tests/unit/rails/test_ach_open_file.py",
    "tests/simulation/",
)
"""Their event loops jump to the next timer: a ``sleep`` there takes no real time."""


def test_no_test_waits_for_a_fixed_time():
    """It would be slow on a fast machine, and fail on a busy one (``tests/support/waiting.py``)."""
    waits = [
        f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if not path.relative_to(ROOT).as_posix().startswith((*REAL_WAITS, *VIRTUAL_CLOCKS))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] == "sleep"
        and [ast.unparse(each) for each in node.args] != ["0"]
    ]
    assert waits == []


def test_the_engines_tests_run_on_a_virtual_clock():
    """Else what they sleep would be real time, and the exemption above wrong."""
    text = (ROOT / "tests" / "unit" / "engine" / "conftest.py").read_text()
    assert "JumpingLoop" in text


# --- the repository ---------------------------------------------------------------------------------


def test_no_path_of_any_machine_is_written_down():
    places = ("/work" + "/", "/root" + "/", "/home" + "/", "/Users" + "/", "/tmp/bash" + "_jobs")
    pattern = re.compile("(?<![\\w.])(" + "|".join(places) + ")")
    assert [name for name, text in texts() if pattern.search(text)] == []


def test_no_lock_names_a_host():
    locks = [(name, text) for name, text in texts() if name.endswith(".lock")]
    assert len(locks) >= 2
    assert [name for name, text in locks if re.search(r"https?:|index-url", text)] == []


def test_no_file_names_a_registry():
    hosts = (
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "registry.npm" + "js",
        "proxy.golang" + ".org",
    )
    assert [name for name, text in texts() if any(host in text for host in hosts)] == []


# --- what is said is so -----------------------------------------------------------------------------


def test_no_table_in_the_source_has_an_entry_twice():
    """The second one wins without a word."""
    found = []
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                keys = [ast.unparse(key) for key in node.keys if key is not None]
                found += [f"{name} {key}" for key in sorted({k for k in keys if keys.count(k) > 1})]
    assert found == []


def test_files_that_are_cited_are_in_the_repository():
    """Whoever reads a citation can open it."""
    cited = re.compile(r"(?<![\w.*/{}-])((?:[\w-]+/)*[\w-]+\.(?:md|py|sql|proto))\b")
    paths = [path.relative_to(ROOT).as_posix() for path in tracked_files()]
    ends = {path[place:] for path in paths for place in _beginnings(path)}
    missing = []
    for name, text in texts():
        if name.startswith(("src/", "packages/", "tests/", "tools/")) and name.endswith(
            (".py", ".sql", ".proto")
        ):
            words = [word for word in cited.findall(_prose(name, text)) if word.endswith(".md")]
        elif name.endswith(".md"):
            words = cited.findall(" ".join(re.findall(r"`[^`\n]+`", text)))
        else:
            continue
        missing += [f"{name}: {word}" for word in words if word not in ends]
    assert missing == []


def _beginnings(path: str) -> list[int]:
    """Give where the path may be cut so that whole names are left."""
    return [0, *(place + 1 for place, character in enumerate(path) if character == "/")]


def _prose(name: str, text: str) -> str:
    """Return the comments and docstrings of a file."""
    if not name.endswith(".py"):
        return "\n".join(re.findall(r"(?:--|//).*", text))
    tree = ast.parse(text)
    nodes = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    comments = re.findall(r"#.*", text)
    return "\n".join([*comments, *(ast.get_docstring(node) or "" for node in nodes)])
