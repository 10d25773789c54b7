from __future__ import annotations

import ast
import json
import re
import tomllib

import pytest

from tests.docs.markdown import PAGES, ROOT, anchors, blocks, links, name_of, prose

LANGUAGES = {"sh", "text", "json", "mermaid", "python", "toml"}
LINES_MAX = {"README.md": 120}
DIAGRAM_KINDS = ("stateDiagram-v2", "flowchart", "sequenceDiagram")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    broken = []
    for link in links(page):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if (
            not target.exists()
            or not target.is_relative_to(ROOT)
            or (anchor and anchor not in anchors(target))
        ):
            broken.append(link)
    assert broken == []


def test_every_page_of_the_documentation_can_be_reached_from_the_readme():
    seen = {ROOT / "README.md"}
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        for link in links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file() and target not in seen:
                seen.add(target)
                waiting.append(target)
    assert [name_of(page) for page in PAGES if page not in seen] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_begins_with_its_one_title(page):
    text = prose(page)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


def test_the_readme_stays_short():
    for name, bound in LINES_MAX.items():
        assert (ROOT / name).read_text("utf-8").count("\n") < bound


def test_every_block_says_its_language():
    assert {block.page for block in blocks() if block.language not in LANGUAGES} == set()


def test_every_diagram_says_something():
    diagrams = blocks("mermaid")
    assert diagrams
    for block in diagrams:
        lines = block.text.strip().splitlines()
        assert lines[0].startswith(DIAGRAM_KINDS), block.page
        assert sum("-->" in line or "->>" in line for line in lines) >= 3, block.page


def test_a_diagram_of_states_has_one_colon_a_line():
    """A second colon or a semicolon in a label breaks Mermaid's grammar."""
    for block in blocks("mermaid"):
        if block.text.startswith("stateDiagram"):
            for line in block.text.strip().splitlines()[1:]:
                assert re.fullmatch(r" +(\[\*\]|\w+) --> (\[\*\]|\w+)(: [\w /]+)?", line), line


def test_python_json_and_toml_can_be_read():
    for block in blocks("python"):
        ast.parse(block.text)
    for block in blocks("json"):
        json.loads(block.text)
    for block in blocks("toml"):
        tomllib.loads(block.text)


def test_a_decision_has_context_decision_and_consequences():
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    for number, record in enumerate(records, start=1):
        text = record.read_text("utf-8")
        assert record.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number:04d} ")
        found = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert found == ["Context", "Decision", "Consequences"], record.name
        assert "What would change our mind:" in text, record.name
    assert len(records) >= 12


def test_what_the_code_refers_to_exists():
    """Comments and messages that name a page of the documentation."""
    named = re.compile(r"\bdocs/[\w./-]+\.md\b")
    missing = set()
    for kind in ("*.py", "*.sql", "*.toml"):
        for path in (*(ROOT / "src").rglob(kind), *(ROOT / "packages").rglob(kind)):
            for found in named.findall(path.read_text("utf-8")):
                if not (ROOT / found).is_file():
                    missing.add(f"{path.relative_to(ROOT)}: {found}")
    assert missing == set()
