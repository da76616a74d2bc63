"""Deletes what the local run keeps in ``var/``: readings, log, secrets, the virtual SIM. Installed tools and caches stay."""

from __future__ import annotations

import os
import shutil
import sys

from local import VAR, RunLock

KEPT = {"uv", "venv", "cache", "kafka", "test", ".bootstrap.lock"}


def main() -> None:
    with RunLock() as lock:
        if not lock.held:
            sys.exit("simway: it is running; end it first (Ctrl-C where `make run` was typed)")
        found = sorted(path for path in VAR.iterdir() if path.name not in {*KEPT, lock.path.name})
        if not found:
            sys.exit("simway: there is no data in var/")
        print("This deletes for good: " + " ".join(f"var/{path.name}" for path in found))
        if os.environ.get("YES") != "1" and input("Type yes: ").strip() != "yes":
            sys.exit("simway: nothing was deleted")
        for path in found:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    print("simway: deleted; the next `make run` starts empty")


if __name__ == "__main__":
    try:
        main()
    except (EOFError, KeyboardInterrupt):
        sys.exit("\nsimway: nothing was deleted")
