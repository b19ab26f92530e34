"""Test each invariant of `curhat simulate`: it finds a row that violates the invariant, and finds no row in a healthy
database.

The tests write rows that the constraints of the schema forbid. The invariant must find such a row even if a migration
drops the constraint.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import pytest

from curhat.dev.simulate.invariants import FILE, INVARIANTS, check
from curhat.dev.statements import parse
from curhat.kit.database import Database
from tests.support.clock import START, VirtualClock

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# The tests stop the database's clock at this time.
NOW = START
MINUTE = timedelta(minutes=1)


class Rows:
    """Writes rows with default values, so that a test gives only the columns that matter."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def allow(self, *statements: str) -> None:
        """Run statements that remove constraints of the schema, so that a test can write a forbidden row."""
        for statement in statements:
            await self._connection.execute(statement)

    async def write(self, table: str, **values: Any) -> UUID:
        """Write one row. Return the `id` in `values`, or the zero UUID if there is none."""
        values = {**DEFAULTS.get(table, dict)(), **values}
        columns = ", ".join(values)
        places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        await self._connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", *values.values())
        row_id: UUID = values.get("id", UUID(int=0))
        return row_id

    async def confirmed_payment(self, **values: Any) -> UUID:
        """Write a payment and its charge attempt. The payment is confirmed and served, unless `values` says
        otherwise.
        """
        values = {"confirmed_at": NOW, "status": "served", **values}
        payment_id = await self.write("payments", **values)
        if values.get("amount_rp", 20_000) > 0:
            await self.write("charge_attempts", payment_id=payment_id)
        return payment_id

    async def extension_payment(self, **values: Any) -> UUID:
        """Write the payment of an extension. It is charged and served, unless `values` says otherwise."""
        return await self.confirmed_payment(purpose="extension", amount_rp=10_000, **values)

    async def session(self, *, without: str = "", **values: Any) -> UUID:
        """Write a session with its payment, pairing and request. If `without` is "payment", write no payment."""
        values = {**DEFAULTS["sessions"](), **values}
        people = {"customer_id": values["customer_id"]}
        if without != "payment":
            await self.confirmed_payment(id=values["payment_id"], **people)
        await self.write(
            "pairings", id=values["pairing_id"], payment_id=values["payment_id"], status="matched", decided_at=NOW,
            **people,
        )  # fmt: skip
        await self.write(
            "requests", pairing_id=values["pairing_id"], mitra_id=values["mitra_id"], status="accepted"
        )
        return await self.write("sessions", **values)

    async def failed_targeted(self, **values: Any) -> UUID:
        """Write a targeted pairing that the mitra rejected. The customer has taken the fallback."""
        rejected = {"status": "failed", "failure_tag": "targeted_mitra_rejected", "decided_at": NOW}
        taken = {"fallback_status": "taken", "fallback_answer_by": NOW + MINUTE}
        return await self.write("pairings", kind="targeted", **{**rejected, **taken, **values})

    async def failed_payment(self, **pairing: Any) -> UUID:
        """Write a payment that was charged and is unserved, with its pairing, its failure event and its case."""
        customer_id = uuid4()
        payment_id = await self.confirmed_payment(status="unserved", customer_id=customer_id)
        case_id = await self.write("review_cases", payment_id=payment_id)
        pairing_id = await self.write(
            "pairings",
            **{
                "payment_id": payment_id,
                "customer_id": customer_id,
                "status": "failed",
                "failure_tag": "all_mitras_rejected",
                "decided_at": NOW,
            }
            | pairing,
        )
        tag = pairing.get("failure_tag", "all_mitras_rejected")
        await self.write(
            "failed_pairing_events", payment_id=payment_id, pairing_id=pairing_id, tag=tag, kind="blast",
            case_id=case_id,
        )  # fmt: skip
        return payment_id


def _ids(*names: str) -> dict[str, Any]:
    return {name: uuid4() for name in names}


