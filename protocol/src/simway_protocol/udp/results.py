"""RESULT and CLOSED at the server: parts put together, each told to the shell once, settled ones told to the device."""

from __future__ import annotations

from simway_protocol.errors import PeerError
from simway_protocol.udp.bodies import Result, ResultPart, join_result

OPEN_MAX = 4
"""Results of one session whose parts are being collected; the oldest goes."""
KNOWN_MAX = 64
"""Results and closings of one session remembered as told."""


class _Parts:
    __slots__ = ("count", "pieces")

    def __init__(self, count: int) -> None:
        self.count = count
        self.pieces: dict[int, bytes] = {}


class ResultShelf:
    """What a session said about its commands. Keys: (command id, digest) of a result, (command id, outcome) of a closing."""

    __slots__ = ("_closed", "_open", "_receipts", "_results", "_settled_closed", "_settled_results")

    def __init__(self) -> None:
        self._open: dict[tuple[bytes, bytes], _Parts] = {}
        self._results: dict[tuple[bytes, bytes], bool] = {}
        """Told to the shell; True when settled."""
        self._closed: dict[tuple[bytes, str], bool] = {}
        self._receipts: dict[tuple[bytes, int], bool] = {}
        self._settled_results: dict[tuple[bytes, bytes], None] = {}
        self._settled_closed: dict[tuple[bytes, str], None] = {}

    def add_part(self, part: ResultPart) -> Result | None:
        """The result when this part makes it whole for the first time; ``PeerError`` (bad_result), and settled by that."""
        key = part.command_id, part.digest
        if key in self._results:
            if self._results[key]:
                self._settled_results[key] = None
            return None
        parts = self._open.get(key)
        if parts is None or parts.count != part.parts:
            parts = self._open[key] = _Parts(part.parts)
            if len(self._open) > OPEN_MAX:
                del self._open[next(iter(self._open))]
        parts.pieces[part.part] = part.data
        if len(parts.pieces) < parts.count:
            return None
        del self._open[key]
        _remember(self._results, key)
        try:
            return join_result(part.digest, [parts.pieces[at] for at in range(parts.count)])
        except PeerError:
            self._results[key] = True
            self._settled_results[key] = None
            raise

    def add_receipt(self, command_id: bytes, counter: int) -> bool:
        """True the first time."""
        key = command_id, counter
        if key in self._receipts:
            return False
        _remember(self._receipts, key)
        return True

    def add_closed(self, command_id: bytes, outcome: str) -> bool:
        """True the first time."""
        key = command_id, outcome
        if key in self._closed:
            if self._closed[key]:
                self._settled_closed[key] = None
            return False
        _remember(self._closed, key)
        return True

    def settle(self, command_id: bytes, what: str) -> bool:
        """Settles the oldest result or closing of a command that was told and is not settled; False: there is none."""
        if what == "result":
            return _settle(self._results, self._settled_results, command_id)
        return _settle(self._closed, self._settled_closed, command_id)

    @property
    def has_settled(self) -> bool:
        """Whether the device is to be told something."""
        return bool(self._settled_results or self._settled_closed)

    def take_settled(self) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, str]]]:
        """What to tell the device now."""
        results, closed = list(self._settled_results), list(self._settled_closed)
        self._settled_results.clear()
        self._settled_closed.clear()
        return results, closed


def _remember(known: dict, key: tuple) -> None:  # type: ignore[type-arg]
    known[key] = False
    if len(known) > KNOWN_MAX:
        del known[next(iter(known))]


def _settle(known: dict, settled: dict, command_id: bytes) -> bool:  # type: ignore[type-arg]
    for key, done in known.items():
        if key[0] == command_id and not done:
            known[key] = True
            settled[key] = None
            return True
    return False
