"""Test what `curhat restore --finish` does to a restored database, and that nothing serves such a database before.

A parameter of the database marks it as restored. tests/crashes/test_point_in_time.py restores a real PostgreSQL.
test_restored_money.py shows each combination of a payment, its charge and its refund.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
import structlog
import valkey.asyncio

from curhat.app.invariants import Violation, check
from curhat.app.restoring import finishing, queries, recovery
from curhat.app.restoring.finishing import RestoreError
from curhat.app.wiring import open_services
from curhat.dev.embedded import EmbeddedServers
from curhat.journeys.charging import record_charge_answer
from curhat.kit.database import Database, is_away
from curhat.kit.restored import NotOpened
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer, ListedCharge, ListedRefund
from curhat.payments.mock.gateway import MockGateway
from curhat.pricing.schemas import Offer
from curhat.realtime import service as realtime
from tests.integration.test_commands import Run, run
from tests.support.fake_presence import FakePresence
from tests.support.journey import open_blast, somebody
from tests.support.people import Make
from tests.support.signed_in import development_settings, environment_of

__all__ = ["run"]

MARKER = "2026-12-01 03:30:00+00 1f2e3d4c"
TOKEN = b"0" * 32
SIGN_IN = """
INSERT INTO access_tokens (digest, role, user_id, transport, known_device_digest, expires_at)
VALUES ($1, 'customer', $2, 'bearer', $1, curhat_now() + interval '1 day')
"""
CASES = "SELECT payment_id, reason, status, amount_rp FROM review_cases"


class LostGateway(MockGateway):
    """A gateway with further charges and refunds, which the restore lost."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.charges: list[ListedCharge] = []
        self.refunds: list[ListedRefund] = []

    async def list_charges(self, since: datetime) -> AsyncIterator[ListedCharge]:
        async for charge in super().list_charges(since):
            yield charge
        for charge in self.charges:
            if charge.at >= since:
                yield charge

    async def list_refunds(self, since: datetime) -> AsyncIterator[ListedRefund]:
        for refund in self.refunds:
            yield refund

    def took(
        self,
        payment_id: UUID,
        customer_id: UUID | None,
        amount_rp: int = 20_000,
        *,
        is_decided: bool = True,
    ) -> ListedCharge:
        charge = ListedCharge(
            uuid4(),
            payment_id,
            customer_id,
            amount_rp,
            "approved" if is_decided else "processing",
            datetime.now(UTC),
        )
        self.charges.append(charge)
        return charge

    def gave_back(self, charge_key: UUID, payment_id: UUID, amount_rp: int = 20_000) -> ListedRefund:
        refund = ListedRefund(uuid4(), charge_key, payment_id, amount_rp, "done", datetime.now(UTC))
        self.refunds.append(refund)
        return refund


class Restored:
    """A restored database that is not open yet, and the steps that open it."""

    def __init__(self, database: Database, client: valkey.asyncio.Valkey) -> None:
        self.database = database
        self.client = client
        self.gateway = LostGateway(database)
        self.said: list[str] = []

    async def finish(self, *, despite_violations: bool = False) -> None:
        """Open the database. Then the invariants hold."""
        await finishing.finish(
            self.database, self.client, self.gateway, self.said.append, despite_violations=despite_violations
        )
        assert await check(self.database) == []


