"""Idempotency keys: a repeated request gets the first answer, and its effect happens once.

Guarantees
    The effect and the stored answer are committed together. Two requests with one key never both take effect.
    A refusal (4xx) is stored too, a 5xx never. Keys belong to one user and one role, and to one method, path and
    body: anything else under the same key is refused.
Relies on
    The primary key of `idempotency_keys`, and a transaction-long advisory lock that tells "still running" apart
    from "new" without waiting.
"""

import hashlib
from collections.abc import Awaitable, Callable

import asyncpg
import msgspec
import structlog

from curhat.kit.database import Database, Transaction, load_queries
from curhat.kit.errors import (
    BusinessError,
    IdempotencyInProgress,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
)
from curhat.kit.identity import Caller
from curhat.kit.pause_points import pause_point

log = structlog.get_logger(__name__)
SQL = load_queries(__file__)

# Bounds how long one pruning holds its locks.
PRUNE_LIMIT = 10_000


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer as it was first given: the status and the JSON text of the body."""

    status: int
    body: str


def refusal(error: BusinessError) -> Answer:
    """A refusal as a stored answer."""
    return Answer(status=error.status, body=msgspec.json.encode(error.problem()).decode())


class IdempotentRequest(msgspec.Struct, frozen=True):
    """One use of a key: whose, which, and for what request."""

    identity: Caller
    key: str
    fingerprint: bytes
    # Who holds this advisory lock works on the key right now.
    lock: int


def idempotent_request(
    identity: Caller, key: str | None, method: str, path: str, body: bytes
) -> IdempotentRequest:
    """Raises IdempotencyKeyMissing when the header is absent, empty or longer than 200 characters."""
    if not key or len(key) > 200 or not key.isprintable():
        raise IdempotencyKeyMissing
    digest = hashlib.sha256(f"{method} {path}\n".encode() + body).digest()
    name = hashlib.sha256(f"{identity.role} {identity.user_id} {key}".encode()).digest()
    lock = int.from_bytes(name[:8], signed=True)
    return IdempotentRequest(identity=identity, key=key, fingerprint=digest, lock=lock)


async def run_idempotent(
    database: Database,
    idempotent: IdempotentRequest,
    step: Callable[[Transaction], Awaitable[Answer]],
    *,
    step_takes_lock: bool = False,
    refuse_early: Callable[[], Awaitable[Answer | None]] | None = None,
) -> Answer:
    """Run `step` and store its answer in the same transaction, or give the answer stored before.

    With `step_takes_lock` the step takes `idempotent.lock` in its own first statement, and raises
    IdempotencyInProgress when another request holds it. This skips the initial SELECT on idempotency_keys: a repeated
    request finds the stored answer when it inserts its own, and is rolled back.
    `refuse_early` saves the transaction when the refusal is final already: it stores and returns it, or raises it.
    Raises IdempotencyKeyReused, IdempotencyInProgress, and whatever `step` refuses with.
    """
    look_first = not step_takes_lock
    try:
        if refuse_early is not None:
            refused = await refuse_early()
            if refused is not None:
                return refused
        return await _run(database, idempotent, step, look_first=look_first)
    except asyncpg.DeadlockDetectedError:
        # Locks are taken in one order, so this should not be; if it is, PostgreSQL undid all of this attempt.
        log.warning("idempotency.deadlock_retried")
        return await _run(database, idempotent, step, look_first=look_first)
    except asyncpg.UniqueViolationError as error:
        if error.table_name != "idempotency_keys":
            raise
        # The first request was committed after our look and before our lock, or we did not look: its answer is there.
        async with database.transaction() as tx:
            stored = await _begin(tx, idempotent)
        if stored is None:
            raise IdempotencyInProgress from None
        return stored
    except BusinessError as error:
        if not await keep_refusal(database, idempotent, error):
            # Refused because the first request had just taken effect: its answer is the answer.
            async with database.transaction() as tx:
                stored = await _begin(tx, idempotent)
            if stored is not None:
                return stored
        raise


async def _run(
    database: Database,
    idempotent: IdempotentRequest,
    step: Callable[[Transaction], Awaitable[Answer]],
    *,
    look_first: bool,
) -> Answer:
    async with database.transaction() as tx:
        stored = await _begin(tx, idempotent) if look_first else None
        if stored is not None:
            return stored
        answer = await step(tx)
        await _store(tx, idempotent, answer)
        return answer


async def begin_long(tx: Transaction, idempotent: IdempotentRequest) -> Answer | None:
    """First transaction of a request that takes several: marks the key as running, or gives its stored answer.

    A mark left by a process that died is taken over after 10 s (the longest such request takes 5 s).
    Raises IdempotencyKeyReused, IdempotencyInProgress.
    """
    stored = await _begin(tx, idempotent, take_over=True)
    if stored is None:
        marked = await tx.fetchval(
            SQL.mark_running,
            idempotent.identity.role,
            idempotent.identity.user_id,
            idempotent.key,
            idempotent.fingerprint,
        )
        if marked is None:
            raise IdempotencyInProgress
    return stored


async def finish_long(tx: Transaction, idempotent: IdempotentRequest, answer: Answer) -> None:
    """Store the answer of a request begun with `begin_long`, together with its last step."""
    await tx.execute(
        SQL.finish,
        idempotent.identity.role,
        idempotent.identity.user_id,
        idempotent.key,
        answer.status,
        answer.body,
    )
    await pause_point("idempotency.stored")


async def keep_refusal(database: Database, idempotent: IdempotentRequest, error: BusinessError) -> bool:
    """Store a 4xx as this key's answer, unless the refusal is about the key itself or asks to try again.

    False: the key has an answer already, which stays.
    """
    if error.status >= 500 or error.status == 429:
        return True
    if isinstance(error, IdempotencyKeyReused | IdempotencyInProgress | IdempotencyKeyMissing):
        return True
    answer = refusal(error)
    kept = await database.fetchval(
        SQL.store,
        idempotent.identity.role,
        idempotent.identity.user_id,
        idempotent.key,
        idempotent.fingerprint,
        answer.status,
        answer.body,
    )
    return kept is not None


async def _begin(tx: Transaction, idempotent: IdempotentRequest, *, take_over: bool = False) -> Answer | None:
    row = await tx.fetchrow(
        SQL.begin, idempotent.identity.role, idempotent.identity.user_id, idempotent.key, idempotent.lock
    )
    assert row is not None  # The statement always gives one row.
    if not row["free"]:
        raise IdempotencyInProgress
    if row["fingerprint"] is None:
        return None
    if row["fingerprint"] != idempotent.fingerprint:
        raise IdempotencyKeyReused
    if row["status"] is None:
        if take_over and row["abandoned"]:
            return None
        raise IdempotencyInProgress
    return Answer(status=row["status"], body=row["body"])


async def _store(tx: Transaction, idempotent: IdempotentRequest, answer: Answer) -> None:
    await tx.execute(
        SQL.insert,
        idempotent.identity.role,
        idempotent.identity.user_id,
        idempotent.key,
        idempotent.fingerprint,
        answer.status,
        answer.body,
    )
    await pause_point("idempotency.stored")


async def prune(tx: Transaction, limit: int = PRUNE_LIMIT) -> int:
    """Forget the oldest keys of more than a day, at most `limit`; the answer is how many."""
    return int((await tx.execute(SQL.prune, limit)).removeprefix("DELETE "))
