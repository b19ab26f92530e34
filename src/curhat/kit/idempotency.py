"""Idempotency keys: a request that a client repeats takes effect once, and each repetition gets the first answer.

Guarantees:
    One transaction commits the effect of a request and its answer. Two requests with the same key never both take
    effect.
    A refusal (4xx) is stored too. A 5xx is never stored.
    A key belongs to one user in one role, and to one method, path and body. If the user sends the key with a different
    method, path or body, the request is refused.
Relies on:
    The primary key of `idempotency_keys` prevents a second answer for a key.
    A transaction that works on a key holds the key's advisory lock until the transaction ends. If a request cannot get
    the lock, another request with the same key is still running. No request waits for the lock of a key.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import asyncpg
import msgspec
import structlog

from curhat.kit import queries
from curhat.kit.database import Database, Executor, Transaction
from curhat.kit.errors import (
    BusinessError,
    IdempotencyInProgress,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
)
from curhat.kit.identity import Caller, Role
from curhat.kit.pause_points import pause_point

log = structlog.get_logger(__name__)

# Limits how long one call of `prune` holds its locks.
MAX_KEYS_PER_PRUNE = 10_000


class Answer(msgspec.Struct, frozen=True):
    """The first answer to a request: the HTTP status and the JSON text of the body."""

    status: int
    body: str


def refusal(error: BusinessError) -> Answer:
    """Return the answer that reports this refusal."""
    return Answer(status=error.status, body=msgspec.json.encode(error.problem()).decode())


class IdempotentRequest(msgspec.Struct, frozen=True):
    """A request with an Idempotency-Key: the owner of the key, and the fingerprint of the request."""

    role: str
    user_id: UUID
    key: str
    # SHA-256 of method, path and body. If a request repeats the key with a different fingerprint, the request is
    # refused.
    fingerprint: bytes
    # The number of the key's advisory lock. The transaction that holds this lock is working on the key.
    lock: int


def idempotent_request(
    identity: Caller, key: str | None, method: str, path: str, body: bytes
) -> IdempotentRequest:
    """Bind the key to the sender, method, path and body of the request.

    Raises IdempotencyKeyMissing if the key is absent, empty, not printable, or longer than 200 characters.
    """
    if not key or len(key) > 200 or not key.isprintable():
        raise IdempotencyKeyMissing
    name = hashlib.sha256(f"{identity.role} {identity.user_id} {key}".encode()).digest()
    return IdempotentRequest(
        role=identity.role,
        user_id=identity.user_id,
        key=key,
        fingerprint=hashlib.sha256(f"{method} {path}\n".encode() + body).digest(),
        lock=int.from_bytes(name[:8], signed=True),
    )


async def run_idempotent(
    database: Database,
    idempotent: IdempotentRequest,
    step: Callable[[Transaction], Awaitable[Answer]],
    *,
    step_keeps_key: bool = False,
    refuse_early: Callable[[], Awaitable[Answer | None]] | None = None,
) -> Answer:
    """Return the key's stored answer.

    Without a stored answer, run `step`, and store its answer in the same transaction.

    Set `step_keeps_key` if `step` takes `idempotent.lock` in its first statement, raises IdempotencyInProgress when
    another request holds the lock, and inserts its answer into idempotency_keys itself. With `step_keeps_key`, this
    function neither looks for a stored answer nor stores one. If the client repeats the request, `step` runs again, but
    the INSERT of a second answer fails. PostgreSQL rolls the transaction back, and this function returns the stored
    answer.
    `refuse_early` runs before the transaction. If `refuse_early` finds a final refusal, it either stores and returns
    the refusal, or raises the refusal. After a final refusal, no transaction begins.
    Raises IdempotencyKeyReused, IdempotencyInProgress, and the refusals of `step`.
    """
    try:
        if refuse_early is not None:
            refused = await refuse_early()
            if refused is not None:
                return refused
        return await _run(database, idempotent, step, step_keeps_key=step_keeps_key)
    except asyncpg.DeadlockDetectedError:
        # All transactions take locks in the same order, so a deadlock should not happen. If a deadlock happens,
        # PostgreSQL has rolled back this transaction, so run `step` once more.
        log.warning("idempotency.deadlock_retried")
        return await _run(database, idempotent, step, step_keeps_key=step_keeps_key)
    except asyncpg.UniqueViolationError as error:
        if error.table_name != "idempotency_keys":
            raise
        # The first request with this key has committed its answer. This happens in two cases: the first request
        # committed between our SELECT and our lock, or we skipped the SELECT.
        stored = await _stored_answer(database, idempotent)
        if stored is None:
            raise IdempotencyInProgress from None
        return stored
    except BusinessError as error:
        if not await keep_refusal(database, idempotent, error):
            # The key already has an answer. `step` refused this request only because the first request with the key had
            # just taken effect. Return the answer of the first request.
            stored = await _stored_answer(database, idempotent)
            if stored is not None:
                return stored
        raise


async def _run(
    database: Database,
    idempotent: IdempotentRequest,
    step: Callable[[Transaction], Awaitable[Answer]],
    *,
    step_keeps_key: bool,
) -> Answer:
    async with database.transaction() as tx:
        stored = None if step_keeps_key else await _begin(tx, idempotent)
        if stored is not None:
            return stored
        answer = await step(tx)
        if step_keeps_key:
            await pause_point("idempotency.stored")
        else:
            await insert_answer(tx, idempotent, answer)
        return answer


async def begin_long(tx: Transaction, idempotent: IdempotentRequest) -> Answer | None:
    """Return the key's stored answer. Without a stored answer, mark the key as running, and return None.

    Call this function in the first transaction of a request that needs several transactions.
    If another request marked the key more than 10 s ago, this request replaces the mark. A request with several
    transactions takes at most 5 s, so the process that set the old mark has died.
    Raises IdempotencyKeyReused, IdempotencyInProgress.
    """
    stored = await _begin(tx, idempotent, take_over=True)
    if stored is None:
        marked = await queries.mark_key_running(
            tx,
            role=idempotent.role,
            user_id=idempotent.user_id,
            key=idempotent.key,
            fingerprint=idempotent.fingerprint,
        )
        if not marked:
            raise IdempotencyInProgress
    return stored


async def finish_long(tx: Transaction, idempotent: IdempotentRequest, answer: Answer) -> None:
    """Store the answer of a request that called `begin_long`. Call this function in the request's last transaction."""
    await _store_answer(tx, idempotent, answer)
    await pause_point("idempotency.stored")


