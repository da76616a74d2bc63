"""Grafana's files: what they name exists, and every query runs on a real PostgreSQL as the role that reads views."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from simway_flask_app.ledger import Event
from simway_flask_app.store import alarms, grafana_role
from simway_flask_app.store.positions import Follower, Gap
from simway_flask_app.store.schema import write_rights, writers
from simway_flask_app.twin import Finding, Kind
from simway_protocol.messages import DeadLetter, Uplink
from simway_protocol.readings import Reading
from simway_testing import REPOSITORY
from simway_testing.web_site import DEVICE, ICCIDS, Site
from sqlalchemy import make_url

GRAFANA = REPOSITORY / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
PASSWORD = "the-readers-password"
RANGE_S = (0, 4_000_000_000)
EARLIER_S = 7_200
UNIT_PX = 54
"""A unit of a panel's width, of 24, in a window of 1360 px."""
LETTER_PX, TITLE_MARGIN_PX, TABLE_MARGIN_PX = 7, 46, 20
TIME_PX = 160
"""What a date and a time to the second need."""


def load(file: Path) -> Any:
    return json.loads(file.read_text())


def source() -> Any:
    [found] = yaml.safe_load((GRAFANA / "provisioning/datasources/simway.yaml").read_text())["datasources"]
    return found


def prometheus() -> Any:
    """The second data source, which a layer of compose adds."""
    [found] = yaml.safe_load((REPOSITORY / "observability/grafana-prometheus.yaml").read_text())["datasources"]
    return found


def panels(dashboard: Any) -> list[Any]:
    """Every panel, those in rows that are folded up too."""
    return [panel for outer in dashboard["panels"] for panel in (outer, *outer.get("panels", ()))]


def tables(dashboard: Any) -> Iterator[tuple[str, Any]]:
    """Title and panel of every table."""
    return ((panel["title"], panel) for panel in panels(dashboard) if panel["type"] == "table")


def queries(dashboard: Any) -> Iterator[tuple[str, str]]:
    """Name and SQL of every query: of variables, annotations and panels."""
    for variable in dashboard["templating"]["list"]:
        yield f"variable {variable['name']}", variable["query"]
    for annotation in dashboard["annotations"]["list"]:
        if "target" in annotation:
            yield f"annotation {annotation['name']}", annotation["target"]["rawSql"]
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            if "rawSql" in target:
                yield f"panel {panel['title']}", target["rawSql"]


ALL_QUERIES = [pytest.param(sql, id=f"{file.stem}: {name}") for file in DASHBOARDS for name, sql in queries(load(file))]


def as_grafana_would(sql: str, *, interval_s: int = 60, from_s: int = RANGE_S[0], **variables: list[str]) -> str:
    """Variables and macros filled in as Grafana's PostgreSQL data source does."""
    sql = sql.replace("$__interval_ms", str(interval_s * 1_000))
    sql = re.sub(
        r"\$\{(\w+):sqlstring\}", lambda found: ",".join("'" + text.replace("'", "''") + "'" for text in variables[found[1]]), sql
    )
    sql = re.sub(r"\$\{(\w+):doublequote\}", lambda found: ",".join(f'"{text}"' for text in variables[found[1]]), sql)
    sql = sql.replace("$__timeGroupAlias(time, $__interval)", 'floor(extract(epoch from time)/60)*60 AS "time"')
    for macro, seconds in (("From", from_s), ("To", RANGE_S[1])):
        sql = sql.replace(f"$__unixEpochNano{macro}()", str(seconds * 1_000_000_000))
    assert "$" not in sql, f"not filled in: {sql}"
    return sql


@pytest.fixture(scope="module")
def reader(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection[Any]]:
    """A connection of Grafana's role to a store with one device that did everything once."""
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE grafana_dashboards")
    url = make_url(postgres_url).set(database="grafana_dashboards")
    site = Site(tmp_path_factory.mktemp("site"), url.render_as_string(hide_password=False))
    try:
        site.store.ensure_grafana_role(PASSWORD)
        _live_a_little(site)
        with psycopg.connect(
            url.set(username=grafana_role.ROLE, password=PASSWORD).render_as_string(hide_password=False), autocommit=True
        ) as connection:
            yield connection
    finally:
        site.close()
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute("DROP DATABASE grafana_dashboards WITH (FORCE)")
            admin.execute(f"DROP ROLE IF EXISTS {grafana_role.ROLE}")


