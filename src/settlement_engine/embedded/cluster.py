"""Creation of PostgreSQL's data directory.

It promises that a directory named ``cluster`` is always complete: it is created under another name and renamed
when it is finished, so that an interrupted ``initdb`` leaves nothing that looks like data. The collation is
PostgreSQL's builtin one where available: an index built under the machine's locale would become silently wrong
when its C library is upgraded.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from settlement_engine.embedded import files, process
from settlement_engine.embedded.errors import EmbeddedServerError
from settlement_engine.embedded.process import UNPRIVILEGED_ID, LaunchMode

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.embedded.binaries import PostgresBinaries

SUPERUSER: Final = "settlement"
INITDB_SECONDS: Final = 120.0
COPY_SECONDS: Final = 120.0
# The builtin locale provider exists since version 17.
BUILTIN_LOCALE_MAJOR_MIN: Final = 17
UNFINISHED_NAME: Final = "cluster.new"
# What may exist in a data directory before it contains data.
OWN_NAMES: Final = frozenset(
    {
        UNFINISHED_NAME,
        "lock",
        "password",
        "password.new",
        "port",
        "port.new",
        "postgres.log",
        "programs",
    }
    | {"socket-directory", "socket-directory.new"}
)


def is_made(cluster: Path) -> bool:
    """Return whether the directory contains data."""
    return (cluster / "PG_VERSION").is_file()


def make(cluster: Path, binaries: PostgresBinaries, mode: LaunchMode, password_file: Path) -> None:
    """Create a data directory: UTF-8, checksums, a superuser with a password."""
    unfinished = _cleared(cluster)
    locale = ["--locale=C"]
    if binaries.major >= BUILTIN_LOCALE_MAJOR_MIN:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    answer = process.run(
        [
            binaries / "initdb",
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *locale,
            "--data-checksums",
            "--no-instructions",
        ],
        mode=mode,
        timeout_seconds=INITDB_SECONDS,
    )
    if answer.returncode != 0:
        raise EmbeddedServerError(
            f"PostgreSQL {binaries.version} could not make a data directory in {cluster.parent}.",
            why=(answer.stderr or answer.stdout)[-files.COMPLAINT_BYTES_MAX :].strip(),
            todo="free disk space or choose another data directory, then try again",
        )
    _finish(unfinished, cluster)


def copy(template: Path, cluster: Path) -> None:
    """Copy the data of a stopped server.

    The copy is not synced to disk: it is for tests, which repeat the copy when it is lost.
    """
    if not is_made(template) or (template / "postmaster.pid").exists():
        raise EmbeddedServerError(
            f"{template} cannot be a template.",
            why="it holds no data, or its server runs or did not end cleanly",
            todo="init() a server there, start() and stop() it, then copy it",
        )
    unfinished = _cleared(cluster)
    program = shutil.which("cp") or "/bin/cp"
    answer = process.run(
        [program, "--archive", "--reflink=auto", template, unfinished],
        timeout_seconds=COPY_SECONDS,
    )
    if answer.returncode != 0:
        raise EmbeddedServerError(
            f"The template {template} could not be copied to {cluster}.",
            why=answer.stderr.strip(),
            todo="free disk space, then try again",
        )
    _finish(unfinished, cluster)


def _cleared(cluster: Path) -> Path:
    unfinished = cluster.with_name(UNFINISHED_NAME)
    if unfinished.exists():
        shutil.rmtree(unfinished)
    return unfinished


def _finish(unfinished: Path, cluster: Path) -> None:
    unfinished.rename(cluster)
    files.sync_directory(cluster.parent)


def refuse_foreign(data_dir: Path) -> None:
    """Refuse a directory with other content: its owner may have to be changed."""
    foreign = sorted({entry.name for entry in data_dir.iterdir()} - OWN_NAMES)
    if foreign:
        raise EmbeddedServerError(
            f"{data_dir} cannot become a data directory.",
            why=f"it contains other files, for example {foreign[0]}",
            todo="choose an empty directory, or one that does not exist yet",
        )


def check_version(cluster: Path, binaries: PostgresBinaries) -> None:
    """Refuse data that another major version has written."""
    written_by = (cluster / "PG_VERSION").read_text(encoding="ascii").strip()
    if written_by != str(binaries.major):
        raise EmbeddedServerError(
            f"PostgreSQL {binaries.version} cannot open {cluster}.",
            why=f"version {written_by} wrote the data",
            todo=f"set SETTLEMENT_PG_BIN to version {written_by}'s programs, "
            "or choose another data directory",
        )


def belongs_to_nobody(directory: Path) -> bool:
    """Return whether an earlier run changed the directory's owner to the user nobody."""
    return directory.exists() and directory.stat().st_uid == UNPRIVILEGED_ID


def settle_owner(data_dir: Path, mode: LaunchMode) -> None:
    """Ensure that the server's user owns the data and can reach it."""
    wanted_uid = UNPRIVILEGED_ID if mode is LaunchMode.DROP else os.geteuid()
    owner = data_dir.stat().st_uid
    if owner not in {wanted_uid, os.geteuid()}:
        raise EmbeddedServerError(
            f"The data directory {data_dir} belongs to another user.",
            why=f"its owner is user {owner} and this is user {os.geteuid()}",
            todo=f"run as user {owner}, or choose another data directory",
        )
    if mode is LaunchMode.DROP:  # each time, because files written since then still belong to root
        _change_owner(data_dir)
    if (obstacle := process.obstacle(data_dir, mode)) is not None:
        raise EmbeddedServerError(
            f"PostgreSQL's user cannot reach {data_dir}.",
            why=f"it has no access to {obstacle}, and the server does not run with root's privileges",
            todo="choose a data directory outside, for example /var/lib/settlement",
        )


def _change_owner(data_dir: Path) -> None:
    try:
        files.give_to(data_dir, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    except OSError as error:
        raise EmbeddedServerError(
            "PostgreSQL refuses to run as root, and no other user is available.",
            why=f"user namespaces are forbidden here, and user {UNPRIVILEGED_ID} cannot own "
            f"{data_dir}: {error.strerror}",
            todo="run as an ordinary user, or allow user namespaces in this container",
        ) from error
