"""Run deploy/bin/curhat-deploy against stand-ins for the commands that it calls."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "bin" / "curhat-deploy"
DAY_SECONDS = 24 * 3600
# A server's metrics. The stand-in for curl answers with the text of the version that serves.
METRICS = """\
curhat_build_info{{process="server",version="{version}"}} 1.0
curhat_http_request_seconds_count{{method="GET",path="/state",status="200"}} {fine}
curhat_http_request_seconds_count{{method="GET",path="/state",status="500"}} {errors}
curhat_http_request_seconds_bucket{{method="GET",path="/state",status="500",le="5"}} 99999
"""


class Machine:
    """A machine on which version `old` serves and `new` is installed. Its commands write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "opt"
        self.log = folder / "log"
        for version in ("old", "new"):
            (self.root / "versions" / version / "bin").mkdir(parents=True)
            (self.root / "versions" / version / "bin" / "curhat").touch(mode=0o755)
            self.serves(version, fine=10_000, errors=3)
        (self.root / "current").symlink_to("versions/old")
        self.backup_age(3_600)
        (folder / "bin").mkdir()
        self.command(
            "systemctl",
            '[ "$1" = list-units ] && cat <<END\n'
            "curhat-serve@1.service a\ncurhat-worker@1.service b\nEND\n"
            f'[ "$1" = list-units ] || echo "systemctl $*" >> {self.log}',
        )
        self.command("systemd-run", f'while [ "$1" != sh ]; do shift; done; shift; echo "$*" >> {self.log}')
        self.command("curhat-admin", f'echo "curhat-admin $*" >> {self.log}')
        self.command("curhat-restart", f'echo "restart with $(readlink {self.root}/current)" >> {self.log}')
        self.command("curl", f"cat {self.root}/$(readlink {self.root}/current)/metrics")
        self.command("runuser", f"cat {folder}/backups")
        self.command("sleep", "exit 0")

    def command(self, name: str, text: str) -> None:
        """Make a stand-in for a command."""
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def serves(self, version: str, *, fine: int, errors: int) -> None:
        """Say how many requests a server of this version answers, and how many with an error."""
        text = METRICS.format(version=version, fine=fine, errors=errors)
        (self.root / "versions" / version / "metrics").write_text(text)

    def backup_age(self, seconds: float) -> None:
        """Say how old the newest backup is."""
        stop = int(time.time() - seconds)
        (self.folder / "backups").write_text(
            f'[{{"backup": [{{"timestamp": {{"stop": 5}}}}, {{"timestamp": {{"stop": {stop}}}}}]}}]'
        )

    @property
    def current(self) -> str:
        """The version that would start now."""
        return (self.root / "current").readlink().name

    def deploy(self, *arguments: str) -> tuple[int, Sequence[str], str]:
        """Run the script. Returns its exit status, what was done, and its errors."""
        ended = subprocess.run(
            [SCRIPT, *arguments],
            env={
                "PATH": f"{self.folder}/bin:/usr/bin:/bin",
                "DEPLOY_ROOT": str(self.root),
                "DEPLOY_WATCH_SECONDS": "20",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        done = self.log.read_text().splitlines() if self.log.exists() else []
        return ended.returncode, [line.replace(f"{self.root}/", "") for line in done], ended.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


DOCTOR = "curhat-admin doctor --production"
BEFORE = "versions/new/bin/curhat migrate --before"


def test_a_deploy_asks_doctor_migrates_and_then_restarts(machine: Machine) -> None:
    status, done, errors = machine.deploy("new")
    assert (status, errors) == (0, "")
    assert done == [DOCTOR, BEFORE, "restart with versions/new"]
    assert machine.current == "new"


def test_without_a_backup_of_today_the_deploy_makes_one_first(machine: Machine) -> None:
    machine.backup_age(2 * DAY_SECONDS)
    _, done, _ = machine.deploy("new")
    assert done == [DOCTOR, "systemctl start curhat-backup@diff", BEFORE, "restart with versions/new"]


def test_when_doctor_finds_a_fault_nothing_is_changed(machine: Machine) -> None:
    machine.command("curhat-admin", "exit 1")
    status, done, errors = machine.deploy("new")
    assert (status, done, machine.current) == (1, [], "old")
    assert "nothing was changed" in errors


def test_when_the_migration_fails_nothing_is_restarted(machine: Machine) -> None:
    machine.command("systemd-run", "exit 1")
    status, done, _ = machine.deploy("new")
    assert (status, done, machine.current) == (1, [DOCTOR], "old")


def test_when_a_process_of_the_new_version_is_not_ready_the_previous_version_comes_back(
    machine: Machine,
) -> None:
    machine.command(
        "curhat-restart",
        f"version=$(readlink {machine.root}/current)\n"
        f'echo "restart with $version" >> {machine.log}; [ $version != versions/new ]',
    )
    status, done, errors = machine.deploy("new")
    assert (status, machine.current) == (1, "old")
    assert done[-2:] == ["restart with versions/new", "restart with versions/old"]
    assert "new is not deployed, and old serves" in errors


def test_when_too_many_requests_fail_the_previous_version_comes_back(machine: Machine) -> None:
    machine.serves("new", fine=500, errors=20)
    status, done, errors = machine.deploy("new")
    assert (status, machine.current) == (1, "old")
    assert done[-1] == "restart with versions/old"
    assert "20 of 520 requests failed" in errors


def test_a_few_errors_among_few_requests_do_not_undo_a_deploy(machine: Machine) -> None:
    machine.serves("new", fine=20, errors=9)
    status, _, _ = machine.deploy("new")
    assert (status, machine.current) == (0, "new")


def test_the_second_migration_waits_until_every_process_runs_the_version(machine: Machine) -> None:
    status, done, errors = machine.deploy("--after", "new")
    assert (status, done) == (1, [])
    assert "does not run new" in errors
    machine.deploy("new")
    status, done, _ = machine.deploy("--after", "new")
    assert (status, done[-1]) == (0, "versions/new/bin/curhat migrate --after")


@pytest.mark.parametrize("arguments", [(), ("unknown",), ("--force", "new")])
def test_a_version_that_is_not_installed_or_an_unknown_option_is_refused(
    machine: Machine, arguments: tuple[str, ...]
) -> None:
    status, done, _ = machine.deploy(*arguments)
    assert (status, done) == (1, [])
