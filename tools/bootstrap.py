"""Makes ``var/uv`` (a private uv at a pinned version) and ``var/venv`` (locked packages, and our own, editable).

Run by ``tools/bootstrap`` with any Python 3.11 to 3.13 and nothing but its standard library. Everything is installed by hash;
a stamp of the locks and project files makes the second run a matter of milliseconds. Needs no compiler and no root; but
``card``, which adds pyscard to what ``dev`` installs, compiles it (gcc, swig and libpcsclite-dev).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
UV_HOME = VAR / "uv"
VENV = VAR / "venv"
UV_LOCK = ROOT / "tools" / "uv.txt"
CARD_LOCK = ROOT / "requirements-card.lock"
LOCKS = {"run": ROOT / "requirements-run.lock", "dev": ROOT / "requirements.lock"}
PACKAGES = ("protocol", "backbone", "ingest", "udp-server", "flask-app", "modem-client", "virtual-sim", "cli")


def say(text: str) -> None:
    print(f"simway: {text}", flush=True)


def digest(*paths: Path) -> str:
    """A hash of the files, of this Python and of where the repository lies: what an installation depends on."""
    state = hashlib.sha256(f"{sys.version_info[:3]} {ROOT}".encode())
    for path in paths:
        state.update(path.read_bytes())
    return state.hexdigest()


def environment() -> dict[str, str]:
    """The caller's environment; caches go below ``var/`` unless it says otherwise."""
    given = dict(os.environ)
    given.setdefault("UV_CACHE_DIR", str(VAR / "cache" / "uv"))
    given.setdefault("PIP_CACHE_DIR", str(VAR / "cache" / "pip"))
    given["UV_PYTHON_DOWNLOADS"] = "never"
    return given


def run(command: list[str], env: Mapping[str, str]) -> None:
    """Runs to the end, or ends this program with what went wrong."""
    done = subprocess.run(command, env=env, cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"simway: this failed ({done.returncode}): {' '.join(command)}")


def require_venv_module() -> None:
    """Debian and Ubuntu leave ``venv`` out of their python3: say the line to type."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        package = "python{}.{}-venv".format(*sys.version_info)
        sys.exit(f"simway: {sys.executable} cannot make virtual environments. Type:\n\n    sudo apt install {package}\n")


def ensure_uv(env: Mapping[str, str]) -> Path:
    """The private uv's path."""
    program, stamp, wanted = UV_HOME / "bin" / "uv", UV_HOME / ".simway", digest(UV_LOCK)
    if program.exists() and stamp.exists() and stamp.read_text() == wanted:
        return program
    require_venv_module()
    say("installing a private uv into var/uv")
    run([sys.executable, "-m", "venv", "--clear", str(UV_HOME)], env)
    pip = [str(UV_HOME / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(UV_LOCK)], env)
    stamp.write_text(wanted)
    return program


def venv_is_ours() -> bool:
    """True when ``var/venv`` was made here and by this Python (the repository may have been moved, another Python chosen)."""
    try:
        activate, config = (VENV / "bin" / "activate").read_text(), (VENV / "pyvenv.cfg").read_text()
    except OSError:
        return False
    version = ".".join(map(str, sys.version_info[:2]))
    same_python = (VENV / "bin" / "python").resolve() == Path(sys.executable).resolve()
    return str(VENV) in activate and f"version_info = {version}." in config and same_python


def ensure_venv(mode: str, env: dict[str, str]) -> None:
    """Brings ``var/venv`` to the lock of ``mode``; what ``dev`` installs serves ``run`` too."""
    wanted = digest(*LOCKS.values(), *(ROOT / package / "pyproject.toml" for package in PACKAGES))
    stamps = {name: VENV / f".simway-{name}" for name in LOCKS}
    if venv_is_ours():
        serves = ("dev",) if mode == "dev" else ("dev", "run")
        if any(stamps[name].exists() and stamps[name].read_text() == wanted for name in serves):
            return
    uv = str(ensure_uv(env))
    if not venv_is_ours():
        run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(VENV)], env)
    say(f"installing the locked packages into var/venv ({LOCKS[mode].name})")
    env = env | {"VIRTUAL_ENV": str(VENV)}
    run([uv, "pip", "install", "-q", "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS[mode])], env)
    editable = [argument for package in PACKAGES for argument in ("-e", f"./{package}")]
    run([uv, "pip", "install", "-q", "--no-deps", *editable], env)
    stamps[mode].write_text(wanted)


def ensure_card(env: dict[str, str]) -> None:
    """Adds pyscard to the virtual environment."""
    stamp, wanted = VENV / ".simway-card", digest(CARD_LOCK)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("compiling pyscard into var/venv")
    env = env | {"VIRTUAL_ENV": str(VENV)}
    run([str(ensure_uv(env)), "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", str(CARD_LOCK)], env)
    stamp.write_text(wanted)


def main() -> None:
    mode = sys.argv[1] if len(sys.argv) == 2 else ""
    if mode not in (*LOCKS, "card", "uv"):
        sys.exit("usage: tools/bootstrap run|dev|card|uv")
    VAR.mkdir(exist_ok=True)
    with open(VAR / ".bootstrap.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mode == "uv":
            ensure_uv(environment())
        elif mode == "card":
            ensure_venv("dev", environment())
            ensure_card(environment())
        else:
            ensure_venv(mode, environment())


if __name__ == "__main__":
    main()
