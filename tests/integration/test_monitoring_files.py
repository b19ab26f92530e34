"""Test the files of deploy/prometheus/ and deploy/grafana/ against the metrics of a real server and worker.

If promtool is installed, the tool also checks the rules and runs the unit tests of the rules. The Debian package
prometheus contains promtool.
"""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from curhat.dev.embedded import EmbeddedServers
from tests.support.databases import create_database
from tests.support.processes import ServerProcess, WorkerProcess
from tests.support.signed_in import environment_of, free_port

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = yaml.safe_load((PROMETHEUS / "curhat.rules.yml").read_text())["groups"][0]["rules"]
RULE_TESTS = yaml.safe_load((PROMETHEUS / "curhat.rules.test.yml").read_text())["tests"]
DASHBOARDS = {
    path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "deploy" / "grafana").glob("*.json"))
}
PUBLISH = ROOT / "deploy" / "bin" / "curhat-publish"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()

# Published by the backup and by the restore drill, through node_exporter.
FROM_THE_MACHINE = {
    "curhat_backup_completed_timestamp_seconds",
    "curhat_restore_drill_completed_timestamp_seconds",
}

METRIC = re.compile(r"\b(?:curhat|process)_[a-z_]+\b")
# A metric with labels has no sample before its first event, so the scrape shows only the metric's type.
SAMPLE_SUFFIX = re.compile(r"_(?:total|bucket|count|sum|created)$")


def expressions_of(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def names_in(expressions: list[str]) -> set[str]:
    """Return the metrics that PromQL expressions name. The texts of label matchers are not metrics."""
    return {name for text in expressions for name in METRIC.findall(re.sub(r'"[^"]*"', "", text))}


def families_of(scrape: str) -> set[str]:
    return {SAMPLE_SUFFIX.sub("", family.name) for family in text_string_to_metric_families(scrape)}


@pytest.fixture(scope="module")
async def scraped(
    servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, set[str]]]:
    """Return the metrics of a new server and of a new worker.

    The server and the worker run as processes, because each process has only one registry of metrics.
    """
    admin = await asyncpg.connect(servers.database_url)
    await create_database(admin, "scraped", template)
    await admin.close()
    url = servers.database_url.replace("/curhat?", "/scraped?")
    folder = tmp_path_factory.mktemp("processes")
    port = free_port()
    environment = environment_of(url, servers.valkey_url)
    server = ServerProcess(folder, "server", environment)
    worker = WorkerProcess(folder, "worker", {**environment, "CURHAT_OPERATIONS_PORT": str(port)})
    try:
        await asyncio.gather(server.start(), worker.start())
        of_worker = await server.http.get(f"http://127.0.0.1:{port}/metrics")
        yield {
            "server": families_of((await server.http.get("/metrics")).text),
            "worker": families_of(of_worker.text),
        }
    finally:
        await asyncio.gather(server.close(), worker.close())


async def test_every_metric_that_an_alert_or_a_dashboard_names_exists_in_a_server_or_a_worker(
    scraped: dict[str, set[str]],
) -> None:
    expressions = [rule["expr"] for rule in RULES]
    for dashboard in DASHBOARDS.values():
        expressions += expressions_of(dashboard)
    named = {SAMPLE_SUFFIX.sub("", name) for name in names_in(expressions)}
    assert len(named) > 40
    assert named - scraped["server"] - scraped["worker"] == FROM_THE_MACHINE


async def test_each_metric_of_an_alert_except_the_http_metric_exists_in_a_server_and_in_a_worker(
    scraped: dict[str, set[str]],
) -> None:
    """If all servers are down, the workers still raise the alert.

    If all workers are down, the servers still raise the alert.
    """
    of_servers_only = {"curhat_http_request_seconds"}
    assert of_servers_only & scraped["worker"] == set()
    named = {SAMPLE_SUFFIX.sub("", name) for name in names_in([rule["expr"] for rule in RULES])}
    assert named - of_servers_only - (scraped["server"] & scraped["worker"]) == FROM_THE_MACHINE


def test_the_backup_and_the_drill_publish_the_metrics_that_the_alerts_name() -> None:
    published: set[str] = set()
    for path in [*PUBLISH.parent.iterdir(), *(ROOT / "deploy" / "systemd").iterdir()]:
        published |= set(re.findall(r"curhat-publish (curhat_\w+)", path.read_text()))
    assert published >= FROM_THE_MACHINE


def test_the_runbook_entry_of_each_alert_has_the_parts_look_and_do_and_tell() -> None:
    names = [rule["alert"] for rule in RULES]
    entries = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
    assert len(names) >= 10
    assert sorted(entries) == sorted(names)
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
        for word in ("**Look:**", "**Do:**", "**Tell:**"):
            assert word in entries[rule["alert"]]


def test_each_alert_has_one_unit_test_in_which_it_fires_and_one_in_which_it_does_not_fire() -> None:
    fires: set[str] = set()
    quiet: set[str] = set()
    for test in RULE_TESTS:
        for one in test["alert_rule_test"]:
            (fires if one["exp_alerts"] else quiet).add(one["alertname"])
    assert fires == quiet == {rule["alert"] for rule in RULES}


def test_there_are_five_dashboards_and_every_panel_has_a_description() -> None:
    assert set(DASHBOARDS) == {"people", "money", "time", "realtime", "machinery"}
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == 5
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            assert panel["title"]
            assert panel["description"]
            assert panel["targets"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_rules_and_the_configuration_and_every_unit_test() -> None:
    for command in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "curhat.rules.yml"],
        ["test", "rules", "curhat.rules.test.yml"],
    ):
        done = subprocess.run(
            ["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