DEFAULTS: dict[str, Callable[[], dict[str, Any]]] = {
    "payments": lambda: {
        **_ids("id", "customer_id", "offer_id"),
        "purpose": "session",
        "status": "pending",
        "duration_minutes": 30,
        "amount_rp": 20_000,
        "is_trial": False,
        "expires_at": NOW + 20 * MINUTE,
    },
    "charge_attempts": lambda: {**_ids("id", "payment_id"), "amount_rp": 20_000, "status": "approved"},
    "refunds": lambda: {
        **_ids("id", "payment_id", "charge_attempt_id"),
        "amount_rp": 20_000,
        "reason": "late_approval",
    },
    "pairings": lambda: {
        **_ids("id", "payment_id", "customer_id"),
        "kind": "blast",
        "created_at": NOW,
        "deadline_at": NOW + MINUTE,
    },
    "requests": lambda: {**_ids("id", "pairing_id", "mitra_id"), "is_returning": False},
    "sessions": lambda: {
        **_ids("id", "payment_id", "pairing_id", "customer_id", "mitra_id"),
        "status": "ended",
        "duration_minutes": 30,
        "is_trial": False,
        "started_at": NOW,
        "ends_at": NOW + 30 * MINUTE,
        "ended_at": NOW + 10 * MINUTE,
        "end_reason": "customer_ended",
    },
    "extensions": lambda: {
        **_ids("id", "session_id", "payment_id", "offer_id"),
        "duration_minutes": 15,
        "price_rp": 10_000,
        "default_action": "auto_approve",
        "requested_at": NOW,
        "deadline_at": NOW + MINUTE / 6,
        "status": "approved",
        "decided_by": "mitra",
        "decided_at": NOW,
        "charge_by": NOW + MINUTE / 2,
    },
    "messages": lambda: {
        **_ids("id", "session_id"),
        "sender": "customer",
        "client_message_id": str(uuid4()),
        "text": "halo",
    },
    "review_cases": lambda: {**_ids("id", "payment_id"), "reason": "no_session", "amount_rp": 20_000},
    "failed_pairing_events": lambda: _ids("id", "payment_id"),
    "mitras": lambda: {**_ids("id"), "display_name": "Kak Sari", "max_customers": 1},
}

Break = Callable[[Rows], Awaitable[object]]
BREAKS: dict[str, Break] = {}


def breaks(title: str) -> Callable[[Break], Break]:
    """Return a decorator that registers a function under an invariant's title. The function writes a row that
    violates it.
    """

    def remember(function: Break) -> Break:
        BREAKS[title] = function
        return function

    return remember


@breaks("a pairing has at most one winner")
async def _(rows: Rows) -> None:
    await rows.allow("DROP INDEX requests_one_winner")
    pairing_id = uuid4()
    for _ in range(2):
        await rows.write("requests", pairing_id=pairing_id, status="accepted")


@breaks("a payment has at most one session")
async def _(rows: Rows) -> None:
    await rows.allow("ALTER TABLE sessions DROP CONSTRAINT sessions_one_a_payment")
    payment_id = uuid4()
    for _ in range(2):
        await rows.write("sessions", payment_id=payment_id)


@breaks("a matched pairing, its winner and its session agree")
async def _(rows: Rows) -> None:
    await rows.write("pairings", status="matched", decided_at=NOW)


@breaks("a payment has at most one charge")
async def _(rows: Rows) -> None:
    await rows.allow("DROP INDEX charge_attempts_one_charge")
    payment_id = await rows.confirmed_payment()
    await rows.write("charge_attempts", payment_id=payment_id)


@breaks("what a payment costs is charged if and only if it is confirmed; Rp0 never reaches the gateway")
async def _(rows: Rows) -> None:
    await rows.write("payments", status="confirmed", confirmed_at=NOW)


@breaks("an approval that came too late is refunded once and in full")
async def _(rows: Rows) -> None:
    attempt_id = await rows.write("charge_attempts", status="approved_late")
    await rows.write("refunds", charge_attempt_id=attempt_id, amount_rp=19_999)


@breaks("no session without a confirmed payment")
async def _(rows: Rows) -> None:
    await rows.session(payment_id=await rows.write("payments"), without="payment")


@breaks("no pairing without a confirmed payment")
async def _(rows: Rows) -> None:
    await rows.write("pairings", payment_id=await rows.write("payments"))


