"""An embedded NATS server with JetStream, for one machine and one developer.

It promises a server on the loopback address only, with a random password, that syncs every message to disk
before it acknowledges it. It must never run with NATS' default sync interval: with the machine, two minutes of
acknowledged messages would be lost.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, ClassVar, Final

from typing_extensions import override

from settlement_engine.embedded import binaries as programs
from settlement_engine.embedded import files, ports, process
from settlement_engine.embedded.ports import HOST
from settlement_engine.embedded.process import LaunchMode
from settlement_engine.embedded.server import EmbeddedServer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

USER: Final = "settlement"
MAX_FILE_DEFAULT: Final = "4G"
FAILED_WRITE: Final = (b"no space left on device", b"critical write error")
ROOM_BYTES_MIN: Final = 4 * 1024 * 1024
"""A restart is useful once so much disk space is free again."""

SAID_BYTES_MAX: Final = 1024 * 1024
"""How much of the log is read at once; the rest is read the next time."""

# Every path is relative to the data directory, the server's working directory, so that none needs quoting.
CONFIGURATION: Final = """\
# Written anew at each start.
server_name: "settlement-embedded"
listen: "{host}:{port}"
ports_file_dir: "."
authorization {{ user: "{user}", password: "{password}" }}
jetstream {{
  store_dir: "jetstream"
  max_mem: 64M
  max_file: {max_file}
  # Jepsen lost acknowledged messages with the default of two minutes.
  sync_interval: always
}}
"""


class EmbeddedNats(EmbeddedServer):
    """One NATS server with its data in ``data_dir``; ``max_file`` limits JetStream's disk space."""

    title: ClassVar[str] = "NATS"
    program: ClassVar[str] = "nats-server"
    stop_steps: ClassVar[Sequence[tuple[signal.Signals, float]]] = ((signal.SIGTERM, 15.0),)

    def __init__(self, data_dir: Path, *, port: int = 0, max_file: str = MAX_FILE_DEFAULT) -> None:
        super().__init__(data_dir, port=port)
        self._max_file = max_file
        self._seen_bytes = 0
        self._has_failed_write = False

    @property
    @override
    def home(self) -> Path:
        """The server's working directory."""
        return self.data_dir

    @functools.cached_property
    def _program(self) -> Path:
        return programs.find_nats().absolute()

    @property
    @override
    def server_version(self) -> str:
        """The version of the program, such as ``2.15.1``."""
        return programs.nats_version(self._program)

    @property
    def password(self) -> str:
        """The client's password, kept in the data directory."""
        return files.password_in(self.data_dir / "password")

    def url(self) -> str:
        """Return the server's URL, with user and password."""
        return f"nats://{USER}:{self.password}@{self.address}"

    @override
    def way_in(self) -> str:
        """Return a command of NATS's own client that connects to the server."""
        who = f"--user {USER} --password {self.password_word()}"
        return f"nats -s nats://{self.address} {who} stream ls"

    @override
    def init(self) -> bool:
        """Create the data directory; return False when it existed already."""
        with self._lock.held():
            store = self.data_dir / "jetstream"
            if store.is_dir():
                return False
            store.mkdir(mode=files.PRIVATE_DIRECTORY)
            return True

    @property
    @override
    def is_stuck(self) -> bool:
        """Whether a write failed on a full disk, and there is free space by now.

        After a failed write JetStream stores nothing more in that stream until it is restarted; only its
        log says so.
        """
        if self._child is None:
            return False
        with contextlib.suppress(OSError), self.log_path.open("rb") as log:
            if self._seen_bytes > log.seek(0, os.SEEK_END):
                self._seen_bytes = 0  # the log was truncated
            log.seek(self._seen_bytes)
            said = log.read(SAID_BYTES_MAX)
            self._seen_bytes += len(said)
            self._has_failed_write = self._has_failed_write or any(
                words in said.lower() for words in FAILED_WRITE
            )
        if not self._has_failed_write:
            return False
        with contextlib.suppress(OSError):
            return shutil.disk_usage(self.data_dir / "jetstream").free >= ROOM_BYTES_MIN
        return False

    @override
    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        self._seen_bytes, self._has_failed_write = log.tell(), False
        programs.nats_version(self._program)  # refuses an old version before it touches the data
        for stale in self.data_dir.glob("*.ports"):
            stale.unlink(missing_ok=True)
        configuration = self.data_dir / "server.conf"
        files.write_private(configuration, self._configuration())
        return process.spawn(
            [self._program, "--config", configuration],
            mode=LaunchMode.SAME,
            death_signal=signal.SIGTERM,
            directory=self.data_dir,
            log=log,
        )

    def _configuration(self) -> str:
        """Return the text of the server's configuration file."""
        return CONFIGURATION.format(
            host=HOST,
            port=self._port or ports.free_port(),
            user=USER,
            password=self.password,
            max_file=self._max_file,
        )

    @override
    def _find_port(self, child: subprocess.Popen[bytes]) -> int | None:
        for file in self.data_dir.glob(f"*_{child.pid}.ports"):
            # The file may be read while it is being written.
            with contextlib.suppress(OSError, ValueError, LookupError):
                address: str = json.loads(file.read_text(encoding="utf-8"))["nats"][0]
                return int(address.rpartition(":")[2])
        return None

    @override
    def _main_resident(self) -> int | None:
        return next(iter(self._residents()), None)

    @override
    def _after_start(self) -> None:
        """Nothing to do: clients create their own streams."""

    @override
    def _after_stop(self) -> None:
        """Nothing to do."""
