"""Test the files of deploy/ and docs/operating.md against the code, without the tools that use the files.

The command `make check-deploy` also runs the tools (tests/integration/test_deploy_tools.py).
"""

import configparser
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from curhat.accounts.cookies import _PATHS
from curhat.app.cli.main import COMMANDS
from curhat.app.static_files import CLIENTS
from curhat.kit.database import session_settings
from curhat.kit.settings import FILE_SUFFIX, PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SYSTEMD = DEPLOY / "systemd"
OPERATING = ROOT / "docs" / "operating.md"
FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]

SECRETS = {item.name.upper() for item in fields(Settings) if not item.repr}
KNOWN = {item.name.upper() for item in fields(Settings)} | {name + FILE_SUFFIX for name in SECRETS}
HOSTS = {"app": "app.example.id", "mitra": "mitra.example.id", "control-center": "control.example.id"}
MAX_STOP_SECONDS = 45  # docs/decisions/0093


def variables_in(text: str) -> dict[str, str]:
    """Return the variables of an environment file."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def unit(name: str) -> dict[str, list[str]]:
    """Return the values of each key of a systemd unit."""
    values: dict[str, list[str]] = {}
    for line in (SYSTEMD / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(key, []).append(value)
    return values


def environment_of_unit(name: str, instance: str) -> dict[str, str]:
    return {
        key: value.replace("%i", instance)
        for key, _, value in (text.partition("=") for text in unit(name)["Environment"])
    }


def kubernetes_objects() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for item in kubernetes_objects():
        if item["kind"] in ("Deployment", "Job"):
            yield item["metadata"]["name"], item["spec"]["template"]["spec"]


@pytest.mark.parametrize("path", [*FILES, OPERATING], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_that_a_deploy_file_names_exists(path: Path) -> None:
    # The text `CURHAT_…_FILE` stands for the variable of any secret.
    named = set(re.findall(rf"\b{PREFIX}([A-Z0-9_]+)", path.read_text()))
    assert named - KNOWN == set()


@pytest.mark.parametrize("source", ["systemd", "kubernetes"])
def test_the_settings_of_a_deployment_are_accepted_in_production(source: str, tmp_path: Path) -> None:
    if source == "systemd":
        environ = variables_in((SYSTEMD / "curhat.env").read_text())
        environ |= environment_of_unit("curhat-serve@.service", "1")
    else:
        (environ,) = [item["data"] for item in kubernetes_objects() if item["kind"] == "ConfigMap"]
    assert not {name.removeprefix(PREFIX) for name in environ} & SECRETS
    secrets = {
        "database_url": "postgresql://curhat:secret@localhost:5432/curhat",
        "valkey_url": "valkey://curhat:secret@localhost:6379/0",
        "secret_key": "0123456789abcdef" * 4,
        "vapid_private_key": "A" * 42 + "E=",
        "whatsapp_access_token": "token",
        "twilio_auth_token": "token",
    }
    for name, value in secrets.items():
        (tmp_path / name).write_text(value + "\n")
    files = {
        name: str(tmp_path / Path(path).name) for name, path in environ.items() if name.endswith("_FILE")
    }
    assert {Path(path).name for path in files.values()} == secrets.keys()
    settings = Settings.from_environment({**environ, **files})
    assert [origin.removeprefix("https://") for origin in settings.public_origins] == list(HOSTS.values())
    assert settings.code_senders == ("whatsapp", "sms")


def test_no_two_instances_of_a_unit_have_the_same_address() -> None:
    addresses, names = [], set()
    for instance in "123456789":
        server = environment_of_unit("curhat-serve@.service", instance)
        worker = environment_of_unit("curhat-worker@.service", instance)
        names |= server.keys() | worker.keys()
        addresses += [
            (server["CURHAT_HOST"], server["CURHAT_PORT"]),
            (server["CURHAT_OPERATIONS_HOST"], server["CURHAT_OPERATIONS_PORT"]),
            (worker["CURHAT_OPERATIONS_HOST"], worker["CURHAT_OPERATIONS_PORT"]),
        ]
    assert len(set(addresses)) == len(addresses)
    # The environment file would override these variables.
    assert not variables_in((SYSTEMD / "curhat.env").read_text()).keys() & names


def test_the_proxies_and_prometheus_name_the_addresses_of_the_units() -> None:
    servers = [environment_of_unit("curhat-serve@.service", instance) for instance in "12"]
    workers = [environment_of_unit("curhat-worker@.service", instance) for instance in "12"]
    upstreams = [f"{server['CURHAT_HOST']}:{server['CURHAT_PORT']}" for server in servers]
    port = servers[0]["CURHAT_OPERATIONS_PORT"]
    caddy = (DEPLOY / "caddy" / "Caddyfile").read_text()
    assert f"reverse_proxy {' '.join(upstreams)} {{" in caddy
    assert f"health_port {port}\n" in caddy
    haproxy = (DEPLOY / "haproxy" / "servers.cfg").read_text()
    assert re.findall(r"^    server \S+ (\S+)", haproxy, re.MULTILINE) == upstreams
    assert f"check port {port}" in haproxy
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in prometheus["scrape_configs"]}
    assert targets == {
        f"curhat-{name}": [f"{it['CURHAT_OPERATIONS_HOST']}:{it['CURHAT_OPERATIONS_PORT']}" for it in found]
        for name, found in (("server", servers), ("worker", workers))
    } | {"machine": ["127.0.0.1:9100"]}


def test_each_client_has_a_host_with_only_its_own_paths() -> None:
    assert set(HOSTS) == set(CLIENTS)
    api = {path.strip("/").rpartition("/")[2] for path in _PATHS.values()}
    caddy = (DEPLOY / "caddy" / "Caddyfile").read_text()
    sites = dict(re.findall(r"^(\S+\.example\.id) \{\n\timport client (.+)$", caddy, re.MULTILINE))
    assert sites == {
        "app.example.id": "app client /api/gateway/webhook",
        "mitra.example.id": "mitra mitra /mitra/",
        "control.example.id": "control-center control-center /control-center/",
    }
    assert {line.split()[1] for line in sites.values()} == api


def test_the_ingress_has_a_host_per_client_with_the_paths_of_the_caddyfile() -> None:
    (ingress,) = [item for item in kubernetes_objects() if item["kind"] == "Ingress"]
    (service,) = [item for item in kubernetes_objects() if item["kind"] == "Service"]
    rules = {
        rule["host"]: {path["path"]: path["backend"]["service"] for path in rule["http"]["paths"]}
        for rule in ingress["spec"]["rules"]
    }
    caddy = (DEPLOY / "caddy" / "Caddyfile").read_text()
    for host, arguments in re.findall(r"^(\S+\.example\.id) \{\n\timport client (.+)$", caddy, re.MULTILINE):
        client, api, more = arguments.split()
        paths = {f"/{client}", f"/api/{api}", more} - {f"/{client}/"}
        backend = {"name": service["metadata"]["name"], "port": {"name": service["spec"]["ports"][0]["name"]}}
        assert rules.pop(host) == dict.fromkeys(paths, backend)
    assert rules == {}
    assert ingress["spec"]["tls"][0]["hosts"] == list(HOSTS.values())


@pytest.mark.parametrize("name", ["curhat-serve@.service", "curhat-worker@.service"])
def test_each_unit_allows_the_stop_time_that_the_code_needs(name: str) -> None:
    assert unit(name)["TimeoutStopSec"] == [str(MAX_STOP_SECONDS)]
    assert int(unit(name)["LimitNOFILE"][0]) >= 65_536


def test_only_the_commands_roles_and_migrate_know_the_owner_of_the_tables() -> None:
    knowing = {path.name for path in SYSTEMD.iterdir() if "owner_database_url" in path.read_text().lower()}
    assert knowing == {"curhat-roles@.service", "curhat-migrate@.service"}
    pods_with = {
        name for name, pod in pods() if "owner" in yaml.safe_dump(pod).lower().replace("fsgroup", "")
    }
    assert pods_with == {"curhat-migrate"}


def test_pods_run_without_privileges_and_stop_in_time() -> None:
    for name, pod in pods():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if container["args"][0] != "migrate":
            assert pod["terminationGracePeriodSeconds"] == MAX_STOP_SECONDS
            assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
            assert container["startupProbe"]["httpGet"]["path"] == "/readyz"


def test_a_policy_or_budget_selects_the_labels_of_a_pod() -> None:
    labels = [
        item["spec"]["template"]["metadata"]["labels"]
        for item in kubernetes_objects()
        if item["kind"] in ("Deployment", "Job")
    ]
    selectors = []
    for item in kubernetes_objects():
        spec = item.get("spec", {})
        found = spec.get("podSelector") or spec.get("selector")
        if found:
            selectors.append(found.get("matchLabels", found))
    assert len(selectors) == 6
    assert all(any(selector.items() <= found.items() for found in labels) for selector in selectors)


def test_pgbouncer_ignores_each_setting_that_a_process_names() -> None:
    parser = configparser.ConfigParser(comment_prefixes=(";",))
    parser.read(DEPLOY / "pgbouncer" / "pgbouncer.ini")
    ignored = parser["pgbouncer"]["ignore_startup_parameters"].split(",")
    assert set(ignored) == session_settings().keys()
    assert parser["pgbouncer"]["pool_mode"] == "transaction"


def test_the_container_copies_only_files_of_its_context_and_does_not_run_as_root() -> None:
    folder = DEPLOY / "container"
    text = (folder / "Containerfile").read_text()
    (sources,) = re.findall(r"^COPY (?!--from)(.+) /build/$", text, re.MULTILINE)
    admitted = {
        line[1:] for line in (folder / "Containerfile.dockerignore").read_text().split() if line[0] == "!"
    }
    assert set(sources.split()) == admitted
    assert (ROOT / "requirements-production.lock").is_file()
    users = re.findall(r"^USER (\d+):", text, re.MULTILINE)
    assert users == [str(pod["securityContext"]["runAsUser"]) for _, pod in pods()][:1]


@pytest.fixture
def restart(tmp_path: Path) -> Callable[[str], tuple[int, list[str]]]:
    """Run curhat-restart with three units.

    During the run, `curl` fails for the given URL. Returns the exit status and the list of actions.
    """

    def run(url_of_failure: str) -> tuple[int, list[str]]:
        log = tmp_path / "log"
        units = "curhat-serve@1.service a\ncurhat-serve@2.service b\ncurhat-worker@1.service c"
        programs = {
            "systemctl": f'[ $1 = list-units ] && printf "{units}" || echo "$@" >> {log}',
            "curl": f'for url; do :; done; [ $url != "{url_of_failure}" ] && echo "asked $url" >> {log}',
            "sleep": "exit 0",
        }
        for name, text in programs.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        done = subprocess.run(
            [DEPLOY / "bin" / "curhat-restart"],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            check=False,
        )
        return done.returncode, log.read_text().splitlines()

    return run


def test_curhat_restart_restarts_one_process_after_the_other(
    restart: Callable[[str], tuple[int, list[str]]],
) -> None:
    assert restart("") == (
        0,
        [
            "restart curhat-serve@1.service",
            "asked http://127.0.0.11:9000/readyz",
            "restart curhat-serve@2.service",
            "asked http://127.0.0.12:9000/readyz",
            "restart curhat-worker@1.service",
            "asked http://127.0.0.21:9001/readyz",
        ],
    )


def test_curhat_restart_stops_at_the_first_process_that_is_not_ready(
    restart: Callable[[str], tuple[int, list[str]]],
) -> None:
    status, done = restart("http://127.0.0.11:9000/readyz")
    assert (status, done) == (1, ["restart curhat-serve@1.service"])


def test_the_operating_document_names_only_commands_that_exist() -> None:
    text = OPERATING.read_text()
    named = set(re.findall(r"^curhat-admin ([a-z]+)", text, re.MULTILINE))
    outside_of_blocks = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    named |= set(re.findall(r"`curhat(?:-admin)? ([a-z]+)\b", outside_of_blocks))
    assert named - {command.__name__.rpartition(".")[2] for command in COMMANDS} == set()
    assert len(named) > 5
    targets = set(re.findall(r"`make ([a-z-]+)", text))
    assert targets - set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)) == set()


def test_the_document_names_only_files_that_exist() -> None:
    text = OPERATING.read_text()
    paths = re.findall(r"(?<![\w/.-])((?:deploy|docs|src)/[\w./@-]+\w)", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    # A file without a mention in the document would never reach a machine.
    folders = {str(path.parent.relative_to(ROOT)) for path in FILES}
    assert [folder for folder in sorted(folders) if folder not in text] == []
