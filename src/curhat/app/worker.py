"""The worker: fires deadlines and deletes old rows. Any number of workers can run, beside any number of servers."""

import asyncio
import contextlib
import signal
from typing import Final

import structlog

from curhat.accounts import service as accounts
from curhat.app.closing.service import arm_closing
from curhat.app.operations.endpoints import Operations, operations_port
from curhat.app.wiring import Services, StoppedWaiting, open_services
from curhat.control_center.dashboard import service as dashboard
from curhat.control_center.operators import service as operators
from curhat.control_center.records import service as records
from curhat.control_center.what_if import runner as what_if
from curhat.kit import idempotency
from curhat.kit.database import DATABASE_AWAY, Database
from curhat.kit.settings import Settings
from curhat.notifications import service as notifications
from curhat.privacy.export import service as export
from curhat.privacy.retention import service as retention
from curhat.realtime import service as realtime
from curhat.sessions import service as sessions

log = structlog.get_logger(__name__)

# How long the worker waits between two prunings.
PRUNE_INTERVAL_SECONDS = 60.0
# Each transaction of a pruning deletes at most this number of rows from each table, so that no statement takes long and
# no lock is held for long (record 0130).
MAX_ROWS_PER_PRUNE: Final = 10_000
# Limits one pruning. 50 rounds of 10,000 rows per minute are enough for 8,000 new events per second.
MAX_PRUNE_ROUNDS: Final = 50
# Each function deletes at most the given number of rows of each kind, and returns how many rows it has deleted of the
# most frequent kind. If this is the limit, more rows can be left. The classes of data (privacy/retention/classes.py)
# name the same functions. Notices refer to reports, so they are deleted first.
PRUNINGS: Final = (
    realtime.prune,
    idempotency.prune,
    accounts.prune,
    operators.prune,
    notifications.prune,
    export.prune,
    sessions.destroy_due_texts,
    retention.prune_notices,
    retention.prune_reports,
    retention.prune_ratings,
)
# How long a stopping worker waits for its transactions, its calls to the gateway and its push messages. A call to the
# gateway takes at most 5 s.
FINISH_TIMEOUT_SECONDS = 10.0


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. After the signal, start nothing new, and finish the running work.

    PostgreSQL rolls back every claim that is not committed within FINISH_TIMEOUT_SECONDS. Raises OSError if the
    operations port cannot be opened.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    operations = Operations("worker")
    with contextlib.suppress(StoppedWaiting):
        async with (
            operations_port(operations, settings, "worker"),
            open_services(
                settings, serves_sockets=False, application_name="curhat worker", should_stop=stop.is_set
            ) as services,
        ):
            await operations.started(services)
            log.info("worker.started")
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(services.deadline_loop.run()),
                    tasks.create_task(_prune(services)),
                    tasks.create_task(what_if.run(services.database, settings.database_url or "")),
                ]
                await stop.wait()
                operations.drain()
                for task in running:
                    task.cancel()
            await _finish(services)
            operations.stopped()
    log.info("worker.stopped")


async def _finish(services: Services) -> None:
    try:
        async with asyncio.timeout(FINISH_TIMEOUT_SECONDS):
            await asyncio.gather(services.deadline_loop.finish(), services.outbox.finish())
    except TimeoutError:
        log.warning("worker.not_finished")


async def _prune(services: Services) -> None:
    while True:
        try:
            await prune_once(services)
        except DATABASE_AWAY as error:
            log.warning("worker.not_pruned", error=type(error).__name__)
        await asyncio.sleep(PRUNE_INTERVAL_SECONDS)


async def prune_once(services: Services) -> None:
    """Delete what is over its time (P.7). Store the counts of past hours.

    Also arm the nightly closing of the books, if it is not armed.
    """
    async with services.database.transaction() as tx:
        await arm_closing(tx)
    await prune(services.database)
    for _ in range(MAX_PRUNE_ROUNDS):
        async with services.database.transaction() as tx:
            kept = await dashboard.keep_hourly_counts(tx)
        if kept < dashboard.MAX_HOURS_PER_KEEP:
            break
    for _ in range(MAX_PRUNE_ROUNDS):
        async with services.database.transaction() as tx:
            kept = await records.keep_mitra_hours(tx)
        if kept < records.MAX_HOURS_PER_KEEP:
            break


async def prune(database: Database) -> None:
    """Delete the rows that are no longer needed, in transactions of at most MAX_ROWS_PER_PRUNE rows of each kind."""
    for prune_some in PRUNINGS:
        for _ in range(MAX_PRUNE_ROUNDS):
            async with database.transaction() as tx:
                removed = await prune_some(tx, MAX_ROWS_PER_PRUNE)
            if removed < MAX_ROWS_PER_PRUNE:
                break
