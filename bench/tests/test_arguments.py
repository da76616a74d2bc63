"""The command line, and what it chooses."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import parse
from bench.groups import GROUPS, QUICK_GROUPS


def test_everything_without_arguments() -> None:
    options = parse([])
    assert options.groups == tuple(GROUPS)
    assert (options.quick, options.embedded_alone, options.report) == (False, False, None)


def test_the_quick_run_has_the_groups_that_it_has_time_for() -> None:
    assert parse(["--quick"]).groups == QUICK_GROUPS
    assert set(QUICK_GROUPS) < set(GROUPS)


@pytest.mark.parametrize(
    ("arguments", "groups"),
    [
        (["--only", "query"], ("query",)),
        (["--only", "query,udp"], ("udp", "query")),
        (["--only", "fleet", "--only", "udp", "--quick"], ("udp", "fleet")),
    ],
)
def test_only_takes_some_in_their_usual_order(arguments: list[str], groups: tuple[str, ...]) -> None:
    assert parse(arguments).groups == groups


def test_an_unknown_group_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--only", "udp,speed"])
    assert ended.value.code == 2
    assert "no such group: speed; there are udp, " in capsys.readouterr().err


def test_where_the_report_goes() -> None:
    assert parse(["--embedded", "--report", "bench"]).report == Path("bench")
