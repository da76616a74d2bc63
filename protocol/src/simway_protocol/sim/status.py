"""Status words (ISO/IEC 7816-4, 5.6; ETSI TS 102 221, 10.2) and their names."""

from __future__ import annotations

OK = 0x9000
NO_INFORMATION = 0x6200
WRONG_LENGTH = 0x6700
CHANNEL_NOT_SUPPORTED = 0x6881
SECURE_MESSAGING_NOT_SUPPORTED = 0x6882
SECURITY_STATUS_NOT_SATISFIED = 0x6982
AUTHENTICATION_BLOCKED = 0x6983
CONDITIONS_NOT_SATISFIED = 0x6985
COMMAND_NOT_ALLOWED = 0x6986
WRONG_DATA = 0x6A80
FUNCTION_NOT_SUPPORTED = 0x6A81
FILE_NOT_FOUND = 0x6A82
RECORD_NOT_FOUND = 0x6A83
NOT_ENOUGH_MEMORY = 0x6A84
WRONG_P1_P2 = 0x6A86
LC_INCONSISTENT = 0x6A87
DATA_NOT_FOUND = 0x6A88
WRONG_OFFSET = 0x6B00
WRONG_INSTRUCTION = 0x6D00
WRONG_CLASS = 0x6E00
TECHNICAL_PROBLEM = 0x6F00
TOOLKIT_BUSY = 0x9300

_NAMES = {
    OK: "ok",
    NO_INFORMATION: "warning, state unchanged",
    0x6281: "part of the data may be corrupted",
    0x6282: "end of file before Le bytes",
    0x6283: "selected file deactivated",
    0x6285: "selected file in termination state",
    0x6300: "warning, state changed",
    0x6381: "file filled up",
    0x6400: "error, state unchanged",
    0x6500: "error, state changed",
    0x6581: "memory problem",
    WRONG_LENGTH: "wrong length",
    0x6800: "class function not supported",
    CHANNEL_NOT_SUPPORTED: "logical channel not supported",
    SECURE_MESSAGING_NOT_SUPPORTED: "secure messaging not supported",
    0x6883: "last command of the chain expected",
    0x6884: "command chaining not supported",
    0x6900: "command not allowed",
    0x6981: "command incompatible with the file structure",
    SECURITY_STATUS_NOT_SATISFIED: "security status not satisfied",
    AUTHENTICATION_BLOCKED: "authentication or PIN method blocked",
    0x6984: "referenced data invalidated",
    CONDITIONS_NOT_SATISFIED: "conditions of use not satisfied",
    COMMAND_NOT_ALLOWED: "command not allowed, no EF selected",
    0x6999: "applet selection failed",
    WRONG_DATA: "wrong parameters in the data field",
    FUNCTION_NOT_SUPPORTED: "function not supported",
    FILE_NOT_FOUND: "file or application not found",
    RECORD_NOT_FOUND: "record not found",
    NOT_ENOUGH_MEMORY: "not enough memory",
    WRONG_P1_P2: "wrong P1 or P2",
    LC_INCONSISTENT: "Lc inconsistent with P1 and P2",
    DATA_NOT_FOUND: "referenced data not found",
    WRONG_OFFSET: "wrong parameters, offset outside the file",
    WRONG_INSTRUCTION: "instruction not supported",
    WRONG_CLASS: "class not supported",
    TECHNICAL_PROBLEM: "technical problem, no diagnosis",
    TOOLKIT_BUSY: "SIM toolkit is busy",
    0x9804: "access condition not fulfilled",
    0x9862: "authentication error, application specific",
}
_FAMILIES = {
    0x61: "{0} more bytes to get",
    0x62: "warning, state unchanged",
    0x63: "warning, state changed",
    0x64: "error, state unchanged",
    0x65: "error, state changed",
    0x66: "security error",
    0x67: "wrong length",
    0x68: "class function not supported",
    0x69: "command not allowed",
    0x6A: "wrong parameters",
    0x6C: "wrong Le, {0} bytes are there",
    0x6F: "technical problem",
    0x91: "ok, a proactive command of {0} bytes is pending",
    0x92: "ok after internal retries",
    0x9E: "data download error, {0} bytes to get",
    0x9F: "ok, {0} bytes to get",
}
_SUCCESS = frozenset({0x90, 0x91, 0x92, 0x9E, 0x9F})


def hex_of(sw: int) -> str:
    """The four hex digits that people know a status word by."""
    return f"{sw:04X}"


def name_of(sw: int) -> str:
    """A status word in words; ``unknown status`` for one that no standard here names."""
    if sw in _NAMES:
        return _NAMES[sw]
    if sw & 0xFFF0 == 0x63C0:
        return f"verification failed, {sw & 0x0F} tries left"
    return _FAMILIES.get(sw >> 8, "unknown status").format(count_of(sw))


def count_of(sw: int) -> int:
    """The number of bytes in SW2 of 61xx, 6Cxx and 91xx: 00 means 256."""
    return (sw & 0xFF) or 256


def is_success(sw: int) -> bool:
    """True for 9000 and its kin; 91xx says besides that a proactive command waits (TS 102 221, 10.2.1.1)."""
    return sw >> 8 in _SUCCESS


def has_more(sw: int) -> bool:
    """61xx: the answer waits for GET RESPONSE."""
    return sw >> 8 == 0x61


def wants_length(sw: int) -> bool:
    """6Cxx: the same command again with Le = SW2."""
    return sw >> 8 == 0x6C


def is_proactive(sw: int) -> bool:
    """91xx: FETCH is due, with Le = SW2."""
    return sw >> 8 == 0x91
