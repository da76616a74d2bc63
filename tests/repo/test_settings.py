"""One truth about settings: the table in docs/settings.md, the code's ``from_env``, .env.example and compose say the same."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from simway_testing import REPOSITORY

SERVICES = ("simway_udp_server", "simway_flask_app", "simway_modem_client", "simway_cli")
ROW = re.compile(r"^\| `(?P<name>[A-Z0-9_]+)` \| (?:`(?P<default>[^`]*)`)? ?\|", re.MULTILINE)


class Recorder(Mapping[str, str]):
    """An environment in which nothing is set and that remembers what it was asked for."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given, self.asked = given, set[str]()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self.given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)


def section(title: str) -> str:
    text = (REPOSITORY / "docs" / "settings.md").read_text()
    return text.split(title, 1)[1].split("\n## ", 1)[0]


def table(title: str) -> dict[str, str]:
    """Setting -> default (empty where there is none)."""
    return {row["name"]: row["default"] or "" for row in ROW.finditer(section(title))}


def settings_classes() -> dict[str, Any]:
    """Every class of a service that has ``from_env``, by its qualified name."""
    found: dict[str, Any] = {}
    for package_name in SERVICES:
        package = importlib.import_module(package_name)
        for module_info in pkgutil.walk_packages(package.__path__, f"{package_name}."):
            if "migrations" in module_info.name or module_info.name.endswith("__main__"):
                continue
            module = importlib.import_module(module_info.name)
            for value in vars(module).values():
                if isinstance(value, type) and hasattr(value, "from_env") and value.__module__ == module.__name__:
                    found[f"{module.__name__}.{value.__name__}"] = value
    return found


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """Every ``X_FILE`` of the table, each naming a file that holds a key."""
    given = {}
    for name in (name for name in table("# Settings") if name.endswith("_FILE")):
        given[name] = str(tmp_path / name)
        (tmp_path / name).write_text("5a" * 32)
    return given


def plain(names: set[str]) -> set[str]:
    """``X`` and ``X_FILE`` are one setting: its value may come from either."""
    return {name.removesuffix("_FILE") for name in names}


def test_the_table_names_what_the_services_read(secrets: dict[str, str]) -> None:
    asked: set[str] = set()
    for settings in settings_classes().values():
        recorder = Recorder(secrets)
        settings.from_env(recorder)
        asked |= recorder.asked
    assert plain(asked) == plain(set(table("# Settings")))


def test_the_tables_defaults_are_the_codes(secrets: dict[str, str]) -> None:
    """Setting every default explicitly changes nothing."""
    documented = {key: value for key, value in table("# Settings").items() if value and not key.endswith("_FILE")}
    for name, settings in settings_classes().items():
        assert settings.from_env(secrets) == settings.from_env(documented | secrets), name


def env_example() -> dict[str, str]:
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return {name: value.strip('"') for name, value in pairs}


def test_env_example_shows_documented_settings_with_their_defaults() -> None:
    documented = table("# Settings") | table("## Compose only")
    assert env_example().items() <= documented.items()
    assert set(table("## Compose only")) <= set(env_example())


def compose_text() -> str:
    return (REPOSITORY / "docker-compose.yml").read_text()


def test_what_compose_lets_one_set_is_in_env_example_with_the_same_default() -> None:
    found = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", compose_text()))
    assert found, "compose has no settings"
    assert found.items() <= env_example().items()
    assert "$" not in re.sub(r"\$\{[A-Z0-9_]+:-[^}]*\}", "", compose_text()), "every variable has a default"


def test_compose_sets_only_what_the_services_read() -> None:
    services = yaml.safe_load(compose_text())["services"]
    ours = {name: service for name, service in services.items() if name not in ("kafka", "postgres", "grafana")}
    known = set(table("# Settings")) | {"HEALTH_URL"}
    for name, service in ours.items():
        assert set(service.get("environment", {})) <= known, name


def test_compose_publishes_on_this_machine_only_but_udp() -> None:
    for name, service in yaml.safe_load(compose_text())["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:") or (name, port.endswith("/udp")) == ("udp-server", True), (name, port)


def test_compose_and_env_hold_no_password() -> None:
    for file in (".env.example", "docker-compose.yml", "Dockerfile"):
        for line in Path(REPOSITORY / file).read_text().splitlines():
            assert not re.search(r"(PASSWORD|SECRET|TOKEN)(?!_*FILE)[A-Z_]*\s*[:=]\s*\S", line), (file, line)
