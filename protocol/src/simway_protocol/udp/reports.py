"""What the device says about commands until the server has it in its log: RESULT and CLOSED. It outlives sessions."""

from __future__ import annotations

from typing import Any

from simway_protocol.udp.bodies import Result, encode_result_part, split_result
from simway_protocol.udp.frames import Type, encode_body
from simway_protocol.udp.timing import RttEstimator, backoff_us


class Report:
    """One RESULT or CLOSED. ``mark`` is what the server settles by: the digest, or the outcome."""

    __slots__ = ("attempts", "command_id", "due_us", "mark", "plains", "type")

    def __init__(self, type_: Type, command_id: bytes, mark: bytes | str, plains: list[bytes], now_us: int) -> None:
        self.type = type_
        self.command_id = command_id
        self.mark = mark
        self.plains = plains
        self.attempts = 0
        self.due_us = now_us


class Reports:
    """The reports not settled, by (type, command id). A newer one replaces an older one of the same command."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[tuple[Type, bytes], Report] = {}

    def add_result(self, command_id: bytes, outcome: str, reason: str, evidence: dict[str, Any], now_us: int) -> None:
        """``LocalError`` when the evidence cannot be sent."""
        parts = split_result(command_id, Result(outcome, reason, evidence))
        plains = [encode_body(encode_result_part(part)) for part in parts]
        self._add(Report(Type.RESULT, command_id, parts[0].digest, plains, now_us))

    def add_closed(self, command_id: bytes, outcome: str, now_us: int) -> None:
        """The journal of a command is closed."""
        self._add(Report(Type.CLOSED, command_id, outcome, [encode_body({1: command_id, 2: outcome})], now_us))

    def _add(self, report: Report) -> None:
        old = self._open.get((report.type, report.command_id))
        if old is None or old.mark != report.mark:
            self._open[report.type, report.command_id] = report
        else:
            old.due_us = min(old.due_us, report.due_us)

    def settle(self, type_: Type, command_id: bytes, mark: bytes | str) -> bool:
        """True when exactly this report was open; it is not any more."""
        report = self._open.get((type_, command_id))
        if report is None or report.mark != mark:
            return False
        del self._open[type_, command_id]
        return True

    def wake(self, now_us: int, command_id: bytes | None = None) -> None:
        """Makes the reports (of a command) due now: a new session, or the server asked again."""
        for report in self._open.values():
            if command_id in (None, report.command_id):
                report.due_us = min(report.due_us, now_us)
                report.attempts = 0 if command_id is None else report.attempts

    def due(self, now_us: int) -> list[Report]:
        """The reports to send now."""
        return [report for report in self._open.values() if report.due_us <= now_us]

    @staticmethod
    def sent(report: Report, rtt: RttEstimator, now_us: int) -> None:
        """All parts of ``report`` go out now."""
        report.attempts += 1
        report.due_us = now_us + backoff_us(rtt.rto_us, report.attempts)

    @property
    def next_us(self) -> int | None:
        """When the next is due."""
        return min((report.due_us for report in self._open.values()), default=None)
