"""The packages that are built from this repository: what is in each wheel, and what is where one is absent.

The wheels are built from the files of the checkout, offline, with the build backend of the lock.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from settlement_engine import __version__, cli
from settlement_engine.cli.commands import ADDED
from settlement_engine.cli.failures import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
ENGINE, CLIENT, LAB = "settlement_engine", "settlement_client", "settlement_lab"
PLACES = {
    ENGINE: ROOT,
    CLIENT: ROOT / "packages" / "settlement-client",
    LAB: ROOT / "packages" / "settlement-lab",
}
BESIDE_THE_SOURCE = ("pyproject.toml", "README.md", "LICENSE")
NOT_SOURCE = shutil.ignore_patterns("__pycache__")
BUILD = "import sys, uv_build; print(getattr(uv_build, sys.argv[1])(sys.argv[2]))"
LABS = sorted(
    name for name, (where, _) in cli.COMMANDS[cli.LAB_HEADING].items() if where == cli.LAB
)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A directory with a wheel and a source archive of each package."""
    top: Path = tmp_path_factory.mktemp("distributions")
    (top / "dist").mkdir()
    for name, place in PLACES.items():
        copy = top / name
        copy.mkdir()
        shutil.copytree(place / "src", copy / "src", ignore=NOT_SOURCE)
        for file in BESIDE_THE_SOURCE:
            if (place / file).exists():
                shutil.copyfile(place / file, copy / file)
        for hook in ("build_wheel", "build_sdist"):
            build(hook, copy, top / "dist")
    return top / "dist"


def build(hook: str, project: Path, destination: Path) -> None:
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", BUILD, hook, str(destination)],
        cwd=project,
        env={**os.environ, "PATH": tools},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def files(built: Path, package: str) -> set[str]:
    with ZipFile(built / f"{package}-{__version__}-py3-none-any.whl") as wheel:
        return {name for name in wheel.namelist() if not name.endswith("/")}


@pytest.mark.parametrize("package", PLACES)
def test_a_wheel_holds_its_package_whole_and_nothing_else(built, package):
    source = PLACES[package] / "src"
    ours = {
        path.relative_to(source).as_posix()
        for path in (source / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = f"{package}-{__version__}.dist-info/"
    assert {name for name in files(built, package) if not name.startswith(info)} == ours
    assert f"{package}/py.typed" in ours
    assert f"{info}licenses/LICENSE" in files(built, package)


def test_no_line_of_the_lab_is_in_what_a_bank_installs(built):
    parts = {part for name in files(built, ENGINE) for part in Path(name).parts}
    assert parts.isdisjoint({"bench", "baseline", "demo", "memory", "mutants", "worlds", LAB})
    with tarfile.open(built / f"{ENGINE}-{__version__}.tar.gz") as archive:
        assert [name for name in archive.getnames() if LAB in name or CLIENT in name] == []
    with ZipFile(built / f"{ENGINE}-{__version__}-py3-none-any.whl") as wheel:
        texts = {name: wheel.read(name).decode("utf-8") for name in wheel.namelist()}
    assert [name for name, text in texts.items() if re.search(r"\bexec\(", text)] == []


@pytest.mark.parametrize("package", [ENGINE, CLIENT])
def test_neither_engine_nor_client_imports_the_lab_or_each_other(package):
    others = PLACES.keys() - {package}
    found = []
    for path in (PLACES[package] / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += (
                [node.value]
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
                else []
            )
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] in others]
    assert found == []


@pytest.mark.parametrize("package", PLACES)
def test_one_release_has_one_version(package):
    project = tomllib.loads((PLACES[package] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == __version__
    ours = [line for line in project["dependencies"] if line.startswith("settlement-")]
    assert all(line.endswith(f"=={__version__}") for line in ours)
    assert len(ours) == (2 if package == LAB else 0)


@functools.cache
def owners_of_modules() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


@pytest.mark.parametrize("package", PLACES)
def test_a_package_asks_for_what_it_imports(package):
    """Else it works only where another package has brought the same."""
    project = tomllib.loads((PLACES[package] / "pyproject.toml").read_text("utf-8"))["project"]
    asked = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in project["dependencies"]}
    owners = owners_of_modules()
    lacking = set()
    for path in (PLACES[package] / "src" / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            for name in {each.split(".")[0] for each in names} - {package}:
                distributions = {each.lower().replace("_", "-") for each in owners.get(name, [])}
                if distributions and asked.isdisjoint(distributions):
                    lacking.add(f"{path.name}: {name}")
    assert sorted(lacking) == []


# --- the commands of the lab ------------------------------------------------------------------------


def without_the_lab(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the engine's command line where only the engine is installed, as far as it can see."""
    code = (
        "import sys; from importlib import metadata; found = metadata.entry_points;"
        " metadata.entry_points = lambda **asked: found(**(asked | {'group': 'absent'}));"
        " from settlement_engine.cli import run; sys.exit(run())"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", LABS)
def test_a_command_of_the_lab_says_what_to_install_where_it_is_absent(name):
    done = without_the_lab(name, "--help")
    assert done.returncode == ExitCode.MISCONFIGURED
    assert done.stdout == ""
    what, why, todo = done.stderr.strip().split("\n")
    assert what == f"✗ the command {name} is not installed"
    assert "settlement-lab" in why
    assert (
        todo.strip()
        == "do:  Install settlement-lab of the same version; in a checkout: make setup."
    )


def test_the_help_lists_them_all_the_same():
    said = without_the_lab("--help").stdout
    listed = said.partition("(with the package settlement-lab)")[2]
    assert [name for name in LABS if f"  {name} " not in listed] == []


def test_the_lab_brings_exactly_the_commands_that_the_engine_lists():
    brought = metadata.distribution("settlement-lab").entry_points.select(group=ADDED)
    assert sorted(entry.name for entry in brought) == LABS == ["bench", "demo", "simulate"]


def test_no_other_package_can_bring_a_command_of_the_labs_name(monkeypatch):
    class Foreign:
        name = "foreign"

    class Entry:
        dist = Foreign()

        def load(self) -> None:
            raise AssertionError("it must not even be imported")

    monkeypatch.setattr(metadata, "entry_points", lambda **_: [Entry()])
    assert cli.run(["bench", "--help"]) == ExitCode.MISCONFIGURED
