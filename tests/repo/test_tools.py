"""The small programs behind make: what they say when something is missing, and what they leave alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from simway_testing import REPOSITORY, scratch


@pytest.fixture
def copy() -> Iterator[Path]:
    """A folder with the tools, the Makefile, data and caches."""
    with scratch("tools") as directory:
        shutil.copytree(REPOSITORY / "tools", directory / "tools")
        shutil.copy(REPOSITORY / "Makefile", directory)
        for name in ("var/secrets/master.key", "var/store.db", "var/log/segment", "var/cache/x", "var/venv/x", ".ruff_cache/x"):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text("x")
        yield directory


def tool(folder: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    options = {"cwd": folder, "env": os.environ | env, "stdin": subprocess.DEVNULL, "timeout": 60}
    return subprocess.run(command, **options, capture_output=True, text=True, check=False)


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "var").iterdir()}


def test_make_clean_never_touches_data(copy: Path) -> None:
    assert tool(copy, "make", "-s", "clean").returncode == 0
    assert {"secrets", "store.db", "log", "venv"} <= names(copy)
    assert not (copy / ".ruff_cache").exists()


def test_reset_asks_first(copy: Path) -> None:
    refused = tool(copy, sys.executable, "tools/reset.py", YES="")
    assert refused.returncode == 1
    assert "nothing was deleted" in refused.stderr
    assert {"secrets", "store.db", "log"} <= names(copy)


def test_reset_deletes_data_and_keeps_tools(copy: Path) -> None:
    done = tool(copy, sys.executable, "tools/reset.py", YES="1")
    assert done.returncode == 0, done.stderr
    assert "var/store.db" in done.stdout
    assert names(copy) - {".run.lock"} == {"cache", "venv"}


def test_no_fitting_python_is_said_with_a_way_out(copy: Path) -> None:
    programs = copy / "bin"
    programs.mkdir()
    for name in ("sh", "dirname", "cat"):
        (programs / name).symlink_to(shutil.which(name) or name)
    done = tool(copy, "tools/bootstrap", "run", PATH=str(programs), PYTHON="")
    assert done.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13 found" in done.stderr
    wrong = tool(copy, "tools/bootstrap", "run", PYTHON="/bin/false")
    assert wrong.returncode == 1
    assert "PYTHON=/bin/false" in wrong.stderr


def test_the_systems_python_comes_before_another_in_path(copy: Path) -> None:
    system = (
        subprocess.run(["/usr/bin/python3", "-c", _IS_FIT], capture_output=True, check=False) if has_system_python() else None
    )
    (copy / "tools" / "bootstrap.py").write_text("import sys; print(sys.executable)")
    mine = copy / "mine"
    mine.mkdir()
    (mine / "python3").symlink_to(sys.executable)
    chosen = tool(copy, "tools/bootstrap", "run", PATH=f"{mine}:/usr/bin:/bin", PYTHON="").stdout.strip()
    fit = system is not None and system.returncode == 0
    assert chosen == ("/usr/bin/python3" if fit else str(mine / "python3"))
    named = tool(copy, "tools/bootstrap", "run", PATH="/usr/bin:/bin", PYTHON=str(mine / "python3")).stdout.strip()
    assert named == str(mine / "python3")


_IS_FIT = "import sys, ensurepip, venv; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"


def has_system_python() -> bool:
    return Path("/usr/bin/python3").exists()


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_missing_venv_module_gets_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit) as stopped:
        load("bootstrap").require_venv_module()
    assert f"sudo apt install python3.{sys.version_info[1]}-venv" in str(stopped.value)


def test_every_process_of_the_procfile_is_in_compose_too() -> None:
    import yaml
    from honcho.environ import parse_procfile

    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    commands = parse_procfile((REPOSITORY / "Procfile").read_text()).processes
    assert {name: command.removeprefix("exec ").split() for name, command in commands.items()} == {
        name: services[name]["command"] for name in commands
    }


@pytest.mark.parametrize(("setting", "value"), [("WEB_PORT", "abc"), ("UDP_PORT", "70000"), ("MODEM_METRICS_PORT", "-1")])
def test_make_run_names_the_setting_that_is_no_port(copy: Path, setting: str, value: str) -> None:
    done = tool(copy, sys.executable, "tools/run.py", **{setting: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"simway: {setting}=")
    assert len(done.stderr.splitlines()) == 1


def test_a_cap_without_its_sdk_says_what_to_get(capsys: pytest.CaptureFixture[str]) -> None:
    applet = load("applet")
    for given in ({}, {"JC_HOME": "/nowhere"}, {"JC_HOME": "/nowhere", "ANT_JAVACARD": "/nowhere/ant-javacard.jar"}):
        assert applet.cap(given) == 2
        assert "JC_HOME=/path/to/the/kit ANT_JAVACARD=/path/to/ant-javacard.jar make cap" in capsys.readouterr().err
