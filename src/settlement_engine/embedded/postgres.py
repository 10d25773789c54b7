"""An embedded PostgreSQL server, with fsync on, for one machine and one developer.

It promises a server on the loopback address only, with a random password, the database ``settlement``, and
settings under which an acknowledged commit survives a power failure. It must never weaken durability by itself:
a test that wants ``fsync=off`` sets it in ``options``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import signal
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from typing_extensions import override

from settlement_engine.embedded import binaries as programs
from settlement_engine.embedded import cluster, files, ports, process, proctable
from settlement_engine.embedded.errors import EmbeddedServerError
from settlement_engine.embedded.ports import HOST
from settlement_engine.embedded.server import EmbeddedServer
from settlement_engine.embedded.sockets import SocketDirectory

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import IO

    from settlement_engine.embedded.binaries import PostgresBinaries
    from settlement_engine.embedded.process import LaunchMode

DATABASE: Final = "settlement"
CLIENT_SECONDS: Final = 30.0
# Below this, parallel queries in a container's default /dev/shm of 64 MB fail.
SHARED_MEMORY_BYTES_MIN: Final = 256 * 1024 * 1024
NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})
# Lines of postmaster.pid, counted from 0.
PID_LINE, STATUS_LINE = 0, 7
# Options that the promises of this module depend on.
RESERVED_OPTIONS: Final = frozenset(
    {"data_directory", "hba_file", "listen_addresses", "port", "unix_socket_directories"}
)
DEFAULT_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "shared_buffers": "256MB",
        "max_connections": "100",
        "max_wal_size": "2GB",
        # pglz is in every build; it reduces the full-page images that are forced to disk.
        "wal_compression": "on",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "random_page_cost": "1.1",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_min_messages": "warning",
        "log_line_prefix": "%m [%p] ",
        "unix_socket_permissions": "0700",
    }
)


class EmbeddedPostgres(EmbeddedServer):
    """One PostgreSQL server with its data in ``data_dir``, a directory of its own.

    ``options`` override the default settings; ``version`` requests a major version such as ``"16"``;
    ``launch_mode`` is chosen by what the machine allows unless it is given.
    """

    title: ClassVar[str] = "PostgreSQL"
    program: ClassVar[str] = "postgres"
    # Fast shutdown, then immediate shutdown; SIGKILL follows them.
    stop_steps: ClassVar[Sequence[tuple[signal.Signals, float]]] = (
        (signal.SIGINT, 30.0),
        (signal.SIGQUIT, 5.0),
    )
    passing_complaints: ClassVar[tuple[str, ...]] = (
        "pre-existing shared memory block",
        'lock file "postmaster.pid" already exists',
    )

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        options: Mapping[str, str] = NO_OPTIONS,
        version: str | None = None,
        launch_mode: LaunchMode | None = None,
    ) -> None:
        super().__init__(data_dir, port=port)
        if reserved := RESERVED_OPTIONS & options.keys():
            raise EmbeddedServerError(
                f"The option {min(reserved)} of PostgreSQL cannot be given.",
                why="the server's place and address are this object's to choose",
                todo="leave it out; the port is an argument of its own",
            )
        self._options = {**DEFAULT_OPTIONS, **options}
        self._version = version
        self._asked_mode = launch_mode
        self._cluster = self.data_dir / "cluster"
        self._sockets = SocketDirectory(self.data_dir / "socket-directory")
        self._is_fresh = False

    @property
    @override
    def home(self) -> Path:
        """PostgreSQL's own data directory, inside ``data_dir``."""
        return self._cluster

    @functools.cached_property
    def _mode(self) -> LaunchMode:
        must_drop = cluster.belongs_to_nobody(self._cluster)
        return self._asked_mode or process.choose_mode(must_drop=must_drop)

    @functools.cached_property
    def _found(self) -> PostgresBinaries:
        return programs.find_postgres(self._version)

    @property
    def _binaries(self) -> PostgresBinaries:
        return programs.reachable(self._found, self._mode, self.data_dir / "programs")

    @property
    @override
    def server_version(self) -> str:
        """The version of the programs, such as ``18.6``."""
        return self._found.version

    @property
    def version_number(self) -> int:
        """The version as server_version_num: 18.6 is 180006."""
        return self._found.version_number

    @property
    def template_key(self) -> str:
        """Return the name of a cached template; another version or other programs give another name."""
        directory_hash = hashlib.sha256(os.fsencode(self._found.directory)).hexdigest()[:8]
        return f"postgres-{self.server_version}-{directory_hash}"

    @property
    def password(self) -> str:
        """The superuser's password, kept in the data directory."""
        return files.password_in(self.data_dir / "password")

    @property
    def socket_directory(self) -> Path:
        """The directory of the Unix socket while the server runs."""
        return self._sockets.path

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of a database, with user and password."""
        return f"postgresql://{cluster.SUPERUSER}:{self.password}@{self.address}/{database}"

    @override
    def way_in(self) -> str:
        """Return a psql command that connects to the server."""
        where = f"-h {HOST} -p {self.port} -U {cluster.SUPERUSER} {DATABASE}"
        return f"PGPASSWORD={self.password_word()} psql {where}"

    @override
    def init(self) -> bool:
        """Create the data directory; return False when it existed already."""
        with self._lock.held():
            self._prepare()
            if cluster.is_made(self._cluster):
                return False
            password_file = self.data_dir / "password"
            files.password_in(password_file)
            cluster.settle_owner(self.data_dir, self._mode)
            cluster.make(self._cluster, self._binaries, self._mode, password_file)
            self._is_fresh = True
            return True

    def initialise_from_template(self, template_dir: Path) -> bool:
        """Copy the data and the password of a stopped server; return False when data exists already."""
        with self._lock.held():
            self._prepare()
            if cluster.is_made(self._cluster):
                return False
            cluster.check_version(template_dir / "cluster", self._found)
            files.write_private(
                self.data_dir / "password", files.password_in(template_dir / "password")
            )
            cluster.copy(template_dir / "cluster", self._cluster)
            cluster.settle_owner(self.data_dir, self._mode)
            return True

    def _prepare(self) -> None:
        if cluster.is_made(self._cluster):
            cluster.check_version(self._cluster, self._found)
        else:
            cluster.refuse_foreign(self.data_dir)
        cluster.settle_owner(self.data_dir, self._mode)

    @override
    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        self._remove_stale_pid_file()
        sockets = self._sockets.make(self._mode)
        settings = {
            **self._options,
            "listen_addresses": HOST,
            "port": str(self._port or ports.free_port()),
            "unix_socket_directories": str(sockets),
        }
        if _shared_memory_bytes() < SHARED_MEMORY_BYTES_MIN:
            settings.setdefault("dynamic_shared_memory_type", "mmap")
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return process.spawn(
            [self._binaries / "postgres", "-D", self._cluster, *arguments],
            mode=self._mode,
            death_signal=signal.SIGINT,
            directory=self._cluster,
            log=log,
        )

    @override
    def _find_port(self, child: subprocess.Popen[bytes]) -> int | None:
        # A file left by a killed server also says "ready", so the process id must be our child's.
        lines = self._pid_file_lines()
        is_ready = len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"
        if not is_ready or lines[PID_LINE] != str(child.pid):
            return None
        return int(lines[3])

    def _pid_file_lines(self) -> list[str]:
        with contextlib.suppress(OSError):
            return (self._cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return []

    def _pid_in_file(self) -> int | None:
        lines = self._pid_file_lines()
        return int(lines[PID_LINE]) if lines and lines[PID_LINE].isdecimal() else None

    @override
    def _main_resident(self) -> int | None:
        pid = self._pid_in_file()
        is_alive = pid is not None and proctable.lives_in(pid, self._cluster, self.program)
        return pid if is_alive else None

    def _remove_stale_pid_file(self) -> None:
        """Remove a pid file whose process id now belongs to another process, or to a zombie.

        PostgreSQL would take that process for a running server and refuse to start. If no process has
        the id the file stays: it then leads PostgreSQL to shared memory that may still be in use.
        The caller holds the directory's lock, and no server process runs in the directory.
        """
        pid = self._pid_in_file()
        if pid is not None and proctable.exists(pid) and not self._residents():
            (self._cluster / "postmaster.pid").unlink(missing_ok=True)

    @override
    def _after_start(self) -> None:
        is_present = not self._is_fresh and self._client("psql", "--command=").returncode == 0
        if not is_present:
            answer = self._client("createdb", "--maintenance-db=postgres")
            if answer.returncode != 0 and "already exists" not in answer.stderr:
                raise EmbeddedServerError(
                    f"The database {DATABASE} could not be made.",
                    why=answer.stderr.strip(),
                    todo=f"read {self.log_path}",
                )
        self._is_fresh = False

    def _client(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's own clients on our database; this component contains no SQL."""
        where = [f"--host={HOST}", f"--port={self.port}", f"--username={cluster.SUPERUSER}"]
        return process.run(
            [self._found / program, "--no-password", *where, *arguments, DATABASE],
            timeout_seconds=CLIENT_SECONDS,
            extra_environment={"PGPASSWORD": self.password},
        )

    @override
    def _after_stop(self) -> None:
        self._sockets.remove()


def _shared_memory_bytes() -> int:
    with contextlib.suppress(OSError):
        space = os.statvfs("/dev/shm")  # noqa: S108  only its size is read
        return space.f_frsize * space.f_blocks
    return 0
