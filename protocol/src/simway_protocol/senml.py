"""SenML packs (RFC 8428) in JSON and CBOR: records to readings, and readings to records.

* Base fields hold from their record on. A record of base fields alone is no reading and takes no sequence number; any other
  record takes one, and a record that is wrong becomes a ``Refusal`` in its place, so that numbers stay aligned.
* Times are strictly those of section 4.5.3: base time plus time in seconds; below 2^28 the sum is relative to now, and so is
  a time that is absent. A sender that numbers its readings has no "now" that a retransmission could repeat: with
  ``now_us`` None a relative time is refused as ``bad_time``.
* Values: ``v``, ``vs``, ``vb`` and, as Simway's extension, **``vo``: an object** (a JSON object; in CBOR a map with text keys
  under the text label ``"vo"``). ``vd`` (binary) is refused; a sum (``s``) and an update time (``ut``) are read past.
* A label that is not known is read past, one that ends in ``_`` refuses its record (4.4), a version above 10 the rest of the
  pack, and so does a base field of the wrong type.
* CBOR labels are the integers of section 6, JSON labels the texts of section 5. Numbers in CBOR may be decimal fractions.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from itertools import repeat
from math import isfinite
from typing import Any, TypeAlias

import cbor2
import msgspec

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.outcomes import Reason
from simway_protocol.readings import Reading, Refusal, is_sensor, is_unit, refuse_value

Entry: TypeAlias = Reading | Refusal

VERSION = 10
RELATIVE_BELOW_US = 2**28 * 1_000_000
"""A resolved time below this is relative to now (RFC 8428, 4.5.3); later than 1978 is absolute."""
OBJECT_LABEL = "vo"
"""The extension label of an object value, in JSON and CBOR alike."""

_JSON_LABELS = {
    "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8,
    "bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6,
}  # fmt: skip
_TEXT_LABELS = {number: text for text, number in _JSON_LABELS.items()}
_NAME, _UNIT, _VALUE, _STRING, _BOOL, _SUM, _TIME, _UPDATE, _DATA = range(9)
_BASE_VERSION, _BASE_NAME, _BASE_TIME, _BASE_UNIT, _BASE_VALUE, _BASE_SUM = range(-1, -7, -1)
_TYPES: dict[int | str, type] = {_STRING: str, _BOOL: bool, OBJECT_LABEL: dict}
_FAR_S = 9e9
_new_reading = partial(tuple.__new__, Reading)


class _Bad(Exception):
    """A record that breaks a rule."""

    def __init__(self, reason: Reason, detail: str, poisons: bool = False) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.poisons = reason, detail, poisons


class _Base:
    """The base fields in force."""

    __slots__ = ("name", "t_us", "unit", "value")

    def __init__(self, t_us: int = 0) -> None:
        self.name = ""
        self.t_us = t_us
        self.unit: str | None = None
        self.value: float | int | None = None


def resolve(records: Sequence[Any], now_us: int | None) -> list[Entry]:
    """The readings of a pack with the integer labels of CBOR, one entry for each record that takes a number.

    ``now_us``: what relative and absent times refer to; None refuses them. Never raises, whatever the items are.
    """
    entries: list[Entry] = []
    base_us = _resolve_common(records, entries)
    if len(entries) < len(records):
        _resolve_rest(records, entries, base_us, now_us)
    return entries


def _resolve_common(records: Sequence[Any], entries: list[Entry]) -> int:
    """The short way for what nearly every pack is: name, one value, absolute time, perhaps a unit; a base time at most.

    Takes records up to the first that is anything else, and gives the base time in force there (us). It judges nothing that
    the long way would judge otherwise, and costs a sixth of it.
    """
    base_us = 0
    for record in records:
        if type(record) is not dict:
            break
        get = record.get
        name, value, unit, since = get(_NAME), get(_VALUE), get(_UNIT), get(_TIME)
        taken = 2 + (unit is not None) + (since is not None)
        if value is None:
            value = _other_value(record)
        elif type(value) is not float and type(value) is not int:
            break
        if taken != len(record):
            base = get(_BASE_TIME)
            if taken + 1 != len(record) or (type(base) is not float and type(base) is not int) or not 0 < base < _FAR_S:
                break
            base_us = round(base * 1e6)
        if since is None:
            t_us = base_us
        elif type(since) is float and -_FAR_S < since < _FAR_S:
            t_us = base_us + round(since * 1e6)
        elif type(since) is int and -_FAR_S < since < _FAR_S:
            t_us = base_us + since * 1_000_000
        else:
            break
        if (
            t_us < RELATIVE_BELOW_US or type(name) is not str or not is_sensor(name)
            or (value - value != 0.0 if type(value) is float else refuse_value(value) is not None)
            or (unit is not None and (type(unit) is not str or not is_unit(unit)))
        ):  # fmt: skip
            break
        entries.append(_new_reading((name, t_us, value, unit)))
    return base_us


def _other_value(record: dict[Any, Any]) -> Any:
    """A boolean, string or object; None when there is none, or more than one."""
    found = [record[label] for label, kind in _TYPES.items() if type(record.get(label)) is kind]
    return found[0] if len(found) == 1 else None


def _resolve_rest(records: Sequence[Any], entries: list[Entry], base_us: int, now_us: int | None) -> None:
    """The long way, from the first record that ``_resolve_common`` left (it takes one entry a record)."""
    base = _Base(base_us)
    for position in range(len(entries), len(records)):
        try:
            entry = _resolve_any(records[position], base, now_us)
        except _Bad as bad:
            entries.append(Refusal(bad.reason, bad.detail, records[position]))
            if bad.poisons:
                entries += map(Refusal, repeat(bad.reason), repeat("after " + bad.detail), records[position + 1 :])
                return
            continue
        if entry is not None:
            entries.append(entry)


def _resolve_any(record: Any, base: _Base, now_us: int | None) -> Reading | None:
    """The reading of any record; None for base fields alone; ``_Bad``."""
    if type(record) is not dict:
        raise _Bad(Reason.BAD_SENML, "a record is not a map")
    _take_base(record, base)
    for label in record:
        _check_label(label)
    if record and all(type(label) is not str and label < 0 for label in record):
        return None
    sensor = _sensor_of(record, base)
    value = _value_of(record, base)
    return Reading(sensor, _time_of(record, base, now_us), value, _unit_of(record, base))


def _check_label(label: Any) -> None:
    if type(label) is str:
        if label.endswith("_"):
            raise _Bad(Reason.BAD_SENML, f"label {label[:32]!r} must be understood and is not")
    elif not isinstance(label, int | float):
        raise _Bad(Reason.BAD_SENML, "a label is neither number nor text")


def _take_base(record: dict[Any, Any], base: _Base) -> None:
    version = record.get(_BASE_VERSION, VERSION)
    if type(version) is not int or not 0 < version <= VERSION:
        raise _Bad(Reason.BAD_SENML, f"bver is not a version up to {VERSION}", poisons=True)
    try:
        if _BASE_NAME in record:
            base.name = _text(record[_BASE_NAME], Reason.BAD_SENSOR, "bn")
        if _BASE_TIME in record:
            base.t_us = _microseconds(record[_BASE_TIME], "bt")
        if _BASE_UNIT in record:
            base.unit = _text(record[_BASE_UNIT], Reason.BAD_UNIT, "bu")
        if _BASE_VALUE in record:
            base.value = _number(record[_BASE_VALUE], "bv")
    except _Bad as bad:
        raise _Bad(bad.reason, bad.detail, poisons=True) from None


def _text(item: Any, reason: Reason, label: str) -> str:
    if type(item) is not str:
        raise _Bad(reason, f"{label} is not text")
    return item


def _number(item: Any, label: str) -> float | int:
    """A number as float or int; decimal fractions become the nearest float."""
    if type(item) is Decimal:
        item = float(item)
    if type(item) is float:
        if not isfinite(item):
            raise _Bad(Reason.NOT_FINITE, f"{label} is not finite")
        return item
    if type(item) is not int:
        raise _Bad(Reason.BAD_VALUE, f"{label} is not a number")
    return item


def _microseconds(item: Any, label: str) -> int:
    try:
        number = _number(item, label)
    except _Bad as bad:
        raise _Bad(Reason.BAD_TIME, bad.detail) from None
    if abs(number) > 1e12:
        raise _Bad(Reason.BAD_TIME, f"{label} is not a time in seconds")
    return number * 1_000_000 if type(number) is int else round(number * 1e6)


def _sensor_of(record: dict[Any, Any], base: _Base) -> str:
    name = base.name + _text(record.get(_NAME, ""), Reason.BAD_SENSOR, "n")
    if not is_sensor(name):
        raise _Bad(Reason.BAD_SENSOR, "bn and n make no sensor name")
    return name


def _unit_of(record: dict[Any, Any], base: _Base) -> str | None:
    unit = record.get(_UNIT, base.unit)
    if unit is None or unit == "":
        return None
    if not is_unit(_text(unit, Reason.BAD_UNIT, "u")):
        raise _Bad(Reason.BAD_UNIT, "u is no unit")
    return str(unit)


def _time_of(record: dict[Any, Any], base: _Base, now_us: int | None) -> int:
    t_us = base.t_us + (_microseconds(record[_TIME], "t") if _TIME in record else 0)
    if t_us >= RELATIVE_BELOW_US:
        return t_us
    if now_us is None:
        raise _Bad(Reason.BAD_TIME, "a numbered reading carries its own time, not one relative to now")
    return now_us + t_us


def _value_of(record: dict[Any, Any], base: _Base) -> Any:
    """4.5.4: base value and value are added, and where one of them is missing it counts as zero."""
    present = [label for label in (_VALUE, _STRING, _BOOL, _DATA, OBJECT_LABEL) if label in record]
    if not present and base.value is not None:
        return _checked(base.value)
    if len(present) != 1:
        raise _Bad(Reason.BAD_SENML, "more than one value" if present else "no value")
    label = present[0]
    value = record[label]
    if label == _VALUE:
        value = _sum(_number(value, "v"), base.value or 0)
    elif label == _DATA or type(value) is not _TYPES[label]:
        name = label if label == OBJECT_LABEL else _TEXT_LABELS[label]  # type: ignore[index]
        raise _Bad(Reason.BAD_VALUE, "binary values are not stored" if label == _DATA else f"{name} has the wrong type")
    return _checked(value)


def _checked(value: Any) -> Any:
    reason = refuse_value(value)
    if reason is not None:
        raise _Bad(reason, "the value breaks a rule")
    return value


def _sum(value: float | int, base_value: float | int) -> float | int:
    try:
        return value + base_value if base_value else value
    except OverflowError:
        raise _Bad(Reason.OUT_OF_RANGE, "bv and v make no number") from None


# --- the two forms ---------------------------------------------------------------------------------------------------------


def _refuse_tag(*_: Any) -> Any:
    raise ValueError("a tag other than those of numbers")


_REFUSED_TAGS = dict.fromkeys((0, 1, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000), _refuse_tag)
"""What cbor2 would make of tags itself, but for big numbers and fractions (2 to 5) and the mark of CBOR (55799)."""


def decode_cbor(data: bytes, now_us: int | None) -> list[Entry]:
    """The entries of a CBOR pack; ``PeerError`` (``bad_senml``) when ``data`` is no array, or has bytes after it."""
    return resolve(_array(decode_item(data)), now_us)


def decode_item(data: bytes) -> Any:
    """The one CBOR item that ``data`` is; ``PeerError`` (``bad_senml``).

    Tags other than those of numbers are refused: a kilobyte of shared values (28, 29) unfolds to gigabytes, and a regular
    expression (35) takes a second.
    """
    stream = io.BytesIO(data)
    try:
        item = cbor2.load(stream, semantic_decoders=_REFUSED_TAGS, tag_hook=_refuse_tag)
    except Exception as error:  # cbor2 raises many kinds; each means the same here
        raise PeerError(Reason.BAD_SENML, f"no CBOR: {error}") from error
    if stream.tell() != len(data):
        raise PeerError(Reason.BAD_SENML, "bytes after the pack")
    return item


def with_texts(record: Any) -> Any:
    """A record with the text labels of JSON in place of CBOR's integers, for people; what is no record is left as it is."""
    if type(record) is not dict:
        return record
    return {_TEXT_LABELS.get(label, label) if type(label) is int else label: item for label, item in record.items()}


