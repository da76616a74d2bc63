"""The Java Card applet: ``build`` it with the card that runs it, ``test`` both, or make a ``cap`` for a real card.

All of it lies in var/javacard. Maven fetches what it needs once; from then on it works offline.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "javacard-applet"
BUILT = ROOT / "var" / "javacard"
JAR = BUILT / "runtime" / "simway-card.jar"
MARK = BUILT / "sources.sha256"
CAP = BUILT / "applet" / "simway.cap"
OLDEST_CARDS = "3.0.4"
"""What the CAP is to run on, where the SDK can make it for several versions."""
REPORTS = "*/surefire-reports/TEST-*.xml"
NO_JAVA = "Java (a JDK) and Maven: sudo apt-get install maven openjdk-17-jdk-headless"
NO_SDK = """\
make cap: a CAP file is made by the Java Card SDK, which only its maker gives out.
  1. Get the "Java Card Development Kit" from Oracle, and unpack it: the tools of 3.1 or 3.2, which work with JDK 17 and serve
     cards from 3.0.4 on (the kits 3.0.4 and 3.0.5 need JAVA_HOME=... of a JDK 8 or 11).
  2. Get ant-javacard.jar from the releases of martinpaljak/ant-javacard on GitHub.
  3. JC_HOME=/path/to/the/kit ANT_JAVACARD=/path/to/ant-javacard.jar make cap
All else works without: make applet builds and tests the applet, and make test runs it as a card in a reader.
"""


def have_java() -> bool:
    """Whether this machine can build it."""
    return shutil.which("mvn") is not None and shutil.which("javac") is not None


def build() -> int:
    """Makes ``JAR`` where it is missing or older than its sources; Maven's exit code."""
    with _locked():
        wanted = _sources()
        if JAR.exists() and MARK.exists() and MARK.read_text() == wanted:
            return 0
        return _marked(wanted, _maven("package", "-Dmaven.test.skip"))


def test() -> int:
    """Builds and tests everything; Maven's exit code. What was tested stands in ``REPORTS`` below ``BUILT``."""
    with _locked():
        for report in BUILT.glob(REPORTS):
            report.unlink()
        return _marked(_sources(), _maven("package"))


def cap(environment: Mapping[str, str]) -> int:
    """Makes ``CAP``; 2, and what to do, without an SDK."""
    kit, task = (Path(environment.get(name, "")) for name in ("JC_HOME", "ANT_JAVACARD"))
    if not environment.get("JC_HOME") or not environment.get("ANT_JAVACARD"):
        print(NO_SDK, end="", file=sys.stderr)
        return 2
    if not kit.is_dir() or not task.is_file():
        print(f"make cap: {kit if not kit.is_dir() else task} is not there\n\n{NO_SDK}", end="", file=sys.stderr)
        return 2
    with _locked():
        several = (kit / "lib" / f"api_classic-{OLDEST_CARDS}.jar").exists()
        target = OLDEST_CARDS if several else str(kit.resolve())
        values = {"jc.home": str(kit.resolve()), "jc.target": target, "ant.javacard": str(task.resolve())}
        settings = [f"-D{name}={value}" for name, value in values.items()]
        code = _maven("package", "-pl", "applet", "-Pcap", "-Dmaven.test.skip", *settings)
    if not code:
        print(f"make cap: {CAP.relative_to(ROOT)}")
    return code


def _sources() -> str:
    """A digest of all that the jar is made of."""
    return _digest(path for path in SOURCES.rglob("*") if "test" not in path.relative_to(SOURCES).parts)


def _marked(sources: str, code: int) -> int:
    if not code:
        MARK.write_text(sources)
    return code


def _locked() -> Lock:
    BUILT.mkdir(parents=True, exist_ok=True)
    return Lock(BUILT / "lock")


class Lock:
    """One build at a time, whoever wants it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _maven(*arguments: str) -> int:
    """Runs Maven; offline once all that these arguments need was fetched."""
    poms = _digest(SOURCES.rglob("pom.xml"), *(argument for argument in arguments if "=" not in argument))
    fetched = BUILT / f"fetched-{poms[:16]}"
    command = ["mvn", "-q", "-B", "-f", str(SOURCES / "pom.xml"), *(["-o"] if fetched.exists() else []), *arguments]
    code = subprocess.run(command, check=False).returncode
    if not code:
        fetched.touch()
    elif fetched.exists():
        fetched.unlink()
    return code


def _digest(paths: Iterable[Path], *words: str) -> str:
    digest = hashlib.sha256(repr(words).encode())
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def main() -> int:
    wanted = sys.argv[1:]
    if wanted not in (["build"], ["test"], ["cap"]):
        print("usage: tools/applet.py build|test|cap", file=sys.stderr)
        return 2
    if not have_java():
        print(f"make applet needs {NO_JAVA}", file=sys.stderr)
        return 2
    if wanted == ["cap"]:
        return cap(os.environ)
    return build() if wanted == ["build"] else test()


if __name__ == "__main__":
    sys.exit(main())
