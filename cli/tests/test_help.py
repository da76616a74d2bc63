"""The help texts teach: every sub-command has examples, and every example is a command line that parses."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from simway_cli.app import make_parser
from simway_cli.errors import Exit


def parsers(parser: argparse.ArgumentParser | None = None) -> Iterator[argparse.ArgumentParser]:
    parser = parser or make_parser()
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


ALL = list(parsers())
NAMES = [re.sub(r" DEVICE\b", "", parser.prog) for parser in ALL]


@pytest.mark.parametrize("parser", ALL, ids=NAMES)
def test_every_help_has_examples_that_parse(parser: argparse.ArgumentParser) -> None:
    epilog = parser.epilog or ""
    examples = [line.strip() for line in epilog.partition("examples:\n")[2].splitlines()]
    typed = [re.split(r"  +", line)[0] for line in examples if "simway " in line]
    assert typed, parser.prog
    for line in typed:
        for piece in re.split(r" \|\|? ", line):
            words = shlex.split(piece.split(" >")[0])
            if words[0] == "simway" and "--help" not in words:
                make_parser().parse_args(words[1:])


@pytest.mark.parametrize("parser", ALL, ids=NAMES)
def test_every_flag_is_explained_and_lines_are_of_a_terminal(
    parser: argparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = parser.format_help()
    assert [line for line in text.splitlines() if len(line) > 130] == []
    for action in parser._actions:
        if action.option_strings:
            assert action.help, (parser.prog, action.option_strings)
    assert parser.description


@pytest.mark.parametrize("name", NAMES)
def test_help_is_no_error(cli: Any, capsys: pytest.CaptureFixture[str], name: str) -> None:
    words = [word for word in name.split() if word != "simway"]
    if words[:1] == ["command"] and len(words) > 1:
        words.insert(1, "demo")
    assert cli(*words, "--help").status == 0
    assert "examples:" in capsys.readouterr().out


def test_the_exit_statuses_are_told() -> None:
    told = {int(number) for number in re.findall(r"(?:^|\s)(\d)  [a-zA-Z]", make_parser().epilog or "")}
    assert told == {status for status in Exit if status < 10}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "the following arguments are required"),
        (["dance"], "invalid choice: 'dance'"),
        (["devices", "--bogus"], "unrecognized arguments: --bogus"),
        (["devices", "--limit", "-1"], "no whole number from 0"),
        (["devices", "list", "--lim", "5"], "unrecognized arguments: --lim"),
        (["readings", "demo", "--last", "soon"], "'soon' is no duration"),
        (["readings", "demo", "--from", "soon"], "'soon' is no time"),
        (["readings", "demo", "--last", "1h", "--from", "now"], "say two things"),
        (["readings", "demo", "--from", "now", "--to", "1h ago"], "--from is later than --to"),
        (["readings", "demo", "--agg", "avg"], "--window 1m"),
        (["readings", "demo", "--window", "1us"], "too fine"),
        (["devices", "show", ".."], "no device id"),
    ],
)
def test_a_line_that_does_not_fit_is_answered_with_what_would(cli: Any, argv: list[str], words: str) -> None:
    done = cli(*argv)
    assert (done.status, words in done.err) == (Exit.USAGE, True), done.err
    assert done.err.startswith("simway: ")
    assert len(done.err.splitlines()) >= 2, "and a hint"
    assert done.out == ""
