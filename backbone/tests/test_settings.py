from __future__ import annotations

from pathlib import Path

import pytest
from simway_backbone.settings import Env, SettingError, load


def test_values_come_from_the_variable_the_file_or_the_default(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from the file\nsecond line\n")
    file = str(tmp_path / "password")
    assert Env({"X": "given", "X_FILE": file}).text("X", "default") == "given"
    assert Env({"X": "", "X_FILE": file}).text("X", "default") == "from the file"
    assert Env({"X": ""}).text("X", "default") == "default"
    assert Env({}).secret("X", default_file=file) == "from the file"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("200ms", 0.2), ("10min", 600), ("10m", 600), ("2h", 7200), ("7 d", 604800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Env({"X": text}).seconds("X") == pytest.approx(seconds)


def test_typed_values() -> None:
    env = Env({"PORT": "8000", "ON": "Yes", "LEVEL": "info", "KEY": "00ff", "DIR": "a/b"})
    assert env.port("PORT") == 8000
    assert env.port("OTHER_PORT", 0) == 0
    assert env.flag("ON")
    assert env.flag("OFF", False) is False
    assert env.choice("LEVEL", ("info", "debug")) == "info"
    assert env.secret_bytes("KEY", 2) == b"\x00\xff"
    assert env.path("DIR") == Path("a/b")
    assert env.seconds("WAIT", 0.25) == 0.25


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda env: env.text("NONE"), "NONE is not set"),
        (lambda env: env.path("NONE"), "NONE is not set"),
        (lambda env: env.secret("NONE"), "NONE_FILE"),
        (lambda env: env.secret("NONE", default_file="/no/such"), "NONE_FILE=/no/such cannot be read"),
        (lambda env: env.integer("WORD"), "WORD='word' is no whole number"),
        (lambda env: env.port("BIG"), "BIG=70000 is not within 0 to 65535"),
        (lambda env: env.seconds("WORD"), "write 90"),
        (lambda env: env.choice("WORD", ("a", "b")), "none of a, b"),
        (lambda env: env.flag("WORD"), "neither yes nor no"),
        (lambda env: env.secret_bytes("WORD", 4), "8 hex digits"),
        (lambda env: env.secret_bytes("SHORT", 4), "has 4 hex digits, not 8"),
    ],
)
def test_errors_name_the_variable(ask, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        ask(Env({"WORD": "word", "BIG": "70000", "SHORT": "00ff"}))


def test_an_error_at_the_start_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load(lambda mapping: Env(mapping).text("NONE"), {})
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
