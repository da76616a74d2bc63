"""What the tests need beside locked Python packages: Debian packages, installed where it may (root) and named where it may not,
and pyscard, which has to be compiled against one of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local import ROOT


def _postgres() -> bool:
    return bool(shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb")))


def _has(program: str) -> Callable[[], bool]:
    return lambda: bool(shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin"))


def _vpcd() -> bool:
    return any(Path("/usr/lib").glob("**/pcsc/drivers/serial/libifdvpcd.so"))


def _python_headers() -> bool:
    return Path(sysconfig.get_path("include"), "Python.h").exists()


@dataclass(frozen=True, slots=True)
class Need:
    """A program, what has it, and the Debian packages that bring it (the first that apt knows is taken)."""

    what: str
    present: Callable[[], bool]
    packages: tuple[str, ...]


NEEDS = (
    Need("Java, for a Kafka broker", lambda: bool(shutil.which("java")), ("openjdk-17-jre-headless", "default-jre-headless")),
    Need(
        "A JDK, for the Java Card applet",
        lambda: bool(shutil.which("javac")),
        ("openjdk-17-jdk-headless", "default-jdk-headless"),
    ),
    Need("Maven, which fetches Kafka and builds the applet", lambda: bool(shutil.which("mvn")), ("maven",)),
    Need("PostgreSQL", _postgres, ("postgresql",)),
    Need("pcscd, for cards in readers", _has("pcscd"), ("pcscd",)),
    Need("vpcd, virtual readers", _vpcd, ("vsmartcard-vpcd",)),
    Need("swig, for pyscard", _has("swig"), ("swig",)),
    Need("libpcsclite's headers, for pyscard", Path("/usr/include/PCSC/winscard.h").exists, ("libpcsclite-dev",)),
    Need("a C compiler, for pyscard", lambda: _has("gcc")() or _has("cc")(), ("gcc",)),
    Need("Python's headers, for pyscard", _python_headers, ("python3-dev",)),
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


def _pyscard() -> list[str]:
    """Compiles pyscard where it is missing; the line to type where that did not work."""
    done = subprocess.run([str(ROOT / "tools" / "bootstrap"), "card"], cwd=ROOT, check=False)
    return ["pyscard: tools/bootstrap card"] if done.returncode else []


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
    absent = [f"{need.what}: sudo apt-get install {need.packages[0]}" for need in NEEDS if not need.present()]
    return absent + _pyscard()
