"""First step of the compose stack: makes the secrets in a volume, one file per consumer, owned by that consumer's user.

Each secret is made once and copied to whoever needs it, so files of one name are equal. Runs again at every start and makes only
what is missing: a secret that one consumer has is given to the others. Runs as root, with the right to change owners and no more.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from simway_protocol.identity import derive_device_key

SECRETS = Path("/secrets")
USERS = {
    "init": 10000, "web": 10001, "udp-server": 10002, "recorder": 10003, "dispatcher": 10004, "modem": 10005,
    "postgres": 999, "grafana": 472,
}  # fmt: skip
DEMO_DEVICE = "demo"


def token() -> str:
    return secrets.token_urlsafe(32)


def key() -> str:
    return secrets.token_hex(32)


def demo_key() -> str:
    master = bytes.fromhex((SECRETS / "init" / "master.key").read_text())
    return derive_device_key(master, DEMO_DEVICE, 1).hex()


Consumers = tuple[str, ...]
PLAN: dict[str, tuple[Callable[[], str], Consumers]] = {
    "master.key": (key, ("init", "web", "udp-server", "dispatcher")),
    "session.key": (key, ("init", "web")),
    "admin.token": (token, ("init", "web")),
    "demo.key": (demo_key, ("init", "modem")),
    "store.password": (token, ("init", "web", "recorder", "dispatcher", "postgres")),
    "grafana-admin.password": (token, ("recorder", "grafana")),
    "grafana-reader.password": (token, ("init", "grafana")),
}


def write(path: Path, text: str, user: int) -> None:
    """Whole or not at all, readable by its user alone."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chown(draft, user, user)
    draft.rename(path)


def main() -> None:
    for name, user in USERS.items():
        folder = SECRETS / name
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, user, user)
    for name, (make, consumers) in PLAN.items():
        files = {consumer: SECRETS / consumer / name for consumer in consumers}
        present = next((file for file in files.values() if file.exists()), None)
        text = present.read_text() if present else make()
        for consumer, file in files.items():
            if not file.exists():
                write(file, text, USERS[consumer])
    print("secrets: each is in its consumer's folder")


if __name__ == "__main__":
    main()
