"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.pairing.states import (
    CloseReason,
    FailureTag,
    FallbackStatus,
    PairingKind,
    PairingStatus,
    RequestStatus,
)
from curhat.payments.states import PaymentStatus
from curhat.pricing.schemas import Purpose


class OpenedPairing(msgspec.Struct, frozen=True):
    id: UUID
    asked: list[UUID]


OPEN_BLAST: Final = """
WITH payment AS MATERIALIZED (
    SELECT id, customer_id,
        ARRAY(
            SELECT DISTINCT mitra_id FROM blocks WHERE blocks.customer_id = payments.customer_id
        ) AS blocked_mitra_ids
    FROM payments WHERE id = $1
), available_mitras AS MATERIALIZED (
    SELECT mitras.id FROM payment, mitras
    WHERE mitras.id = ANY ($2::uuid[]) AND mitras.can_take_customer AND mitras.id <> payment.customer_id
        AND mitras.id IS DISTINCT FROM $3::uuid AND mitras.id <> ALL (payment.blocked_mitra_ids)
    ORDER BY mitras.active_sessions > 0, mitras.waiting_since, mitras.id
    LIMIT $4 + 1
), open_pairing AS (
    INSERT INTO pairings
        (payment_id, customer_id, kind, deadline_at, left_out_mitra_id, blocked_mitra_ids, waits_for_wave)
    SELECT id, customer_id, 'blast', curhat_now() + make_interval(secs => $5), $3::uuid,
        blocked_mitra_ids, (SELECT count(*) FROM available_mitras) > $4
    FROM payment
    RETURNING id, customer_id, deadline_at
), arm_deadlines AS (
    INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
    SELECT 'pairing_window', id, deadline_at, $6 FROM open_pairing
    UNION ALL
    SELECT 'blast_wave', id, curhat_now() + make_interval(secs => $7), $6
    FROM open_pairing
), wave AS (
    SELECT id FROM (SELECT id, row_number() OVER () AS place FROM available_mitras) AS placed
    WHERE place <= $4
), ask_mitras AS (
    INSERT INTO requests (pairing_id, mitra_id, is_returning)
    SELECT open_pairing.id, wave.id,
        wave.id IN (SELECT mitra_id FROM sessions WHERE customer_id = (SELECT customer_id FROM payment))
    FROM open_pairing, wave
    ORDER BY wave.id
    RETURNING mitra_id
)
SELECT open_pairing.id, ARRAY(SELECT mitra_id FROM ask_mitras) AS asked FROM open_pairing
"""


async def open_blast(
    db: Executor,
    /,
    *,
    payment_id: UUID,
    candidates: Sequence[UUID],
    left_out_mitra_id: UUID | None,
    wave_size: int,
    window_seconds: float,
    correlation_id: str | None,
    wave_interval_seconds: float,
) -> OpenedPairing:
    """Open a blast (nothing → open). Arms the deadline of the window and the deadline of the next wave. Inserts a request for
    each mitra of the first wave: at most @wave_size candidates who can take a customer, those first who have waited
    longest without a session. The blast never asks the customer, @left_out_mitra_id, or a mitra of a block with the
    customer (T.1). The caller holds the payment's lock, so this statement sees every block that is committed.
    `asked` holds the ids of the mitras who were asked."""
    row = await db.fetchrow(
        OPEN_BLAST,
        payment_id,
        candidates,
        left_out_mitra_id,
        wave_size,
        window_seconds,
        correlation_id,
        wave_interval_seconds,
    )
    if row is None:
        raise NoRow(OPEN_BLAST)
    return OpenedPairing(*row)


FILTER_OPEN_BLASTS: Final = """
SELECT id FROM pairings
WHERE id = ANY ($1::uuid[]) AND status = 'open' AND deadline_at > curhat_now()
ORDER BY id
"""


async def filter_open_blasts(db: Executor, /, *, pairing_ids: Sequence[UUID]) -> list[UUID]:
    """Return the blasts among @pairing_ids that can still ask mitras, in id order. Takes no locks."""
    return [row[0] for row in await db.fetch(FILTER_OPEN_BLASTS, pairing_ids)]


class AskedWave(msgspec.Struct, frozen=True):
    asked: list[UUID]
    has_more: bool
    waited: bool
    asked_nobody_before: bool


