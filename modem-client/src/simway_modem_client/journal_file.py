"""The journal's files: setting a damaged one aside, and the last accepted counter beside it."""

from __future__ import annotations

import os
import time
from pathlib import Path

_DIGITS = 20


def set_aside(path: Path) -> Path:
    """Renames an SQLite file and what belongs to it; where it is now. Raises ``OSError``."""
    aside = path.with_name(f"{path.name}.broken-{time.time_ns() // 1_000_000}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(aside.with_name(aside.name + suffix))
    return aside


def read_counter(path: Path) -> int:
    """The counter in the file; 0 where there is none that can be read."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def write_counter(path: Path, counter: int) -> None:
    """Overwrites it in place, which needs no room on the disk after the first time; on the disk when it returns. ``OSError``."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.pwrite(descriptor, f"{counter:0{_DIGITS}}\n".encode("ascii"), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
