"""The SIM's profiles as a table."""

from __future__ import annotations

from typing import Any

from simway_cli.output import Screen
from simway_cli.table import Cell, Column


def profile_table(screen: Screen, inventory: Any) -> None:
    """The profiles of an inventory, the active one marked."""
    columns = [
        Column(""),
        Column("iccid"),
        Column("provider", gives=True),
        Column("name", gives=True, spare=3),
        Column("class", spare=2),
        Column("remarks", gives=True, spare=1),
    ]
    screen.table(columns, [_row(profile) for profile in inventory["profiles"]])


def _row(profile: Any) -> list[str | Cell]:
    remarks = [*(["fallback"] if profile["fallback"] else []), *profile["rules"]]
    active = profile["active"]
    return [
        Cell("*", "green") if active else "",
        Cell(profile["iccid"], "green" if active else ""),
        profile["provider"] or "-",
        profile["name"] or "-",
        profile["profile_class"] or "-",
        ", ".join(remarks) or "-",
    ]