ASK_WAVE: Final = """
WITH locked_pairing AS MATERIALIZED (
    SELECT id, customer_id, left_out_mitra_id, blocked_mitra_ids, status, deadline_at, waits_for_wave FROM pairings
    WHERE id = $1
    FOR NO KEY UPDATE
), open_pairing AS MATERIALIZED (
    SELECT * FROM locked_pairing WHERE status = 'open' AND deadline_at > curhat_now()
), unasked_mitras AS MATERIALIZED (
    SELECT mitras.id FROM open_pairing, mitras
    WHERE mitras.id = ANY ($2::uuid[]) AND mitras.can_take_customer AND mitras.id <> open_pairing.customer_id
        AND mitras.id IS DISTINCT FROM open_pairing.left_out_mitra_id
        AND mitras.id <> ALL (open_pairing.blocked_mitra_ids)
        AND mitras.id NOT IN (
            SELECT mitra_id FROM requests
            WHERE pairing_id = $1
                AND (status <> 'closed' OR close_reason NOT IN ('went_offline', 'at_capacity'))
        )
    ORDER BY mitras.active_sessions > 0, mitras.waiting_since, mitras.id
    LIMIT $3 + 1
), wave AS (
    SELECT id FROM (SELECT id, row_number() OVER () AS place FROM unasked_mitras) AS placed
    WHERE place <= $3
), ask_mitras AS (
    INSERT INTO requests (pairing_id, mitra_id, is_returning)
    SELECT open_pairing.id, wave.id,
        wave.id IN (SELECT mitra_id FROM sessions WHERE customer_id = (SELECT customer_id FROM open_pairing))
    FROM open_pairing, wave
    ORDER BY wave.id
    ON CONFLICT (pairing_id, mitra_id) DO UPDATE
    SET status = 'offered', close_reason = NULL, offered_at = curhat_now()
    WHERE requests.status = 'closed' AND requests.close_reason IN ('went_offline', 'at_capacity')
    RETURNING mitra_id
)
SELECT ARRAY(SELECT mitra_id FROM ask_mitras) AS asked, (SELECT count(*) FROM unasked_mitras) > $3 AS has_more,
    waits_for_wave AS waited,
    NOT EXISTS (SELECT 1 FROM requests WHERE pairing_id = $1) AS asked_nobody_before
FROM open_pairing
"""


async def ask_wave(
    db: Executor, /, *, pairing_id: UUID, candidates: Sequence[UUID], wave_size: int
) -> AskedWave | None:
    """Ask the next wave of an open blast (nothing → offered): at most @wave_size candidates who can take a customer and have
    no request, those first who have waited longest without a session. A request that was closed because its mitra was
    offline or at capacity is offered again. The statement locks the pairing, and returns no row if the pairing is decided
    or its window is over. The statement reads blocked_mitra_ids of the locked row, because its snapshot can be older than
    a block that was committed while it waited for the lock (T.1). `has_more` says whether candidates are left for a later wave. `waited` is the pairing's
    waits_for_wave. `asked_nobody_before` says whether this wave is the first to ask somebody."""
    row = await db.fetchrow(ASK_WAVE, pairing_id, candidates, wave_size)
    if row is None:
        return None
    return AskedWave(*row)


SET_WAITS_FOR_WAVE: Final = """
UPDATE pairings SET waits_for_wave = $1 WHERE id = $2
"""


async def set_waits_for_wave(db: Executor, /, *, waits_for_wave: bool, pairing_id: UUID) -> None:
    """Record whether the blast has more mitras to ask. The caller holds the pairing's lock."""
    await db.execute(SET_WAITS_FOR_WAVE, waits_for_wave, pairing_id)


OPEN_TARGETED: Final = """
WITH locked_mitra AS MATERIALIZED (
    SELECT id, can_take_customer AND $1 AND NOT EXISTS (
            SELECT 1 FROM payments JOIN blocks ON blocks.customer_id = payments.customer_id
            WHERE payments.id = $2 AND blocks.mitra_id = $3
        ) AS can_take_it
    FROM mitras WHERE id = $3
    FOR SHARE
), open_pairing AS (
    INSERT INTO pairings (payment_id, customer_id, kind, target_mitra_id, deadline_at)
    SELECT payments.id, payments.customer_id, 'targeted', locked_mitra.id,
        curhat_now() + make_interval(secs => $4)
    FROM payments, locked_mitra WHERE payments.id = $2
    RETURNING id, customer_id, deadline_at
), arm_window AS (
    INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
    SELECT 'targeted_window', open_pairing.id, deadline_at, $5
    FROM open_pairing, locked_mitra WHERE locked_mitra.can_take_it
), ask_mitra AS (
    INSERT INTO requests (pairing_id, mitra_id, is_returning)
    SELECT open_pairing.id, locked_mitra.id, true FROM open_pairing, locked_mitra WHERE locked_mitra.can_take_it
    RETURNING mitra_id
)
SELECT open_pairing.id, ARRAY(SELECT mitra_id FROM ask_mitra) AS asked FROM open_pairing
"""


