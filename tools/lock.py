"""Resolves the dependencies into the locks (`make lock`), or checks the locks (`--check`).

A lock names every release with the hashes of its files and no address: the installing machine decides where the
files come from. One lock serves all Python versions and platforms.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tomllib
from typing import Any

import bootstrap

ROOT = bootstrap.ROOT
PROJECTS = tuple(
    str((place / "pyproject.toml").relative_to(ROOT)) for place in bootstrap.DISTRIBUTIONS
)
LOCKS = {
    "requirements.lock": (*PROJECTS, "--extra", "embedded", "--group", "dev"),
    "requirements-pg16.lock": ("--group", "pg16", "--constraint", "requirements.lock"),
    "tools/boot.lock": ("--group", "boot"),
}
OPTIONS = (
    *("--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock"),
)


def resolve(upgrade: bool) -> int:
    """Write every lock; releases stay the same unless an upgrade is requested."""
    environment = bootstrap.uv_environment()
    uv = bootstrap.find_uv(environment)
    apart = [word for name in sorted(our_names()) for word in ("--no-emit-package", name)]
    for lock, inputs in LOCKS.items():
        command = [uv, "pip", "compile", "-q", *OPTIONS, *apart, *inputs, "--output-file", lock]
        command += ["--upgrade"] if upgrade else []
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return check()


def check() -> int:
    """Report what is wrong with the locks, without using any index."""
    wrong = []
    for lock in LOCKS:
        text = (ROOT / lock).read_text()
        if "://" in text:
            wrong.append(f"{lock} names an address")
        locked = set(re.findall(r"^([a-z0-9][a-z0-9.-]*)==", text, re.MULTILINE))
        absent = sorted(asked_for(lock) - locked)
        wrong += [f"{lock} lacks {name}: run make lock" for name in absent]
    for line in wrong:
        print(f"check-lock: {line}", file=sys.stderr)
    return len(wrong) > 0


def asked_for(lock: str) -> set[str]:
    """Return the names that our distributions ask of a lock, without their own."""
    inputs = LOCKS[lock]
    lines: list[str] = []
    for project in PROJECTS:
        if project in inputs:
            lines += read(project)["project"]["dependencies"]
    asked = read("pyproject.toml")
    for option, value in itertools.pairwise(inputs):
        if option == "--extra":
            lines += asked["project"]["optional-dependencies"][value]
        if option == "--group":
            lines += asked["dependency-groups"][value]
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower().replace("_", "-") for line in lines}
    return names - our_names()


def our_names() -> set[str]:
    """Return what our own distributions are called: they are installed from the checkout."""
    return {read(project)["project"]["name"] for project in PROJECTS}


def read(project: str) -> dict[str, Any]:
    """Read one of our pyproject.toml."""
    return tomllib.loads((ROOT / project).read_text())


if __name__ == "__main__":
    raise SystemExit(check() if "--check" in sys.argv else resolve("--upgrade" in sys.argv))