def _live_a_little(site: Site) -> None:
    site.enrol()
    site.hold(ICCIDS[0])
    site.attach(ICCIDS[1])
    site.measure("cpu.percent", 1.0, 2.5, unit="%")
    site.store_readings([Reading("level", site.now_us() - EARLIER_S * 1_000_000, 1.0, "m")])
    site.store_readings([Reading("it's text", 1_767_225_600_000_000, "ok", None)])
    made = site.client.post(f"/api/v1/devices/{DEVICE}/commands", json={"kind": "switch", "provider": "Azul Telecom"}).get_json()
    site.happen(made["id"], Event.SENT, Event.RECEIVED, Event.PROVED, Event.CLOSED)
    _go_wrong_a_little(site)


def _go_wrong_a_little(site: Site) -> None:
    now_us = site.now_us()
    refused = Uplink(DEVICE, "udp", now_us, "00000000000000bb", 9, [], [(1, 2)], [(8, 9, "too_old")])
    writer, follower = site.store.uplink_writer(), Follower("recorder", "another log", "uplink")
    letter = DeadLetter("admit", "too_old", now_us, DEVICE)
    writer.store([refused], follower, {0: (0, 1)}, now_us=now_us, letters=[letter], gaps=[Gap(0, 1, 2)])
    finding = Finding(Kind.COMMAND_COUNTER, "", "a counter that cannot be true")
    with site.store.transaction() as connection:
        alarms.sync(connection, DEVICE, [finding], (), now_us)
        right = {"log_id": "a", "topic": "uplink", "partition": 0, "number": 1, "writer": "w", "granted_us": now_us}
        connection.execute(write_rights.insert().values(**right, expires_us=now_us + 10**12, signature=""))
        connection.execute(writers.insert().values(writer="w", public_key="", host="h", pid=1, started_us=now_us, seen_us=now_us))


def run(reader: psycopg.Connection[Any], sql: str, **more: int) -> tuple[list[str], list[Any]]:
    filled = as_grafana_would(sql, device=[DEVICE], sensor=["cpu.percent", "it's text"], scale=["percent"], **more)  # type: ignore[arg-type]
    cursor = reader.execute(filled)  # type: ignore[arg-type]
    return [column.name for column in cursor.description or ()], cursor.fetchall()


@pytest.mark.real
@pytest.mark.parametrize("sql", ALL_QUERIES)
def test_every_query_runs_and_finds_something(reader: psycopg.Connection[Any], sql: str) -> None:
    columns, rows = run(reader, sql)
    assert rows, f"no rows: {sql}"
    assert len(set(columns)) == len(columns)


@pytest.mark.real
def test_what_is_shown_is_true(reader: psycopg.Connection[Any]) -> None:
    by_name = dict(queries(load(GRAFANA / "dashboards/device.json")))
    assert run(reader, by_name["panel Active carrier"])[1] == [("Azul Telecom",)]
    assert run(reader, by_name["panel Session"])[1] == [("attached",)]
    assert run(reader, by_name["panel Last command"])[1] == [("switch to Azul Telecom: verified",)]
    assert run(reader, by_name["variable channel"])[1] == [("demo",)]
    columns, rows = run(reader, by_name["annotation Carrier switches"])
    assert columns == ["time", "text", "tags"]
    assert rows[-1][1:] == ("Switch to Azul Telecom: verified", "VERIFIED")
    assert rows[-1][0] > 1_700_000_000_000
    columns, rows = run(reader, by_name["panel History"])
    assert columns == ["time", "sensor", "percent"]
    assert {row[1] for row in rows} == {"cpu.percent"}
    assert run(reader, by_name["variable scale"])[1] == [("percent", "In %")]


@pytest.mark.real
@pytest.mark.parametrize(
    ("interval_s", "days_back", "tier"),
    [(5, 1, "raw"), (60, 1, "minute"), (3_600, 30, "hour"), (86_400, 365, "day"), (86_400 * 7, 3_650, "day"), (5, 100, "hour")],
)
def test_history_comes_from_the_tier_that_the_panel_has_points_for(
    reader: psycopg.Connection[Any], interval_s: int, days_back: int, tier: str
) -> None:
    """Of a hundred days back only hours are kept, however close one looks."""
    assert tier_read(reader, interval_s, days_back) == tier


