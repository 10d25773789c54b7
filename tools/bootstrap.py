"""Creates `.venv` from the lock, once, with nothing but a Python interpreter: `make` runs this first.

Stamps in `.venv` name what it was made from. While that is unchanged the script ends at once; else
it finds or fetches uv, installs exactly what the lock names (every file by its hash), and our own
distributions as editable installs without asking any index. Several may run at once: one works,
the others wait. Nothing outside the checkout is touched but the caches of uv and pip.

It must import only the standard library, because it runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
BOOT = ROOT / ".boot"
CACHE = ROOT / ".cache"
LOCK = ROOT / "requirements.lock"
PACKAGES = ROOT / "packages"
DISTRIBUTIONS = (ROOT, PACKAGES / "settlement-client", PACKAGES / "settlement-lab")
OLDEST_UV = (0, 8)  # earlier ones lack options that are used here
HINT = "this Python has neither pip nor venv:  apt-get install python3-venv"


class SetupError(Exception):
    """The environment could not be created; the message says what to do."""


def main(lanes: list[str]) -> int:
    """Bring `.venv` up to date, including the requested lanes (extra locks)."""
    wanted = steps(lanes)
    if all_done(wanted):
        return 0
    try:
        environment = uv_environment()
        with only_one_at_a_time():
            if not all_done(wanted):  # another process may have done everything meanwhile
                make(wanted, environment)
    except (SetupError, OSError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run goes on from here")
        return 130
    return 0


# --- what is there --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One thing to install, with the stamp that records its inputs."""

    name: str
    inputs: tuple[Path, ...]
    command: tuple[str, ...]

    @property
    def stamp(self) -> Path:
        """Return the path of the step's stamp."""
        return VENV / f".made-{self.name}"

    def made_from(self) -> str:
        """Return what the step depends on: its inputs, and the directory, which scripts contain."""
        digest = hashlib.sha256(str(ROOT).encode())
        for file in (*self.inputs, Path(__file__)):
            digest.update(b"\0" + file.read_bytes())
        return digest.hexdigest()

    def done(self) -> bool:
        """Return whether nothing has changed since the step was done."""
        try:
            return self.stamp.read_text() == self.made_from()
        except FileNotFoundError:
            return False

    def sign(self) -> None:
        """Write the stamp atomically."""
        draft = self.stamp.with_suffix(f".{os.getpid()}")
        draft.write_text(self.made_from())
        draft.replace(self.stamp)


def steps(lanes: list[str]) -> list[Step]:
    """Return what must have been done: the lock, our own distributions, the lanes asked for."""
    hashed = ("--require-hashes", "--no-deps")
    offline = ("--no-deps", "--no-build-isolation", "--offline")
    ours = tuple(word for place in DISTRIBUTIONS for word in ("--editable", str(place)))
    projects = tuple(place / "pyproject.toml" for place in DISTRIBUTIONS)
    wanted = [
        Step("lock", (LOCK,), ("sync", "--require-hashes", str(LOCK))),
        Step("project", (LOCK, *projects), ("install", *offline, *ours)),
    ]
    for lane in lanes:
        lock = ROOT / f"requirements-{lane}.lock"
        wanted.append(Step(lane, (LOCK, lock), ("install", *hashed, "-r", str(lock))))
    return wanted


def all_done(wanted: list[Step]) -> bool:
    """Return whether there is nothing to do."""
    return PYTHON.exists() and all(step.done() for step in wanted)


# --- making it ------------------------------------------------------------------------------------


@contextlib.contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Hold the checkout's setup lock; the kernel releases it when its holder dies."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another setup in this folder")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def make(wanted: list[Step], environment: dict[str, str]) -> None:
    """Do the steps that are due; each is stamped when done, so that an interrupted run continues there."""
    uv = find_uv(environment)
    if not venv_works():
        say(f"making .venv with Python {sys.version.split()[0]}")
        shutil.rmtree(VENV, ignore_errors=True)
        run(environment, uv, "venv", "-q", "--python", base_python(), str(VENV))
    for step in wanted:
        if not step.done():
            if (
                step.name == "lock"
            ):  # it removes packages it does not name, so all other steps are due
                for stamp in VENV.glob(".made-*"):
                    stamp.unlink()
            run(environment, uv, "pip", *step.command, "-q", "--python", str(PYTHON))
            step.sign()


