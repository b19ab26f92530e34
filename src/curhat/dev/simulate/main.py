"""One run: choose the people, let them make their journeys, wait until nothing is in flight, check and report."""

import argparse
import asyncio
import contextlib
import random
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final
from uuid import UUID

import aiohttp
import uvloop
from rich.console import Console

from curhat.app.cli.common import CommandError, database_url_of
from curhat.dev.simulate import people, queries
from curhat.dev.simulate.client import REQUEST_TIMEOUT_SECONDS, Person, RunState
from curhat.dev.simulate.customer import Customer
from curhat.dev.simulate.invariants import IN_FLIGHT, Violation, check, violations_of
from curhat.dev.simulate.mitra import Mitra
from curhat.dev.simulate.report import Tally, read_outcome, report, show_progress
from curhat.kit.database import Database

# Customers arrive during this time. In a run with a duration it is at most a third of the duration.
ARRIVAL_SECONDS: Final = 20.0
# A run without a duration ends when all journeys have ended, or after this time.
MAX_RUN_SECONDS: Final = 150.0
# How long the customers may take to finish. Afterwards, the journeys may take this long until nothing is in flight.
MAX_FINISH_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.5
# Shorter than the server's 5 s, so that the server never closes an idle connection while a request is being sent.
KEEP_ALIVE_TIMEOUT_SECONDS: Final = 3.0
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
    database = await Database.connect(
        database_url_of(arguments.settings), pool_size=4, application_name="curhat simulate"
    )
    try:
        async with database.pool.acquire() as connection, http_client() as http:
            # The connection holds the lock until the run ends.
            if not await queries.lock_simulation(connection):
                raise CommandError("another simulation uses this database; wait until it has ended")
            await _expect_ready(http, arguments.url)
            run_state = RunState(http, arguments.url, Tally())
            return await _Run(run_state, database, _console(), arguments, seed).carry_out()
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
        self,
        run_state: RunState,
        database: Database,
        console: Console,
        arguments: argparse.Namespace,
        seed: int,
    ) -> None:
        self._run_state = run_state
        self._tally = run_state.tally
        self._database = database
        self._console = console
        self._arguments = arguments
        self._seed = seed
        self._mitras: list[Mitra] = []
        self._customers: list[Customer] = []
        self._tasks: dict[asyncio.Task[None], Person] = {}

    async def carry_out(self) -> int:
        arguments = self._arguments
        await self._choose_people()
        self._console.print(
            f"{len(self._customers)} customers and {len(self._mitras)} mitras at {arguments.url}, seed {self._seed}",
            highlight=False,
        )
        with _interrupts(self._close):
            progress = asyncio.create_task(show_progress(self._tally, self._console))
            try:
                await self._run_journeys()
                await self._finish()
            finally:
                progress.cancel()
                await asyncio.wait({progress})
        self._tally.stage = "checking"
        violations = await self._check()
        customer_ids = [customer.id for customer in self._customers if customer.id is not None]
        outcome = await read_outcome(self._database, customer_ids)
        title = f"curhat simulate: {len(self._customers)} customers, {len(self._mitras)} mitras"
        self._console.print(report(title, self._tally, outcome, violations, self._seed))
        return 1 if violations or self._tally.fault_count else 0

    async def _choose_people(self) -> None:
        arguments, seed = self._arguments, self._seed
        phone_numbers, first_customer = await people.find_phones(self._database, arguments.mitras)
        mitra_plans = people.plan_mitras(seed, phone_numbers)
        await people.invite(self._database, mitra_plans)
        duration = arguments.duration_seconds
        customer_plans = people.plan_customers(
            seed,
            arguments.customers,
            first_customer,
            ARRIVAL_SECONDS if duration is None else min(ARRIVAL_SECONDS, duration / 3),
            until_stopped=duration is not None,
        )
        self._mitras = [Mitra(self._run_state, plan) for plan in mitra_plans]
        self._customers = [Customer(self._run_state, plan) for plan in customer_plans]

    async def _run_journeys(self) -> None:
        self._tally.stage = "mitras come online"
        self._begin(self._mitras)
        await asyncio.gather(*(mitra.ready.wait() for mitra in self._mitras))
        self._tally.stage = "running"
        self._begin(self._customers)
        limit = self._arguments.duration_seconds or MAX_RUN_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await asyncio.gather(*(customer.finished.wait() for customer in self._customers))

    def _begin(self, persons: Sequence[Mitra] | Sequence[Customer]) -> None:
        for person in persons:
            task = asyncio.create_task(person.live())
            self._tasks[task] = person
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._tasks[task].fault(f"could not go on: {_innermost(error)}")

    def _close(self) -> None:
        self._tally.stage = "finishing"
        self._run_state.closing.set()
        for person in (*self._mitras, *self._customers):
            for device in person.devices:
                device.wake()

    async def _finish(self) -> None:
        self._close()
        await self._within(
            MAX_FINISH_SECONDS,
            asyncio.gather(*(customer.finished.wait() for customer in self._customers)),
            "customers have not finished",
        )
        in_flight = await self._in_flight()
        until = time.monotonic() + MAX_FINISH_SECONDS
        while in_flight and time.monotonic() < until:
            await asyncio.sleep(POLL_SECONDS)
            in_flight = await self._in_flight()
        self._tally.stage = "comparing for the last time"
        self._run_state.over.set()
        await self._within(
            MAX_FINISH_SECONDS,
            asyncio.gather(*self._tasks, return_exceptions=True),
            "people have not stopped",
        )
        for task in self._tasks:
            task.cancel()

    async def _within(self, seconds: float, done: Awaitable[object], otherwise: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                await done
        except TimeoutError:
            self._tally.fault(f"after {seconds:.0f} s {otherwise}")

    async def _in_flight(self) -> list[Violation]:
        return await violations_of([IN_FLIGHT], self._database, self._ids())

    async def _check(self) -> list[Violation]:
        return await check(self._database, quiet=True, people=self._ids())

    def _ids(self) -> list[UUID]:
        return [person.id for person in (*self._mitras, *self._customers) if person.id is not None]


def _console() -> Console:
    console = Console()
    # A file or a CI log has no width.
    return Console(
        width=min(console.width, MAX_SCREEN_COLUMNS) if console.is_terminal else MAX_SCREEN_COLUMNS
    )


def http_client() -> aiohttp.ClientSession:
    """An HTTP client for many people at once, without cookies. It uses no connection that the server may be closing."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_TIMEOUT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS),
    )


@contextlib.contextmanager
def _interrupts(close: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C lets the run finish. The second one cancels it."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def interrupt() -> None:
        close()
        loop.remove_signal_handler(signal.SIGINT)
        loop.add_signal_handler(signal.SIGINT, task.cancel)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _innermost(error: BaseException) -> str:
    """The first error of a group of errors, and where it was raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
