"""The journal: what it remembers over boots, what it may forget, and what it says when it is damaged."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from simway_backbone import sqlite
from simway_backbone.sqlite import SqliteUnusable
from simway_modem_client.journal import CommandRecord, Journal, OpenSwitch, open_journal
from simway_modem_client.switch import Phase


def test_the_journal_survives_and_counts_boots(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    assert journal.count_boot() == 1
    journal.accept(CommandRecord(b"\1" * 16, "switch", 7, 5))
    journal.begin_switch(OpenSwitch(b"\1" * 16, "A", "B", 600, 5, evidence={"proof": "card-only"}))
    journal.close()
    journal = Journal(path)
    assert journal.count_boot() == 2
    assert journal.last_counter == 7
    found = journal.open_switch()
    assert found is not None
    assert (found.previous, found.target, found.phase, found.boots) == ("A", "B", Phase.INTENT, 1)
    assert found.evidence == {"proof": "card-only"}
    journal.end_switch(found, outcome="rolled_back", reason="not_confirmed", closed="rolled_back")
    assert journal.open_switch() is None
    assert [record.closed for record in journal.unsettled()] == ["rolled_back"]
    journal.settle(b"\1" * 16, "result")
    journal.settle(b"\1" * 16, "closed")
    assert journal.unsettled() == []
    journal.close()


def test_the_journal_forgets_old_settled_commands_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simway_modem_client.journal.COMMANDS_KEPT", 8)
    journal = Journal(tmp_path / "journal.db")
    for number in range(1, 40):
        command_id = number.to_bytes(16, "big")
        journal.accept(CommandRecord(command_id, "ping", number, 0))
        journal.finish(command_id, "executed", "", {})
        if number != 3:
            journal.settle(command_id, "result")
    assert journal.command((1).to_bytes(16, "big")) is None
    assert journal.command((3).to_bytes(16, "big")) is not None, "the server does not have its result yet"
    assert journal.command((39).to_bytes(16, "big")) is not None
    assert len(journal.recent(1_000)) <= 10
    journal.close()


@pytest.mark.parametrize("page", [2, 3, 4, 7, 9])
def test_a_damaged_journal_is_one_clear_error_at_start(tmp_path: Path, page: int) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    for number in range(1, 30):
        journal.accept(CommandRecord(bytes([number]) * 16, "switch", number, 0))
        journal.finish(bytes([number]) * 16, "executed", "", {"apdus": ["x" * 50] * 20})
    journal.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\x5a" * 4096
    path.write_bytes(data)
    with pytest.raises(SqliteUnusable, match=r"journal\.db is damaged .* move the file away"):
        Journal(path)


def test_a_damaged_journal_is_set_aside_and_its_counter_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.accept(CommandRecord(b"\1" * 16, "switch", 41, 5))
    journal.close()
    path.write_bytes(b"no database at all" * 1_000)
    journal = open_journal(path)
    assert (journal.is_lost, journal.last_counter, journal.recent(9), journal.open_switch()) == (True, 41, [], None)
    assert [found.read_bytes()[:2] for found in tmp_path.glob("journal.db.broken-*")] == [b"no"]
    journal.close()
    journal = open_journal(path)
    assert journal.is_lost
    journal.close()
    Journal(tmp_path / "other.db").close()
    (tmp_path / "other.db").write_bytes(b"x" * 9_000)
    fresh = open_journal(tmp_path / "other.db")
    assert fresh.last_counter == 0, "there was none to lose"
    fresh.close()


def test_a_journal_of_a_later_program_is_not_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    Journal(path).close()
    with contextlib.closing(sqlite.connect(path)) as connection:
        connection.pragma("user_version", 99)
    with pytest.raises(SqliteUnusable, match="schema 99"):
        open_journal(path)
    assert not list(tmp_path.glob("*broken*"))


def test_a_switch_that_the_first_schema_left_open_goes_on_on_whatever_card(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.begin_switch(OpenSwitch(b"\1" * 16, "A", "B", 600, 5))
    journal.close()
    with contextlib.closing(sqlite.connect(path)) as connection:
        for column in ("card", "way_back", "turns"):
            connection.execute(f"ALTER TABLE switch DROP COLUMN {column}")
        connection.pragma("user_version", 1)
    journal = Journal(path)
    found = journal.open_switch()
    assert found is not None
    assert (found.previous, found.card, found.way_back, found.turns) == ("A", (), "", 0)
    journal.close()


def test_what_binds_a_switch_to_its_card_and_its_way_back_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.begin_switch(opened := OpenSwitch(b"\1" * 16, "A", "B", 600, 5, card=("89", "90")))
    opened.way_back, opened.turns, opened.boots = "C", 2, 1
    journal.update_switch(opened)
    assert journal.open_switch() == opened
    journal.close()