@pytest.fixture
async def restored(
    database: Database, database_url: str, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[Restored]:
    """A database that is marked as restored. The fixture `database` was connected before."""
    await mark(database, MARKER)
    opened = await Database.connect(database_url, pool_size=3, may_be_restored=True)
    yield Restored(opened, valkey_client)
    await opened.close()


async def mark(database: Database, marker: str) -> None:
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET curhat.restore = '{marker}'")


async def charged(database: Database, make: Make, customer_id: UUID) -> tuple[UUID, UUID]:
    """A confirmed payment whose charge we know. Returns the payment's id and the charge's key."""
    payment_id = await make.confirmed_payment(customer_id)
    key = await database.fetchval("SELECT id FROM charge_attempts WHERE payment_id = $1", payment_id)
    return payment_id, key


async def pending(database: Database, make: Make, customer_id: UUID) -> UUID:
    """A payment that nobody has confirmed."""
    offer = Offer(await make.offer(), duration_minutes=30, price_rp=20_000, is_trial=False)
    async with database.transaction() as tx:
        return await payments.open_payment(tx, customer_id, offer, 20)


# Closed until it is finished -----------------------------------------------------------------------------------


@pytest.mark.rule("P.5")
async def test_a_restore_deletes_the_accounts_of_the_list_again_before_it_opens(
    restored: Restored, database: Database, make: Make, tmp_path: Path
) -> None:
    customer = await make.customer("Melati")
    path = tmp_path / "erasures.jsonl"
    path.write_text(f'{{"role":"customer","user_id":"{customer}","deleted_at":"2026-01-02T00:00:00Z"}}\n')
    erasures = finishing.Erasures(path, b"k" * 32)
    missing = finishing.Erasures(tmp_path / "missing.jsonl", b"k" * 32)
    finish = partial(
        finishing.finish, restored.database, restored.client, restored.gateway, restored.said.append
    )
    with pytest.raises(finishing.RestoreError, match="fetch the list"):
        await finish(erasures=missing)
    assert not any("is open" in said for said in restored.said)
    await finish(erasures=erasures)
    assert await database.fetchval("SELECT call_name FROM customers") == "Akun dihapus"
    assert "4/5 erasures: 1 in the list, 1 accounts deleted again" in restored.said


@pytest.mark.invariant(12)
async def test_no_process_connects_to_a_restored_database_before_it_is_opened(
    restored: Restored, database_url: str
) -> None:
    with pytest.raises(NotOpened, match=r"curhat restore --finish") as refused:
        await Database.connect(database_url, pool_size=2)
    # A server that starts waits, as it waits for a PostgreSQL that is away.
    assert is_away(refused.value)
    await restored.finish()
    await (await Database.connect(database_url, pool_size=2)).close()
    await restored.finish()
    assert restored.said[-1] == f"the database is open already (restored to: {MARKER})"


@pytest.mark.invariant(12)
async def test_a_process_that_starts_on_a_restored_database_waits_until_it_is_opened(
    restored: Restored, database_url: str, servers: EmbeddedServers
) -> None:
    settings = development_settings(database_url, servers.valkey_url)
    opened = asyncio.Event()

    async def work() -> None:
        async with open_services(settings, serves_sockets=False, application_name="curhat worker"):
            opened.set()

    with structlog.testing.capture_logs() as logs:
        process = asyncio.create_task(work())
        async with asyncio.timeout(10):
            while not logs:
                assert not opened.is_set()
                await asyncio.sleep(0.01)
    assert logs[0]["event"] == "postgresql.waiting"
    assert "run: curhat restore --finish" in logs[0]["error"]
    await restored.finish()
    async with asyncio.timeout(10):
        await opened.wait()
    await process


async def test_a_second_restore_closes_the_database_again(restored: Restored, database_url: str) -> None:
    await restored.finish()
    await mark(restored.database, "another restore")
    with pytest.raises(NotOpened, match="another restore"):
        await Database.connect(database_url, pool_size=2)


async def test_a_database_that_was_restored_to_before_the_table_of_restores_is_closed_too(
    restored: Restored, database_url: str
) -> None:
    await restored.database.execute("DROP TABLE restores")
    with pytest.raises(NotOpened):
        await Database.connect(database_url, pool_size=2)


async def test_a_database_that_was_not_restored_has_nothing_to_finish(
    database: Database, valkey_client: valkey.asyncio.Valkey
) -> None:
    with pytest.raises(RestoreError, match="was not restored"):
        await finishing.finish(database, valkey_client, MockGateway(database), print)


@pytest.mark.parametrize("process", ["curhat server", "curhat worker"])
async def test_a_restore_is_not_finished_while_a_process_is_connected(
    restored: Restored, database_url: str, process: str
) -> None:
    """Such as an old version, or one behind a pooler, which kept its connection."""
    connection = await asyncpg.connect(database_url, server_settings={"application_name": process})
    async with asyncio.timeout(10):
        # A connection counts when it is older than a second.
        while not await queries.list_serving(restored.database):
            await asyncio.sleep(0.05)
    with pytest.raises(RestoreError, match=f"connected: {process}"):
        await restored.finish()
    await connection.close()


@pytest.mark.invariant(12, 15)
async def test_a_restore_is_not_finished_if_a_process_connected_after_the_comparison_began(
    restored: Restored, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a server behind a pooler. It has perhaps changed what was compared."""
    connected: list[asyncpg.Connection[asyncpg.Record]] = []

    async def then_a_server_connects(database: Database) -> list[Violation]:
        server_settings = {"application_name": "curhat server"}
        connected.append(await asyncpg.connect(database_url, server_settings=server_settings))
        async with asyncio.timeout(10):
            while not await queries.list_serving(database):
                await asyncio.sleep(0.05)
        return await check(database)

    with monkeypatch.context() as patch:
        patch.setattr(finishing, "broken_invariants", then_a_server_connects)
        with pytest.raises(RestoreError, match="connected: curhat server"):
            await restored.finish()
    with pytest.raises(NotOpened):
        await Database.connect(database_url, pool_size=2)
    await connected[0].close()
    await restored.finish()


@pytest.mark.invariant(15)
async def test_a_broken_invariant_keeps_the_database_closed_unless_an_operator_opens_it_all_the_same(
    restored: Restored, make: Make, database_url: str
) -> None:
    mitra_id = await make.mitra()
    await restored.database.execute("UPDATE mitras SET active_sessions = 1 WHERE id = $1", mitra_id)
    with pytest.raises(RestoreError, match="1 rows break an invariant"):
        await restored.finish()
    assert any(str(mitra_id) in sentence for sentence in restored.said)
    with pytest.raises(NotOpened):
        await Database.connect(database_url, pool_size=2)
    with pytest.raises(AssertionError):
        await restored.finish(despite_violations=True)
    assert await restored.database.fetchval("SELECT broken_invariants FROM restores") == ["sessions_counted"]
    await (await Database.connect(database_url, pool_size=2)).close()


# What devices and people remember ------------------------------------------------------------------------------


@pytest.mark.rule("V.3")
@pytest.mark.invariant(10)
async def test_every_stream_has_a_new_epoch_so_that_no_device_resumes(restored: Restored, make: Make) -> None:
    customer_id = await make.customer()
    before = await realtime.read_head(restored.database, "customer", customer_id)
    await restored.finish()
    after = await realtime.read_head(restored.database, "customer", customer_id)
    assert (after.seq, after.epoch == before.epoch) == (before.seq, False)


async def test_nobody_stays_signed_in_so_that_no_revoked_token_comes_back(
    restored: Restored, make: Make
) -> None:
    customer_id, database = await make.customer(), restored.database
    await database.execute(SIGN_IN, TOKEN, customer_id)
    await database.execute(
        "INSERT INTO known_devices (digest, person_id) VALUES ($1, $2)", TOKEN, customer_id
    )
    await database.execute(
        "WITH operator AS (INSERT INTO operators (email, role, password_hash) VALUES ('a@b.id', 'admin', '') "
        "RETURNING id) INSERT INTO operator_tokens (digest, operator_id, transport, user_agent, address, expires_at) "
        "SELECT $1, id, 'bearer', '', '', curhat_now() + interval '1 day' FROM operator",
        TOKEN,
    )
    await database.execute(
        "INSERT INTO one_time_codes (role, phone_number, code_digest, resend_after, expires_at) "
        "VALUES ('customer', '+62811', $1, curhat_now(), curhat_now() + interval '5 minutes')",
        TOKEN,
    )
    await restored.finish()
    for table in ("access_tokens", "operator_tokens"):
        assert await database.fetchval(f"SELECT bool_and(revoked_at <= curhat_now()) FROM {table}")
    assert await database.fetchval("SELECT count(*) FROM known_devices") == 0
    assert await database.fetchval("SELECT bool_and(expires_at <= curhat_now()) FROM one_time_codes")


@pytest.mark.rule("1.1")
@pytest.mark.invariant(11)
async def test_valkey_forgets_what_it_knew_and_keeps_what_is_not_ours(restored: Restored) -> None:
    await restored.client.set("curhat:available", "an old state")
    await restored.client.set("another program", "its data")
    await restored.finish()
    assert await restored.client.keys("*") == [b"another program"]


# What only the gateway knows -----------------------------------------------------------------------------------


@pytest.mark.rule("X.1", "X.9")
@pytest.mark.invariant(4, 15)
@pytest.mark.parametrize("is_known_customer", [True, False])
async def test_a_charge_whose_payment_is_lost_becomes_a_case_of_its_customer(
    restored: Restored, make: Make, is_known_customer: bool
) -> None:
    await make.offer()
    customer_id = await make.customer() if is_known_customer else uuid4()
    charge = restored.gateway.took(uuid4(), customer_id, 35_000)
    await restored.finish()
    assert "1 charges of Rp35000 and 0 refunds were lost" in " ".join(restored.said)
    (case,) = await restored.database.fetch(CASES)
    assert tuple(case) == (charge.payment_id, "restored", "open", 35_000)
    payment = await restored.database.fetchrow(
        "SELECT customer_id, call_name, status FROM payments JOIN customers ON customers.id = customer_id"
    )
    assert payment is not None
    assert tuple(payment) == (customer_id, "Bunga" if is_known_customer else "Tidak dikenal", "abandoned")
    (undelivered,) = await restored.database.fetch(
        "SELECT charge_attempt_id, decided_round FROM undelivered_charges"
    )
    assert tuple(undelivered) == (charge.key, None)


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_a_restore_to_before_the_first_payment_finds_every_charge(
    restored: Restored, make: Make
) -> None:
    await make.offer()
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    restored.gateway.charges.append(ListedCharge(uuid4(), uuid4(), None, 20_000, "approved", long_ago))
    await restored.finish()
    assert len(await restored.database.fetch(CASES)) == 1


@pytest.mark.rule("2a.7", "X.9")
@pytest.mark.invariant(2, 15)
async def test_a_payment_whose_charge_is_lost_cannot_be_paid_again(restored: Restored, make: Make) -> None:
    payment_id = await pending(restored.database, make, await make.customer())
    restored.gateway.took(payment_id, None)
    await restored.finish()
    assert await restored.database.fetchval("SELECT status FROM payments") == "abandoned"
    (case,) = await restored.database.fetch(CASES)
    assert tuple(case) == (payment_id, "restored", "open", 20_000)


@pytest.mark.rule("2a.10", "X.9")
@pytest.mark.invariant(9, 15)
async def test_a_lost_charge_that_is_approved_later_is_refunded(restored: Restored, make: Make) -> None:
    await make.offer()
    charge = restored.gateway.took(uuid4(), await make.customer(), is_decided=False)
    await restored.finish()
    database = restored.database
    assert (
        await database.fetchval("SELECT entity_id FROM deadlines WHERE kind = 'charge_answer'") == charge.key
    )
    presence = FakePresence()
    await record_charge_answer(database, presence, charge.key, ChargeAnswer("approved"))  # type: ignore[arg-type]
    refund = await database.fetchrow("SELECT charge_attempt_id, reason, status FROM refunds")
    assert refund is not None
    assert tuple(refund) == (charge.key, "late_approval", "requested")
    assert await check(database) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_a_lost_refund_is_recorded_and_its_charge_is_not_refunded_again(
    restored: Restored, make: Make
) -> None:
    await make.offer()
    charge = restored.gateway.took(uuid4(), await make.customer())
    restored.gateway.gave_back(charge.key, charge.payment_id)
    await restored.finish()
    database = restored.database
    assert await database.fetchval("SELECT status FROM refunds") == "done"
    assert await database.fetchval("SELECT count(*) FROM undelivered_charges") == 0
    assert await database.fetchval("SELECT count(*) FROM review_cases WHERE reason = 'restored'") == 1


@pytest.mark.rule("X.9")
@pytest.mark.invariant(9, 15)
async def test_a_refund_whose_charge_nobody_knows_alerts_the_operators(restored: Restored) -> None:
    refund = restored.gateway.gave_back(uuid4(), uuid4())
    await restored.finish()
    entry = await restored.database.fetchrow(
        "SELECT action, subject_id FROM audit_entries WHERE subject = 'gateway'"
    )
    assert entry is not None
    assert tuple(entry) == ("gateway_alert:unknown_refund", str(refund.key))


@pytest.mark.invariant(2, 15)
async def test_known_charges_open_no_case(restored: Restored, make: Make) -> None:
    customer_id = await make.customer()
    payment_id, key = await charged(restored.database, make, customer_id)
    await open_blast(restored.database, payment_id, await somebody(restored.database))
    await restored.gateway.charge(key, payment_id, 20_000, customer_id)
    await restored.finish()
    assert await restored.database.fetch(CASES) == []


@pytest.mark.invariant(2, 15)
async def test_a_restore_that_was_interrupted_after_the_comparison_continues_and_repeats_nothing(
    restored: Restored, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make.offer()
    restored.gateway.took(uuid4(), await make.customer())

    async def interrupted(_database: Database) -> list[object]:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(finishing, "broken_invariants", interrupted)
        with pytest.raises(ConnectionResetError):
            await restored.finish()
    await restored.finish()
    assert len(await restored.database.fetch(CASES)) == 1
    assert await restored.database.fetchval("SELECT count(*) FROM charge_attempts") == 1
    assert (
        await restored.database.fetchval(
            "SELECT count(*) FROM audit_entries WHERE action = 'database_restored'"
        )
        == 1
    )


# The command ---------------------------------------------------------------------------------------------------


async def test_the_command_checks_a_database_and_changes_nothing_then_finishes_the_restore(
    run: Run, servers: EmbeddedServers, restored: Restored, database_url: str, make: Make
) -> None:
    await pending(restored.database, make, await make.customer())
    variables = {
        name.removeprefix("CURHAT_"): value
        for name, value in environment_of(database_url, servers.valkey_url).items()
    }
    status, output, errors = await run("restore", "--check", **variables)
    assert (status, errors) == (0, ""), output
    assert "0 rows break one" in output
    assert "gateway: 0 charges of Rp0 and 0 refunds are not in the database" in output
    assert await restored.database.fetchval("SELECT count(*) FROM restores") == 0
    status, _, errors = await run("operator", "create", "sari@example.id")
    assert (status, "run: curhat restore --finish" in errors) == (1, True)
    status, output, errors = await run("restore", "--finish")
    assert (status, errors) == (0, "")
    assert "the database is open" in output
    status, _, errors = await run("operator", "create", "sari@example.id")
    assert (status, errors) == (0, "")


# Filling a new directory ---------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> recovery.Archive:
    """A folder that looks like a base backup, and one for WAL."""
    backup, wal = tmp_path / "backup", tmp_path / "wal"
    for folder in (backup, wal):
        folder.mkdir()
    (backup / "backup_label").write_text("START WAL LOCATION: …\n")
    (backup / "postgresql.auto.conf").write_text("recovery_target_lsn = '0/1'\n")
    return recovery.Archive(backup, wal)


def test_the_new_directory_says_to_which_time_postgresql_recovers(
    archive: recovery.Archive, tmp_path: Path
) -> None:
    directory = tmp_path / "new"
    target = recovery.target_of("2026-11-30 03:30:00+07:00")
    recovery.recover(target, directory, archive, print)
    settings = (directory / "postgresql.auto.conf").read_text()
    assert "recovery_target_time = '2026-11-29 20:30:00.000000+00'\n" in settings
    assert settings.index("recovery_target_lsn = ''") > settings.index("recovery_target_lsn = '0/1'")
    assert "curhat.restore = '2026-11-29 20:30:00.000000+00 " in settings
    assert (directory / "recovery.signal").exists()
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_with_data_is_refused_and_one_of_an_interrupted_restore_is_filled_again(
    archive: recovery.Archive, tmp_path: Path
) -> None:
    directory = tmp_path / "new"
    directory.mkdir()
    (directory / "PG_VERSION").write_text("18\n")
    with pytest.raises(recovery.RecoveryError, match="is not empty"):
        recovery.recover(recovery.Target(None), directory, archive, print)
    assert (directory / "PG_VERSION").exists()
    (tmp_path / "new.unfinished").touch()
    recovery.recover(recovery.Target(None), directory, archive, print)
    assert not (directory / "PG_VERSION").exists()
    with pytest.raises(recovery.RecoveryError, match="is not empty"):
        recovery.recover(recovery.Target(None), directory, archive, print)


def test_pgbackrest_restores_into_the_new_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "pgbackrest"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    target = recovery.target_of("2026-11-30T03:30:00+07:00")
    recovery.recover(target, tmp_path / "new", recovery.PgBackRest("curhat"), print)
    assert (tmp_path / "called").read_text() == (
        f"--stanza=curhat --pg1-path={tmp_path}/new --type=time --target=2026-11-29 20:30:00.000000+00 "
        "--target-action=promote restore\n"
    )
    assert "curhat.restore" in (tmp_path / "new" / "postgresql.auto.conf").read_text()
    program.write_text("#!/bin/sh\nexit 56\n")
    with pytest.raises(recovery.RecoveryError, match="pgbackrest ended with exit status 56"):
        recovery.recover(target, tmp_path / "newer", recovery.PgBackRest("curhat"), print)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yesterday", "is no time"),
        ("2026-11-30 03:30:00", "with its time zone"),
        ("2999-01-01 00:00:00+07:00", "is in the future"),
    ],
)
def test_a_time_without_a_time_zone_or_in_the_future_is_refused(text: str, message: str) -> None:
    with pytest.raises(recovery.RecoveryError, match=message):
        recovery.target_of(text)
