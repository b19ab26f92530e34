"""Run pgBackRest with the files of deploy/ against PostgreSQL, and the drill of deploy/bin: `make check-backups`.

Needs a pgBackRest that knows PostgreSQL 18, such as PGDG's. The bucket is a folder here. Everything else of
deploy/pgbackrest and deploy/postgresql is used as it is, except for the paths.
"""

import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from curhat.kit.database import Database
from curhat.kit.migrations import migrate
from curhat.payments import service as payments
from curhat.pricing.schemas import Offer
from tests.deploy import last_runs
from tests.deploy.machine import DEPLOY, Machine, dotted, machine, needs, postgresql, replaced, version_of
from tests.support.people import Make
from tests.support.signed_in import free_port

# The first release that knows PostgreSQL 18.
MIN_VERSION = (2, 56)
VERSION = version_of("pgbackrest", "version")
pytestmark = needs("pgBackRest", VERSION, MIN_VERSION, "which knows PostgreSQL 18 (PGDG: package pgbackrest)")
DRILL = "curhat_restore_drill_completed_timestamp_seconds"
STANZA = ("pgbackrest", "--stanza=curhat")


def configuration_of_pgbackrest(place: Machine) -> str:
    text = (DEPLOY / "pgbackrest" / "pgbackrest.conf").read_text()
    text, removed = re.subn(r"^repo1-s3.*\n", "", text, flags=re.MULTILINE)
    assert removed > 2
    folder = place.folder
    return replaced(
        text,
        ("repo1-type=s3", "repo1-type=posix"),
        ("repo1-path=/curhat\n", f"repo1-path={folder}/bucket\nrepo1-cipher-pass=a passphrase\n"),
        ("lock-path=/var/spool/pgbackrest/lock", f"lock-path={folder}/spool/lock\nlog-path={folder}/logs"),
        ("spool-path=/var/spool/pgbackrest\n", f"spool-path={folder}/spool\n"),
        ("pg1-port=5432", f"pg1-port={place.environ['PGPORT']}"),
        ("pg1-path=/var/lib/postgresql/18/main", f"pg1-path={folder}/main\npg1-socket-path={folder}/sockets"),
    )


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Machine]:
    """A machine whose PostgreSQL has the product's settings, a migrated database, and a whole backup."""
    with machine() as made:
        folder, port = made.folder, free_port()
        for name in ("bucket", "spool", "logs", "metrics", "drills"):
            made.make_folder(name)
        made.environ |= {
            "PGHOST": f"{folder}/sockets",
            "PGPORT": str(port),
            "PGUSER": "postgres",
            "PGBACKREST_CONFIG": f"{folder}/pgbackrest.conf",
            "DRILL_PLACE": f"{folder}/drills/drill",
            "METRICS_DIRECTORY": f"{folder}/metrics",
            "DRILL_CURHAT": os.environ.get("DRILL_CURHAT", str(Path(sys.executable).with_name("curhat"))),
            "CURHAT_GATEWAY": "mock",
        }
        status, _ = await made.try_to_run(made.environ["DRILL_CURHAT"], "--version")
        assert status == 0, (
            "the account of PostgreSQL cannot run curhat; name one that it can run in DRILL_CURHAT"
        )
        (folder / "pgbackrest.conf").write_text(configuration_of_pgbackrest(made))
        program = f"PGBACKREST_CONFIG={folder}/pgbackrest.conf {shutil.which('pgbackrest')} --stanza"
        async with postgresql(made, port, ("'pgbackrest --stanza", f"'{program}")):
            await made.run(made.programs / "createdb", "curhat")
            connection = await asyncpg.connect(url_of(made))
            await migrate(connection)
            await connection.close()
            await made.run(*STANZA, "stanza-create")
            await made.run(*STANZA, "check")
            await made.run(*STANZA, "--type=full", "backup")
            yield made


def url_of(place: Machine) -> str:
    return f"postgresql://postgres@/curhat?host={place.folder}/sockets&port={place.environ['PGPORT']}"


@pytest.fixture(scope="module")
async def database(place: Machine) -> AsyncIterator[Database]:
    """The database that is backed up."""
    opened = await Database.connect(url_of(place), pool_size=2)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def make(database: Database) -> Make:
    """Makes people and payments in the database that is backed up."""
    return Make(database)


