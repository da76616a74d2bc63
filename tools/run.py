"""``make run``: the platform on this machine, by honcho over ``Procfile``, on embedded defaults.

Start-up: the ports are free, ``init`` makes what is missing, honcho starts the services, they report ready, the way in is
printed. Shutdown: Ctrl-C, SIGTERM, a closed terminal or the end of any service ends all of them; none is left behind.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import psutil
from local import METRICS, PORTS, ROOT, WEB, RunLock, local_settings
from simway_backbone.settings import SettingError

READY_WITHIN_S = 60.0
FIRST_READING_WITHIN_S = 10.0
HONCHO_WITHIN_S = 15.0
PR_SET_CHILD_SUBREAPER = 36


class Api:
    """The REST API of the run, as far as the greeting needs it."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        host = WEB.host(settings)
        self.base = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{WEB.number(settings)}"
        self.token_file = settings.get("ADMIN_TOKEN_FILE") or "var/admin.token"

    def get(self, path: str) -> Any:
        """The JSON answer; None when there is none (yet)."""
        try:
            token = (ROOT / self.token_file).read_text().strip()
            request = urllib.request.Request(self.base + path, headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, timeout=2) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_until(condition: Callable[[], Any], seconds: float, going_on: Callable[[], bool]) -> Any:
    """The first true answer of ``condition``; its last one when the time is over or the platform has ended."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end and going_on():
        time.sleep(0.1)
    return found


def not_ready(settings: Mapping[str, str]) -> list[str]:
    """The health addresses that do not answer 200 yet."""
    addresses = [f"http://{port.host(settings)}:{port.number(settings)}/health/ready" for port in METRICS]
    addresses.append(Api(settings).base + "/api/v1/health")
    return [address for address in addresses if not answers(address)]


def another_provider(device: Any) -> str:
    """A carrier of the demo device's SIM that is not the active one, for the curl line."""
    profiles = ((device or {}).get("inventory") or {}).get("profiles") or []
    names = [profile.get("provider") for profile in profiles if not profile.get("active")]
    return next((name for name in names if name), "NAME OF A CARRIER")


def greeting(api: Api, device: str) -> str:
    token = f'"Authorization: Bearer $(cat {shlex.quote(api.token_file)})"'
    devices = f"{api.base}/api/v1/devices/{device}"
    switch = json.dumps({"kind": "switch", "provider": another_provider(api.get(f"/api/v1/devices/{device}"))})
    return f"""
Simway is running. Device "{device}" sends this machine's own measurements through a virtual SIM.

  page      {api.base}/   (sign in with the token in {api.token_file})

  the newest reading of each sensor:
curl -s -H {token} {devices}/readings/latest

  switch the carrier, then see {devices}/commands:
curl -s -H {token} -H "Content-Type: application/json" -d {shlex.quote(switch)} {devices}/commands

  Ctrl-C ends it. The next `make run` goes on with the same data (var/); `make reset` deletes it.
"""


def become_subreaper() -> None:
    """Orphans of our children become ours (Linux), so that none outlives us even if honcho is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children(seconds: float) -> None:
    """Ends every process that descends from this one: by SIGTERM, then by SIGKILL."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        child.terminate()
    for child in psutil.wait_procs(children, timeout=seconds)[1]:
        child.kill()


def check_ports(settings: Mapping[str, str]) -> None:
    """Ends the program, with a line for each, when ports cannot be listened on."""
    troubles = [trouble for port in PORTS if (trouble := port.trouble(settings))]
    if troubles:
        print("\n".join(f"simway: {trouble}" for trouble in troubles), file=sys.stderr)
        sys.exit(2)


def initialise(settings: Mapping[str, str]) -> int:
    """Runs ``init`` to its end; its exit code."""
    return subprocess.run([sys.executable, "-m", "simway_flask_app", "init"], env=settings, cwd=ROOT, check=False).returncode


def start(settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts honcho, in a session of its own (so that Ctrl-C reaches us alone)."""
    honcho = [sys.executable, "-m", "honcho", "--env", os.devnull, "start"]
    return subprocess.Popen(honcho, env=settings, cwd=ROOT, start_new_session=True)


def greet(settings: Mapping[str, str], going_on: Callable[[], bool]) -> None:
    """Waits until everything is ready, then prints where to look. Says which part is not, should that take too long."""
    api, device = Api(settings), settings.get("DEVICE_ID") or "demo"
    wait_until(lambda: not not_ready(settings), READY_WITHIN_S, going_on)
    if not going_on():
        return
    if late := not_ready(settings):
        print(f"simway: not ready after {READY_WITHIN_S:.0f} s: {', '.join(late)} (its own lines above say why)", flush=True)
    latest = f"/api/v1/devices/{device}/readings/latest"
    wait_until(lambda: (api.get(latest) or {}).get("readings"), FIRST_READING_WITHIN_S, going_on)
    if going_on():
        print(greeting(api, device), flush=True)


def supervise(settings: Mapping[str, str]) -> int:
    """From start to end; the exit code: 0 when somebody asked for the end, else that of the service that ended first."""
    asked_to_stop = False
    honcho: subprocess.Popen[bytes] | None = None

    def stop(_signal: int, _frame: object) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True
        if honcho is not None and honcho.poll() is None:
            honcho.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    code = initialise(settings)
    if code or asked_to_stop:
        return 0 if asked_to_stop else code
    running = honcho = start(settings)
    if asked_to_stop:
        running.terminate()
    greet(settings, lambda: running.poll() is None and not asked_to_stop)
    code = running.wait()
    if not asked_to_stop:
        print(f"simway: a service ended by itself (code {code}), so all were; its last lines above say why", file=sys.stderr)
    return 0 if asked_to_stop else code or 1


def main() -> None:
    try:
        settings = local_settings(os.environ)
        for port in PORTS:
            port.number(settings)
    except SettingError as error:
        print(f"simway: {error}", file=sys.stderr)
        sys.exit(2)
    with RunLock() as lock:
        if not lock.held:
            sys.exit("simway: it is already running from this folder (var/ is in use)")
        check_ports(settings)
        become_subreaper()
        try:
            code = supervise(settings)
        finally:
            end_children(HONCHO_WITHIN_S)
    sys.exit(code)


if __name__ == "__main__":
    main()
