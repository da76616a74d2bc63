"""The part of the store port that shows who records what, by which right. The rules are those of ``port``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from simway_flask_app.rights import Refusal, Right


@dataclass(frozen=True, slots=True)
class WriterState:
    """A recorder and what it may write. ``live``: it was seen within the term of a right. ``now_us``: when this was true."""

    writer: str
    public_key: str
    host: str
    pid: int
    started_us: int
    seen_us: int
    live: bool
    now_us: int
    rights: tuple[Right, ...]


class Fencing(Protocol):
    """What is asked about writers."""

    def writers(self) -> list[WriterState]:
        """The recorders that are remembered, the oldest first, each with the rights in its name."""

    def verify_right(self, right: Right, *, partition: int | None, writer: str | None) -> Refusal | None:
        """Why a right does not hold, for ``partition`` and ``writer`` where they are named; None when it does."""