@breaks("a confirmed payment is served, in flight or failed, and exactly one of them")
async def _(rows: Rows) -> None:
    await rows.confirmed_payment(status="confirmed")


@breaks("each failed attempt has its event, and no other attempt has one")
async def _(rows: Rows) -> None:
    await rows.write("pairings", status="failed", failure_tag="customer_cancelled", decided_at=NOW)


@breaks("a payment that was taken and not served has its tag and its one case, and no recovered event")
async def _(rows: Rows) -> None:
    await rows.confirmed_payment(status="unserved")


@breaks("a served payment has only recovered failures, and no case for a missing session")
async def _(rows: Rows) -> None:
    payment_id = uuid4()
    await rows.session(payment_id=payment_id)
    await rows.write("failed_pairing_events", payment_id=payment_id, tag="no_mitra_available")


@breaks("a payment that was never taken has an event if and only if it expired, and no case")
async def _(rows: Rows) -> None:
    await rows.write("payments", status="expired", closed_at=NOW + 20 * MINUTE)


@breaks("a session that was cut short has a case, and no other session has a case for that")
async def _(rows: Rows) -> None:
    await rows.session(end_reason="mitra_ended", end_note="capek")


@breaks("a payment has one blast, or one targeted pairing and then a blast if the fallback was taken")
async def _(rows: Rows) -> None:
    payment_id = await rows.confirmed_payment(target_mitra_id=uuid4())
    await rows.write("pairings", payment_id=payment_id)


@breaks("a pairing asked only the mitras that it may ask")
async def _(rows: Rows) -> None:
    mitra_id = uuid4()
    await rows.write(
        "requests", pairing_id=await rows.write("pairings", left_out_mitra_id=mitra_id), mitra_id=mitra_id
    )


@breaks("an unanswered fallback is logged as expired, not early, and no other fallback is")
async def _(rows: Rows) -> None:
    await rows.failed_payment(
        kind="targeted", target_mitra_id=uuid4(), failure_tag="targeted_mitra_timeout", fallback_status="expired",
        fallback_answer_by=NOW,
    )  # fmt: skip


@breaks("an extension is charged once if and only if it was approved, and not before")
async def _(rows: Rows) -> None:
    payment_id = await rows.extension_payment(status="abandoned", confirmed_at=None)
    await rows.write("extensions", payment_id=payment_id, status="rejected", charge_by=None)


@breaks("a payment of an extension has its extension")
async def _(rows: Rows) -> None:
    await rows.extension_payment()


@breaks("an extension was decided by its own terms, and never approved by a mitra who was away")
async def _(rows: Rows) -> None:
    session_id = await rows.session()
    await rows.write("extensions", session_id=session_id, decided_by="timeout", decided_at=NOW)


@breaks("a session's end is its start, its own time and the extensions that were paid")
async def _(rows: Rows) -> None:
    await rows.write("extensions", session_id=await rows.session())


@breaks("a session's open extension is the one in its open_extension_id")
async def _(rows: Rows) -> None:
    session_id = await rows.session(status="active", ended_at=None, end_reason=None)
    await rows.write(
        "extensions",
        session_id=session_id,
        status="pending",
        decided_by=None,
        decided_at=None,
        charge_by=None,
    )


@breaks("an approved extension of a session that was cut short has a case, and no other extension has")
async def _(rows: Rows) -> None:
    await rows.write("extensions", session_id=await rows.session(end_reason="mitra_ended", end_note="capek"))


@breaks("a window that timed out was not closed early")
async def _(rows: Rows) -> None:
    await rows.failed_payment(failure_tag="no_mitra_available", decided_at=NOW + 0.9 * MINUTE)


@breaks("a payment did not expire early")
async def _(rows: Rows) -> None:
    await rows.write("payments", status="expired", closed_at=NOW + 19 * MINUTE)


@breaks("a session was not ended by the clock early")
async def _(rows: Rows) -> None:
    await rows.session(end_reason="time_up", ended_at=NOW + 29 * MINUTE)