async def open_targeted(
    db: Executor,
    /,
    *,
    is_reachable: bool,
    payment_id: UUID,
    mitra_id: UUID,
    window_seconds: float,
    correlation_id: str | None,
) -> OpenedPairing:
    """Open a targeted pairing (nothing → open). If the mitra can take a customer, @is_reachable is true, and neither of the
    two has blocked the other (T.1), the statement arms the window's deadline and inserts a request. Otherwise the pairing
    is open without a deadline and without a request, and `asked` is empty. The statement locks the mitra FOR SHARE, because a toggle or an accept can change the
    mitra at the same time. If the toggle or accept commits first, this statement sees the change. If this statement
    locks the mitra first, the toggle or accept waits, and then withdraws the request."""
    row = await db.fetchrow(OPEN_TARGETED, is_reachable, payment_id, mitra_id, window_seconds, correlation_id)
    if row is None:
        raise NoRow(OPEN_TARGETED)
    return OpenedPairing(*row)


LIST_OPEN_BLASTS: Final = """
SELECT id FROM pairings
WHERE status = 'open' AND kind = 'blast' AND deadline_at > (SELECT curhat_now()) AND id > $1
ORDER BY id
LIMIT 500
"""


async def list_open_blasts(db: Executor, /, *, after_id: UUID) -> list[UUID]:
    """Find the open blasts whose ids follow @after_id, in id order, at most 500. Takes no locks."""
    return [row[0] for row in await db.fetch(LIST_OPEN_BLASTS, after_id)]


class OfferedBlasts(msgspec.Struct, frozen=True):
    asked: list[UUID]
    first_asked: list[UUID]
    is_complete: bool


OFFER_BLASTS: Final = """
WITH locked_pairings AS MATERIALIZED (
    SELECT id, customer_id, left_out_mitra_id, blocked_mitra_ids, status, deadline_at, waits_for_wave FROM pairings
    WHERE id = ANY ($1::uuid[])
    ORDER BY id
    FOR SHARE SKIP LOCKED
), able_mitras AS MATERIALIZED (
    SELECT id FROM mitras WHERE id = ANY ($2::uuid[]) AND can_take_customer
), unasked AS MATERIALIZED (
    SELECT pairings.id AS pairing_id, pairings.customer_id, able_mitras.id AS mitra_id, requests.id AS request_id
    FROM locked_pairings AS pairings
    CROSS JOIN able_mitras
    LEFT JOIN requests ON requests.pairing_id = pairings.id AND requests.mitra_id = able_mitras.id
    WHERE pairings.status = 'open' AND pairings.deadline_at > curhat_now() AND NOT pairings.waits_for_wave
        AND able_mitras.id <> pairings.customer_id AND able_mitras.id IS DISTINCT FROM pairings.left_out_mitra_id
        AND able_mitras.id <> ALL (pairings.blocked_mitra_ids)
        AND (requests.id IS NULL OR requests.close_reason IN ('went_offline', 'at_capacity'))
), locked_requests AS MATERIALIZED (
    SELECT id FROM requests
    WHERE id = ANY (ARRAY(SELECT request_id FROM unasked WHERE request_id IS NOT NULL))
        AND close_reason IN ('went_offline', 'at_capacity')
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
), offer_again AS (
    UPDATE requests SET status = 'offered', close_reason = NULL, offered_at = curhat_now()
    FROM locked_requests WHERE requests.id = locked_requests.id
    RETURNING mitra_id
), offer_first AS (
    INSERT INTO requests (pairing_id, mitra_id, is_returning)
    SELECT pairing_id, mitra_id, EXISTS (
            SELECT 1 FROM sessions WHERE customer_id = unasked.customer_id AND mitra_id = unasked.mitra_id
        )
    FROM unasked WHERE request_id IS NULL
    ORDER BY pairing_id, mitra_id
    ON CONFLICT (pairing_id, mitra_id) DO NOTHING
    RETURNING pairing_id, mitra_id
)
SELECT ARRAY(SELECT mitra_id FROM offer_again UNION ALL SELECT mitra_id FROM offer_first) AS asked,
    ARRAY(
        SELECT DISTINCT pairing_id FROM offer_first
        WHERE NOT EXISTS (SELECT 1 FROM requests WHERE requests.pairing_id = offer_first.pairing_id)
    ) AS first_asked,
    (SELECT count(*) FROM locked_pairings) = cardinality($1)
        AND (SELECT count(*) FROM locked_requests) = (SELECT count(request_id) FROM unasked) AS is_complete
"""


async def offer_blasts(
    db: Executor, /, *, pairing_ids: Sequence[UUID], mitra_ids: Sequence[UUID]
) -> OfferedBlasts:
    """Offer these blasts to these mitras (nothing → offered). A request that was closed because its mitra was offline or at
    capacity is offered again. A blast that waits for its next wave is not offered, because the wave asks its mitras in
    their order. Each open pairing stays open until this transaction ends. The statement waits for no other transaction:
    it skips the pairings and requests that another transaction has locked, and then `is_complete` is false. `asked` holds
    one mitra's id per offered request. `first_asked` holds the pairings that had asked nobody before."""
    row = await db.fetchrow(OFFER_BLASTS, pairing_ids, mitra_ids)
    if row is None:
        raise NoRow(OFFER_BLASTS)
    return OfferedBlasts(*row)


