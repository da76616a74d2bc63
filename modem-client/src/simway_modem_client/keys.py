"""Where the device key K lives, and what its holder does: answers the challenge, verifies commands (design, section 4)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from simway_protocol.commands import verify_command
from simway_protocol.identity import KEY_BYTES
from simway_protocol.udp.keys import CardResponse, card_response

from simway_modem_client.card import SimCard


class KeyUnusable(Exception):
    """The device has no usable key. The text says what to do and holds no key."""


class KeyProvider(Protocol):
    """The holder of K. Calls may block on a card and raise ``CardError``."""

    key_version: int
    survives_switch: bool
    """Whether K can still be reached when another profile is enabled."""

    def authenticate(self, challenge: bytes) -> CardResponse:
        """Response and session key for a 32-byte challenge."""

    def verify(self, body: bytes, mac: bytes) -> bool:
        """True when the MAC of a command's canonical body is right."""


class FileKey:
    """K in a file of 64 hexadecimal digits that nobody but its owner can read."""

    survives_switch = True

    def __init__(self, path: Path, key_version: int) -> None:
        self._key = read_key_file(path)
        self.key_version = key_version

    def authenticate(self, challenge: bytes) -> CardResponse:
        """As ``KeyProvider.authenticate``."""
        return card_response(self._key, challenge)

    def verify(self, body: bytes, mac: bytes) -> bool:
        """As ``KeyProvider.verify``."""
        return verify_command(self._key, body, mac)


class CardKey:
    """K in the Simway applet; it never leaves the card. ``survives_switch``: whether the applet lives at card level."""

    def __init__(self, sim: SimCard, key_version: int, *, survives_switch: bool) -> None:
        self._sim = sim
        self.key_version = key_version
        self.survives_switch = survives_switch

    def authenticate(self, challenge: bytes) -> CardResponse:
        """As ``KeyProvider.authenticate``."""
        return self._sim.use().applet_authenticate(challenge)

    def verify(self, body: bytes, mac: bytes) -> bool:
        """As ``KeyProvider.verify``."""
        return self._sim.use().applet_verify(body, mac)


def personalise(sim: SimCard, path: Path, key_version: int, transport_code: bytes = b"") -> bool:
    """Gives a blank card the key in ``path``; False when it has one already. Raises ``KeyUnusable`` and ``CardError``.

    ``transport_code``: for a card that was installed with one.
    """
    status = sim.use().applet_status()
    if status is None:
        raise KeyUnusable("the card has no Simway applet to personalise: use a key file (KEY_PROVIDER=file, DEVICE_KEY_FILE)")
    if status.personalised:
        return False
    sim.use().applet_personalise(read_key_file(path), key_version, transport_code)
    return True


def read_key_file(path: Path) -> bytes:
    """K from a file of 64 hexadecimal digits, mode 0600 or stricter. Raises ``KeyUnusable``."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4 * KEY_BYTES)
    except OSError as error:
        raise KeyUnusable(
            f"cannot read the device key {path} (DEVICE_KEY_FILE): {error.strerror}; "
            "enrol the device and put the key that the platform shows once into that file"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyUnusable(f"the device key {path} can be read by others (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}")
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyUnusable(f"the device key {path} is not {2 * KEY_BYTES} hexadecimal digits")
    return key
