"""`curhat restore`: restores the database to an earlier time, and opens it again."""

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from curhat.app.cli.common import CommandError, Subparsers, database_url_of, joined_settings
from curhat.kit.database import Database
from curhat.kit.settings import PREFIX, Settings

if TYPE_CHECKING:
    from curhat.app.restoring import finishing

DESCRIPTION: Final = """\
Restore the database to an earlier time, in three steps. Each step can be interrupted and repeated.

1. As the account of PostgreSQL, fill a new directory from the backups:
     curhat restore --to '2026-12-01 03:30:00+07:00' --into /var/lib/postgresql/18/restored
2. Stop every server and worker. Let PostgreSQL use the new directory, and start it. It recovers.
3. With the settings of the service:
     curhat restore --finish
   gives every stream a new epoch, signs everybody out, empties Valkey, opens a review case for each charge and
   refund that only the gateway knows, deletes the accounts of the list of erasures again, checks the
   invariants, and opens the database.

Until the third step has succeeded, no process serves the restored database. The old directory is never changed."""

# In a restored database, this command updates many rows and checks every invariant.
STATEMENT_TIMEOUT_MS: Final = 900_000
RECOVERY_POLL_SECONDS: Final = 0.5
NEEDED: Final = (
    "DATABASE_URL",
    "VALKEY_URL",
    "GATEWAY",
    "GATEWAY_WEBHOOK_TOKEN",
    "MOCK_GATEWAY_DATABASE_URL",
    "ERASURE_LIST",
    "DATA_DIR",
)


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "restore",
        help="go back to an earlier time after damage, from the backups",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    step = parser.add_mutually_exclusive_group(required=True)
    step.add_argument(
        "--to", metavar="TIME", help="fill the directory --into; TIME has a time zone, or is: latest"
    )
    step.add_argument(
        "--finish", action="store_true", help="make the recovered database fit to serve, and open it"
    )
    step.add_argument(
        "--check",
        action="store_true",
        help="check the invariants and compare with the gateway; change nothing (for a drill, or before --finish)",
    )
    parser.add_argument("--into", type=Path, metavar="DIR", help="the new directory of PostgreSQL's data")
    parser.add_argument(
        "--stanza", default="curhat", help="restore from this stanza of pgBackRest (default: curhat)"
    )
    parser.add_argument(
        "--backup", type=Path, metavar="DIR", help="restore from this base backup, without pgBackRest"
    )
    parser.add_argument("--wal", type=Path, metavar="DIR", help="with --backup: where WAL is archived")
    parser.add_argument(
        "--despite-violations",
        action="store_true",
        help="with --finish: open although an invariant is broken",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.to is not None:
        _recover(arguments)
        return 0
    settings = joined_settings(NEEDED)
    if settings.erasure_list is not None:
        # Only a deletion needs the key.
        settings = joined_settings((*NEEDED, "SECRET_KEY"))
    if arguments.check:
        return asyncio.run(_check(settings))
    asyncio.run(_finish(settings, despite_violations=arguments.despite_violations))
    return 0


def _recover(arguments: argparse.Namespace) -> None:
    from curhat.app.restoring import recovery

    if arguments.into is None:
        raise CommandError("--to needs --into DIR: a new directory, on the disk of PostgreSQL")
    if (arguments.backup is None) != (arguments.wal is None):
        raise CommandError("--backup and --wal belong together; without both, pgBackRest is used")
    source: recovery.Source = (
        recovery.PgBackRest(arguments.stanza)
        if arguments.backup is None
        else recovery.Archive(arguments.backup, arguments.wal)
    )
    directory = arguments.into.absolute()
    try:
        recovery.recover(recovery.target_of(arguments.to), directory, source, print)
    except recovery.RecoveryError as error:
        raise CommandError(str(error), 1) from error
    print(
        f"{directory} is filled. Next: stop every server and worker, let PostgreSQL use this directory as its\n"
        "data_directory, start it, and run: curhat restore --finish"
    )


async def _finish(settings: Settings, *, despite_violations: bool) -> None:
    from valkey.exceptions import ValkeyError

    from curhat.app.restoring import finishing
    from curhat.app.wiring import build_gateway, connect_valkey, open_gateway_database
    from curhat.payments.gateway import GatewayUnknown

    if settings.valkey_url is None:
        raise CommandError(f"{PREFIX}VALKEY_URL is not set; the command empties Valkey")
    await _wait_for_recovery(database_url_of(settings))
    database = await _connect(settings)
    client = connect_valkey(settings.valkey_url)
    gateway_database = await open_gateway_database(settings)
    try:
        await finishing.finish(
            database,
            client,
            build_gateway(settings, gateway_database or database),
            print,
            erasures=_erasures(settings),
            despite_violations=despite_violations,
        )
    except finishing.RestoreError as error:
        raise CommandError(str(error), 1) from error
    except ValkeyError as error:
        raise CommandError(f"Valkey: {error}; start Valkey, and run this again", 1) from error
    except GatewayUnknown as error:
        raise CommandError("the gateway does not answer; run this again when it does", 1) from error
    finally:
        await database.close()
        await client.aclose()
        if gateway_database is not None:
            await gateway_database.close()


def _erasures(settings: Settings) -> "finishing.Erasures | None":
    """Return the list of the erasures. In development, no list exists before the first deletion."""
    from curhat.app.restoring import finishing

    path = settings.erasure_list
    if path is None or (settings.is_development and not path.exists()):
        return None
    return finishing.Erasures(path, settings.secret_key)


async def _check(settings: Settings) -> int:
    from curhat.app.invariants import ALWAYS
    from curhat.app.restoring import finishing, reconciling
    from curhat.app.wiring import build_gateway, open_gateway_database
    from curhat.payments.gateway import GatewayUnknown

    await _wait_for_recovery(database_url_of(settings))
    database = await _connect(settings)
    gateway_database = await open_gateway_database(settings)
    try:
        newest = await finishing.recovered_to(database)
        print(f"the newest recovered change: {newest or 'none'}")
        violations = await finishing.broken_invariants(database)
        for violation in violations:
            print(violation)
        print(f"invariants: {len(ALWAYS)} checked, {len(violations)} rows break one")
        if newest is not None:
            gateway = build_gateway(settings, gateway_database or database)
            unknown = await reconciling.find_unknown(database, gateway, newest)
            print(f"gateway: {unknown} are not in the database")
    except GatewayUnknown as error:
        raise CommandError("the gateway does not answer", 1) from error
    finally:
        await database.close()
        if gateway_database is not None:
            await gateway_database.close()
    return 1 if violations else 0


async def _wait_for_recovery(url: str) -> None:
    """Wait until PostgreSQL has ended its recovery."""
    import asyncpg

    from curhat.kit.connecting import connect_to_writer

    is_told = False
    while True:
        try:
            connection = await connect_to_writer(url)
        except (asyncpg.CannotConnectNowError, asyncpg.exceptions.TargetServerAttributeNotMatched):
            if not is_told:
                print("waiting for PostgreSQL, which is still recovering …", flush=True)
                is_told = True
            await asyncio.sleep(RECOVERY_POLL_SECONDS)
        else:
            await connection.close()
            return


async def _connect(settings: Settings) -> Database:
    return await Database.connect(
        database_url_of(settings),
        pool_size=2,
        application_name="curhat restore",
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
        may_be_restored=True,
    )