def decode_json(data: bytes, now_us: int | None) -> list[Entry]:
    """The entries of a JSON pack; ``PeerError`` (``bad_senml``) when ``data`` is no array."""
    return resolve([_with_numbers(record) for record in _array(parse_json(data, Reason.BAD_SENML))], now_us)


def _array(pack: Any) -> list[Any]:
    if type(pack) is not list:
        raise PeerError(Reason.BAD_SENML, "a pack is an array of records")
    return pack


def _with_numbers(record: Any) -> Any:
    if type(record) is not dict:
        return record
    return {_JSON_LABELS.get(label, label): item for label, item in record.items()}


def parse_json(data: bytes, reason: str) -> Any:
    """The JSON in ``data``; ``PeerError`` when it is none.

    What only lax parsers take (NaN, infinities, lone surrogates) is let through, so that one bad reading is refused by its
    name instead of the whole request.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PeerError(reason, f"no JSON: {error}") from error


# --- the other way -----------------------------------------------------------------------------------------------------------


def to_records(readings: Sequence[Reading]) -> list[dict[Any, Any]]:
    """The records of ``readings`` with CBOR's integer labels: base time in the first, differences in the others.

    They resolve to the same readings, microsecond for microsecond. ``LocalError``: a time before 2^28 s, which SenML cannot say.
    """
    records: list[dict[Any, Any]] = []
    base_us = 0
    for sensor, t_us, value, unit in readings:
        record: dict[Any, Any] = {_NAME: sensor}
        if not records:
            base_us = t_us
            record[_BASE_TIME] = _seconds(t_us)
        elif t_us != base_us:
            record[_TIME] = _seconds(t_us - base_us)
        if t_us < RELATIVE_BELOW_US:
            raise LocalError("SenML takes a time before 1978-07-04 (2^28 s) as relative to now")
        record[_label_of(value)] = value
        if unit is not None:
            record[_UNIT] = unit
        records.append(record)
    return records


def _seconds(t_us: int) -> int | float:
    whole, rest = divmod(t_us, 1_000_000)
    return t_us / 1e6 if rest else whole


def _label_of(value: Any) -> int | str:
    kind = type(value)
    if kind is bool:
        return _BOOL
    if kind is str:
        return _STRING
    return OBJECT_LABEL if kind is dict else _VALUE


def encode_cbor(readings: Sequence[Reading]) -> bytes:
    """A CBOR pack (media type ``application/senml+cbor``)."""
    return cbor2.dumps(to_records(readings))


def encode_json(readings: Sequence[Reading]) -> bytes:
    """A JSON pack (media type ``application/senml+json``)."""
    records = [{_TEXT_LABELS.get(label, label): item for label, item in record.items()} for record in to_records(readings)]
    return msgspec.json.encode(records)
