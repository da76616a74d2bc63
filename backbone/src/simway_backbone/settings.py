"""Reading settings from an environment mapping: typed, with errors that name the variable and what to write instead.

A service has one frozen dataclass with ``from_env(mapping)``, which asks an ``Env``; only its ``__main__`` touches
``os.environ``, by ``load(Settings.from_env, os.environ)``. An empty value counts as not set (compose passes ``X=`` for an
unset ``${X}``).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|)\Z")
_UNIT_S = {"ms": 0.001, "s": 1, "": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class SettingError(Exception):
    """A setting is missing or wrong: the operator's fault. The text names the variable and says what to write."""


class Env:
    """Typed look-ups in an environment mapping. ``default=None`` means that the setting must be given."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self._mapping = mapping

    def text(self, name: str, default: str | None = None) -> str:
        """The value of ``name``; else the first line of the file that ``name_FILE`` names; else the default."""
        value = self._mapping.get(name)
        if value:
            return value
        if file := self._mapping.get(f"{name}_FILE"):
            return read_secret(Path(file), f"{name}_FILE")
        if default is None:
            raise SettingError(f"{name} is not set, and has no default; set it, or {name}_FILE to a file that holds it")
        return default

    def integer(self, name: str, default: int | None = None, least: int | None = None, most: int | None = None) -> int:
        """A whole number within limits, both included."""
        text = self.text(name, None if default is None else str(default))
        try:
            value = int(text)
        except ValueError:
            raise SettingError(f"{name}={text!r} is no whole number") from None
        if (least is not None and value < least) or (most is not None and value > most):
            raise SettingError(f"{name}={value} is not within {least} to {'any' if most is None else most}")
        return value

    def number(self, name: str, default: float | None = None, *, least: float, most: float) -> float:
        """A number within limits, both included."""
        text = self.text(name, None if default is None else str(default))
        try:
            value = float(text)
        except ValueError:
            raise SettingError(f"{name}={text!r} is no number") from None
        if not least <= value <= most:
            raise SettingError(f"{name}={text} is not within {least:g} to {most:g}")
        return value

    def port(self, name: str, default: int | None = None) -> int:
        """A UDP or TCP port; 0 lets the system choose."""
        return self.integer(name, default, least=0, most=65_535)

    def seconds(self, name: str, default: float | None = None) -> float:
        """A duration: ``90``, ``1.5s``, ``200ms``, ``10min``, ``2h``, ``7d``."""
        text = self.text(name, None if default is None else str(default))
        match = _DURATION.match(text.strip())
        if not match:
            raise SettingError(f"{name}={text!r} is no duration; write 90, 1.5s, 200ms, 10min, 2h or 7d")
        return float(match.group(1)) * _UNIT_S[match.group(2)]

    def choice(self, name: str, options: Collection[str], default: str | None = None) -> str:
        """One of some words."""
        value = self.text(name, default)
        if value not in options:
            raise SettingError(f"{name}={value!r} is none of {', '.join(sorted(options))}")
        return value

    def flag(self, name: str, default: bool | None = None) -> bool:
        """Yes or no."""
        text = self.text(name, None if default is None else str(default)).lower()
        if text not in _FLAGS:
            raise SettingError(f"{name}={text!r} is neither yes nor no")
        return _FLAGS[text]

    def path(self, name: str, default: str | Path | None = None) -> Path:
        """A path as it is written; nothing is looked up on the disk."""
        value = self._mapping.get(name) or default
        if value is None:
            raise SettingError(f"{name} is not set, and has no default; set it to a path")
        return Path(value)

    def optional_path(self, name: str) -> Path | None:
        """As ``path``; None when it is not set."""
        value = self._mapping.get(name)
        return Path(value) if value else None

    def secret(self, name: str, default_file: str | Path | None = None) -> str:
        """As ``text``, with a default *file* instead of a default value: secrets have none."""
        if self._mapping.get(name) or self._mapping.get(f"{name}_FILE") or default_file is None:
            return self.text(name)
        return read_secret(Path(default_file), f"{name}_FILE")

    def secret_bytes(self, name: str, size_bytes: int, default_file: str | Path | None = None) -> bytes:
        """A secret written as hex digits."""
        try:
            value = bytes.fromhex(self.secret(name, default_file))
        except ValueError:
            raise SettingError(f"{name} (or the file {name}_FILE) must be {2 * size_bytes} hex digits") from None
        if len(value) != size_bytes:
            raise SettingError(f"{name} (or the file {name}_FILE) has {2 * len(value)} hex digits, not {2 * size_bytes}")
        return value


def read_secret(path: Path, setting: str) -> str:
    """The first line of a file; ``SettingError`` names the setting when it cannot be read or is empty."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{setting}={path} cannot be read ({error}); run `init`, which makes what is missing") from error
    if not lines or not lines[0].strip():
        raise SettingError(f"{setting}={path} is empty")
    return lines[0].strip()


def load(from_env: Callable[[Mapping[str, str]], T], environment: Mapping[str, str]) -> T:
    """``from_env(environment)``; a ``SettingError`` becomes one line on stderr and exit status 2."""
    try:
        return from_env(environment)
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