@pytest.mark.real
@pytest.mark.parametrize(
    ("taken", "tier"), [(("raw",), "minute"), (("raw", "minute"), "hour"), (("raw", "minute", "hour"), "day")]
)
def test_history_leaves_out_a_tier_that_retention_has_taken_from(
    reader: psycopg.Connection[Any], postgres_url: str, taken: Sequence[str], tier: str
) -> None:
    """A tier that is kept for longer now does not have again what it lost."""
    url = make_url(postgres_url).set(database="grafana_dashboards").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("INSERT INTO tiers (tier, keep_s, updated_us, actor) VALUES ('raw', 0, 0, 'test') ON CONFLICT DO NOTHING")
        before = owner.execute("SELECT tier, gone_before_us FROM tiers").fetchall()
        try:
            gone_before_us = Site.now_us() - 3_600_000_000
            owner.execute("UPDATE tiers SET gone_before_us = %s WHERE tier = ANY (%s)", (gone_before_us, list(taken)))
            assert tier_read(reader, 5, 1) == tier
        finally:
            owner.cursor().executemany("UPDATE tiers SET gone_before_us = %s WHERE tier = %s", [row[::-1] for row in before])


def tier_read(reader: psycopg.Connection[Any], interval_s: int, days_back: int) -> str:
    """The tier that History reads, and no other; what it shows is checked."""
    sql = dict(queries(load(GRAFANA / "dashboards/device.json")))["panel History"]
    from_s = Site.now_us() // 1_000_000 - days_back * 86_400
    filled = as_grafana_would(
        sql, interval_s=interval_s, from_s=from_s, device=[DEVICE], sensor=["cpu.percent"], scale=["percent"]
    )
    plan = "\n".join(line for (line,) in reader.execute(f"EXPLAIN (ANALYZE, COSTS off) {filled}"))  # type: ignore[arg-type]
    tables = {"raw": "readings", "minute": "rollup_minute", "hour": "rollup_hour", "day": "rollup_day"}
    read = [tier for tier, table in tables.items() if re.findall(rf"Scan (?:using \w+ )?on {table}\w* .*\(actual", plan)]
    assert len(read) == 1, plan
    rows = reader.execute(filled).fetchall()  # type: ignore[arg-type]
    assert sum(value for _, _, value in rows) / len(rows) == pytest.approx(1.75)
    return read[0]


@pytest.mark.real
def test_the_balance_of_the_fleet_is_shown_whole(reader: psycopg.Connection[Any]) -> None:
    found = dict(queries(load(GRAFANA / "dashboards/fleet.json")))
    balance = dict(run(reader, found["panel Balance"])[1])
    assert balance.pop("sent") == sum(balance.values()) > 0
    assert (balance["rejected"], balance["dropped"], balance["missing"]) == (2, 2, 5)
    assert run(reader, found["panel Unbalanced"])[1] == [(0,)]
    assert run(reader, found["panel Rejected by reason"])[1] == [("too_old", 2)]


