"""The SIM file: what a simulated card holds and what goes wrong with it, in TOML (``docs/virtual-sim.md``).

Profiles are taken when a card is made; faults each time it is opened.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

import msgspec
from simway_protocol.messages import KEEP_ENABLED, KEEP_INSTALLED
from simway_protocol.sim import numbering
from simway_protocol.sim.card import CardError

from simway_virtual_sim import reporter
from simway_virtual_sim.factory import isd_p_aid, new_card, random_eid
from simway_virtual_sim.faults import NO_FAULTS, Faults
from simway_virtual_sim.state import CardState, Profile

_AID = re.compile(r"(?:[0-9A-Fa-f]{2}){5,16}")
_FIELD_OF = re.compile(r"contains unknown field `(?P<field>[^`]*)`")
_KEY_OF = re.compile(r" - at `\$\.?(?P<key>[^`]*)`$")


class _Profile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    iccid: str
    imsi: str
    provider: str
    name: str = ""
    nickname: str = ""
    profile_class: Literal["test", "provisioning", "operational"] = msgspec.field(default="operational", name="class")
    policy: tuple[Literal["disable_not_allowed", "delete_not_allowed"], ...] = ()
    fallback: bool = False
    enabled: bool = False
    aid: str = ""
    smdp: str = "smdp.simway.invalid"


class _Document(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    eid: str = ""
    smdp: str = ""
    smds: str = "lpa.ds.simway.invalid"
    report_interval_s: int = reporter.INTERVAL_S
    profiles: tuple[_Profile, ...] = ()
    faults: Faults = NO_FAULTS


class _Wrong(Exception):
    """A value that cannot be: the key's path, and why."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


class SimFile(NamedTuple):
    """A SIM file that was read."""

    document: _Document
    faults: Faults

    def card(self, random: Callable[[int], bytes]) -> CardState:
        """A new card as the file says; where it says nothing of profiles or EID, they are made from ``random``."""
        wanted = self.document
        if not wanted.profiles:
            made = new_card(random)
            return msgspec.structs.replace(made, eid=wanted.eid or made.eid, smdp=wanted.smdp, smds=wanted.smds)
        profiles = tuple(_profile(entry, number) for number, entry in enumerate(wanted.profiles))
        chosen = next((entry for entry in wanted.profiles if entry.enabled), wanted.profiles[0])
        return CardState(wanted.eid or random_eid(random), profiles, chosen.iccid, smdp=wanted.smdp, smds=wanted.smds)


NO_FILE = SimFile(_Document(), NO_FAULTS)


def read(path: Path) -> SimFile:
    """Reads and checks a SIM file. ``CardError`` names the file, the line, the key and what it wants. Blocks on the disk."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"the SIM file {path} cannot be read: {error}; correct SIM_FILE, or write the file") from error
    try:
        document = msgspec.convert(_toml(text), _Document)
        _check(document)
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"the SIM file {path} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        _refuse(path, text, *_key_and_reason(str(error)))
    except _Wrong as wrong:
        _refuse(path, text, wrong.key, str(wrong))
    return SimFile(document, document.faults)


def _toml(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def _refuse(path: Path, text: str, key: str, why: str) -> NoReturn:
    place = f"{path}:{_line_of(text, key)}" if key else str(path)
    raise CardError(f"{place}: {key + ': ' if key else ''}{why}; what may stand there: docs/virtual-sim.md")


def _key_and_reason(told: str) -> tuple[str, str]:
    """From msgspec's words: ``Expected `int`, got `str` - at `$.faults.slow_ms```."""
    found, field = _KEY_OF.search(told), _FIELD_OF.search(told)
    keys = [found["key"] if found else "", field["field"] if field else ""]
    return ".".join(filter(None, keys)), "there is no such key" if field else _KEY_OF.sub("", told)


def _check(document: _Document) -> None:
    if document.eid and not numbering.has_eid_check_digits(document.eid):
        right = numbering.eid_with_check_digits(document.eid[:30]) if re.fullmatch(r"[0-9]{30,32}", document.eid) else ""
        raise _Wrong("eid", "an EID has 32 digits, the last two being check digits" + (f": {right}" if right else ""))
    if document.report_interval_s and document.report_interval_s not in reporter.INTERVALS_S:
        least, most = reporter.INTERVALS_S.start, reporter.INTERVALS_S.stop - 1
        raise _Wrong("report_interval_s", f"the card reports every {least} to {most} seconds, or never (0)")
    for number, entry in enumerate(document.profiles):
        _check_profile(f"profiles[{number}]", entry, document.profiles[:number])
    for name in ("enabled", "fallback"):
        marked = [number for number, entry in enumerate(document.profiles) if getattr(entry, name)]
        if len(marked) > 1:
            raise _Wrong(f"profiles[{marked[1]}].{name}", f"one profile alone can be {name}, profiles[{marked[0]}] is already")
    for name in Faults.__struct_fields__:
        if getattr(document.faults, name) < 0:
            raise _Wrong(f"faults.{name}", "cannot be negative")


def _check_profile(key: str, entry: _Profile, before: tuple[_Profile, ...]) -> None:
    if not numbering.is_iccid(entry.iccid):
        raise _Wrong(f"{key}.iccid", f"{entry.iccid!r} is not an ICCID: {numbering.ICCID_WORDS}")
    if not re.fullmatch(r"[0-9]{6,15}", entry.imsi):
        raise _Wrong(f"{key}.imsi", f"{entry.imsi!r} is not an IMSI: 6 to 15 digits")
    if entry.aid and not _AID.fullmatch(entry.aid):
        raise _Wrong(f"{key}.aid", f"{entry.aid!r} is not an AID: 5 to 16 bytes in hexadecimal")
    for name in ("iccid", "imsi", "aid"):
        value = getattr(entry, name).upper()
        if value and value in [getattr(other, name).upper() for other in before]:
            raise _Wrong(f"{key}.{name}", f"{value} is another profile's already")


def _profile(entry: _Profile, number: int) -> Profile:
    return Profile(
        iccid=entry.iccid,
        aid=entry.aid.upper() or isd_p_aid(number),
        imsi=entry.imsi,
        provider=entry.provider,
        name=entry.name,
        nickname=entry.nickname,
        profile_class=entry.profile_class,
        address=entry.smdp,
        keep_enabled=KEEP_ENABLED in entry.policy,
        keep_installed=KEEP_INSTALLED in entry.policy,
        fallback=entry.fallback,
    )


def _line_of(text: str, key: str) -> int:
    """The line, from 1, where a key such as ``profiles[1].iccid`` stands; of its table where the key itself is missing."""
    at, lines = 0, text.splitlines()
    *tables, name = re.sub(r"\[\d+\]$", "", key).split(".")
    for table in tables:
        header, _, index = table.rstrip("]").partition("[")
        pattern = re.compile(rf"\s*\[\[?\s*{re.escape(header)}\s*\]")
        starts = [number for number, line in enumerate(lines) if pattern.match(line)]
        at = starts[int(index or 0)] if len(starts) > int(index or 0) else at
    entry = re.compile(rf'\s*\[*\s*"?{re.escape(name)}"?\s*[=\]]')
    return 1 + next((number for number, line in enumerate(lines[at:], at) if entry.match(line)), at)
