"""A strict parser of InfluxDB line protocol, written from its specification and independent of what it checks.

https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/ Stricter than that: every line has exactly the parts
that Grafana Live needs, a timestamp of nanoseconds included, and nothing that parsers are known to differ about.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

FieldValue = float | int | bool | str
_INT64 = range(-(2**63), 2**63)
_FLOAT = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_INTEGER = re.compile(r"-?\d+i\Z", re.ASCII)
_TIMESTAMP = re.compile(r"-?\d+\Z", re.ASCII)
_TRUE, _FALSE = {"t", "T", "true", "True", "TRUE"}, {"f", "F", "false", "False", "FALSE"}


class BadLine(ValueError):
    """The line is not line protocol."""


@dataclass(frozen=True, slots=True)
class Point:
    """One line."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, FieldValue]
    t_ns: int


def parse(body: bytes) -> list[Point]:
    """The points of a request body. Raises ``BadLine``."""
    text = body.decode("utf-8")
    if not text.endswith("\n"):
        raise BadLine("the last line does not end")
    return [_Line(line).point() for line in text.removesuffix("\n").split("\n")]


class _Line:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
            raise BadLine(f"a control character in {text!r}")

    def point(self) -> Point:
        measurement = self._name(stops=", ", escapable=", ")
        if not measurement or measurement[0] in "_#":
            raise BadLine(f"no measurement in {self.text!r}")
        tags: dict[str, str] = {}
        while self._take(","):
            key = self._name(stops="=", escapable=",= ")
            self._expect("=")
            value = self._name(stops=", ", escapable=",= ")
            if not key or not value or key in tags:
                raise BadLine(f"a tag is empty or double in {self.text!r}")
            tags[key] = value
        self._expect(" ")
        fields: dict[str, FieldValue] = {}
        while not fields or self._take(","):
            key = self._name(stops="=", escapable=",= ")
            self._expect("=")
            if not key or key in fields:
                raise BadLine(f"a field is empty or double in {self.text!r}")
            fields[key] = self._value()
        self._expect(" ")
        stamp = self.text[self.at :]
        if not _TIMESTAMP.match(stamp) or int(stamp) not in _INT64:
            raise BadLine(f"no time in nanoseconds: {stamp!r}")
        return Point(measurement, tags, fields, int(stamp))

    def _name(self, *, stops: str, escapable: str) -> str:
        found = ""
        while self.at < len(self.text) and self.text[self.at] not in stops:
            character = self.text[self.at]
            if character == "\\":
                following = self.text[self.at + 1 : self.at + 2]
                if following not in escapable or not following:
                    raise BadLine(f"parsers differ about this backslash: {self.text!r}")
                character, self.at = following, self.at + 1
            elif character in escapable and character != "=":
                raise BadLine(f"{character!r} is not escaped in {self.text!r}")
            found, self.at = found + character, self.at + 1
        return found

    def _value(self) -> FieldValue:
        if self._take('"'):
            return self._string()
        end = self.at
        while end < len(self.text) and self.text[end] not in ", ":
            end += 1
        token, self.at = self.text[self.at : end], end
        if token in _TRUE or token in _FALSE:
            return token in _TRUE
        if _INTEGER.match(token) and int(token[:-1]) in _INT64:
            return int(token[:-1])
        if _FLOAT.match(token) and math.isfinite(float(token)):
            return float(token)
        raise BadLine(f"no value: {token!r}")

    def _string(self) -> str:
        found = ""
        while not self._take('"'):
            character = self._next()
            if character == "\\":
                character = self._next()
                if character not in '"\\':
                    raise BadLine(f"nothing to escape in {self.text!r}")
            found += character
        return found

    def _next(self) -> str:
        if self.at >= len(self.text):
            raise BadLine(f"a string does not end: {self.text!r}")
        self.at += 1
        return self.text[self.at - 1]

    def _take(self, character: str) -> bool:
        found = self.text[self.at : self.at + 1] == character
        self.at += found
        return found

    def _expect(self, character: str) -> None:
        if not self._take(character):
            raise BadLine(f"expected {character!r} at {self.at} of {self.text!r}")
