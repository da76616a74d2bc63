"""What PC/SC's return codes mean to a person, and what to do about each."""

from __future__ import annotations

from pathlib import Path

INVALID_HANDLE = 0x80100003
UNKNOWN_READER = 0x80100009
SHARING_VIOLATION = 0x8010000B
NO_SMARTCARD = 0x8010000C
PROTO_MISMATCH = 0x8010000F
READER_UNAVAILABLE = 0x80100017
NO_SERVICE = 0x8010001D
SERVICE_STOPPED = 0x8010001E
NO_READERS = 0x8010002E
UNRESPONSIVE_CARD = 0x80100066
UNPOWERED_CARD = 0x80100067
RESET_CARD = 0x80100068
REMOVED_CARD = 0x80100069

START_LINE = "sudo systemctl start pcscd (without systemd: sudo mkdir -p /run/pcscd && sudo pcscd)"
INSTALL_LINE = (
    "sudo apt install pcscd libpcsclite-dev swig gcc python3-dev && tools/bootstrap card "
    "(outside of a checkout: pip install 'simway-modem-client[pcsc]')"
)
NOT_INSTALLED = f"CARD=pcsc needs pyscard, which is not installed; install it: {INSTALL_LINE}"

_LIBRARY = "libpcsclite"

_WORDS = {
    NO_SMARTCARD: "there is no card in {reader}; put one in",
    REMOVED_CARD: "the card was pulled out of {reader}; put it back",
    UNRESPONSIVE_CARD: "the card in {reader} does not answer; turn it round, clean its contacts, or try another reader",
    UNPOWERED_CARD: "the card in {reader} has no power; pull it and put it back",
    PROTO_MISMATCH: "the card in {reader} speaks neither T=0 nor T=1, so it is no SIM",
    RESET_CARD: "another program reset the card in {reader} in between; try again",
    READER_UNAVAILABLE: "the reader {reader} was unplugged; plug it in again",
    UNKNOWN_READER: "the reader {reader} was unplugged; plug it in again",
    INVALID_HANDLE: "the PC/SC service was started anew, or the reader {reader} was unplugged; try again",
}


def number(code: int) -> int:
    """pyscard gives codes as signed 32-bit integers; the tables say them unsigned."""
    return code & 0xFFFFFFFF


def words(code: int, reader: str, told: str = "") -> str:
    """Why this reader's card cannot be had, and what to do. ``told``: PC/SC's own text, for a code that is not known here."""
    code = number(code)
    if code in (NO_SERVICE, SERVICE_STOPPED):
        return service_words(code, told)
    if code == SHARING_VIOLATION:
        return held_words(reader)
    known = _WORDS.get(code)
    return known.format(reader=reader) if known else f"the card in {reader} cannot be had: {told or 'PC/SC error'} ({code:08X})"


def service_words(code: int, told: str = "") -> str:
    """Why the PC/SC service cannot be had."""
    code = number(code)
    if code in (NO_SERVICE, SERVICE_STOPPED):
        return f"the PC/SC service (pcscd) is not running; start it: {START_LINE}"
    return f"the PC/SC service does not answer ({told or 'PC/SC error'}, {code:08X}); start it again: {START_LINE}"


def held_words(reader: str) -> str:
    """Somebody else has the card for himself: who that may be."""
    others = "; ".join(users_of_pcsc()) or "none that this user may see"
    return (
        f"another program has the card in {reader} for itself; let it finish, or end it. "
        f"Programs that use PC/SC now: {others}"
    )  # fmt: skip


def users_of_pcsc(proc: Path = Path("/proc"), but: int | None = None) -> list[str]:
    """``name (process 123)`` of each program that has PC/SC's library loaded and that this user may look into.

    ``but``: a process to leave out; None leaves out the one that asks.
    """
    own = str(but) if but is not None else (proc / "self").resolve().name
    found = []
    for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        if folder.name == own:
            continue
        try:
            if _LIBRARY in (folder / "maps").read_text(errors="replace"):
                found.append(f"{(folder / 'comm').read_text().strip()} (process {folder.name})")
        except OSError:
            continue
    return found
