"""The worker's task that runs what-ifs, each in a process of its own, one at a time."""

import asyncio
import contextlib
import sys
from typing import Final

import asyncpg
import msgspec
import structlog

from curhat.control_center.what_if import queries
from curhat.control_center.what_if.process import Line, Task
from curhat.control_center.what_if.queries import ClaimedWhatIf
from curhat.control_center.what_if.schemas import WhatIfQuestion
from curhat.kit.database import DATABASE_AWAY, Database

log = structlog.get_logger(__name__)

CLAIM_INTERVAL_SECONDS: Final = 2.0
# How often the runner writes the progress, and notices that the what-if was cancelled.
PROGRESS_INTERVAL_SECONDS: Final = 0.5
MAX_REPLAY_SECONDS: Final = 120.0
# A running what-if whose worker has not written for so long has no worker any more.
MAX_SILENT_SECONDS: Final = 30.0
MAX_LINE_BYTES: Final = 1_000_000
# The arguments of the interpreter that runs one replay.
PROCESS: Final = ("-m", "curhat.control_center.what_if.process")


async def run(database: Database, database_url: str) -> None:
    """Run waiting what-ifs until the task is cancelled."""
    while True:
        try:
            if await run_next(database, database_url):
                continue
        except DATABASE_AWAY as error:
            log.warning("what_if.database_away", error=type(error).__name__)
        except Exception as error:
            # The worker's deadlines must not end with this task. The what-if counts as failed after a while.
            log.exception("what_if.broke", error=type(error).__name__)
        await asyncio.sleep(CLAIM_INTERVAL_SECONDS)


async def run_next(database: Database, database_url: str) -> bool:
    """Claim and run the oldest waiting what-if. Returns False if none waits, or if another worker runs one."""
    async with database.transaction() as tx:
        await queries.fail_abandoned(tx, max_silent_seconds=MAX_SILENT_SECONDS)
    try:
        async with database.transaction() as tx:
            claimed = await queries.claim_what_if(tx)
    except asyncpg.UniqueViolationError:
        return False
    if claimed is None:
        return False
    await _run(database, database_url, claimed)
    return True


async def _run(database: Database, database_url: str, claimed: ClaimedWhatIf) -> None:
    question = msgspec.json.decode(claimed.question, type=WhatIfQuestion)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *PROCESS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE_BYTES,
    )
    try:
        async with asyncio.timeout(MAX_REPLAY_SECONDS):
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(Task(database_url, question)))
            process.stdin.close()
            problem = await _follow(database, claimed, process)
    except TimeoutError:
        problem = f"the replay took longer than {MAX_REPLAY_SECONDS:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if problem is not None:
        log.warning("what_if.failed", what_if_id=str(claimed.id), problem=problem)
        await queries.fail_what_if(database, id=claimed.id, problem=problem)


async def _follow(
    database: Database, claimed: ClaimedWhatIf, process: asyncio.subprocess.Process
) -> str | None:
    """Write the progress until the answer comes. Returns the problem, or None after an answer or a cancellation."""
    assert process.stdout is not None
    latest = 0.0
    reading = asyncio.ensure_future(process.stdout.readline())
    try:
        while True:
            await asyncio.wait([reading], timeout=PROGRESS_INTERVAL_SECONDS)
            while reading.done():
                written = reading.result()
                if not written:
                    return "the replay stopped"
                line = msgspec.json.decode(written, type=Line)
                latest = line.progress
                if line.answer is not None:
                    answer = msgspec.json.encode(line.answer).decode()
                    await queries.finish_what_if(database, id=claimed.id, answer=answer)
                    return None
                reading = asyncio.ensure_future(process.stdout.readline())
                await asyncio.sleep(0)
            if await queries.write_progress(database, id=claimed.id, progress=latest) is None:
                return None
    finally:
        reading.cancel()
