"""Alert rules, Prometheus' configuration and the examples of docs/observability.md name what the processes serve."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram
from simway_backbone import metrics
from simway_testing import REPOSITORY, unavailable

HERE = REPOSITORY / "observability"
LAYERS = ("docker-compose.yml", "compose.observability.yml")
ADDED = {"process", "job", "instance", "le"}
"""Labels that Prometheus itself puts on."""
KEYWORDS = {"by", "without", "ignoring", "on", "group_left", "group_right"}


def asked_for() -> dict[str, set[str]]:
    """Every name that may be asked for, with its labels."""
    found: dict[str, set[str]] = {"up": set()}
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (family,) = metric.describe()
            endings = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[family.type]
            found |= {family.name + ending: set(metric._labelnames) for ending in endings}
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((HERE / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def examples() -> list[str]:
    text = (REPOSITORY / "docs" / "observability.md").read_text().split("in PromQL:", 1)[1].split("```")[1]
    return [line for line in text.strip().splitlines() if not line.startswith("#")]


def drawn() -> list[str]:
    """What the dashboards ask of Prometheus."""
    found = []
    for file in sorted((REPOSITORY / "grafana" / "dashboards").glob("*.json")):
        panels = json.loads(file.read_text())["panels"]
        targets = [
            target for outer in panels for panel in (outer, *outer.get("panels", ())) for target in panel.get("targets", ())
        ]
        found += [target["expr"] for target in targets if "expr" in target]
    return found


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + examples() + drawn()


@pytest.mark.parametrize("expression", expressions())
def test_expressions_ask_for_what_is_served(expression: str) -> None:
    known = asked_for()
    names = set(re.findall(r"\bsimway_\w+|\bup\b", expression))
    assert names <= known.keys(), names - known.keys()
    labels = ADDED.union(*(known[name] for name in names))
    matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    grouped = {
        label.strip()
        for keyword, inside in re.findall(r"\b(\w+)\s*\(([^()]*)\)", expression)
        if keyword in KEYWORDS
        for label in inside.split(",")
    }
    assert matched | grouped <= labels, (matched | grouped) - labels
    for opened, closed in ("()", "{}", "[]"):
        assert expression.count(opened) == expression.count(closed)
    if re.search(r"simway_\w+_total\b", expression):
        assert re.search(r"\b(rate|increase)\(", expression), "a counter is asked for by its rate"


def test_rules_say_what_is_wrong_and_how_bad_it_is() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


def test_a_rule_for_too_little_sees_nothing_at_all() -> None:
    """Of a process that is away there is no series: a sum over none is no figure, and no figure is not below any."""
    too_little = [rule for rule in rules() if re.search(r"<\s*\d", rule["expr"])]
    assert too_little
    for rule in too_little:
        assert "or vector(0)" in rule["expr"], rule["alert"]


def test_a_check_that_flaps_is_not_well() -> None:
    """A recorder whose store refuses every write begins anew, and is well until the next one: never ill for a minute."""
    (rule,) = [rule for rule in rules() if rule["alert"] == "SimwayNotReady"]
    assert "min_over_time(simway_health_check[" in rule["expr"]


def test_a_rule_for_a_single_loss_sees_the_first() -> None:
    """A counter with a label begins with its first event, at 1: it has not increased."""
    found = [(rule, metric) for rule in rules() for metric in re.findall(r"increase\((\w+)\[1h\]\) > 0", rule["expr"])]
    assert found
    for rule, metric in found:
        assert f"or ({metric} > 0 unless {metric} offset 1h)" in rule["expr"], rule["alert"]


def test_prometheus_reads_every_process_of_the_stack() -> None:
    services = yaml.safe_load((REPOSITORY / LAYERS[0]).read_text())["services"]
    served = {
        name: int(service["environment"]["HEALTH_URL"].rsplit(":", 1)[1].split("/")[0])
        for name, service in services.items()
        if "HEALTH_URL" in service.get("environment", {})
    }
    assert served.keys() == metrics.SERVED_BY.keys()
    jobs = yaml.safe_load((HERE / "prometheus.yml").read_text())["scrape_configs"]
    targets = {one for job in jobs for group in job.get("static_configs", []) for one in group["targets"]}
    targets |= {f"{name}:{group['port']}" for job in jobs for group in job.get("dns_sd_configs", []) for name in group["names"]}
    assert targets == {f"{name}:{port}" for name, port in served.items()}


def test_compose_asks_every_process_whether_it_is_ready() -> None:
    services = yaml.safe_load((REPOSITORY / LAYERS[0]).read_text())["services"]
    for name in metrics.SERVED_BY:
        assert services[name]["environment"]["HEALTH_URL"].endswith("/health/ready"), name
        assert "HEALTH_URL" in str(services[name]["healthcheck"]), name


def test_the_layer_is_published_on_this_machine_only_and_compose_takes_it() -> None:
    layer = yaml.safe_load((REPOSITORY / LAYERS[1]).read_text())
    assert all(port.startswith("127.0.0.1:") for port in layer["services"]["prometheus"]["ports"])
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        unavailable("docker compose: https://docs.docker.com/compose/install/")
    files = [argument for layer in LAYERS for argument in ("-f", layer)]
    done = subprocess.run(
        ["docker", "compose", *files, "config", "--quiet"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
