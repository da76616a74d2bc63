"""``make test-compose``: the compose stack under a project name and on ports of its own, from nothing; the end-to-end tests
through its front doors; down and up again without loss; then nothing of it is left. Runs beside what ``make up`` started.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys

import system_packages
from junit import counts
from local import ROOT, VAR

PORTS = (
    "WEB_PORT", "KAFKA_PORT", "GRAFANA_PORT", "UDP_METRICS_PORT", "DISPATCHER_METRICS_PORT", "MODEM_METRICS_PORT",
    "WEB_METRICS_PORT",
)  # fmt: skip
HEALTHY_WITHIN_S = 300
REPORT = VAR / "test" / "compose.xml"


def free_ports() -> dict[str, str]:
    """A free port for each setting, all different."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from simway_testing.ports import free_port

    return {name: str(free_port()) for name in PORTS} | {"UDP_PORT": str(free_port(socket.SOCK_DGRAM))}


class Stack:
    """A compose project of its own."""

    def __init__(self) -> None:
        self.project = f"simway-test-{secrets.token_hex(4)}"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
        self.environment |= free_ports() | {"COMPOSE_PROJECT_NAME": self.project, "SIMWAY_IMAGE": f"{self.project}:test"}

    def compose(self, *arguments: str, check: bool = True, stderr: int | None = None) -> subprocess.CompletedProcess[str]:
        command, env = [str(ROOT / "tools" / "compose"), *arguments], self.environment
        return subprocess.run(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=stderr, check=check)

    def up(self) -> None:
        self.compose("up", "--detach", "--build", "--quiet-pull", "--wait", "--wait-timeout", str(HEALTHY_WITHIN_S))

    def show_what_is_wrong(self) -> None:
        print(self.compose("ps", "-a", check=False).stdout)
        print(self.compose("logs", "--no-color", "--tail", "60", check=False).stdout, flush=True)

    def token(self) -> str:
        return self.compose("exec", "-T", "web", "cat", "/secrets/web/admin.token").stdout.strip()

    def remove(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False, stderr=subprocess.DEVNULL)
        for engine in filter(shutil.which, ("docker", "podman")):
            subprocess.run([engine, "image", "rm", self.environment["SIMWAY_IMAGE"]], capture_output=True, check=False)


def run_tests(stack: Stack) -> int:
    """pytest's exit code; ``tests/compose`` takes the stack down and up again by the same environment."""
    environment = stack.environment | {
        "SIMWAY_E2E_URL": f"http://127.0.0.1:{stack.environment['WEB_PORT']}",
        "SIMWAY_E2E_UDP": f"127.0.0.1:{stack.environment['UDP_PORT']}",
        "SIMWAY_E2E_TOKEN": stack.token(),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not processes", f"--junitxml={REPORT}", "tests/e2e", "tests/compose"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main() -> None:
    if subprocess.run([ROOT / "tools" / "compose", "version"], stdout=subprocess.DEVNULL, check=False).returncode:
        sys.exit(1)
    system_packages.ensure()
    stack = Stack()
    ports = ", ".join(f"{name}={stack.environment[name]}" for name in (*PORTS, "UDP_PORT"))
    print(f"simway: building and starting {stack.project}: {ports}", flush=True)
    REPORT.unlink(missing_ok=True)
    code = 1
    try:
        stack.up()
        code = run_tests(stack)
    except subprocess.CalledProcessError as error:
        print(f"simway: {' '.join(error.cmd)} failed", file=sys.stderr)
    finally:
        if code:
            stack.show_what_is_wrong()
        stack.remove()
    print(counts(REPORT).line(), flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