FIND_PAYMENT_OF_PAIRING: Final = """
SELECT payment_id FROM pairings WHERE id = $1
"""


async def find_payment_of_pairing(db: Executor, /, *, pairing_id: UUID) -> UUID | None:
    row = await db.fetchrow(FIND_PAYMENT_OF_PAIRING, pairing_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


FIND_PAIRING_OF_REQUEST: Final = """
SELECT pairing_id FROM requests WHERE id = $1 AND mitra_id = $2
"""


async def find_pairing_of_request(db: Executor, /, *, request_id: UUID, mitra_id: UUID) -> UUID | None:
    """Returns no row if no such request exists, or the request belongs to another mitra."""
    row = await db.fetchrow(FIND_PAIRING_OF_REQUEST, request_id, mitra_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


FIND_UNDECIDED_PAIRING: Final = """
SELECT id FROM pairings WHERE payment_id = $1 AND (status = 'open' OR fallback_status = 'open')
"""


async def find_undecided_pairing(db: Executor, /, *, payment_id: UUID) -> UUID | None:
    """Find the pairing of this payment that is open, or whose fallback is open. A payment has at most one."""
    row = await db.fetchrow(FIND_UNDECIDED_PAIRING, payment_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class LockedPairing(msgspec.Struct, frozen=True):
    id: UUID
    payment_id: UUID
    customer_id: UUID
    kind: PairingKind
    status: PairingStatus
    deadline_at: datetime
    is_over: bool
    target_mitra_id: UUID | None
    failure_tag: FailureTag | None
    fallback_status: FallbackStatus | None
    fallback_answer_by: datetime | None
    answer_is_late: bool | None
    session_id: UUID | None


LOCK_PAIRING: Final = """
WITH locked_pairing AS MATERIALIZED (SELECT * FROM pairings WHERE id = $1 FOR NO KEY UPDATE)
SELECT id, payment_id, customer_id, kind, status, deadline_at, deadline_at <= curhat_now() AS is_over, target_mitra_id,
    failure_tag, fallback_status, fallback_answer_by, fallback_answer_by <= curhat_now() AS answer_is_late,
    (SELECT sessions.id FROM sessions WHERE sessions.pairing_id = locked_pairing.id) AS session_id
FROM locked_pairing
"""


async def lock_pairing(db: Executor, /, *, pairing_id: UUID) -> LockedPairing:
    """Lock the pairing. `is_over` is true if the pairing's window had passed when this statement got the lock.
    `answer_is_late` is true if the customer's time to answer the fallback had passed when this statement got the lock.
    `answer_is_late` is null if no fallback was offered."""
    row = await db.fetchrow(LOCK_PAIRING, pairing_id)
    if row is None:
        raise NoRow(LOCK_PAIRING)
    return LockedPairing(*row)


REJECT_REQUEST: Final = """
UPDATE requests SET status = 'rejected', answered_at = curhat_now()
WHERE id = $1 AND status = 'offered'
"""


async def reject_request(db: Executor, /, *, request_id: UUID) -> int:
    """Reject the request (offered → rejected). Changes no row if the request is no longer offered."""
    return rows_changed(await db.execute(REJECT_REQUEST, request_id))


class ReadRequestStatusRow(msgspec.Struct, frozen=True):
    request_status: RequestStatus
    close_reason: CloseReason | None


READ_REQUEST_STATUS: Final = """
SELECT status AS request_status, close_reason FROM requests WHERE id = $1
"""


async def read_request_status(db: Executor, /, *, request_id: UUID) -> ReadRequestStatusRow:
    row = await db.fetchrow(READ_REQUEST_STATUS, request_id)
    if row is None:
        raise NoRow(READ_REQUEST_STATUS)
    return ReadRequestStatusRow(*row)


class LockWindowsRow(msgspec.Struct, frozen=True):
    id: UUID
    payment_id: UUID
    deadline_at: datetime
    is_over: bool
    waits_for_wave: bool


LOCK_WINDOWS: Final = """
WITH locked_payments AS MATERIALIZED (
    SELECT id FROM payments
    WHERE id = ANY (ARRAY(SELECT payment_id FROM pairings WHERE id = ANY ($1::uuid[])))
    ORDER BY id
    FOR NO KEY UPDATE
), locked_pairings AS MATERIALIZED (
    SELECT id, payment_id, status, deadline_at, waits_for_wave FROM pairings
    WHERE id = ANY ($1) AND payment_id = ANY (ARRAY(SELECT id FROM locked_payments))
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_pairings
)
SELECT locked_pairings.id, locked_pairings.payment_id, locked_pairings.deadline_at,
    locked_pairings.deadline_at <= moment.now AS is_over, locked_pairings.waits_for_wave
FROM locked_pairings, moment
WHERE locked_pairings.status = 'open'
"""


async def lock_windows(db: Executor, /, *, pairing_ids: Sequence[UUID]) -> list[LockWindowsRow]:
    """Lock all payments of these pairings in id order, and then the pairings in id order. Returns the pairings that are
    open. `is_over` is true if the window had passed when this statement got the last lock."""
    return [LockWindowsRow(*row) for row in await db.fetch(LOCK_WINDOWS, pairing_ids)]


class CountAnswersRow(msgspec.Struct, frozen=True):
    pairing_id: UUID
    asked: int
    rejected: int


COUNT_ANSWERS: Final = """
SELECT pairing_id, count(*) AS asked, count(*) FILTER (WHERE status = 'rejected') AS rejected
FROM requests WHERE pairing_id = ANY ($1::uuid[])
GROUP BY pairing_id
"""


async def count_answers(db: Executor, /, *, pairing_ids: Sequence[UUID]) -> list[CountAnswersRow]:
    """For each pairing, count the mitras who were asked and the mitras who rejected. The result has no row for a pairing
    that asked nobody."""
    return [CountAnswersRow(*row) for row in await db.fetch(COUNT_ANSWERS, pairing_ids)]


CAN_ASK_ANOTHER: Final = """
SELECT EXISTS (
    SELECT 1 FROM mitras, pairings
    WHERE pairings.id = $1 AND mitras.id = ANY ($2::uuid[]) AND mitras.can_take_customer
        AND mitras.id <> pairings.customer_id AND mitras.id IS DISTINCT FROM pairings.left_out_mitra_id
        AND mitras.id <> ALL (pairings.blocked_mitra_ids)
        AND NOT EXISTS (SELECT 1 FROM requests WHERE pairing_id = pairings.id AND mitra_id = mitras.id)
) AS can_ask_another
"""


async def can_ask_another(db: Executor, /, *, pairing_id: UUID, mitra_ids: Sequence[UUID]) -> bool:
    """Return whether at least one of these mitras can take the pairing and has not been asked yet."""
    row = await db.fetchrow(CAN_ASK_ANOTHER, pairing_id, mitra_ids)
    if row is None:
        raise NoRow(CAN_ASK_ANOTHER)
    value: bool = row[0]
    return value


CAN_ASK_ANYBODY: Final = """
SELECT EXISTS (
    SELECT 1 FROM mitras
    WHERE id = ANY ($1::uuid[]) AND id <> ALL ($2::uuid[]) AND can_take_customer
) AS can_ask_anybody
"""


async def can_ask_anybody(
    db: Executor, /, *, mitra_ids: Sequence[UUID], left_out_ids: Sequence[UUID]
) -> bool:
    """Return whether at least one of these mitras can take a customer. The mitras in @left_out_ids do not count."""
    row = await db.fetchrow(CAN_ASK_ANYBODY, mitra_ids, left_out_ids)
    if row is None:
        raise NoRow(CAN_ASK_ANYBODY)
    value: bool = row[0]
    return value


FAIL_PAIRINGS: Final = """
UPDATE pairings SET status = 'failed', failure_tag = failure.tag, decided_at = curhat_now()
FROM unnest($1::uuid[], $2::text[]) AS failure (pairing_id, tag)
WHERE pairings.id = failure.pairing_id
"""


async def fail_pairings(
    db: Executor, /, *, pairing_ids: Sequence[UUID], failure_tags: Sequence[FailureTag]
) -> None:
    """Fail each pairing with its tag (open → failed). The customers get no fallback."""
    await db.execute(FAIL_PAIRINGS, pairing_ids, failure_tags)


FAIL_PAIRINGS_WITH_FALLBACK: Final = """
WITH fail_pairings AS (
    UPDATE pairings SET status = 'failed', failure_tag = failure.tag, decided_at = curhat_now(),
        fallback_status = 'open', fallback_answer_by = curhat_now() + make_interval(mins => $1)
    FROM unnest($2::uuid[], $3::text[]) AS failure (pairing_id, tag)
    WHERE id = failure.pairing_id
    RETURNING id, fallback_answer_by
)
INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
SELECT 'fallback_answer', id, fallback_answer_by, $4 FROM fail_pairings
"""


async def fail_pairings_with_fallback(
    db: Executor,
    /,
    *,
    answer_minutes: int,
    pairing_ids: Sequence[UUID],
    failure_tags: Sequence[FailureTag],
    correlation_id: str | None,
) -> None:
    """Fail each pairing with its tag (open → failed), and offer the fallback. Each customer then has @answer_minutes to
    decide whether the service asks other mitras. The statement arms the deadline for the customer's answer to the
    fallback."""
    await db.execute(FAIL_PAIRINGS_WITH_FALLBACK, answer_minutes, pairing_ids, failure_tags, correlation_id)


DECIDE_FALLBACK: Final = """
UPDATE pairings SET fallback_status = $1 WHERE id = $2
"""


async def decide_fallback(db: Executor, /, *, fallback_status: FallbackStatus, pairing_id: UUID) -> None:
    """Decide the fallback (open → taken, declined or expired)."""
    await db.execute(DECIDE_FALLBACK, fallback_status, pairing_id)


LIST_WITHDRAWN_TARGETED: Final = """
SELECT pairing_id FROM requests
WHERE pairing_id = ANY ($1::uuid[]) AND close_reason IN ('went_offline', 'at_capacity', 'suspended')
"""


async def list_withdrawn_targeted(db: Executor, /, *, pairing_ids: Sequence[UUID]) -> list[UUID]:
    """Find the targeted pairings whose request was closed because the mitra became unavailable."""
    return [row[0] for row in await db.fetch(LIST_WITHDRAWN_TARGETED, pairing_ids)]


class ListTargetsRow(msgspec.Struct, frozen=True):
    id: UUID
    target_mitra_id: UUID
    customer_id: UUID


LIST_TARGETS: Final = """
SELECT id, target_mitra_id, customer_id FROM pairings WHERE id = ANY ($1::uuid[])
"""


async def list_targets(db: Executor, /, *, pairing_ids: Sequence[UUID]) -> list[ListTargetsRow]:
    """For each targeted pairing, read the ids of the chosen mitra and of the customer."""
    return [ListTargetsRow(*row) for row in await db.fetch(LIST_TARGETS, pairing_ids)]


CLOSE_REQUESTS: Final = """
WITH failures AS (
    SELECT * FROM unnest($1::uuid[], $2::text[]) AS failure (pairing_id, reason)
), locked_requests AS MATERIALIZED (
    SELECT id, pairing_id FROM requests WHERE pairing_id = ANY ($1) AND status = 'offered'
    ORDER BY id
    FOR NO KEY UPDATE
)
UPDATE requests SET status = 'closed', close_reason = failures.reason, answered_at = curhat_now()
FROM locked_requests JOIN failures USING (pairing_id)
WHERE requests.id = locked_requests.id
RETURNING requests.mitra_id
"""


async def close_requests(
    db: Executor, /, *, pairing_ids: Sequence[UUID], close_reasons: Sequence[CloseReason]
) -> list[UUID]:
    """Close all offered requests of the pairings (offered → closed). Each pairing has its own close reason. Locks the
    requests in id order. Returns the mitras of the closed requests."""
    return [row[0] for row in await db.fetch(CLOSE_REQUESTS, pairing_ids, close_reasons)]


LEAVE_OUT_BLOCKED: Final = """
UPDATE pairings SET blocked_mitra_ids = array_append(blocked_mitra_ids, $1)
WHERE id = $2 AND $1 <> ALL (blocked_mitra_ids)
"""


async def leave_out_blocked(db: Executor, /, *, mitra_id: UUID, pairing_id: UUID) -> None:
    """Never ask this mitra for this pairing any more (T.1). The caller holds the pairing's lock."""
    await db.execute(LEAVE_OUT_BLOCKED, mitra_id, pairing_id)


CLOSE_BLOCKED_REQUEST: Final = """
UPDATE requests SET status = 'closed', close_reason = 'customer_cancelled', answered_at = curhat_now()
WHERE pairing_id = $1 AND mitra_id = $2 AND status = 'offered'
"""


async def close_blocked_request(db: Executor, /, *, pairing_id: UUID, mitra_id: UUID) -> int:
    """Close the mitra's offered request of this pairing, as if the customer had cancelled (offered → closed, T.1). The caller
    holds the pairing's lock."""
    return rows_changed(await db.execute(CLOSE_BLOCKED_REQUEST, pairing_id, mitra_id))


class WithdrawRequestsRow(msgspec.Struct, frozen=True):
    id: UUID
    kind: PairingKind


WITHDRAW_REQUESTS: Final = """
WITH locked_requests AS MATERIALIZED (
    SELECT id, pairing_id FROM requests WHERE mitra_id = $1 AND status = 'offered' ORDER BY id FOR NO KEY UPDATE
), close_requests AS (
    UPDATE requests SET status = 'closed', close_reason = $2, answered_at = curhat_now()
    FROM locked_requests WHERE requests.id = locked_requests.id AND requests.status = 'offered'
    RETURNING requests.pairing_id
)
SELECT pairings.id, pairings.kind FROM close_requests JOIN pairings ON pairings.id = close_requests.pairing_id
"""


async def withdraw_requests(
    db: Executor, /, *, mitra_id: UUID, close_reason: CloseReason
) -> list[WithdrawRequestsRow]:
    """Close all offered requests of a mitra (offered → closed). Locks the requests in id order. Returns the pairings of the
    closed requests."""
    return [WithdrawRequestsRow(*row) for row in await db.fetch(WITHDRAW_REQUESTS, mitra_id, close_reason)]


LOG_FAILED_PAIRINGS: Final = """
INSERT INTO failed_pairing_events (payment_id, pairing_id, tag, kind, mitra_id)
SELECT payment_id, id, failure_tag, kind, target_mitra_id FROM pairings WHERE id = ANY ($1::uuid[])
ORDER BY id
"""


async def log_failed_pairings(db: Executor, /, *, pairing_ids: Sequence[UUID]) -> None:
    """Insert one event for each failed pairing."""
    await db.execute(LOG_FAILED_PAIRINGS, pairing_ids)


LINK_EVENTS_TO_CASES: Final = """
UPDATE failed_pairing_events SET case_id = review_cases.id
FROM review_cases
WHERE failed_pairing_events.payment_id = ANY ($1::uuid[])
    AND review_cases.payment_id = failed_pairing_events.payment_id
"""


async def link_events_to_cases(db: Executor, /, *, payment_ids: Sequence[UUID]) -> None:
    """In each event of these payments, set case_id to the id of the payment's review case."""
    await db.execute(LINK_EVENTS_TO_CASES, payment_ids)


LOG_EXPIRED_PAYMENTS: Final = """
INSERT INTO failed_pairing_events (payment_id, tag) SELECT unnest($1::uuid[]), 'payment_session_expired'
"""


async def log_expired_payments(db: Executor, /, *, payment_ids: Sequence[UUID]) -> None:
    """For each payment, insert one event with the tag payment_session_expired. The event refers to no pairing and
    no case."""
    await db.execute(LOG_EXPIRED_PAYMENTS, payment_ids)


class PaymentViewRow(msgspec.Struct, frozen=True):
    id: UUID
    customer_id: UUID
    purpose: Purpose
    payment_status: PaymentStatus
    offer_id: UUID
    duration_minutes: int
    amount_rp: int
    is_trial: bool
    created_at: datetime
    expires_at: datetime
    target_mitra_id: UUID | None
    target_display_name: str | None
    pairing_id: UUID | None
    pairing_kind: PairingKind | None
    pairing_status: PairingStatus | None
    pairing_deadline_at: datetime | None
    pairing_failure_tag: FailureTag | None
    fallback_status: FallbackStatus | None
    fallback_answer_by: datetime | None
    anybody_asked: bool
    session_id: UUID | None
    server_now: datetime


LIST_PAYMENT_VIEWS: Final = """
SELECT payments.id, payments.customer_id, payments.purpose, payments.status AS payment_status, payments.offer_id,
    payments.duration_minutes, payments.amount_rp, payments.is_trial, payments.created_at, payments.expires_at,
    payments.target_mitra_id, mitras.display_name AS target_display_name,
    pairing.id AS pairing_id, pairing.kind AS pairing_kind, pairing.status AS pairing_status,
    pairing.deadline_at AS pairing_deadline_at, pairing.failure_tag AS pairing_failure_tag,
    pairing.fallback_status, pairing.fallback_answer_by,
    EXISTS (SELECT 1 FROM requests WHERE requests.pairing_id = pairing.id) AS anybody_asked,
    sessions.id AS session_id, curhat_now() AS server_now
FROM payments
LEFT JOIN mitras ON mitras.id = payments.target_mitra_id
LEFT JOIN LATERAL (
    SELECT * FROM pairings WHERE payment_id = payments.id ORDER BY kind = 'blast' DESC LIMIT 1
) AS pairing ON true
LEFT JOIN sessions ON sessions.pairing_id = pairing.id
WHERE payments.id = ANY ($1::uuid[])
"""


async def list_payment_views(db: Executor, /, *, payment_ids: Sequence[UUID]) -> list[PaymentViewRow]:
    """Read the columns of these payments that customers see, each payment with its latest pairing. If the payment has a
    blast, the blast is the latest pairing, because no pairing comes after a blast. The statement does not sort the
    pairings by id, because ids are out of time order if the clock was set back."""
    return [PaymentViewRow(*row) for row in await db.fetch(LIST_PAYMENT_VIEWS, payment_ids)]


READ_PAIRING_VIEW: Final = """
SELECT payments.id, payments.customer_id, payments.purpose, payments.status AS payment_status, payments.offer_id,
    payments.duration_minutes, payments.amount_rp, payments.is_trial, payments.created_at, payments.expires_at,
    payments.target_mitra_id, mitras.display_name AS target_display_name,
    pairing.id AS pairing_id, pairing.kind AS pairing_kind, pairing.status AS pairing_status,
    pairing.deadline_at AS pairing_deadline_at, pairing.failure_tag AS pairing_failure_tag,
    pairing.fallback_status, pairing.fallback_answer_by,
    EXISTS (SELECT 1 FROM requests WHERE requests.pairing_id = pairing.id) AS anybody_asked,
    sessions.id AS session_id, curhat_now() AS server_now
FROM pairings AS pairing
JOIN payments ON payments.id = pairing.payment_id
LEFT JOIN mitras ON mitras.id = payments.target_mitra_id
LEFT JOIN sessions ON sessions.pairing_id = pairing.id
WHERE pairing.id = $1
"""


async def read_pairing_view(db: Executor, /, *, pairing_id: UUID) -> PaymentViewRow | None:
    """Read the columns of a pairing and its payment that the customer sees."""
    row = await db.fetchrow(READ_PAIRING_VIEW, pairing_id)
    if row is None:
        return None
    return PaymentViewRow(*row)


FIND_CURRENT_PAYMENT: Final = """
SELECT coalesce(
    (
        SELECT id FROM payments
        WHERE customer_id = $1 AND purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')
    ),
    (
        SELECT CASE WHEN status = 'unserved' THEN id END FROM payments
        WHERE customer_id = $1 AND purpose = 'session' ORDER BY id DESC LIMIT 1
    )
) AS id
"""


async def find_current_payment(db: Executor, /, *, customer_id: UUID) -> UUID | None:
    """Find the payment that the app shows to a returning customer. The app shows the customer's open payment. If no payment
    is open and the latest payment has the status `unserved`, the app shows the latest payment. The result is null if the
    app shows no payment."""
    row = await db.fetchrow(FIND_CURRENT_PAYMENT, customer_id)
    if row is None:
        raise NoRow(FIND_CURRENT_PAYMENT)
    value: UUID | None = row[0]
    return value


class OpenRequest(msgspec.Struct, frozen=True):
    id: UUID
    mitra_id: UUID
    kind: PairingKind
    call_name: str
    is_returning: bool
    duration_minutes: int
    is_trial: bool
    deadline_at: datetime
    close_reason: CloseReason | None
    server_now: datetime


LIST_OPEN_REQUESTS: Final = """
WITH open_pairings AS MATERIALIZED (
    SELECT pairings.id, pairings.kind, pairings.deadline_at, customers.call_name, payments.duration_minutes,
        payments.is_trial
    FROM pairings
    JOIN payments ON payments.id = pairings.payment_id
    JOIN customers ON customers.id = pairings.customer_id
    WHERE pairings.status = 'open' AND pairings.deadline_at > (SELECT curhat_now())
), able_mitras AS MATERIALIZED (
    SELECT id FROM mitras WHERE id = ANY ($1::uuid[]) AND can_take_customer
), offered_requests AS MATERIALIZED (
    SELECT id, pairing_id, mitra_id, is_returning FROM requests
    WHERE mitra_id = ANY (ARRAY(SELECT id FROM able_mitras)) AND status = 'offered'
)
SELECT offered_requests.id, offered_requests.mitra_id, open_pairings.kind, open_pairings.call_name,
    offered_requests.is_returning, open_pairings.duration_minutes, open_pairings.is_trial, open_pairings.deadline_at,
    NULL::text AS close_reason, curhat_now() AS server_now
FROM offered_requests
JOIN open_pairings ON open_pairings.id = offered_requests.pairing_id
ORDER BY offered_requests.mitra_id, offered_requests.id
"""


async def list_open_requests(db: Executor, /, *, mitra_ids: Sequence[UUID]) -> list[OpenRequest]:
    """Find the requests whose cards the mitras see now. A mitra sees the card if the request is offered, the window of the
    pairing runs, and the mitra can take a customer. The statement first reads the open rows through their partial
    indexes, so old rows in the tables do not slow the statement down."""
    return [OpenRequest(*row) for row in await db.fetch(LIST_OPEN_REQUESTS, mitra_ids)]


class ClosedRequest(msgspec.Struct, frozen=True):
    id: UUID
    mitra_id: UUID
    request_status: RequestStatus
    close_reason: CloseReason | None
    kind: PairingKind
    pairing_status: PairingStatus
    failure_tag: FailureTag | None
    call_name: str
    is_returning: bool
    duration_minutes: int
    is_trial: bool
    deadline_at: datetime
    server_now: datetime
    is_offline: bool
    is_suspended: bool
    is_full: bool


LIST_CLOSED_REQUESTS: Final = """
SELECT requests.id, requests.mitra_id, requests.status AS request_status, requests.close_reason, pairings.kind,
    pairings.status AS pairing_status, pairings.failure_tag, customers.call_name, requests.is_returning,
    payments.duration_minutes, payments.is_trial, pairings.deadline_at, curhat_now() AS server_now,
    NOT mitras.online AS is_offline,
    mitras.suspended_at IS NOT NULL AS is_suspended, mitras.active_sessions >= mitras.max_customers AS is_full
FROM requests
JOIN pairings ON pairings.id = requests.pairing_id
JOIN payments ON payments.id = pairings.payment_id
JOIN customers ON customers.id = pairings.customer_id
JOIN mitras ON mitras.id = requests.mitra_id
WHERE requests.id = ANY ($1::uuid[])
"""


async def list_closed_requests(db: Executor, /, *, request_ids: Sequence[UUID]) -> list[ClosedRequest]:
    """Read requests that are no longer open, with the columns that explain the end of each request."""
    return [ClosedRequest(*row) for row in await db.fetch(LIST_CLOSED_REQUESTS, request_ids)]
