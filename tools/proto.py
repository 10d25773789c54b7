"""Generates the Python messages and their types from the protos, or checks them (`--check`).

The include root is `src`, so that generated code imports `settlement_engine.proto` by its full name. What the
protos import from `google/rpc` comes with the wheel googleapis-common-protos; buf does not know wheels, so it is
copied to where buf.yaml expects it (`--imports` does this and nothing else).

`--breaking [COMMIT]` compares the protos with those of a commit of this repository, so that no existing client
breaks: the last tag that has them, else the last commit that has different ones.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PACKAGE = Path("settlement_engine", "proto")
KINDS = ("python", "mypy", "grpc_python", "mypy_grpc")
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
WHEELS = Path(sysconfig.get_path("purelib"))
IMPORTS = (Path("google", "rpc", "status.proto"),)
IMPORTS_FOR_BUF = ROOT / ".cache" / "proto"
BEFORE = ROOT / ".cache" / "proto-before"


def lay_imports() -> None:
    """Copy what our protos import out of its wheel, for buf."""
    for name in IMPORTS:
        target = IMPORTS_FOR_BUF / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(WHEELS / name, target)


def generate(out: Path) -> list[Path]:
    """Generate everything below a folder; return the relative names."""
    protos = sorted(
        str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / PACKAGE).glob("*.proto")
    )
    if not protos:
        raise SystemExit(f"proto: there is no .proto in src/{PACKAGE}")
    (out / PACKAGE).mkdir(parents=True)
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'src'}", f"-I{WHEELS}"]
    command += [f"--plugin={name}={BIN / name}" for name in PLUGINS]
    command += [f"--{kind}_out={out}" for kind in KINDS]
    done = subprocess.run(
        [*command, *protos], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"proto: {done.stderr.strip()}")
    return sorted(path.relative_to(out) for path in (out / PACKAGE).iterdir())


def committed() -> set[Path]:
    """Return the generated files in the source tree."""
    return {path.relative_to(ROOT / "src") for path in (ROOT / "src" / PACKAGE).glob("*_pb2*.py*")}


def main(check: bool) -> int:
    """Generate into a temporary folder; then compare with the source tree, or replace it."""
    lay_imports()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        made = generate(out)
        pairs = [(out / name, ROOT / "src" / name) for name in made]
        differ = [b for a, b in pairs if not b.exists() or not filecmp.cmp(a, b, shallow=False)]
        differ += [ROOT / "src" / name for name in committed() - set(made)]
        if check:
            for path in differ:
                print(
                    f"proto: {path.relative_to(ROOT)} is not fresh: run make proto", file=sys.stderr
                )
            return len(differ) > 0
        for old in committed() - set(made):
            (ROOT / "src" / old).unlink()
        for new, place in pairs:
            shutil.copyfile(new, place)
    print(f"proto: {len(made)} files in src/{PACKAGE}")
    return 0


def git(*arguments: str) -> str | None:
    """Run a git command; return None when it fails."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def protos_of(commit: str) -> list[str]:
    """List the protos of a commit, relative to the root."""
    listed = git("ls-tree", "--name-only", commit, f"src/{PACKAGE}/") or ""
    return [name for name in listed.split() if name.endswith(".proto")]


def before() -> str | None:
    """Return the last tag that has protos, else the last commit with different ones; None if there is none."""
    folder = f"src/{PACKAGE}/*.proto"
    tag = (git("describe", "--tags", "--abbrev=0") or "").strip()
    is_edited = git("diff", "--quiet", "HEAD", "--", folder) is None
    changed = (git("log", "-1", "--format=%H", "--", folder) or "").strip()
    for commit in (tag, "HEAD" if is_edited else f"{changed}~1"):
        if commit and protos_of(commit):
            return commit
    return None


def breaking(commit: str | None) -> int:
    """Report what clients of a commit could no longer read or send."""
    if commit is None:
        print("proto: no commit to compare with")
        return 0
    if not protos_of(commit):
        raise SystemExit(f"proto: {commit} has no protos to compare with")
    lay_imports()
    shutil.rmtree(BEFORE, ignore_errors=True)
    for name in protos_of(commit):
        target = BEFORE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(git("show", f"{commit}:{name}") or "", encoding="utf-8")
    shutil.copytree(IMPORTS_FOR_BUF, BEFORE / IMPORTS_FOR_BUF.relative_to(ROOT))
    shutil.copyfile(ROOT / "buf.yaml", BEFORE / "buf.yaml")
    command = [str(BIN / "buf"), "breaking", "--against", str(BEFORE)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    if "--breaking" in sys.argv:
        asked = sys.argv[sys.argv.index("--breaking") + 1 :]
        raise SystemExit(breaking(asked[0] if asked else before()))
    if "--imports" in sys.argv:
        lay_imports()
    else:
        raise SystemExit(main("--check" in sys.argv))
