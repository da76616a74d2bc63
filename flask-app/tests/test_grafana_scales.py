"""Scales: the code that names Live channels, the database's views and the dashboard say the same."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from simway_flask_app.grafana.scales import PLAIN, SCALES, scale_of
from simway_flask_app.store.sql import open_store
from simway_testing import postgres_server

DASHBOARD = json.loads((Path(__file__).parents[2] / "grafana/dashboards/device.json").read_text())


def test_a_unit_without_a_scale_is_plain() -> None:
    assert scale_of("Cel") == "celsius"
    assert scale_of(None) == scale_of("") == scale_of("sheep") == PLAIN


@pytest.mark.parametrize("title", ["Live", "History"])
def test_the_dashboard_gives_every_scale_its_unit(title: str) -> None:
    [panel] = [panel for panel in DASHBOARD["panels"] if panel["title"] == title]
    given = {override["matcher"]["options"]: override["properties"][0] for override in panel["fieldConfig"]["overrides"]}
    assert given == {scale: {"id": "unit", "value": scale} for scale in SCALES.values()}


def test_every_panel_says_what_it_shows() -> None:
    assert [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] != "row" and not panel["description"]] == []


@pytest.mark.real
def test_the_views_know_the_same_scales_and_the_carrier_in_use(postgres_url: str) -> None:
    url = postgres_server.database(postgres_url)
    store = open_store(url)
    store.migrate()
    store.close()
    units = [*SCALES, "sheep", None]
    with psycopg.connect(url) as connection:
        for number, unit in enumerate(units):
            connection.execute("INSERT INTO series (series_id, device, sensor) VALUES (%s, 'd', %s)", (number, f"s{number:03}"))
            connection.execute(
                "INSERT INTO readings (series_id, t_us, num, kind, unit) VALUES (%s, 1, 1.0, 2, %s)", (number, unit)
            )
        rows = connection.execute("SELECT unit, scale, kind FROM readings_view ORDER BY sensor").fetchall()
        assert rows == [(unit, scale_of(unit), "boolean") for unit in units]
        assert _carriers(connection) == [("new", "111", None), ("old", "222", "Two")]


def _carriers(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    """``new`` attached after its inventory, with an ICCID that is not in it; ``old`` took inventory after its attach."""
    profiles = json.dumps([{"iccid": "222", "provider": "Two"}, {"iccid": "333", "provider": "Three"}])
    for device, attached_us in (("new", 9), ("old", 3)):
        connection.execute(
            "INSERT INTO devices (device, name, status, key_version, last_counter, created_us, updated_us)"
            " VALUES (%s, '', 'active', 1, 0, 0, 0)",
            (device,),
        )
        connection.execute("INSERT INTO inventories VALUES (%s, 'eid', '222', %s, 5, 1)", (device, profiles))
        connection.execute(
            "INSERT INTO sessions VALUES (%s, 1, 'udp', '111', 1, 'e', 1, 'a', %s, NULL, '')", (device, attached_us)
        )
    return connection.execute("SELECT device, active_iccid, active_provider FROM devices_view ORDER BY device").fetchall()