async def keep_refusal(database: Database, idempotent: IdempotentRequest, error: BusinessError) -> bool:
    """Store a refusal (4xx) as this key's answer.

    If the key already has an answer, keep that answer, and return False.

    `keep_refusal` does not store a refusal that is about the key itself, or that asks the client to wait (429).
    """
    is_about_key = isinstance(error, IdempotencyKeyReused | IdempotencyInProgress | IdempotencyKeyMissing)
    if is_about_key or error.status >= 500 or error.status == 429:
        return True
    return await _store_answer(database, idempotent, refusal(error))


async def _store_answer(executor: Executor, idempotent: IdempotentRequest, answer: Answer) -> bool:
    """Store the answer if the key has no answer yet. Return whether this call stored the answer."""
    stored = await queries.store_answer(
        executor,
        role=idempotent.role,
        user_id=idempotent.user_id,
        key=idempotent.key,
        fingerprint=idempotent.fingerprint,
        status=answer.status,
        body=answer.body,
    )
    return stored > 0


async def _stored_answer(database: Database, idempotent: IdempotentRequest) -> Answer | None:
    async with database.transaction() as tx:
        return await _begin(tx, idempotent)


async def _begin(tx: Transaction, idempotent: IdempotentRequest, *, take_over: bool = False) -> Answer | None:
    found = await queries.begin_key(
        tx, role=idempotent.role, user_id=idempotent.user_id, key=idempotent.key, lock=idempotent.lock
    )
    if not found.is_free:
        raise IdempotencyInProgress
    if found.fingerprint is None:
        return None
    if found.fingerprint != idempotent.fingerprint:
        raise IdempotencyKeyReused
    if found.status is None or found.body is None:
        if take_over and found.is_abandoned:
            return None
        raise IdempotencyInProgress
    return Answer(status=found.status, body=found.body)


async def insert_answer(tx: Transaction, idempotent: IdempotentRequest, answer: Answer) -> None:
    """Store the first answer of a key. Raises UniqueViolationError if the key already has an answer."""
    await queries.insert_answer(
        tx,
        role=idempotent.role,
        user_id=idempotent.user_id,
        key=idempotent.key,
        fingerprint=idempotent.fingerprint,
        status=answer.status,
        body=answer.body,
    )
    await pause_point("idempotency.stored")


async def prune(tx: Transaction, max_keys: int = MAX_KEYS_PER_PRUNE) -> int:
    """Delete at most `max_keys` keys that are older than one day, oldest first. Returns how many keys it deleted."""
    return await queries.prune_keys(tx, max_keys=max_keys)


async def erase(tx: Transaction, role: Role, user_id: UUID) -> bool:
    """Delete every key of a deleted account. Returns False: nothing is left."""
    await queries.delete_keys_of_user(tx, role=role, user_id=user_id)
    return False


async def erase_answers_about(
    tx: Transaction, role: Role, user_ids: Sequence[UUID], about: UUID, session_ids: Sequence[UUID]
) -> None:
    """Delete those keys of these users whose stored answer names the person `about`, or one of these sessions."""
    await queries.delete_keys_about(
        tx, role=role, user_ids=user_ids, about=str(about), session_ids=session_ids
    )
