"""Makes a restored database fit to serve, and opens it. Can also check a database without a change."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import valkey.asyncio

from curhat.accounts import service as accounts
from curhat.app import invariants
from curhat.app.invariants import Violation
from curhat.app.restoring import queries, reconciling
from curhat.control_center.operators import service as operators
from curhat.kit import migrations
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Database
from curhat.kit.restored import is_open, restore_marker
from curhat.kit.settings import PREFIX
from curhat.payments import queries as payments
from curhat.payments.gateway import Gateway
from curhat.privacy.erasure import service as erasure
from curhat.privacy.erasure.erasure_list import ListError
from curhat.realtime import service as realtime

# The pattern of all keys of Curhat in Valkey. The service's user is allowed to delete these keys, but not to empty
# Valkey.
VALKEY_KEYS: Final = "curhat:*"

Say = Callable[[str], None]


class Erasures(NamedTuple):
    """The list of the erasures, and the key with which a deletion keeps what a phone number inherits."""

    path: Path
    secret_key: bytes


class RestoreError(Exception):
    """The database cannot be opened. The message gives the reason, and says what to do."""


async def finish(
    database: Database,
    client: valkey.asyncio.Valkey,
    gateway: Gateway,
    say: Say,
    *,
    erasures: Erasures | None = None,
    despite_violations: bool = False,
) -> None:
    """Make the restored database fit to serve, and open it. Reports each step with `say`.

    `erasures` names the list of the erasures outside the database, because a restored database can hold accounts that
    were deleted later (P.5). Raises RestoreError if the list cannot be read.
    Raises RestoreError if the database was not restored, if a process serves it, if it lacks migrations, or if an
    invariant does not hold and `despite_violations` is false. Raises GatewayUnknown and ValkeyError if one of them is
    away. The database then stays closed. When the cause is gone, call `finish` again.
    """
    marker = await _marker(database)
    if await _is_open(database, marker):
        say(f"the database is open already (restored to: {marker})")
        return
    await _check_schema(database)
    await _check_nobody_serves(database)
    restored_to = await _begin(database, marker)
    say(f"restore: {marker}")
    say(f"the newest recovered change: {restored_to:%Y-%m-%d %H:%M:%S} UTC")
    async with database.transaction() as tx:
        await queries.lock_restore(tx, marker=marker)
        await queries.allow_long_statements(tx)
        streams = await realtime.renew_epochs(tx)
        tokens = await accounts.sign_out_everybody(tx)
        operators_tokens = await operators.sign_out_everybody(tx)
    say(f"1/5 signed out: {tokens} devices of people, {operators_tokens} of operators; {streams} new epochs")
    say(f"2/5 Valkey: {await _forget_in_valkey(client)} keys deleted")
    unknown = await reconciling.find_unknown(database, gateway, restored_to)
    await reconciling.record(database, unknown)
    say(f"3/5 gateway: {unknown} were lost; each has a review case")
    say(f"4/5 erasures: {await _replay_erasures(database, erasures)}")
    violations = await broken_invariants(database)
    for violation in violations:
        say(f"      {violation}")
    if violations and not despite_violations:
        raise RestoreError(
            f"{len(violations)} rows break an invariant, so the database stays closed; show them to the developers, "
            "or open it all the same with --despite-violations"
        )
    say(f"5/5 invariants: {len(invariants.ALWAYS)} checked, {len(violations)} rows break one")
    # A process that connected meanwhile has perhaps changed what was compared above.
    await _check_nobody_serves(database)
    async with database.transaction() as tx:
        restore = await queries.lock_restore(tx, marker=marker)
        if restore.opened_at is None:
            broken = sorted({violation.invariant.name for violation in violations})
            await queries.open_database(tx, marker=marker, broken_invariants=broken)
            await write_audit_entry(
                tx, "command line", "database_restored", "database", marker, new=restored_to.isoformat()
            )
    say("the database is open: start the servers and the workers")


async def _replay_erasures(database: Database, erasures: Erasures | None) -> str:
    """Delete the accounts of the list again (P.5). Without a list, say what an operator must do."""
    if erasures is None:
        return (
            f"{PREFIX}ERASURE_LIST names no list. If an account was deleted after the restored time, "
            "stop, and run: curhat erasures replay FILE"
        )
    try:
        deleted, listed = await erasure.replay(database, erasures.secret_key, erasures.path)
    except ListError as error:
        raise RestoreError(
            f"{error}; fetch the list of the erasures, or make an empty file if no account was ever deleted"
        ) from error
    return f"{listed} in the list, {deleted} accounts deleted again"


async def broken_invariants(database: Database) -> list[Violation]:
    """Return the rows that break an invariant."""
    async with database.transaction(snapshot=True) as tx:
        await queries.allow_long_statements(tx)
        return await invariants.check(tx)


async def recovered_to(database: Database) -> datetime | None:
    """Return the time of the newest recovered change, or an earlier time. None: nothing ever changed.

    A server that was not stopped can have changed the database after the recovery. Such a change is later than the end
    of the recovery.
    """
    times = (await payments.find_newest_change(database), await queries.find_recovery_end(database))
    return None if times[0] is None else min(time for time in times if time is not None)


async def _marker(database: Database) -> str:
    async with database.pool.acquire() as connection:
        marker = await restore_marker(connection)
    if marker is None:
        raise RestoreError(
            "this database was not restored to an earlier time, so there is nothing to finish; for a database from a "
            "dump, first run as PostgreSQL's administrator: ALTER DATABASE curhat SET curhat.restore = 'dump of …'"
        )
    return marker


async def _is_open(database: Database, marker: str) -> bool:
    async with database.pool.acquire() as connection:
        return await is_open(connection, marker)


async def _check_schema(database: Database) -> None:
    async with database.pool.acquire() as connection:
        # Raises MigrationError if the database is newer than this code.
        await migrations.pending(connection)
        missing = await migrations.missing(connection)
    if missing:
        raise RestoreError(
            f"the restored database lacks {', '.join(missing)}; run curhat migrate --before first"
        )


async def _check_nobody_serves(database: Database) -> None:
    serving = await queries.list_serving(database)
    if serving:
        raise RestoreError(f"stop every server and worker first; connected: {', '.join(serving)}")


async def _begin(database: Database, marker: str) -> datetime:
    async with database.transaction() as tx:
        await queries.begin_restore(tx, marker=marker, newest_change_at=await recovered_to(database))
        return (await queries.lock_restore(tx, marker=marker)).restored_to


async def _forget_in_valkey(client: valkey.asyncio.Valkey) -> int:
    deleted = 0
    async for key in client.scan_iter(match=VALKEY_KEYS, count=1_000):
        deleted += await client.unlink(key)
    return deleted