async def open_payment(make: Make, database: Database) -> None:
    """Open a payment, which waits for its customer. Every invariant holds."""
    offer = Offer(await make.offer(), duration_minutes=30, price_rp=20_000, is_trial=False)
    customer_id = await make.customer()
    async with database.transaction() as transaction:
        await payments.open_payment(transaction, customer_id, offer, 15)


def figure(place: Machine, name: str) -> float | None:
    """What node_exporter would read under this name."""
    file = place.folder / "metrics" / f"{name}.prom"
    return float(file.read_text().splitlines()[-1].removeprefix(f"{name} ")) if file.exists() else None


async def test_nothing_in_the_bucket_can_be_read_without_the_passphrase(place: Machine, make: Make) -> None:
    await make.customer("Nama yang dicari")
    await place.run(*STANZA, "check")
    files = [path for path in (place.folder / "bucket").rglob("*") if path.is_file()]
    assert {path.relative_to(place.folder / "bucket").parts[0] for path in files} == {"archive", "backup"}
    # How OpenSSL marks a file that it has encrypted.
    assert [path for path in files if path.read_bytes()[:8] != b"Salted__"] == []


async def test_a_drill_restores_everything_until_now_and_publishes_when(
    place: Machine, make: Make, database: Database
) -> None:
    assert figure(place, DRILL) is None
    await open_payment(make, database)
    began = time.monotonic()
    output = await place.run("curhat-backup-drill")
    seconds = time.monotonic() - began
    assert re.search(r"^restored to drill .*: 1 payments", output, re.MULTILINE)
    assert figure(place, DRILL) == pytest.approx(time.time(), abs=60)
    assert not (place.folder / "drills" / "drill").exists()
    # The drill fetched WAL. If it had done so with the lock of the running PostgreSQL, that one could not archive.
    assert not (place.folder / "spool" / "archive" / "curhat" / "in").exists()
    last_runs.record(
        "check-backups",
        f"pgBackRest {dotted(VERSION)}, PostgreSQL {await database.fetchval('SHOW server_version')}",
        f"a drill of a small database: {seconds:.1f} s",
    )


async def test_a_drill_restores_to_a_point_in_time(place: Machine, make: Make, database: Database) -> None:
    before = await database.fetchval("SELECT count(*) FROM payments")
    moment = await database.fetchval("SELECT clock_timestamp()::text")
    await open_payment(make, database)
    await place.run(*STANZA, "check")
    output = await place.run("curhat-backup-drill", moment)
    assert f"restored to {moment}: {before} payments" in output


async def test_a_drill_does_not_count_if_the_copy_breaks_an_invariant(
    place: Machine, make: Make, database: Database
) -> None:
    published = figure(place, DRILL)
    payment_id = await make.confirmed_payment(await make.customer())  # Neither a search nor a case.
    status, output = await place.try_to_run("curhat-backup-drill")
    assert status == 1
    assert str(payment_id) in output
    assert "error: the restored copy breaks an invariant" in output
    assert figure(place, DRILL) == published


async def test_a_drill_does_not_count_if_a_segment_of_wal_is_lost(place: Machine, make: Make) -> None:
    published = figure(place, DRILL)
    await make.customer()
    await place.run(*STANZA, "check")
    newest = max((place.folder / "bucket" / "archive").rglob("0*-*"), key=lambda path: path.name)
    newest.unlink()
    status, output = await place.try_to_run("curhat-backup-drill")
    assert status == 1
    assert "recovery ended before configured recovery target was reached" in output
    assert "error: the restored copy does not start" in output
    assert not (place.folder / "drills" / "drill").exists()
    assert figure(place, DRILL) == published


async def test_a_drill_deletes_nothing_that_no_drill_made(place: Machine) -> None:
    folder = place.make_folder("drills/drill")
    try:
        assert await place.try_to_run("curhat-backup-drill") == (
            1,
            f"error: {folder} exists, and no drill made it\n",
        )
    finally:
        folder.rmdir()


async def test_a_figure_is_published_as_a_whole(place: Machine) -> None:
    await place.run("curhat-publish", "curhat_test_seconds", "7", "A test.")
    assert (place.folder / "metrics" / "curhat_test_seconds.prom").read_text() == (
        "# HELP curhat_test_seconds A test.\n# TYPE curhat_test_seconds gauge\ncurhat_test_seconds 7\n"
    )
