"""One run: choose the people, let them make their journeys, wait until nothing is in flight, check and report."""

import argparse
import asyncio
import contextlib
import random
import signal
import time
import traceback
from collections.abc import Awaitable
from typing import Final
from uuid import UUID

import aiohttp
import uvloop
from rich.console import Console

from curhat.app.cli.common import CommandError, database_url_of
from curhat.app.invariants import IN_FLIGHT, check, violations_of
from curhat.dev.simulate import people, queries
from curhat.dev.simulate.client import REQUEST_TIMEOUT_SECONDS, RunState
from curhat.dev.simulate.customer import Customer
from curhat.dev.simulate.mitra import Mitra
from curhat.dev.simulate.report import Tally, read_outcome, report, show_progress
from curhat.kit.database import Database

# Customers arrive during the first ARRIVAL_SECONDS, or during the first third of the run's duration if this is shorter.
ARRIVAL_SECONDS: Final = 20.0
# The longest time of a run for which no duration is set. The run ends as soon as all customers have finished.
MAX_RUN_SECONDS: Final = 150.0
# Each step at the end of a run can take MAX_FINISH_SECONDS. In step 1, the customers finish. In step 2, everything in
# flight ends. In step 3, the people disconnect.
MAX_FINISH_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.5
# KEEP_ALIVE_TIMEOUT_SECONDS is shorter than the server's timeout (5 s), so the server closes no connection that a
# client is using.
KEEP_ALIVE_TIMEOUT_SECONDS: Final = 3.0
# One check of the invariants can take MAX_CHECK_MS on a database with much history.
MAX_CHECK_MS: Final = 60_000
# Keeps the report readable on a very wide terminal.
MAX_SCREEN_COLUMNS: Final = 100


def run(arguments: argparse.Namespace) -> int:
    """Simulate and report. Returns the exit status.

    0: clean. 1: an invariant is broken, or an unexpected error happened. 130: interrupted.
    Raises: CommandError when the run cannot begin.
    """
    if arguments.customers < 1 or arguments.mitras < 1:
        raise CommandError("there must be at least one customer and one mitra")
    if arguments.duration_seconds is not None and arguments.duration_seconds < 1:
        raise CommandError("a run lasts at least 1 second")
    seed = random.SystemRandom().randrange(1_000_000) if arguments.seed is None else arguments.seed
    try:
        return uvloop.run(_simulate(arguments, seed))
    except asyncio.CancelledError:
        return 130


async def _simulate(arguments: argparse.Namespace, seed: int) -> int:
    url = database_url_of(arguments.settings)
    database = await Database.connect(
        url, pool_size=4, application_name="curhat simulate", statement_timeout_ms=MAX_CHECK_MS
    )
    try:
        async with database.pool.acquire() as connection, http_client() as http:
            # The connection holds the advisory lock until the run ends.
            if not await queries.lock_simulation(connection):
                raise CommandError("another simulation uses this database; wait until it has ended")
            await _expect_ready(http, arguments.url)
            run_state = RunState(http, arguments.url, Tally())
            return await _Run(run_state, database, arguments, seed).carry_out()
    finally:
        await database.close()


async def _expect_ready(http: aiohttp.ClientSession, url: str) -> None:
    try:
        async with http.get(f"{url}/readyz") as ready:
            if ready.status != 200:
                raise CommandError(f"the server at {url} is not ready: {(await ready.text()).strip()}")
    except aiohttp.ClientError as error:
        raise CommandError(
            f"nothing answers at {url} ({type(error).__name__}); start it with make up"
        ) from None


