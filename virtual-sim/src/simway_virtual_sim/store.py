"""Where a card's memory lies: one file, replaced whole, so that a power cut leaves the old state or the new one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from simway_protocol.sim.card import CardError

from simway_virtual_sim.state import CardState, decode, encode

_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700


class Store(Protocol):
    """Keeps a card's state. ``save`` is the only write, and it is atomic."""

    def load(self) -> CardState:
        """The state as last saved. Blocks."""

    def save(self, state: CardState) -> None:
        """Replaces the state, durably. Raises ``OSError`` when that failed. Blocks."""

    def close(self) -> None:
        """Lets go of the state."""


class StateFile:
    """A state file, held by a lock beside it: two processes must not be one card. Blocks on the disk.

    ``make``: the state of a new card, for a file that is not there yet. Raises ``CardError`` when it is in use or unreadable.
    """

    def __init__(self, path: Path, make: Callable[[], CardState]) -> None:
        self._path = path
        try:
            path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            self._lock = _lock(path)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            if not path.exists():
                self.save(make())
            self.load()
        except OSError as error:
            self.close()
            raise _unusable(path, error) from error
        except CardError:
            self.close()
            raise

    def load(self) -> CardState:
        """As ``Store.load``; ``CardError`` when the file is not a card's state."""
        try:
            return decode(self._path.read_bytes())
        except ValueError as error:
            raise CardError(f"{self._path} is not a virtual SIM: {error}; move it away to get a new card") from error

    def save(self, state: CardState) -> None:
        """As ``Store.save``: temporary file, fsync, rename, fsync of the directory."""
        temporary = self._path.with_name(self._path.name + ".tmp")
        with suppress(FileNotFoundError):
            temporary.unlink()
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE), "wb") as file:
            file.write(encode(state))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)
        _sync_directory(self._path.parent)

    def close(self) -> None:
        """As ``Store.close``; the lock goes with it. A second call does nothing."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


def _unusable(path: Path, error: OSError) -> CardError:
    return CardError(f"the virtual SIM cannot use {path}: {error.strerror}; set state_file to a path that it may write")


def _lock(path: Path) -> int:
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, _FILE_MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode("ascii", "replace").strip()
        os.close(lock)
        raise CardError(
            f"the virtual SIM in {path} is in use by process {holder or 'unknown'}: stop that, or set state_file to another path"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
