"""``MODEM_DIR``: the device's own folder, mode 0700, held by one running modem client at a time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from simway_backbone.service import StartError

LOOK_S = 0.3
"""``status`` holds the lock for a moment when it looks whether it is free."""


def prepare(folder: Path) -> None:
    """Makes the folder. Raises ``StartError``."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"cannot make the folder {folder} (MODEM_DIR): {error.strerror}") from error


class RunLock:
    """Held from ``take`` until the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "run.lock"
        self._descriptor = -1

    def take(self) -> bool:
        """False when another process holds it for longer than a look. Raises ``StartError``: the folder cannot be written."""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(f"cannot write in {self._path.parent} (MODEM_DIR): {error.strerror}") from error
        deadline_s = time.monotonic() + LOOK_S
        while not self._try():
            if time.monotonic() > deadline_s:
                self.release()
                return False
            time.sleep(0.02)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())
        return True

    def is_held(self) -> bool:
        """Whether a process holds it now. Changes nothing."""
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        free = self._try()
        self.release()
        return not free

    def holder(self) -> str:
        """The process id of who holds it, as text; empty when unknown."""
        try:
            return self._path.read_text().strip()
        except OSError:
            return ""

    def _try(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Lets go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