@pytest.mark.real
@pytest.mark.parametrize(
    "sql", ["SELECT * FROM commands", "SELECT * FROM outbox", "DELETE FROM series_view", "CREATE TABLE t (x int)"]
)
def test_the_role_reads_views_and_nothing_else(reader: psycopg.Connection[Any], sql: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
        reader.execute(sql)  # type: ignore[arg-type]


def test_the_data_source_is_the_role_that_init_makes() -> None:
    found = source()
    assert found["user"] == grafana_role.ROLE
    assert found["secureJsonData"]["password"].startswith("$__file{")
    assert found["uid"] == "simway-postgres"


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_names_only_what_there_is_and_keeps_its_name(file: Path) -> None:
    dashboard, known = load(file), source()
    assert dashboard["uid"] == f"simway-{file.stem}"
    assert "id" not in dashboard
    drawn = [panel for panel in panels(dashboard) if panel["type"] != "row"]
    sources = {item["datasource"]["uid"] for item in [*drawn, *dashboard["annotations"]["list"]]}
    assert sources <= {known["uid"], prometheus()["uid"], "grafana", "-- Grafana --"}
    assert len({panel["id"] for panel in panels(dashboard)}) == len(panels(dashboard))
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{(\w+)[:}]", json.dumps([dashboard["panels"], dashboard["annotations"]])))
    assert used <= variables | {"__field"}


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_links_lead_to_a_dashboard_and_a_variable_that_there_are(file: Path) -> None:
    variables = {known["uid"]: {one["name"] for one in known["templating"]["list"]} for known in map(load, DASHBOARDS)}
    for uid, variable in re.findall(r"/d/([\w-]+)\?var-(\w+)=", file.read_text()):
        assert variable in variables[uid]
    for name, panel in tables(load(file)):
        overrides = {one["matcher"]["options"]: one["properties"] for one in panel["fieldConfig"]["overrides"]}
        if 'AS "Device"' in panel["targets"][0]["rawSql"]:
            assert "links" in {one["id"] for one in overrides.get("Device", ())}, f"{name}: its devices are linked"


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_the_title_of_a_figure_is_seen_whole(file: Path) -> None:
    for panel in panels(load(file)):
        if panel["type"] == "stat":
            assert len(panel["title"]) * LETTER_PX <= panel["gridPos"]["w"] * UNIT_PX - TITLE_MARGIN_PX, panel["title"]


@pytest.mark.real
@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_the_columns_of_a_table_have_room_and_times_show_no_milliseconds(reader: psycopg.Connection[Any], file: Path) -> None:
    """Grafana gives a column 150 px unless told, and what has no room is out of sight; times that are close it shows longer."""
    for name, panel in tables(load(file)):
        shown = {
            override["matcher"]["options"]: {one["id"]: one["value"] for one in override["properties"]}
            for override in panel["fieldConfig"]["overrides"]
        }
        least_px = panel["fieldConfig"]["defaults"].get("custom", {}).get("minWidth", 150)
        columns, rows = run(reader, panel["targets"][0]["rawSql"])
        assert shown.keys() <= set(columns), name
        widths_px = {column: shown.get(column, {}).get("custom.width", least_px) for column in columns}
        assert sum(widths_px.values()) <= panel["gridPos"]["w"] * UNIT_PX - TABLE_MARGIN_PX, (name, widths_px)
        for column, value in zip(columns, rows[0], strict=True):
            if isinstance(value, datetime):
                unit = shown[column]["unit"]
                assert unit == "dateTimeFromNow" or (unit == "dateTimeAsIso" and widths_px[column] >= TIME_PX), (name, column)


@pytest.mark.real
@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_series_is_called_by_what_tells_it_from_others(reader: psycopg.Connection[Any], file: Path) -> None:
    """Not by the name of the value's column with the label behind it."""
    for panel in panels(load(file)):
        for target in panel.get("targets", ()):
            if target.get("format") == "time_series":
                columns, rows = run(reader, target["rawSql"])
                labels = [column for column, value in zip(columns, rows[0], strict=True) if isinstance(value, str)]
                named = panel["fieldConfig"]["defaults"].get("displayName")
                assert named == (f"${{__field.labels.{labels[0]}}}" if labels else None), panel["title"]


@pytest.mark.real
def test_readings_a_minute_leaves_out_what_is_still_running(reader: psycopg.Connection[Any]) -> None:
    """A minute, or a wider step, that is not over would be drawn as a fall."""
    sql = dict(queries(load(GRAFANA / "dashboards/pipeline.json")))["panel Readings a minute"]
    before_s = time.time()
    shown = [row[0] for row in run(reader, sql, interval_s=5)[1]]
    assert before_s - EARLIER_S - 60 < shown[-1] <= time.time() - 60
    assert run(reader, sql, interval_s=10**9)[1] == []


def test_the_live_panel_listens_to_the_channel_that_is_pushed_to() -> None:
    [live] = [panel for panel in load(GRAFANA / "dashboards/device.json")["panels"] if panel["title"] == "Live"]
    assert live["targets"][0]["channel"] == "stream/simway/${channel}/${scale}"
    assert live["targets"][0]["queryType"] == "measurements"
