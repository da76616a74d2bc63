"""The repository as a whole: its files are short, speak of the project alone, and `make help` tells every target."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from simway_testing import REPOSITORY

LINES_USUAL, LINES_MAX = 350, 500
LONG_SHARE_MAX = 0.1
DOCUMENTED_TARGETS = {
    "run", "test", "test-card", "test-compose", "faults", "faults-switch", "applet", "cap", "check", "bench", "bench-quick", "up",
    "down", "clean", "reset", "lock", "help",
}  # fmt: skip


def tracked(*patterns: str) -> list[Path]:
    done = subprocess.run(["git", "ls-files", "--", *patterns], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [REPOSITORY / line for line in done.stdout.splitlines() if (REPOSITORY / line).is_file()]


def test_source_files_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in tracked("*.py", "*.js", "*.java")}
    too_long = {str(path.relative_to(REPOSITORY)): lines for path, lines in lengths.items() if lines > LINES_MAX}
    assert not too_long
    long = [path for path, lines in lengths.items() if lines > LINES_USUAL]
    assert len(long) <= LONG_SHARE_MAX * len(lengths), long


def test_nothing_names_a_package_registry() -> None:
    """Locks and build files work wherever packages come from: they name packages, never hosts."""
    hosts = re.compile(r"files\.pythonhosted\.org|pypi\.org|repo1?\.maven|registry\.npmjs|--(extra-)?index-url|deb\.debian\.org")
    files = tracked("*.toml", "*.lock", "*.txt", "*.xml", "*.json", "*.yml", "Makefile", "Dockerfile*", "tools", "*.sh", ".ci")
    named = [str(path.relative_to(REPOSITORY)) for path in files if hosts.search(path.read_text(errors="replace"))]
    assert not named


def test_nothing_made_by_a_run_is_tracked() -> None:
    made = (".pyc", ".key", ".token", ".db")
    paths = [path.relative_to(REPOSITORY) for path in tracked()]
    assert not [path for path in paths if path.parts[0] == "var" or path.name == ".env" or path.suffix in made]


def test_make_help_lists_every_target() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    done = subprocess.run(["make", "-s", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", done.stdout, re.MULTILINE))
    assert set(listed) == DOCUMENTED_TARGETS
    assert phony - set(listed) == {"bootstrap-run", "bootstrap-dev"}


def test_links_in_documents_lead_somewhere() -> None:
    link = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
    links = [(page, target) for page in tracked("*.md") for target in link.findall(page.read_text()) if "://" not in target]
    assert not [(str(page), target) for page, target in links if not (page.parent / target).exists()]
