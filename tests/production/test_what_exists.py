"""The checks that are commands of their own: the wheel, the tools of deploy/, and the machine of size S."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.production.rows import Row

ROOT = Path(__file__).parents[2]


def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a command in the checkout, without settings of Curhat."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CURHAT_")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.row(
    "wheel outside a checkout: built, installed, curhat up, the clients load", "the status 200 each"
)
def test_the_wheel_works_outside_a_checkout(tmp_path: Path, row: Row) -> None:
    built = run(Path(sys.prefix, "bin", "hatchling"), "build", "--target", "wheel", "--directory", tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    used = run(sys.executable, "-m", "tests.wheel", wheel)
    for line in used.stdout.splitlines():
        row.note(line.replace("curhat-", "").strip())
    row.explain(used.stderr[-500:])
    row.expect(used.returncode == 0, "200 each" if used.returncode == 0 else "not 200")
    row.finish()


@pytest.mark.row(
    "systemd, container, Kubernetes, PgBouncer, pgBackRest, HAProxy and Caddy files",
    "each tool's own checker is clean",
)
def test_each_file_of_deploy_passes_the_checker_of_its_tool(row: Row) -> None:
    command = (sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider")
    checked = run(*command, "tests/unit/test_deploy_files.py", "tests/integration/test_deploy_tools.py")
    said = checked.stdout.splitlines()
    row.expect(checked.returncode == 0, said[-1] if said else "no output")
    for reason in sorted(
        {match[1] for match in re.finditer(r"^SKIPPED .*: (.*)$", checked.stdout, re.MULTILINE)}
    ):
        row.note(reason)
    row.explain(checked.stdout[-1000:])
    row.finish()


@pytest.mark.row("Prometheus files", "promtool is clean, each alert has its unit tests")
def test_prometheus_accepts_its_files_and_the_alerts_pass_their_tests(row: Row) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; apt install prometheus")
    checked = run("make", "check-prometheus")
    rules = re.findall(r"(\d+) rules found", checked.stdout)
    row.expect(checked.returncode == 0, f"{rules[0] if rules else 'no'} rules, their unit tests pass")
    row.explain(checked.stdout + checked.stderr)
    row.finish()


@pytest.mark.row("previous release on the new schema", "journeys pass")
def test_the_previous_release_runs_on_the_new_schema(row: Row) -> None:
    checked = run(sys.executable, "-m", "tests.previous_release")
    for line in checked.stdout.splitlines()[-2:]:
        row.note(line)
    row.explain(checked.stdout[-2000:] + checked.stderr[-1000:])
    row.expect(checked.returncode == 0, "journeys pass" if checked.returncode == 0 else "journeys fail")
    row.finish()


@pytest.mark.row(
    "restore to a point in time after damage", "invariants hold, epochs changed, charges reconciled"
)
def test_a_restore_to_a_point_in_time(row: Row) -> None:
    names = ("test_restore.py", "test_point_in_time.py")
    tests = [path for name in names if (path := ROOT / "tests" / "integration" / name).exists()]
    checked = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    said = checked.stdout.splitlines()
    shown = ", ".join(path.name for path in tests)
    row.expect(checked.returncode == 0, f"{shown}: {said[-1] if said else 'no output'}")
    row.explain(checked.stdout[-2000:])
    row.finish()
