"""What a switch tells of itself in RESULT: bounded, so that it fits whatever happened (docs/protocol.md, section 8). Pure."""

from __future__ import annotations

from typing import Any

from simway_protocol.sim.bearer import Registration

APDUS_KEPT = 80
"""The first half and the newest half stay; ``apdus_left_out`` counts those between."""
TRIES_KEPT = 16
REGISTRATIONS_KEPT = 16
WAYS_BACK_KEPT = 8


class SwitchEvidence:
    """Writes into ``told``, the evidence of the open switch, which the journal keeps. Times in microseconds, told in ms."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told

    def add_apdus(self, exchanges: list[dict[str, Any]]) -> None:
        """``{"name", "sw", "ms"}`` of each APDU, in order."""
        apdus = self.told.setdefault("apdus", [])
        apdus.extend(exchanges)
        over = len(apdus) - APDUS_KEPT
        if over > 0:
            del apdus[APDUS_KEPT // 2 : APDUS_KEPT // 2 + over]
            self.told["apdus_left_out"] = self.told.get("apdus_left_out", 0) + over

    def add_try(self, by: str, refresh: bool, result: str) -> None:
        """One EnableProfile: named by ``iccid`` or ``aid``, and what the card answered."""
        tries = self.told.setdefault("tries", [])
        tries.append({"by": by, "refresh": refresh, "result": result})
        del tries[:-TRIES_KEPT]

    def add_way_back(self, iccid: str, cause: str) -> None:
        """A way back that the card showed, and over which the device was not attached."""
        ways = self.told.setdefault("ways_back", [])
        ways.append({"iccid": iccid, "cause": cause})
        del ways[:-WAYS_BACK_KEPT]

    def took(self, step: str, begin_us: int, end_us: int) -> None:
        """How long a step took; of one that comes again, the last time."""
        self.told.setdefault("timings_ms", {})[step] = round(max(0, end_us - begin_us) / 1000, 1)

    def timed(self, step: str) -> bool:
        """Whether that step was timed already."""
        return step in self.told.get("timings_ms", {})

    def saw(self, registration: Registration, since_us: int, now_us: int) -> None:
        """The radio as it is now: ``registration``; and how it came to that: ``registrations``, one entry a change."""
        now = registration.evidence()
        self.told["registration"] = now
        if registration.proof:
            self.told["proof"] = registration.proof
        changes = self.told.setdefault("registrations", [])
        change: dict[str, Any] = {name: now[name] for name in ("state", "data", "plmn", "cause") if name in now}
        if not changes or {name: value for name, value in changes[-1].items() if name != "ms"} != change:
            changes.append({"ms": round(max(0, now_us - since_us) / 1000), **change})
            del changes[1 : max(1, len(changes) - REGISTRATIONS_KEPT + 1)]
