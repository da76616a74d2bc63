"""Bearer ``none``: this machine's own network. The card sits in a reader on a desk, so a switch proves the card's state only."""

from __future__ import annotations

from collections.abc import Mapping

from simway_protocol.sim.bearer import PROOF_CARD_ONLY, Connect, DatagramSocket, Registration, RegistrationState

_ALWAYS = Registration(RegistrationState.HOME, data=True)


class NoBearer:
    """No radio of its own (``simway_protocol.sim.bearer.Bearer``)."""

    name = "none"
    proof = PROOF_CARD_ONLY
    has_radio = False
    switch_floor_s = 0

    def use_identity(self, iccid: str, imsi: str) -> None:
        """As ``Bearer.use_identity``: nothing depends on it."""

    def registration(self) -> Registration:
        """As ``Bearer.registration``: always home, with data."""
        return _ALWAYS

    def open_socket(self, connect: Connect) -> DatagramSocket:
        """As ``Bearer.open_socket``."""
        return connect("")

    def close(self) -> None:
        """As ``Bearer.close``."""


def open_bearer(_settings: Mapping[str, str]) -> NoBearer:
    """The bearer; no setting concerns it."""
    return NoBearer()
