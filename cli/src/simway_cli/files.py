"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from simway_cli.errors import CliError, Usage


@contextmanager
def whole_file(target: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A file to write into. It gets its name only when the block ends without an exception, after fsync; else nothing is left.

    Meanwhile it is ``.NAME.XXXX.part`` in the same folder. Raises ``CliError`` where the folder or the disk refuses.
    """
    if target.is_dir():
        raise Usage(f"{target} is a folder", hint="Name a file in it.")
    if not overwrite and target.exists():
        raise Usage(f"{target} exists", hint="--overwrite replaces it, once the new one is whole.")
    with _disk(target):
        number, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with _disk(target):
            with os.fdopen(number, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@contextmanager
def _disk(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CliError(
            f"{target}: {error.strerror or error}", hint="Nothing was left there. Make room, or name another file."
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
