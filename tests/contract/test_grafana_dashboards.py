"""Grafana's files: what they name exists, and every query runs on a real PostgreSQL as the role that reads views."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from simway_flask_app.ledger import Event
from simway_flask_app.store import grafana_role
from simway_protocol.readings import Reading
from simway_testing import REPOSITORY
from simway_testing.web_site import DEVICE, ICCIDS, Site
from sqlalchemy import make_url

GRAFANA = REPOSITORY / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
PASSWORD = "the-readers-password"
RANGE_S = (0, 4_000_000_000)


def load(file: Path) -> Any:
    return json.loads(file.read_text())


def source() -> Any:
    [found] = yaml.safe_load((GRAFANA / "provisioning/datasources/simway.yaml").read_text())["datasources"]
    return found


def queries(dashboard: Any) -> Iterator[tuple[str, str]]:
    """Name and SQL of every query: of variables, annotations and panels."""
    for variable in dashboard["templating"]["list"]:
        yield f"variable {variable['name']}", variable["query"]
    for annotation in dashboard["annotations"]["list"]:
        if "target" in annotation:
            yield f"annotation {annotation['name']}", annotation["target"]["rawSql"]
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            if "rawSql" in target:
                yield f"panel {panel['title']}", target["rawSql"]


ALL_QUERIES = [pytest.param(sql, id=f"{file.stem}: {name}") for file in DASHBOARDS for name, sql in queries(load(file))]


def as_grafana_would(sql: str, **variables: list[str]) -> str:
    """Variables and macros filled in as Grafana's PostgreSQL data source does."""
    sql = re.sub(
        r"\$\{(\w+):sqlstring\}", lambda found: ",".join("'" + text.replace("'", "''") + "'" for text in variables[found[1]]), sql
    )
    sql = re.sub(r"\$\{(\w+):doublequote\}", lambda found: ",".join(f'"{text}"' for text in variables[found[1]]), sql)
    sql = sql.replace("$__timeGroupAlias(time, $__interval)", 'floor(extract(epoch from time)/60)*60 AS "time"')
    for macro, seconds in (("From", RANGE_S[0]), ("To", RANGE_S[1])):
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
    site.store_readings([Reading("it's text", 1_767_225_600_000_000, "ok", None)])
    made = site.client.post(f"/api/v1/devices/{DEVICE}/commands", json={"kind": "switch", "provider": "Azul Telecom"}).get_json()
    site.happen(made["id"], Event.SENT, Event.RECEIVED, Event.PROVED, Event.CLOSED)


def run(reader: psycopg.Connection[Any], sql: str) -> tuple[list[str], list[Any]]:
    cursor = reader.execute(as_grafana_would(sql, device=[DEVICE], sensor=["cpu.percent", "it's text"], scale=["percent"]))  # type: ignore[arg-type]
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
    drawn = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    sources = {item["datasource"]["uid"] for item in [*drawn, *dashboard["annotations"]["list"]]}
    assert sources <= {known["uid"], "grafana", "-- Grafana --"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{(\w+)[:}]", json.dumps([dashboard["panels"], dashboard["annotations"]])))
    assert used <= variables | {"__field"}


def test_the_live_panel_listens_to_the_channel_that_is_pushed_to() -> None:
    [live] = [panel for panel in load(GRAFANA / "dashboards/device.json")["panels"] if panel["title"] == "Live"]
    assert live["targets"][0]["channel"] == "stream/simway/${channel}/${scale}"
    assert live["targets"][0]["queryType"] == "measurements"
