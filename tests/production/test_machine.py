"""Size S of docs/operating.md: one machine with Caddy, and what of it can run here."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.production import journey
from tests.production.bed import Bed
from tests.production.people import Crowd
from tests.production.rows import Row

# Statements are prepared, which PgBouncer can do in transaction mode since this version.
MIN_PGBOUNCER = (1, 21)


@pytest.mark.row(
    "one machine (S): Caddy, two servers, two workers, Valkey with the files of deploy/",
    "a whole journey over Caddy's TLS",
)
async def test_a_whole_journey_behind_caddy(bed: Bed, row: Row) -> None:
    if shutil.which("caddy") is None:
        pytest.skip("Caddy is not installed; apt install caddy")
    await bed.caddy.start()
    bed.port, haproxy_port = bed.caddy_port, bed.port
    try:
        async with bed.http(bed.caddy_authority()) as http:
            await bed.until_the_proxy_serves(http)
            crowd = Crowd(bed, http)
            try:
                row.note(await journey.check_pages(crowd))
                steps = [step async for step in journey.whole_journey(crowd, number=2)]
                row.note(f"{len(steps)} steps of a journey; {steps[-2]}")
            finally:
                await crowd.stop()
    finally:
        bed.port = haproxy_port
        await bed.caddy.kill_now()
    row.finish()


@pytest.mark.row("one machine (S): the systemd units start and restart", "each process is ready")
def test_the_units_run_under_systemd() -> None:
    if not Path("/run/systemd/system").is_dir():
        pytest.skip(
            "systemd does not run on this machine. On a Debian server, docs/operating.md steps 1 to 6 start the units"
        )
    pytest.skip("this check must not change the machine; docs/operating.md steps 1 to 6 start the units")


@pytest.mark.row("one machine (S): PgBouncer in transaction mode before PostgreSQL", "a whole journey")
def test_pgbouncer_before_postgresql(row: Row) -> None:
    if shutil.which("pgbouncer") is None:
        pytest.skip("PgBouncer is not installed; apt install pgbouncer (1.21 or newer, from PGDG)")
    said = subprocess.run(["pgbouncer", "--version"], capture_output=True, text=True, check=True).stdout
    found = tuple(map(int, re.findall(r"\d+", said)[:2]))
    if found < MIN_PGBOUNCER:
        pytest.skip(f"PgBouncer {found[0]}.{found[1]} is installed; 1.21 or newer is needed (from PGDG)")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/deploy/test_pgbouncer.py",
    ]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    said_lines = checked.stdout.splitlines()
    row.expect(checked.returncode == 0, said_lines[-1] if said_lines else "no output")
    row.explain(checked.stdout[-2000:])
    row.finish()
