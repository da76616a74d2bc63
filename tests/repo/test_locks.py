"""The locks: hashes for everything, addresses for nothing, one version of each package, and all that the packages ask for."""

from __future__ import annotations

import re
import tomllib

import pytest
from simway_testing import REPOSITORY

LOCKS = ("requirements.lock", "requirements-run.lock", "requirements-card.lock", "tools/uv.txt")
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ;\\]+)", re.MULTILINE)


def text(lock: str) -> str:
    return (REPOSITORY / lock).read_text()


def pins(lock: str) -> set[tuple[str, str]]:
    return {(match["name"], match["version"]) for match in PIN.finditer(text(lock))}


def canonical(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


def requirements(*, extras: bool) -> set[str]:
    """What the workspace's packages ask for, without our own."""
    found: set[str] = set()
    for file in [REPOSITORY / "pyproject.toml", *REPOSITORY.glob("*/pyproject.toml")]:
        project = tomllib.loads(file.read_text())["project"]
        found |= set(project.get("dependencies", []))
        if extras:
            found |= set(project.get("optional-dependencies", {}).get("kafka", []))
    return {name for name in map(canonical, found) if not name.startswith("simway")}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash_and_no_address(lock: str) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", text(lock).strip())
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text(lock)
    assert "index-url" not in text(lock)


def test_the_run_lock_is_part_of_the_whole() -> None:
    assert pins("requirements-run.lock") < pins("requirements.lock")


def test_the_run_lock_has_what_the_packages_ask_for() -> None:
    missing = requirements(extras=True) - {name for name, _ in pins("requirements-run.lock")}
    assert not missing, f"run `make lock`: {missing}"


def test_the_whole_lock_has_the_tools() -> None:
    groups = tomllib.loads(text("pyproject.toml"))["dependency-groups"]
    missing = set(map(canonical, groups["dev"])) - {name for name, _ in pins("requirements.lock")}
    assert not missing, f"run `make lock`: {missing}"


def test_the_card_lock_has_what_reaches_a_reader() -> None:
    groups = tomllib.loads(text("pyproject.toml"))["dependency-groups"]
    assert set(map(canonical, groups["card"])) <= {name for name, _ in pins("requirements-card.lock")}