def say(words: str) -> None:
    """Inform the person who waits; standard output belongs to the next command."""
    print(f"setup: {words}", file=sys.stderr, flush=True)


def base_python() -> str:
    """Return the base interpreter of any environment that we may be running in."""
    return getattr(sys, "_base_executable", None) or sys.executable


def venv_works() -> bool:
    """Return whether `.venv` runs, is new enough and was created in this directory."""
    script = VENV / "bin" / "activate"
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        done = subprocess.run([PYTHON, "-I", "-c", probe], capture_output=True, check=False)
        return done.returncode == 0 and str(VENV) in script.read_text()
    except OSError:
        return False


# --- uv -------------------------------------------------------------------------------------------


def uv_environment() -> dict[str, str]:
    """Return uv's environment: the machine's certificates and interpreters, and a writable cache."""
    environment = os.environ | {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT"):
        environment.pop(name, None)
    if not home_cache_works(environment):
        environment.setdefault("UV_CACHE_DIR", str(CACHE / "uv"))
        environment.setdefault("PIP_CACHE_DIR", str(CACHE / "pip"))
    return environment


def home_cache_works(environment: dict[str, str]) -> bool:
    """Return whether uv may write to its default cache."""
    home = Path(environment.get("HOME") or "/nonexistent")
    top = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    for place in (top / "uv", top, home):
        if place.is_dir():
            return os.access(place, os.W_OK | os.X_OK)
    return False


def find_uv(environment: dict[str, str]) -> str:
    """Return a working uv: the machine's, else ours, else one that is downloaded now."""
    ours = str(BOOT / "bin" / "uv")
    for candidate in (shutil.which("uv"), ours):
        if candidate and uv_version(candidate) >= OLDEST_UV:
            return candidate
    say("fetching uv")
    said = with_pip(base_python(), environment)
    if uv_version(ours) < OLDEST_UV:
        said = with_venv(environment)
    if uv_version(ours) < OLDEST_UV:
        raise SetupError(HINT if "ensurepip" in said else f"uv could not be fetched:\n{said}")
    return ours


def uv_version(uv: str) -> tuple[int, ...]:
    """Return a uv's version; empty when it does not run."""
    try:
        done = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return ()
    found = re.match(r"uv (\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else ()


def with_pip(python: str, environment: dict[str, str]) -> str:
    """Install uv with an interpreter's pip; a target folder is allowed where Debian manages packages."""
    shutil.rmtree(BOOT, ignore_errors=True)
    options = ("-q", "--disable-pip-version-check", "--only-binary", ":all:", "--target", str(BOOT))
    lock = ("--require-hashes", "-r", str(ROOT / "tools" / "boot.lock"))
    quiet = environment | {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    return attempt(quiet, python, "-m", "pip", "install", *options, *lock)


def with_venv(environment: dict[str, str]) -> str:
    """Install uv with the pip of a temporary environment, where Python itself has no pip."""
    scaffold = CACHE / "boot-venv"
    try:
        said = attempt(environment, base_python(), "-m", "venv", "--clear", str(scaffold))
        return said or with_pip(str(scaffold / "bin" / "python"), environment)
    finally:
        shutil.rmtree(scaffold, ignore_errors=True)


def attempt(environment: dict[str, str], *command: str) -> str:
    """Run a command that may fail; return the end of its error output, or an empty text."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip()[-600:]


def run(environment: dict[str, str], *command: str) -> None:
    """Run a command that must succeed; its own output explains a failure."""
    done = subprocess.run(command, env=environment, cwd=ROOT, check=False)
    if done.returncode != 0:
        raise SetupError(f"this failed: {' '.join(command)}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
