"""Small disks that can be filled, and how it is done on this machine.

Where the process may (root, or a user namespace of its own), each is a tmpfs in a mount namespace that only this process and its
children see: ``fill`` leaves no byte, and every write gets ENOSPC. Elsewhere ``fill`` sets RLIMIT_FSIZE of the processes that
write there, so that each write gets EFBIG, which SQLite tells as an error of the disk as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

TMPFS, RLIMIT = "tmpfs (ENOSPC)", "RLIMIT_FSIZE (EFBIG)"
BALLAST = "ballast"
BLOCK_BYTES = 1 << 16
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000


def private_mounts() -> str:
    """Gives this process mounts of its own, once and before it has threads; which way ``fill`` takes from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if not hasattr(libc, "unshare") or not hasattr(libc, "mount"):
        return RLIMIT
    if libc.unshare(_CLONE_NEWNS | (_CLONE_NEWUSER if user else 0)):
        return RLIMIT
    try:
        if user:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        _mount(None, Path("/"), _MS_REC | _MS_PRIVATE, None)
    except OSError:
        return RLIMIT
    return TMPFS


class Disk:
    """A folder with a bound. ``writers``: the processes to be limited where there is no tmpfs."""

    def __init__(self, folder: Path, way: str, size_bytes: int, writers: Callable[[], Iterable[int]]) -> None:
        self.folder, self._way, self._writers = folder, way, writers
        folder.mkdir(parents=True, exist_ok=True)
        if way == TMPFS:
            owner = folder.stat()
            _mount("tmpfs", folder, 0, f"size={size_bytes},mode=0700,uid={owner.st_uid},gid={owner.st_gid}")

    def fill(self) -> None:
        """From now on every write that needs room fails."""
        if self._way == RLIMIT:
            self._limit(1)
            return
        with (self.folder / BALLAST).open("ab", buffering=0) as ballast:
            for size in (BLOCK_BYTES, 1):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def free(self) -> None:
        """There is room again."""
        if self._way == RLIMIT:
            self._limit(resource.RLIM_INFINITY)
            return
        (self.folder / BALLAST).unlink(missing_ok=True)

    def _limit(self, size_bytes: int) -> None:
        for pid in self._writers():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                for one in (process, *process.children(recursive=True)):
                    one.rlimit(psutil.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def _mount(kind: str | None, folder: Path, flags: int, options: str | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(
        (kind or "none").encode(), bytes(folder), kind.encode() if kind else None, flags, options.encode() if options else None
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))
