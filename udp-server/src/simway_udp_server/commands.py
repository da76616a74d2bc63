"""What is to be sent to devices, kept from ``downlink`` and ``device-events``. Pure: times are arguments.

Every worker reads all of both topics, so that whichever holds a device's session can send. A record of ``downlink`` is *over*
when ``device-events`` says so later in time: a result ends command and cancel; one that failed or rolled back, and a closing,
end the confirm too. A later record under the same id (sealed anew) is a new one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from simway_protocol.commands import Kind, ResultOutcome, decode_body
from simway_protocol.errors import PeerError
from simway_protocol.messages import CommandEvent, Downlink

EXPIRY_GRACE_US = 2_000_000
"""A command counts as never sent only this long after its expiry: a worker may have sent it in its last moment."""
SENT_KEPT_US = 3_600 * 1_000_000
"""What was sent and not answered is repeated this long beyond its expiry: a late refusal is worth more than silence."""
ENDED_MAX = 20_000
_TYPES = ("command", "cancel", "confirm")
_ENDS_CONFIRM = (ResultOutcome.ROLLED_BACK, ResultOutcome.FAILED)

Key = tuple[str, str]
"""Device and command id (hexadecimal)."""


@dataclass(slots=True)
class _Held:
    message: Downlink
    appended_us: int


class Commands:
    """The open commands, by device and id. Not thread-safe."""

    def __init__(self) -> None:
        self._held: dict[Key, dict[str, _Held]] = {}
        self._ended: OrderedDict[tuple[Key, str], int] = OrderedDict()
        self.malformed = 0
        """Records of an unknown type or with a command id that is none."""

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def take(self, message: Downlink, appended_us: int, now_us: int) -> bool:
        """Keeps a record of ``downlink``; True when it is to be sent: not expired, not over, of a known type."""
        key = message.device, message.command_id
        if message.type not in _TYPES or not _is_command_id(message.command_id):
            self.malformed += 1
            return False
        if message.expires_us <= now_us or self._ended.get((key, message.type), -1) >= appended_us:
            return False
        self._held.setdefault(key, {})[message.type] = _Held(message, appended_us)
        return True

    def note(self, event: CommandEvent, appended_us: int) -> bool:
        """Keeps what happened to a command; True when records that were open are over by it: send only ``of`` what is left."""
        key = event.device, event.command_id
        if event.event == "sent":
            self._end(key, "sent", appended_us)  # the record itself may be read later
            return False
        held = self._held.get(key, {})
        over = False
        for type_ in _ended_by(event):
            self._end(key, type_, appended_us)
            if type_ in held and held[type_].appended_us <= appended_us:
                del held[type_]
                over = True
        self._tidy(key)
        return over

    def was_sent(self, device: str, command_id: str) -> bool:
        """Whether some worker has sent what is open under a command id, as it is sealed now."""
        held = self._held.get((device, command_id), {})
        sent_us = self._ended.get(((device, command_id), "sent"), -1)
        return any(sent_us >= one.appended_us for one in held.values())

    def is_quick(self, device: str, command_id: str) -> bool:
        """Whether what is open under a command id ends in the session that it was sent in."""
        try:
            return all(decode_body(message.body).kind is not Kind.SWITCH for message in self.of(device, command_id))
        except PeerError:
            return False

    def of(self, device: str, command_id: str) -> list[Downlink]:
        """What is open under a command id."""
        return [held.message for held in self._held.get((device, command_id), {}).values()]

    def open(self) -> list[Downlink]:
        """All that is open, in order of arrival."""
        return [held.message for of_one in self._held.values() for held in of_one.values()]

    def oldest_us(self) -> int | None:
        """When the oldest open record was appended; None when nothing is open."""
        times = [held.appended_us for of_one in self._held.values() for held in of_one.values()]
        return min(times, default=None)

    def expire(self, now_us: int) -> list[tuple[Downlink, bool]]:
        """Takes out what is not to be sent any more; True beside a command that nobody has sent."""
        gone: list[tuple[Downlink, bool]] = []
        for key, of_one in list(self._held.items()):
            was_sent = self.was_sent(*key)
            kept_us = SENT_KEPT_US if was_sent else EXPIRY_GRACE_US
            for type_, held in list(of_one.items()):
                if held.message.expires_us + kept_us < now_us:
                    del of_one[type_]
                    gone.append((held.message, type_ == "command" and not was_sent))
            self._tidy(key)
        return gone

    def _end(self, key: Key, type_: str, appended_us: int) -> None:
        self._ended[key, type_] = max(appended_us, self._ended.get((key, type_), 0))
        self._ended.move_to_end((key, type_))
        if len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)

    def _tidy(self, key: Key) -> None:
        if not self._held.get(key, True):
            del self._held[key]


def _ended_by(event: CommandEvent) -> tuple[str, ...]:
    if event.event == "closed":
        return _TYPES
    if event.event == "result":
        return _TYPES if event.outcome in _ENDS_CONFIRM else ("command", "cancel")
    return ("command", "cancel") if event.event == "expired" else ()


def _is_command_id(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) == 16
    except ValueError:
        return False