@breaks("nobody accepted at or after the deadline")
async def _(rows: Rows) -> None:
    await rows.write("pairings", status="matched", deadline_at=NOW, decided_at=NOW)


@breaks("nobody cancelled, confirmed or ended after the deadline")
async def _(rows: Rows) -> None:
    await rows.failed_payment(failure_tag="customer_cancelled", decided_at=NOW + 2 * MINUTE)


@breaks("everything that waits for a deadline has one armed")
async def _(rows: Rows) -> None:
    await rows.write("payments")


@breaks("no deadline is parked")
async def _(rows: Rows) -> None:
    await rows.write("deadlines", kind="session_end", entity_id=uuid4(), due_at=NOW, parked_at=NOW)


@breaks("the history of each status is one unbroken chain that ends at the row's status")
async def _(rows: Rows) -> None:
    payment_id = await rows.write("payments")
    for old, new in ((None, "pending"), ("confirming", "abandoned")):
        await rows.write(
            "status_changes", payment_id=payment_id, entity="payment", entity_id=payment_id, old_status=old,
            new_status=new,
        )  # fmt: skip


@breaks("a mitra's count of sessions is the number of its sessions")
async def _(rows: Rows) -> None:
    await rows.write("mitras", active_sessions=1)


@breaks("no mitra ever had more sessions at once than their capacity")
async def _(rows: Rows) -> None:
    mitra_id = await rows.write("mitras")
    for _ in range(2):
        await rows.session(mitra_id=mitra_id)


@breaks("a stream's events are numbered without gaps up to its head")
async def _(rows: Rows) -> None:
    user_id = uuid4()
    await rows.write("streams", role="customer", user_id=user_id, head=3)
    for seq in (1, 3):
        await rows.write(
            "stream_events", role="customer", user_id=user_id, seq=seq, type="payment.updated", data="{}"
        )


@breaks("a customer has one journey at a time: one open payment, or one running session")
async def _(rows: Rows) -> None:
    customer_id = uuid4()
    await rows.write("payments", customer_id=customer_id)
    await rows.session(customer_id=customer_id, status="active", ended_at=None, end_reason=None)


@breaks("a customer has one trial")
async def _(rows: Rows) -> None:
    await rows.allow("DROP INDEX sessions_one_trial")
    customer_id = uuid4()
    for _ in range(2):
        await rows.write("sessions", customer_id=customer_id, is_trial=True)


@breaks("no mitra is asked by, or in a session with, themselves")
async def _(rows: Rows) -> None:
    customer_id = uuid4()
    await rows.write(
        "requests", pairing_id=await rows.write("pairings", customer_id=customer_id), mitra_id=customer_id
    )


@breaks("a message was sent while its session ran")
async def _(rows: Rows) -> None:
    await rows.write("messages", session_id=await rows.session(), sent_at=NOW + 11 * MINUTE)


@breaks("a fallback never asked the mitra of the failed targeted pairing")
async def _(rows: Rows) -> None:
    payment_id, mitra_id = uuid4(), uuid4()
    await rows.failed_targeted(payment_id=payment_id, target_mitra_id=mitra_id)
    await rows.write(
        "requests", pairing_id=await rows.write("pairings", payment_id=payment_id), mitra_id=mitra_id
    )


@breaks("no pairing or extension waits for a mitra who went offline")
async def _(rows: Rows) -> None:
    pairing_id = await rows.write("pairings", kind="targeted", target_mitra_id=uuid4())
    await rows.write("requests", pairing_id=pairing_id, status="closed", close_reason="went_offline")


@breaks("no fallback was answered and no extension was charged after the deadline")
async def _(rows: Rows) -> None:
    payment_id = uuid4()
    await rows.failed_targeted(payment_id=payment_id, target_mitra_id=uuid4())
    await rows.confirmed_payment(id=payment_id, status="confirmed")
    await rows.write("pairings", payment_id=payment_id, created_at=NOW + 2 * MINUTE)


@breaks("the charge of an extension did not fail early")
async def _(rows: Rows) -> None:
    extension_id = await rows.write("extensions", session_id=await rows.session(), status="charge_failed")
    await rows.write(
        "status_changes", payment_id=uuid4(), entity="extension", entity_id=extension_id, old_status="charging",
        new_status="charge_failed", changed_at=NOW,
    )  # fmt: skip


