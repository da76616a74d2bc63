"""A file is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from simway_cli.errors import CliError, Usage
from simway_cli.files import whole_file


def test_the_name_appears_when_the_file_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "day.csv"
    mask = os.umask(0o027)
    try:
        with whole_file(target, overwrite=False) as file:
            file.write(b"half")
            assert not target.exists()
            assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
            file.write(b" whole")
    finally:
        os.umask(mask)
    assert target.read_bytes() == b"half whole"
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_nothing_is_left_of_what_broke_off(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "day.csv"
    target.write_text("old")

    def write_half() -> None:
        with whole_file(target, overwrite=True) as file:
            file.write(b"half")
            raise error

    with pytest.raises((error, CliError)):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    target = tmp_path / "day.csv"
    target.write_text("old")
    with pytest.raises(Usage, match="exists"), whole_file(target, overwrite=False):
        pass
    with whole_file(target, overwrite=True) as file:
        file.write(b"new")
    assert target.read_text() == "new"


@pytest.mark.parametrize("name", ["no/such/folder.csv", "."])
def test_where_no_file_can_be_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CliError) as caught, whole_file(tmp_path / name, overwrite=True):
        pass
    assert str(tmp_path) in str(caught.value)
