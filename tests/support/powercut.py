"""A file system that loses at a power cut what was not forced to disk.

``python -m tests.support.powercut BACKING MOUNT`` serves BACKING under MOUNT. It speaks the FUSE protocol
on /dev/fuse itself: it needs no library, only root and the device. Written data stays in memory until
``fsync`` (or is stored at once, for files opened as synchronous) and is then in BACKING. SIGUSR1 is the
power cut.

Promises: a cut loses everything that was not forced, and nothing that was forced. It is simpler than a
disk: names, modes and truncations are durable at once, and a block of 4 KiB is never half written.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import stat
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE: Final = "/dev/fuse"
ROOT: Final = 1
BLOCK: Final = 4096
WRITE_MAX: Final = 131_072
REQUEST_MAX: Final = WRITE_MAX + 8_192
MS_NOSUID_NODEV: Final = 2 | 4
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22
DIRECT_IO: Final = 1
SET_MODE, SET_UID, SET_GID, SET_SIZE = 1, 2, 4, 8

IN_HEADER: Final = struct.Struct("<IIQQIIII")
OUT_HEADER: Final = struct.Struct("<IiQ")
ATTRIBUTES: Final = struct.Struct("<QQQQQQIIIIIIIIII")
SETATTR: Final = struct.Struct("<IIQQQQQQIIIIIIII")
INIT_OUT: Final = struct.Struct("<IIIIHHIIHHI28x")
STATFS: Final = struct.Struct("<QQQQQIIII24x")
NO_REPLY: Final = None


@dataclass(slots=True)
class Volatile:
    """The part of one file that is only in memory: blocks, and its length if that has grown."""

    blocks: dict[int, bytearray] = field(default_factory=dict)
    size: int | None = None


def _refuse(_node: int, _body: bytes) -> bytes:
    raise OSError(errno.ENOSYS, "not needed here")


class PowerCut:
    """The file system. Each request is a method; an OSError that it raises is the answer."""

    def __init__(self, backing: Path) -> None:
        self._paths: dict[int, Path] = {ROOT: backing}
        self._volatile: dict[int, Volatile] = {}
        self._synchronous: set[int] = set()
        self.cuts = 0
        self._calls: dict[int, Callable[[int, bytes], bytes | None]] = {
            1: self.lookup, 2: self.forget, 3: self.getattr, 4: self.setattr, 5: self.readlink,
            6: self.symlink, 8: self.mknod, 9: self.mkdir, 10: self.unlink, 11: self.rmdir,
            12: self.rename, 13: self.link, 14: self.open, 15: self.read, 16: self.write,
            17: self.statfs, 18: self.release, 20: self.fsync, 25: self.nothing, 26: self.init,
            27: self.opendir, 28: self.readdir, 29: self.nothing, 30: self.nothing,
            35: self.create, 36: self.forget, 38: self.nothing, 42: self.forget, 45: self.rename2,
        }  # fmt: skip

    def cut(self) -> None:
        """Lose power: everything that was not forced is lost."""
        self._volatile.clear()
        self.cuts += 1

    def answer(self, request: bytes) -> bytes | None:
        """Answer one request of the kernel; None if it expects no answer."""
        _, opcode, unique, node, *_ = IN_HEADER.unpack_from(request)
        body, status = b"", 0
        try:
            answered = self._calls.get(opcode, _refuse)(node, request[IN_HEADER.size :])
            if answered is NO_REPLY:
                return None
            body = answered
        except OSError as error:
            body, status = b"", -(error.errno or errno.EIO)
        return OUT_HEADER.pack(OUT_HEADER.size + len(body), status, unique) + body

    # --- names ----------------------------------------------------------------------------------

    def _child(self, node: int, name: bytes) -> Path:
        return self._paths[node] / os.fsdecode(name.split(b"\0", 1)[0])

    def _attributes(self, node: int, found: os.stat_result) -> bytes:
        held = self._volatile.get(found.st_ino)
        size = found.st_size if held is None or held.size is None else held.size
        seconds = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
        owner = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid)
        blocks = (size + 511) // 512
        return ATTRIBUTES.pack(node, size, blocks, *seconds, 0, 0, 0, *owner, 0, BLOCK, 0)

    def _entry(self, path: Path) -> bytes:
        found = path.lstat()
        self._paths[found.st_ino] = path
        head = struct.pack("<QQQQII", found.st_ino, 0, 0, 0, 0, 0)
        return head + self._attributes(found.st_ino, found)

    def init(self, _node: int, body: bytes) -> bytes:
        """Agree on the protocol."""
        major, _, ahead = struct.unpack_from("<III", body)
        flags = BIG_WRITES | MAX_PAGES
        return INIT_OUT.pack(major, 31, ahead, flags, 12, 10, WRITE_MAX, 1, 32, 0, 0)

    def lookup(self, node: int, body: bytes) -> bytes:
        """Look up a name."""
        return self._entry(self._child(node, body))

    def forget(self, _node: int, _body: bytes) -> None:
        """Do nothing: there are few nodes."""

    def nothing(self, _node: int, _body: bytes) -> bytes:
        """Agree."""
        return b""

    def getattr(self, node: int, _body: bytes) -> bytes:
        """Return a file's attributes."""
        found = self._paths[node].lstat()
        return struct.pack("<QII", 0, 0, 0) + self._attributes(node, found)

    def setattr(self, node: int, body: bytes) -> bytes:
        """Change a file's attributes; a truncation is durable at once."""
        valid, _, _, size, *_, mode, _, uid, gid, _ = SETATTR.unpack_from(body)
        path = self._paths[node]
        if valid & SET_MODE:
            path.chmod(stat.S_IMODE(mode))
        if valid & (SET_UID | SET_GID):
            wanted = uid if valid & SET_UID else -1, gid if valid & SET_GID else -1
            os.chown(path, *wanted, follow_symlinks=False)
        if valid & SET_SIZE:
            self._truncate(path, size)
        return self.getattr(node, b"")

    def readlink(self, node: int, _body: bytes) -> bytes:
        """Return the target of a link."""
        return os.fsencode(self._paths[node].readlink())

    def symlink(self, node: int, body: bytes) -> bytes:
        """Make a symbolic link."""
        name, target = body.split(b"\0")[:2]
        path = self._child(node, name)
        path.symlink_to(os.fsdecode(target))
        return self._entry(path)

    def link(self, node: int, body: bytes) -> bytes:
        """Make a hard link."""
        (old,) = struct.unpack_from("<Q", body)
        path = self._child(node, body[8:])
        path.hardlink_to(self._paths[old])
        return self._entry(path)

    def mknod(self, node: int, body: bytes) -> bytes:
        """Make a node, such as a socket."""
        mode, device = struct.unpack_from("<II", body)
        path = self._child(node, body[16:])
        os.mknod(path, mode, device)
        return self._entry(path)

    def mkdir(self, node: int, body: bytes) -> bytes:
        """Make a directory."""
        path = self._child(node, body[8:])
        path.mkdir()
        path.chmod(stat.S_IMODE(struct.unpack_from("<I", body)[0]))
        return self._entry(path)

    def unlink(self, node: int, body: bytes) -> bytes:
        """Remove a name, and with the last one the data that was not forced."""
        path = self._child(node, body)
        self._drop_last_name(path)
        path.unlink()
        return b""

    def rmdir(self, node: int, body: bytes) -> bytes:
        """Remove a directory."""
        self._child(node, body).rmdir()
        return b""

    def rename(self, node: int, body: bytes) -> bytes:
        """Rename a file."""
        return self._rename(node, struct.unpack_from("<Q", body)[0], body[8:])

    def rename2(self, node: int, body: bytes) -> bytes:
        """Rename a file, without other options."""
        target, flags = struct.unpack_from("<QI", body)
        if flags:
            raise OSError(errno.EINVAL, "plain renaming only")
        return self._rename(node, target, body[16:])

    def _rename(self, node: int, target: int, names: bytes) -> bytes:
        old_name, new_name = names.split(b"\0")[:2]
        old, new = self._child(node, old_name), self._child(target, new_name)
        with contextlib.suppress(FileNotFoundError):
            self._drop_last_name(new)
        old.rename(new)
        for inode, path in list(self._paths.items()):
            if path == old or old in path.parents:
                self._paths[inode] = new / path.relative_to(old)
        return b""

    def _drop_last_name(self, path: Path) -> None:
        found = path.lstat()
        if found.st_nlink == 1:
            self._volatile.pop(found.st_ino, None)

    # --- contents -------------------------------------------------------------------------------

    def create(self, node: int, body: bytes) -> bytes:
        """Create a file and open it."""
        flags, mode = struct.unpack_from("<II", body)
        path = self._child(node, body[16:])
        made = os.open(path, os.O_CREAT | os.O_RDWR | (flags & os.O_EXCL), stat.S_IMODE(mode))
        return self._entry(path) + self._opened(made, flags)

    def open(self, node: int, body: bytes) -> bytes:
        """Open a file."""
        (flags,) = struct.unpack_from("<I", body)
        return self._opened(os.open(self._paths[node], os.O_RDWR), flags)

    def _opened(self, handle: int, flags: int) -> bytes:
        if flags & (os.O_DSYNC | os.O_SYNC):
            self._synchronous.add(handle)
        return struct.pack("<QII", handle, DIRECT_IO, 0)

    def release(self, _node: int, body: bytes) -> bytes:
        """Close a file: that forces nothing."""
        (handle,) = struct.unpack_from("<Q", body)
        self._synchronous.discard(handle)
        os.close(handle)
        return b""

    def _size(self, handle: int) -> int:
        found = os.fstat(handle)
        held = self._volatile.get(found.st_ino)
        return found.st_size if held is None or held.size is None else held.size

    def read(self, _node: int, body: bytes) -> bytes:
        """Read: first what is in memory, then what is on disk."""
        handle, offset, count = struct.unpack_from("<QQI", body)
        count = max(0, min(count, self._size(handle) - offset))
        found = bytearray(os.pread(handle, count, offset).ljust(count, b"\0"))
        held = self._volatile.get(os.fstat(handle).st_ino)
        for number in range(offset // BLOCK, -(-(offset + count) // BLOCK)):
            block = held.blocks.get(number) if held is not None else None
            if block is not None:
                low, high = max(offset, number * BLOCK), min(offset + count, (number + 1) * BLOCK)
                found[low - offset : high - offset] = block[low % BLOCK : high - number * BLOCK]
        return bytes(found)

    def write(self, _node: int, body: bytes) -> bytes:
        """Write to memory; a file that was opened as synchronous is also stored."""
        handle, offset, count = struct.unpack_from("<QQI", body)
        data = memoryview(body)[40 : 40 + count]
        held = self._volatile.setdefault(os.fstat(handle).st_ino, Volatile())
        held.size = max(self._size(handle), offset + count)
        place = 0
        while place < count:
            number, start = divmod(offset + place, BLOCK)
            block = held.blocks.get(number)
            if block is None:
                stored = os.pread(handle, BLOCK, number * BLOCK)
                block = held.blocks[number] = bytearray(stored.ljust(BLOCK, b"\0"))
            step = min(BLOCK - start, count - place)
            block[start : start + step] = data[place : place + step]
            place += step
        if handle in self._synchronous:
            self._force(handle)
        return struct.pack("<II", count, 0)

    def fsync(self, _node: int, body: bytes) -> bytes:
        """Force what is in memory."""
        self._force(struct.unpack_from("<Q", body)[0])
        return b""

    def _force(self, handle: int) -> None:
        held = self._volatile.pop(os.fstat(handle).st_ino, None)
        if held is None:
            return
        for number, block in held.blocks.items():
            os.pwrite(handle, block, number * BLOCK)
        if held.size is not None:
            os.ftruncate(handle, held.size)

    def _truncate(self, path: Path, size: int) -> None:
        """Truncate at once; an extension waits until it is forced."""
        found = path.lstat()
        held = self._volatile.setdefault(found.st_ino, Volatile())
        held.blocks = {n: block for n, block in held.blocks.items() if n * BLOCK < size}
        if size % BLOCK and size // BLOCK in held.blocks:
            held.blocks[size // BLOCK][size % BLOCK :] = bytes(BLOCK - size % BLOCK)
        if size < found.st_size:
            os.truncate(path, size)
        held.size = size

    # --- directories ----------------------------------------------------------------------------

    def opendir(self, _node: int, _body: bytes) -> bytes:
        """Agree."""
        return struct.pack("<QII", 0, 0, 0)

    def readdir(self, node: int, body: bytes) -> bytes:
        """List names, from an offset on."""
        _, offset, room = struct.unpack_from("<QQI", body)
        names = [".", "..", *sorted(os.listdir(self._paths[node]))]  # noqa: PTH208 - names only
        found = b""
        for number, name in enumerate(names[offset:], start=offset + 1):
            raw = os.fsencode(name)
            entry = struct.pack("<QQII", 1, number, len(raw), 0) + raw
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > room:
                break
            found += entry
        return found

    def statfs(self, _node: int, _body: bytes) -> bytes:
        """Return the size of the disk."""
        space = os.statvfs(self._paths[ROOT])
        files = (space.f_files, space.f_ffree)
        sizes = (space.f_bsize, space.f_namemax, space.f_frsize, 0)
        return STATFS.pack(space.f_blocks, space.f_bfree, space.f_bavail, *files, *sizes)


def serve(backing: Path, mount_point: Path) -> None:
    """Mount, and answer the kernel until it is unmounted."""
    device = os.open(DEVICE, os.O_RDWR)
    options = f"fd={device},rootmode=40755,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    place = os.fsencode(mount_point)
    if libc.mount(b"powercut", place, b"fuse", MS_NOSUID_NODEV, options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    system = PowerCut(backing)

    def cut(*_: object) -> None:
        system.cut()
        print("cut", flush=True)

    signal.signal(signal.SIGUSR1, cut)
    print("mounted", flush=True)
    while True:
        try:
            answer = system.answer(os.read(device, REQUEST_MAX))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno in (errno.ENOENT, errno.EINTR):
                continue
            raise
        if answer is not None:
            with contextlib.suppress(FileNotFoundError):  # the caller was interrupted meanwhile
                os.write(device, answer)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
