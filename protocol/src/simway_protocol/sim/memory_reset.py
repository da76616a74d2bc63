"""eUICCMemoryReset (GSMA SGP.22, 5.7.19), one of the functions of ES10c."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar

from simway_protocol.sim import tlv
from simway_protocol.sim.es10c import ResultCode

TAG_MEMORY_RESET = 0xBF34
_TAG_OPTIONS = 0x82


class MemoryResetResult(ResultCode):
    """SGP.22, 5.7.19."""

    OK = 0
    NOTHING_TO_DELETE = 1
    CAT_BUSY = 5
    UNDEFINED = 127


class MemoryResetOptions(IntFlag):
    """What a memory reset takes away; the bits of the named bit list, its first bit being the highest of a byte."""

    OPERATIONAL_PROFILES = 0x80
    TEST_PROFILES = 0x40
    DEFAULT_SMDP_ADDRESS = 0x20


@dataclass(frozen=True, slots=True)
class MemoryReset:
    """SGP.22, 5.7.19: takes profiles away for good, the enabled one too, whatever their policy says."""

    TAG: ClassVar[int] = TAG_MEMORY_RESET
    options: MemoryResetOptions

    def encode(self) -> bytes:
        """``BF34{82 options}``."""
        return tlv.encode(self.TAG, tlv.encode(_TAG_OPTIONS, tlv.encode_bits(self.options)))

    @classmethod
    def decode(cls, value: bytes) -> MemoryReset:
        """From the value of BF34; bits that no release here knows are passed over."""
        bits = tlv.decode_bits(tlv.need(tlv.decode_map(value), _TAG_OPTIONS))
        return cls(MemoryResetOptions(bits & 0xE0))
