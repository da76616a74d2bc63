"""What tests share: real servers, the whole platform as processes, and how a missing tool is told apart from a failure."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
"""The root of the repository: the working directory of every process of the platform."""


class Unavailable(Exception):
    """A tool that a test needs is not on this machine and could not be had. The text says which, and how to get it."""


def strict() -> bool:
    """True where nothing may be skipped: under ``CI=true`` a missing tool is a failure."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def unavailable(reason: str) -> NoReturn:
    """Skips the test for ``reason``, or fails it where nothing may be skipped."""
    if strict():
        pytest.fail(f"{reason} (CI=true: nothing may be skipped)")
    pytest.skip(reason)


@contextmanager
def scratch(name: str, within: Path | None = None) -> Iterator[Path]:
    """A short-lived directory of its own, outside the repository; its path is short enough for Unix sockets."""
    directory = Path(tempfile.mkdtemp(prefix=f"simway-{name}-", dir=within))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
