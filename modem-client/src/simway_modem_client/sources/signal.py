"""Readings of the radio, beside whatever else is measured: ``signal/rsrp`` and others, when the bearer has a radio."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from simway_protocol.sim.bearer import Registration

from simway_modem_client.entries import Entry, make_entry
from simway_modem_client.outbox import Outbox
from simway_modem_client.sources import SourceReport, tell_dropped

LOOK_S = 1.0
"""A change of state, network or technology is told within this time, whatever the interval."""


class SignalSource:
    """Measures every ``interval_s``, and when the modem's state changes. ``registration``: the bearer's."""

    ends = False

    def __init__(self, registration: Callable[[], Registration], interval_s: float) -> None:
        self._registration = registration
        self._interval_s = interval_s

    def run(self, outbox: Outbox, stopping: threading.Event) -> SourceReport:
        """Until ``stopping``. The first round is after one interval, or at the first change."""
        report = SourceReport()
        told = _state_of(self._registration())
        due_s = time.monotonic() + self._interval_s
        while not stopping.wait(min(LOOK_S, max(0.0, due_s - time.monotonic()))):
            found = self._registration()
            if _state_of(found) == told and time.monotonic() < due_s:
                continue
            told, due_s = _state_of(found), time.monotonic() + self._interval_s
            entries = readings_of(found, time.time_ns() // 1000)
            tell_dropped(outbox.put(entries))
            report.entered += len(entries)
        return report


def readings_of(registration: Registration, t_us: int) -> list[Entry]:
    """What a look at the radio gives; what it does not know is left out. Units as registered for SenML (RFC 8798)."""
    measured = (
        ("signal/registered", registration.registered, None),
        ("signal/rsrp", registration.rsrp_dbm, "dBm"),
        ("signal/rsrq", registration.rsrq_db, "dB"),
        ("signal/rssi", registration.rssi_dbm, "dBm"),
        ("signal/rat", registration.rat or None, None),
        ("signal/plmn", registration.plmn or None, None),
    )
    return [make_entry(sensor, value, unit, t_us) for sensor, value, unit in measured if value is not None]


def _state_of(registration: Registration) -> tuple[str, bool, str, str]:
    return registration.state, registration.data, registration.plmn, registration.rat