class _Run:
    def __init__(
        self, run_state: RunState, database: Database, arguments: argparse.Namespace, seed: int
    ) -> None:
        self._run_state = run_state
        self._tally = run_state.tally
        self._database = database
        self._arguments = arguments
        self._seed = seed
        self._mitras: list[Mitra] = []
        self._customers: list[Customer] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def carry_out(self) -> int:
        await self._choose_people()
        console = _console()
        counts = f"{len(self._customers)} customers and {len(self._mitras)} mitras"
        console.print(f"{counts} at {self._run_state.url}, seed {self._seed}", highlight=False)
        self._handle_interrupts()
        progress = asyncio.create_task(show_progress(self._tally, console))
        try:
            await self._run_journeys()
            await self._finish()
        finally:
            progress.cancel()
            await asyncio.wait({progress})
        self._tally.stage = "checking"
        violations = await check(self._database, quiet=True, people=self._ids())
        customer_ids = [customer.id for customer in self._customers if customer.id is not None]
        outcome = await read_outcome(self._database, customer_ids)
        console.print(report(f"curhat simulate: {counts}", self._tally, outcome, violations, self._seed))
        return 1 if violations or self._tally.fault_count else 0

    def _handle_interrupts(self) -> None:
        """The first Ctrl-C lets the run finish. The second Ctrl-C cancels the run."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            self._close()
            loop.add_signal_handler(signal.SIGINT, task.cancel)

        loop.add_signal_handler(signal.SIGINT, interrupt)

    async def _choose_people(self) -> None:
        database, arguments, duration = self._database, self._arguments, self._arguments.duration_seconds
        phone_numbers = await queries.find_free_mitra_phones(
            database, prefix=people.MITRA_PREFIX, max_phones=arguments.mitras
        )
        mitra_plans = people.plan_mitras(self._seed, phone_numbers)
        await people.invite(database, mitra_plans)
        customer_plans = people.plan_customers(
            self._seed,
            arguments.customers,
            await queries.find_next_customer_number(database, prefix=people.CUSTOMER_PREFIX),
            ARRIVAL_SECONDS if duration is None else min(ARRIVAL_SECONDS, duration / 3),
            until_stopped=duration is not None,
        )
        self._mitras = [Mitra(self._run_state, plan) for plan in mitra_plans]
        self._customers = [Customer(self._run_state, plan) for plan in customer_plans]

    async def _run_journeys(self) -> None:
        self._tally.stage = "mitras come online"
        self._tasks += [asyncio.create_task(_live(mitra)) for mitra in self._mitras]
        await asyncio.gather(*(mitra.ready.wait() for mitra in self._mitras))
        self._tally.stage = "running"
        self._tasks += [asyncio.create_task(_live(customer)) for customer in self._customers]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._arguments.duration_seconds or MAX_RUN_SECONDS):
                await asyncio.gather(*(customer.finished.wait() for customer in self._customers))

    def _close(self) -> None:
        self._tally.stage = "finishing"
        self._run_state.closing.set()
        for person in (*self._mitras, *self._customers):
            for device in person.devices:
                device.wake()

    async def _finish(self) -> None:
        self._close()
        await self._within_limit(
            asyncio.gather(*(customer.finished.wait() for customer in self._customers)),
            "customers have not finished",
        )
        until = time.monotonic() + MAX_FINISH_SECONDS
        while await violations_of([IN_FLIGHT], self._database, self._ids()) and time.monotonic() < until:
            await asyncio.sleep(POLL_SECONDS)
        self._tally.stage = "comparing for the last time"
        self._run_state.over.set()
        await self._within_limit(asyncio.gather(*self._tasks), "people have not stopped")

    async def _within_limit(self, done: Awaitable[object], otherwise: str) -> None:
        try:
            async with asyncio.timeout(MAX_FINISH_SECONDS):
                await done
        except TimeoutError:
            self._tally.fault(f"after {MAX_FINISH_SECONDS:.0f} s {otherwise}")

    def _ids(self) -> list[UUID]:
        return [person.id for person in (*self._mitras, *self._customers) if person.id is not None]


def _console() -> Console:
    console = Console()
    # A file or a CI log has no width of its own, so use a fixed width.
    return Console(
        width=min(console.width, MAX_SCREEN_COLUMNS) if console.is_terminal else MAX_SCREEN_COLUMNS
    )


def http_client() -> aiohttp.ClientSession:
    """Return an HTTP client for many people, without cookies.

    The client never reuses a connection that was idle for so long that the server is possibly about to close it.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_TIMEOUT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS),
    )


async def _live(person: Mitra | Customer) -> None:
    try:
        await person.live()
    except Exception as error:  # noqa: BLE001  the other people go on, whatever failed
        person.fault(f"could not go on: {_innermost(error)}")


def _innermost(error: BaseException) -> str:
    """Return the first error in a group of errors, and the place where it was raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    raised_in = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} at {raised_in.filename}:{raised_in.lineno}"
