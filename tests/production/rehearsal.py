"""A rehearsal of production on this machine: `make rehearsal`.

It installs Curhat as docs/operating.md says, with TLS of a local authority, two roles, two servers and two workers
behind HAProxy, codes in a file and the mock gateway. Then people make a whole journey, the dashboards' metrics are
scraped, a server is replaced while people chat, and everything stops cleanly. It takes about a minute.
"""

import asyncio
import json
import logging
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.production import journey
from tests.production.bed import DEPLOY, HOSTS, Bed, Plan
from tests.production.people import Crowd, crowd_of
from tests.support.databases import parent_of_data_folders

GREEN, RED, BOLD, DIM, PLAIN = (
    ("\033[32m", "\033[31m", "\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("",) * 5
)
COLUMNS: Final = 92
# A metric with labels has no sample before its first event, so the scrape shows only its type.
SAMPLE_SUFFIX: Final = re.compile(r"_(?:total|bucket|count|sum|created)$")
METRIC: Final = re.compile(r"\b(?:curhat|process)_[a-z_]+\b")
LABEL_TEXT: Final = re.compile(r'"[^"]*"')


class Failed(Exception):
    """A step did not end as it should."""


class Screen:
    """What the person at the terminal sees: a heading per part, and a line per step with its time."""

    def __init__(self) -> None:
        self._begun = self._step_begun = time.monotonic()

    def heading(self, text: str) -> None:
        """Begin a part."""
        sys.stdout.write(f"\n{BOLD}{text}{PLAIN}\n")
        self._step_begun = time.monotonic()

    def done(self, text: str) -> None:
        """Say that a step has ended, and how long it took."""
        now = time.monotonic()
        seconds = f"{now - self._step_begun:.1f} s"
        self._step_begun = now
        sys.stdout.write(f"  {GREEN}✓{PLAIN} {text:<{COLUMNS - 12}}{DIM}{seconds:>8}{PLAIN}\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Say something that is neither good nor bad."""
        sys.stdout.write(f"    {DIM}{text}{PLAIN}\n")

    def end(self, problem: str | None) -> None:
        """Say how it ended."""
        seconds = time.monotonic() - self._begun
        if problem is None:
            sys.stdout.write(f"\n{GREEN}{BOLD}The rehearsal went well{PLAIN} ({seconds:.0f} s).\n")
        else:
            sys.stdout.write(f"\n{RED}{BOLD}The rehearsal failed{PLAIN} after {seconds:.0f} s: {problem}\n")


async def rehearse(screen: Screen, folder: Path) -> None:
    """Carry out every part. Raises Failed, AssertionError or an error of a part."""
    bed = Bed(folder, Plan())
    try:
        await install(screen, bed)
        async with bed.http() as http:
            crowd = Crowd(bed, http)
            try:
                await use(screen, crowd)
                await watch(screen, bed)
            finally:
                await crowd.stop()
        await replace_a_server(screen, bed)
        await stop(screen, bed)
    finally:
        await bed.close()


async def install(screen: Screen, bed: Bed) -> None:
    """Steps 1 to 6 of docs/operating.md."""
    screen.heading("Install, as docs/operating.md says")
    await bed.start_databases()
    screen.done(
        f"PostgreSQL and Valkey run, with TLS of the authority {bed.authority.file.name} and passwords"
    )
    for command in (["roles"], ["migrate"], ["seed"]):
        printed = (await asyncio.to_thread(bed.curhat, *command, owner=command != ["seed"])).strip()
        screen.done(f"curhat {command[0]}: {shortened(printed.splitlines()[-1])}")
    await bed.connect_administrator()
    await bed.start_processes()
    screen.done("two servers and two workers are ready, and HAProxy has found the servers")
    report = await asyncio.to_thread(bed.doctor)
    counts = {word: len(re.findall(rf"^{word}\b", report, re.MULTILINE)) for word in ("ok", "warn", "FAIL")}
    screen.done(
        f"curhat doctor --production: {counts['ok']} ok, {counts['warn']} warnings, {counts['FAIL']} faults"
    )
    for line in report.splitlines():
        if line.startswith(("warn", "FAIL")):
            screen.note(shortened(line))


async def use(screen: Screen, crowd: Crowd) -> None:
    """People and an operator use it."""
    screen.heading("A whole journey")
    screen.done(await journey.check_pages(crowd))
    async for step in journey.whole_journey(crowd):
        screen.done(step)
    async for step in journey.operator_signs_in(crowd, []):
        screen.done(step)


async def watch(screen: Screen, bed: Bed) -> None:
    """Scrape what the dashboards and alerts show."""
    screen.heading("Watch")
    found: set[str] = set()
    async with aiohttp.ClientSession() as http:
        for process in bed.processes:
            async with http.get(f"{process.health_url}/metrics") as answer:
                families = text_string_to_metric_families(await answer.text())
                found |= {SAMPLE_SUFFIX.sub("", family.name) for family in families}
            async with http.get(f"{process.health_url}/status") as answer:
                if answer.status != 200:
                    raise Failed(f"/status of {process.title}: {await answer.text()}")
    screen.done("/status is ok in each server and worker")
    for path in sorted((DEPLOY / "grafana").glob("*.json")):
        dashboard = json.loads(path.read_text())
        named = names_in([target["expr"] for panel in dashboard["panels"] for target in panel["targets"]])
        if missing := named - found:
            raise Failed(
                f"the dashboard {path.stem} shows metrics that nobody has: {', '.join(sorted(missing))}"
            )
        screen.done(f"dashboard {path.stem}: each of its {len(named)} metrics is there")


def names_in(expressions: list[str]) -> set[str]:
    """The metrics that PromQL expressions name."""
    names = {name for text in expressions for name in METRIC.findall(LABEL_TEXT.sub("", text))}
    return {SAMPLE_SUFFIX.sub("", name) for name in names}


async def replace_a_server(screen: Screen, bed: Bed) -> None:
    """Restart one server while people chat, search and pay."""
    screen.heading("Deploy, while people chat")
    async with crowd_of(bed, chats=4, searchers=2) as crowd:
        screen.done(f"{len(crowd.people)} people chat, search and pay")
        await bed.servers[0].stop()
        await bed.servers[0].start()
        await crowd.until_calm()
        tally = crowd.tally
        if tally.failed or tally.wrong:
            raise Failed(f"requests failed: {(tally.first_failures() + tally.wrong)[:3]}")
        back = f"{len(tally.away)} sockets back within {max(tally.away, default=0):.1f} s"
        screen.done(f"{bed.servers[0].title} restarted: 0 of {tally.requests} requests failed, {back}")
        await crowd.finish()
        screen.done(f"{crowd.messages()} messages: none lost or doubled; every payment has its outcome")


async def stop(screen: Screen, bed: Bed) -> None:
    """Stop everything as systemd does."""
    screen.heading("Stop")
    for process in (*bed.workers, *bed.servers):
        await process.stop()
        # uvicorn repeats the signal when it has finished, so that the supervisor sees who ended the process.
        if (end := await process.wait()) not in ("exit status 0", "signal SIGTERM"):
            raise Failed(f"{process.title} ended with {end}")
        screen.done(f"{process.title} has finished its work, and ended")
    for process in bed.processes:
        errors = [line for line in process.log().splitlines() if is_error(line)]
        if errors:
            raise Failed(f"{process.title} logged {len(errors)} errors, such as {errors[0]}")
    screen.done("no error is in a log")
    await bed.haproxy.stop()
    bed.database.pool.terminate()
    await bed.valkey.stop()
    await bed.postgres.stop()
    if (end := await bed.postgres.wait()) != "exit status 0":
        raise Failed(f"PostgreSQL ended with {end}")
    screen.done("HAProxy, Valkey and PostgreSQL have stopped cleanly")


def is_error(line: str) -> bool:
    """Whether a line of a process's log says that something went wrong, or is no JSON at all."""
    try:
        return json.loads(line)["level"] in ("error", "critical")
    except (ValueError, KeyError):
        return True


def shortened(text: str) -> str:
    """The text, cut to one line of the screen."""
    return text if len(text) <= COLUMNS - 6 else text[: COLUMNS - 7] + "…"


def main() -> int:
    """Run the rehearsal. Return 0 if it went well."""
    if shutil.which("haproxy") is None:
        sys.stderr.write("error: HAProxy is missing; apt install haproxy\n")
        return 2
    logging.disable(logging.CRITICAL)
    screen = Screen()
    problem: str | None = None
    sys.stdout.write(f"{BOLD}Rehearsal of production{PLAIN} with the host names {', '.join(HOSTS)}\n")
    with tempfile.TemporaryDirectory(prefix="curhat-rehearsal-", dir=parent_of_data_folders()) as name:
        try:
            asyncio.run(rehearse(screen, Path(name)))
        except (Failed, AssertionError, RuntimeError, OSError, TimeoutError) as error:
            problem = f"{type(error).__name__} {error}"
            logs = Path("results", "rehearsal-logs")
            shutil.rmtree(logs, ignore_errors=True)
            logs.mkdir(parents=True)
            for log in Path(name).glob("*.log"):
                shutil.copy(log, logs)
            problem += f"\n  The logs of all processes are in {logs}."
    screen.end(problem)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
