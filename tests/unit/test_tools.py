"""The tools of the Makefile: the nightly's summary line, pre-commit hooks, breaking changes of the proto."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str):
    spec = importlib.util.spec_from_file_location(f"{name}_tool", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# --- nightly ----------------------------------------------------------------------------------------


@pytest.fixture
def nightly(tmp_path, monkeypatch):
    module = tool("nightly")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "OUTPUT", tmp_path / "nightly")
    return module


def test_one_line_names_every_part_and_what_failed(nightly, monkeypatch, capsys):
    parts = [nightly.Part("worlds", ("true",)), nightly.Part("soak", ("false",))]
    parts.append(nightly.Part("model", ("sh", "-c", "echo $LONG"), (("LONG", "found"),)))
    monkeypatch.setattr(nightly, "parts", lambda _is_short: parts)
    assert nightly.main(False) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "nightly: FAILED: worlds ok in 0 min, soak FAILED in 0 min, model ok in 0 min"
    assert (nightly.OUTPUT / "model.txt").read_text() == "found\n"
    parts.pop(1)
    assert nightly.main(False) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("nightly: passed: worlds ok")


@pytest.mark.parametrize("is_short", [False, True])
def test_what_the_nightly_runs_exists(nightly, is_short):
    parts = {part.name: part for part in nightly.parts(is_short)}
    assert set(parts) == {
        *("worlds", "schedules", "statements", "model", "mutants", "rails", "soak"),
    }
    for part in parts.values():
        for word in part.command[1:]:
            assert not word.startswith("tests/") or (ROOT / word).exists(), word
    assert is_short or parts["worlds"].command[-1] == parts["schedules"].command[-1] == "10000"


# --- pre-commit -------------------------------------------------------------------------------------


def test_every_hook_is_local_and_runs_what_there_is():
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert re.findall(r"- repo: (\S+)", text) == ["local"]
    assert "://" not in text
    assert set(re.findall(r"language: (\S+)", text)) == {"system"}
    targets = (ROOT / "Makefile").read_text("utf-8")
    entries = re.findall(r"entry: (\S+) (\S+)|entry: (\S+)$", text, re.MULTILINE)
    assert len(entries) == text.count("- id:")
    for program, argument, alone in entries:
        if program == "make":
            assert f"{argument}:" in targets
        else:
            assert (ROOT / (program or alone)).exists()


# --- breaking changes -------------------------------------------------------------------------------


@pytest.fixture
def proto(tmp_path, monkeypatch):
    """The tool in a repository of its own, whose previous commit has today's proto."""
    module = tool("proto")
    text = (ROOT / "src" / module.PACKAGE / "settlement.proto").read_text("utf-8")
    place = tmp_path / "src" / module.PACKAGE / "settlement.proto"
    place.parent.mkdir(parents=True)
    place.write_text(text, "utf-8")
    shutil.copyfile(ROOT / "buf.yaml", tmp_path / "buf.yaml")
    for name, path in (("IMPORTS_FOR_BUF", "proto"), ("BEFORE", "proto-before")):
        monkeypatch.setattr(module, name, tmp_path / ".cache" / path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    listed = f"src/{module.PACKAGE}/settlement.proto"
    answers = {"ls-tree": f"{listed}\n", "show": text}
    monkeypatch.setattr(module, "git", lambda *words: answers[words[0]])
    monkeypatch.setenv("BUF_CACHE_DIR", str(tmp_path / "buf"))
    return module, place


def test_a_field_that_is_added_breaks_nobody(proto):
    module, place = proto
    text = place.read_text("utf-8")
    added = "message HealthCheckedAnew {\n  string note = 1;\n}\n"
    place.write_text(text + added, "utf-8")
    assert module.breaking("HEAD") == 0


@pytest.mark.parametrize("changed", [("= 1;", "= 901;"), ("string ", "bytes ")])
def test_a_field_that_changes_breaks_the_clients_of_before(proto, changed):
    module, place = proto
    text = place.read_text("utf-8")
    at = text.index("message SettlementResponse {")
    place.write_text(text[:at] + text[at:].replace(*changed, 1), "utf-8")
    assert module.breaking("HEAD") != 0
