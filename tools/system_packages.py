"""Debian packages that the tests use: installed by ``make test`` where it may (root), named where it may not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def _postgres() -> bool:
    return bool(shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb")))


@dataclass(frozen=True, slots=True)
class Need:
    """A program, what has it, and the Debian packages that bring it (the first that apt knows is taken)."""

    what: str
    present: Callable[[], bool]
    packages: tuple[str, ...]


NEEDS = (
    Need("Java, for a Kafka broker", lambda: bool(shutil.which("java")), ("openjdk-17-jre-headless", "default-jre-headless")),
    Need("Maven, which fetches Kafka", lambda: bool(shutil.which("mvn")), ("maven",)),
    Need("PostgreSQL", _postgres, ("postgresql",)),
    Need("Chromium", lambda: bool(shutil.which("chromium") or shutil.which("chromium-browser")), ("chromium",)),
)
NO_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")


def _apt(*arguments: str) -> bool:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(["apt-get", "-qq", *arguments], env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0


def _known(package: str) -> bool:
    shown = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False).stdout
    return "Candidate:" in shown and "Candidate: (none)" not in shown


def _without_a_cluster_of_its_own() -> None:
    """Keeps the package from starting a server: the tests make their own."""
    if not NO_CLUSTER.exists():
        NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
        NO_CLUSTER.write_text("create_main_cluster = false\n")


def ensure() -> list[str]:
    """Installs what is missing; what is still missing then, with the line to type, is returned. Blocks, minutes at worst."""
    missing = [need for need in NEEDS if not need.present()]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"simway: installing {', '.join(need.packages[0] for need in missing)}", flush=True)
        _apt("update")
        _without_a_cluster_of_its_own()
        for need in missing:
            package = next(filter(_known, need.packages), need.packages[0])
            _apt("install", "-y", "--no-install-recommends", package)
    return [f"{need.what}: sudo apt-get install {need.packages[0]}" for need in NEEDS if not need.present()]
