"""The ports that tests give their servers: none is given out twice while it may be used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from simway_testing import REPOSITORY
from simway_testing.ports import BLOCK

PROCESS = """
import os
os.getpid = lambda: 7
from simway_testing.ports import free_port
print(free_port(), free_port(), flush=True)
input()
"""


@contextmanager
def process() -> Iterator[list[int]]:
    """What a process is given that begins to look where all of these do; it lives meanwhile."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "tests" / "support")}
    command = [sys.executable, "-c", PROCESS]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin
        assert running.stdout
        yield [int(port) for port in running.stdout.readline().split()]
        running.stdin.write("\n")


def test_no_two_processes_give_out_of_one_block_and_none_gives_a_port_twice() -> None:
    with process() as first, process() as second:
        assert len({*first, *second}) == 4
        assert first[0] // BLOCK != second[0] // BLOCK