@breaks("the gateway was called only with what was recorded here before")
async def _(rows: Rows) -> None:
    await rows.write(
        "mock_gateway.charges", key=uuid4(), payment_id=uuid4(), amount_rp=20_000, status="declined",
        known_at=NOW, at=NOW,
    )  # fmt: skip


@breaks("the gateway's books agree with ours")
async def _(rows: Rows) -> None:
    payment_id = await rows.confirmed_payment()
    for _ in range(2):
        await rows.write(
            "mock_gateway.charges", key=uuid4(), payment_id=payment_id, amount_rp=20_000, status="approved",
            known_at=NOW, at=NOW,
        )  # fmt: skip


@breaks("nothing is in flight")
async def _(rows: Rows) -> None:
    await rows.write("payments")


@breaks("no deadline is overdue by 5 s")
async def _(rows: Rows) -> None:
    await rows.write("deadlines", kind="session_end", entity_id=uuid4(), due_at=NOW - MINUTE)


@pytest.fixture
async def connection(database: Database, clock: VirtualClock) -> AsyncIterator[Connection]:
    """Yield a connection at NOW without triggers and foreign keys. Its writes are rolled back."""
    await clock.set(NOW)
    async with database.pool.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        await connection.execute("SET LOCAL session_replication_role = replica")
        yield connection
        await undone.rollback()


def test_every_invariant_has_a_test_row_that_violates_the_invariant() -> None:
    assert {invariant.title for invariant in INVARIANTS} == BREAKS.keys()
    assert len(BREAKS) == len(INVARIANTS)


def test_every_invariant_has_a_number_and_no_parameter_except_people_ids() -> None:
    statements = parse(FILE).statements
    assert [
        statement.name for statement in statements if statement.parameters not in ([], ["people_ids"])
    ] == []
    numbers = [invariant.number for invariant in INVARIANTS]
    assert [number for number in numbers if not re.fullmatch(r"\d+|(\d[ab]?|X)\.\d+", number)] == []


async def test_every_invariant_finds_the_row_that_violates_the_invariant(connection: Connection) -> None:
    overlooked = []
    for title, write in BREAKS.items():
        alone = connection.transaction()
        await alone.start()
        await write(Rows(connection))
        violations = await check(connection, quiet=True)
        if title not in {violation.invariant.title for violation in violations}:
            overlooked.append(title)
        await alone.rollback()

    assert overlooked == []


async def test_a_healthy_database_violates_no_invariant(connection: Connection) -> None:
    rows = Rows(connection)
    await rows.session()
    await rows.failed_payment()
    payment_id = await rows.write("payments", status="expired", closed_at=NOW + 20 * MINUTE)
    await rows.write("failed_pairing_events", payment_id=payment_id, tag="payment_session_expired")
    await rows.write("payments", status="abandoned", closed_at=NOW)
    lengthened_id = await rows.session(ends_at=NOW + 45 * MINUTE)
    payment_id = await rows.write(
        "payments", purpose="extension", amount_rp=10_000, status="served", confirmed_at=NOW
    )
    await rows.write("charge_attempts", payment_id=payment_id, amount_rp=10_000, started_at=NOW)
    await rows.write("extensions", session_id=lengthened_id, payment_id=payment_id)

    assert await check(connection) == []


async def test_the_invariants_of_a_quiet_system_check_only_the_given_people(connection: Connection) -> None:
    customer_id = uuid4()
    rows = Rows(connection)
    payment_id = await rows.write("payments", customer_id=customer_id)
    await rows.write("deadlines", kind="payment_expiry", entity_id=payment_id, due_at=NOW + 20 * MINUTE)

    assert await check(connection) == []
    assert await check(connection, quiet=True, people=[uuid4()]) == []
    [violation] = await check(connection, quiet=True, people=[customer_id])
    assert violation.invariant.title == "nothing is in flight"
    assert violation.row == {"what": "payment", "id": str(payment_id), "status": "pending"}
