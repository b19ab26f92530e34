"""Test that each invariant of `curhat simulate` finds a violating row, and finds no row in a healthy database.

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

from curhat.app.invariants import FILE, INVARIANTS, check
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
        """Write one row. Return the `id` in `values`, or the zero UUID if `values` has no `id`."""
        values = {**DEFAULTS.get(table, dict)(), **values}
        columns = ", ".join(values)
        places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        await self._connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", *values.values())
        row_id: UUID = values.get("id", UUID(int=0))
        return row_id

    async def confirmed_payment(self, **values: Any) -> UUID:
        """Write a payment and its charge attempt.

        If `values` has no other status, the payment is confirmed and served.
        """
        values = {"confirmed_at": NOW, "status": "served", **values}
        payment_id = await self.write("payments", **values)
        if values.get("amount_rp", 20_000) > 0:
            await self.write("charge_attempts", payment_id=payment_id)
        return payment_id

    async def extension_payment(self, **values: Any) -> UUID:
        """Write the payment of an extension. If `values` has no other status, the payment is charged and served."""
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

    async def decide(self, payment_id: UUID, **decision: Any) -> None:
        """Decide the payment's case, and every charge of the payment."""
        values = {
            "status": "decided",
            "decision_note": "maaf",
            "decided_by": uuid4(),
            "decided_at": NOW,
            **decision,
        }
        columns = ", ".join(f"{name} = ${number}" for number, name in enumerate(values, start=2))
        await self._connection.execute(
            f"UPDATE review_cases SET {columns} WHERE payment_id = $1", payment_id, *values.values()
        )
        await self._connection.execute(
            "UPDATE charge_attempts SET decided_round = 1 WHERE payment_id = $1", payment_id
        )


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
    "reports": lambda: {
        **_ids("id", "session_id", "customer_id", "mitra_id"),
        "reporter": "mitra",
        "reason": "threat",
        "urgency": 0,
        "due_at": NOW,
    },
    "review_cases": lambda: {**_ids("id", "payment_id"), "reason": "no_session", "amount_rp": 20_000},
    "failed_pairing_events": lambda: _ids("id", "payment_id"),
    "mitras": lambda: {**_ids("id"), "display_name": "Kak Sari", "max_customers": 1},
}

Break = Callable[[Rows], Awaitable[object]]
BREAKS: dict[str, Break] = {}


def breaks(title: str) -> Callable[[Break], Break]:
    """Return a decorator that registers a function under an invariant's title. The function writes a row that
    violates the invariant.
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


@breaks("a pairing is matched if and only if it has an accepted request and a session, with matching ids")
async def _(rows: Rows) -> None:
    await rows.write("pairings", status="matched", decided_at=NOW)


@breaks("a payment has at most one approved charge attempt")
async def _(rows: Rows) -> None:
    await rows.allow("DROP INDEX charge_attempts_one_charge")
    payment_id = await rows.confirmed_payment()
    await rows.write("charge_attempts", payment_id=payment_id)


@breaks(
    "amount_rp is charged if and only if the payment is confirmed; a payment of Rp0 has no charge attempt"
)
async def _(rows: Rows) -> None:
    await rows.write("payments", status="confirmed", confirmed_at=NOW)


@breaks("each charge attempt with the status approved_late has one automatic refund of its full amount")
async def _(rows: Rows) -> None:
    attempt_id = await rows.write("charge_attempts", status="approved_late")
    await rows.write("refunds", charge_attempt_id=attempt_id, amount_rp=19_999)


@breaks("the refunds of a charge attempt that the gateway has not refused are at most the attempt's amount")
async def _(rows: Rows) -> None:
    attempt_id = await rows.write("charge_attempts", status="approved_late")
    await rows.write("refunds", charge_attempt_id=attempt_id, amount_rp=20_001)


@breaks("a decision has at most one refund of a charge that the gateway has not refused")
async def _(rows: Rows) -> None:
    await rows.allow("DROP INDEX refunds_one_a_decision")
    attempt_id = await rows.write("charge_attempts", status="approved_late")
    for _ in range(2):
        await rows.write("refunds", charge_attempt_id=attempt_id, amount_rp=5_000, decided_round=1)


@breaks("the refunds of a decision that the gateway has not refused are at most the amount of the decision")
async def _(rows: Rows) -> None:
    payment_id = await rows.failed_payment()
    await rows.decide(payment_id, decision="refund", refund_rp=5_000)
    attempt_id = await rows.write("charge_attempts", payment_id=payment_id, status="approved_late")
    await rows.write(
        "refunds", payment_id=payment_id, charge_attempt_id=attempt_id, amount_rp=5_001, decided_round=1
    )


@breaks("a charge that was taken, not delivered and not given back has a decision or an open case")
async def _(rows: Rows) -> None:
    payment_id = await rows.failed_payment()
    await rows.decide(payment_id, decision="no_refund")
    late_id = await rows.write("charge_attempts", payment_id=payment_id, status="approved_late")
    await rows.write("refunds", payment_id=payment_id, charge_attempt_id=late_id, status="failed")


@breaks(
    "each decided charge belongs to a round of its case, and the round's refund is at most the sum of its charges"
)
async def _(rows: Rows) -> None:
    await rows.decide(await rows.failed_payment(), decision="refund", refund_rp=20_001)


@breaks(
    "each refund that an operator decided, and that needs no further approval, was requested in full from the gateway"
)
async def _(rows: Rows) -> None:
    await rows.decide(await rows.failed_payment(), decision="refund", refund_rp=20_000)


@breaks("a session's payment is never confirmed later than 10 minutes after its expires_at")
async def _(rows: Rows) -> None:
    await rows.confirmed_payment(expires_at=NOW - 11 * MINUTE)


@breaks("no payment of a session is still confirming 10 minutes after its expires_at")
async def _(rows: Rows) -> None:
    await rows.write("payments", status="confirming", expires_at=NOW - 11 * MINUTE)


@breaks("each session belongs to a payment that was confirmed before the session started")
async def _(rows: Rows) -> None:
    await rows.session(payment_id=await rows.write("payments"), without="payment")


@breaks("each pairing belongs to a payment that was confirmed before the pairing was opened")
async def _(rows: Rows) -> None:
    await rows.write("pairings", payment_id=await rows.write("payments"))


@breaks("a confirmed payment is served, in flight or failed, and its session and its pairings fit its status")
async def _(rows: Rows) -> None:
    await rows.confirmed_payment(status="confirmed")


@breaks("each failed pairing has one event with the same tag, and no other pairing has an event")
async def _(rows: Rows) -> None:
    await rows.write("pairings", status="failed", failure_tag="customer_cancelled", decided_at=NOW)


@breaks(
    "a payment that failed after its confirmation has one case, and all its events have the id of this case"
)
async def _(rows: Rows) -> None:
    await rows.confirmed_payment(status="unserved")


@breaks(
    "if a payment has a session, each event of the payment is recovered, and no case has reason no_session"
)
async def _(rows: Rows) -> None:
    payment_id = uuid4()
    await rows.session(payment_id=payment_id)
    await rows.write("failed_pairing_events", payment_id=payment_id, tag="no_mitra_available")


@breaks("an unconfirmed payment has one event if it expired, and no event otherwise; the event has no case")
async def _(rows: Rows) -> None:
    await rows.write("payments", status="expired", closed_at=NOW + 20 * MINUTE)


@breaks(
    "a session that was cut short, left by its mitra or not answered has a case; no other session has such a case"
)
async def _(rows: Rows) -> None:
    await rows.session(delivery="unanswered")


@breaks(
    "an ended session is unanswered if the customer wrote and the mitra sent no message, and not otherwise"
)
async def _(rows: Rows) -> None:
    await rows.write("messages", session_id=await rows.session(delivery="delivered"))


@breaks(
    "a payment without a chosen mitra has one blast; a payment with a chosen mitra has one targeted pairing"
)
async def _(rows: Rows) -> None:
    payment_id = await rows.confirmed_payment(target_mitra_id=uuid4())
    await rows.write("pairings", payment_id=payment_id)


@breaks("a targeted pairing asked only target_mitra_id, and no pairing asked its left_out_mitra_id")
async def _(rows: Rows) -> None:
    mitra_id = uuid4()
    await rows.write(
        "requests", pairing_id=await rows.write("pairings", left_out_mitra_id=mitra_id), mitra_id=mitra_id
    )


@breaks(
    "a fallback has an event payment_session_expired if and only if it expired, and no fallback expired early"
)
async def _(rows: Rows) -> None:
    await rows.failed_payment(
        kind="targeted", target_mitra_id=uuid4(), failure_tag="targeted_mitra_timeout", fallback_status="expired",
        fallback_answer_by=NOW,
    )  # fmt: skip


@breaks("an extension with the status approved was charged exactly once, and no other extension was charged")
async def _(rows: Rows) -> None:
    payment_id = await rows.extension_payment(status="abandoned", confirmed_at=None)
    await rows.write("extensions", payment_id=payment_id, status="rejected", charge_by=None)


@breaks("a payment has the purpose extension if and only if it belongs to an extension")
async def _(rows: Rows) -> None:
    await rows.extension_payment()


@breaks("each extension was decided by its terms, and no extension with mitra_went_offline was approved")
async def _(rows: Rows) -> None:
    session_id = await rows.session()
    await rows.write("extensions", session_id=session_id, decided_by="timeout", decided_at=NOW)


@breaks("ends_at is started_at plus the minutes of the session and the minutes of its approved extensions")
async def _(rows: Rows) -> None:
    await rows.write("extensions", session_id=await rows.session())


@breaks("sessions.open_extension_id is the id of the session's pending or charging extension, or null")
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


@breaks(
    "an approved extension of a session that was not delivered has a case; no other extension has such a case"
)
async def _(rows: Rows) -> None:
    await rows.write("extensions", session_id=await rows.session(delivery="unanswered"))


@breaks("a pairing that failed by timeout was decided at or after its deadline_at")
async def _(rows: Rows) -> None:
    await rows.failed_payment(failure_tag="no_mitra_available", decided_at=NOW + 0.9 * MINUTE)


@breaks("an expired payment was closed at or after its expires_at")
async def _(rows: Rows) -> None:
    await rows.write("payments", status="expired", closed_at=NOW + 19 * MINUTE)


@breaks("a session with the end reason time_up ended at or after its ends_at")
async def _(rows: Rows) -> None:
    await rows.session(end_reason="time_up", ended_at=NOW + 29 * MINUTE)


@breaks("a matched pairing was decided, and its session started, before the deadline_at of the pairing")
async def _(rows: Rows) -> None:
    await rows.write("pairings", status="matched", deadline_at=NOW, decided_at=NOW)


@breaks("nobody cancels a pairing, starts a charge attempt or ends a session after its deadline")
async def _(rows: Rows) -> None:
    await rows.failed_payment(failure_tag="customer_cancelled", decided_at=NOW + 2 * MINUTE)


@breaks("each row that waits for a point in time has an armed deadline")
async def _(rows: Rows) -> None:
    await rows.write("payments")


@breaks("no deadline is parked")
async def _(rows: Rows) -> None:
    await rows.write("deadlines", kind="session_end", entity_id=uuid4(), due_at=NOW, parked_at=NOW)


@breaks(
    "in status_changes, each old_status is the previous new_status; the last new_status is the row's status"
)
async def _(rows: Rows) -> None:
    payment_id = await rows.write("payments")
    for old, new in ((None, "pending"), ("confirming", "abandoned")):
        await rows.write(
            "status_changes", payment_id=payment_id, entity="payment", entity_id=payment_id, old_status=old,
            new_status=new,
        )  # fmt: skip


@breaks("mitras.active_sessions equals the number of the mitra's sessions with the status active")
async def _(rows: Rows) -> None:
    await rows.write("mitras", active_sessions=1)


@breaks("no mitra ever had more than max_customers sessions at the same time")
async def _(rows: Rows) -> None:
    mitra_id = await rows.write("mitras")
    for _ in range(2):
        await rows.session(mitra_id=mitra_id)


@breaks("the seq numbers of a stream's events have no gaps, and the last seq equals streams.head")
async def _(rows: Rows) -> None:
    user_id = uuid4()
    await rows.write("streams", role="customer", user_id=user_id, head=3)
    for seq in (1, 3):
        await rows.write(
            "stream_events", role="customer", user_id=user_id, seq=seq, type="payment.updated", data="{}"
        )


@breaks("a customer has at most one journey at a time, which is an open payment or an active session")
async def _(rows: Rows) -> None:
    customer_id = uuid4()
    await rows.write("payments", customer_id=customer_id)
    await rows.session(customer_id=customer_id, status="active", ended_at=None, end_reason=None)


@breaks("a customer has at most one trial session")
async def _(rows: Rows) -> None:
    await rows.allow("DROP INDEX sessions_one_trial")
    customer_id = uuid4()
    for _ in range(2):
        await rows.write("sessions", customer_id=customer_id, is_trial=True)


@breaks(
    "a customer confirms no trial after cancelling a trial's search, and at most three trials in 24 hours"
)
async def _(rows: Rows) -> None:
    customer_id = uuid4()
    first, second = UUID(int=1), UUID(int=2)
    trial = {"customer_id": customer_id, "amount_rp": 0, "is_trial": True, "status": "unserved"}
    await rows.confirmed_payment(id=first, **trial)
    await rows.write(
        "pairings", payment_id=first, customer_id=customer_id, status="failed", decided_at=NOW,
        failure_tag="customer_cancelled",
    )  # fmt: skip
    await rows.confirmed_payment(id=second, **trial)


@breaks(
    "a customer opens at most 10 payments for sessions in 10 minutes, and at most 30 for extensions in an hour"
)
async def _(rows: Rows) -> None:
    customer_id = uuid4()
    for number in range(11):
        await rows.write(
            "payments", id=UUID(int=number + 1), customer_id=customer_id, status="abandoned", created_at=NOW,
            closed_at=NOW,
        )  # fmt: skip


@breaks("no request and no session has the same person as its customer and as its mitra")
async def _(rows: Rows) -> None:
    customer_id = uuid4()
    await rows.write(
        "requests", pairing_id=await rows.write("pairings", customer_id=customer_id), mitra_id=customer_id
    )


@breaks("each message was sent between the start and the end of its session")
async def _(rows: Rows) -> None:
    await rows.write("messages", session_id=await rows.session(), sent_at=NOW + 11 * MINUTE)


@breaks("a fallback never asked the mitra who rejected the targeted request or let it time out")
async def _(rows: Rows) -> None:
    payment_id, mitra_id = uuid4(), uuid4()
    await rows.failed_targeted(payment_id=payment_id, target_mitra_id=mitra_id)
    await rows.write(
        "requests", pairing_id=await rows.write("pairings", payment_id=payment_id), mitra_id=mitra_id
    )


@breaks("no targeted pairing and no pending extension waits for a mitra who went offline")
async def _(rows: Rows) -> None:
    pairing_id = await rows.write("pairings", kind="targeted", target_mitra_id=uuid4())
    await rows.write("requests", pairing_id=pairing_id, status="closed", close_reason="went_offline")


@breaks("after its deadline, a fallback gets no answer and an extension's charge is not approved")
async def _(rows: Rows) -> None:
    payment_id = uuid4()
    await rows.failed_targeted(payment_id=payment_id, target_mitra_id=uuid4())
    await rows.confirmed_payment(id=payment_id, status="confirmed")
    await rows.write("pairings", payment_id=payment_id, created_at=NOW + 2 * MINUTE)


@breaks("before charge_by, an extension becomes charge_failed only after a decline or the session's end")
async def _(rows: Rows) -> None:
    extension_id = await rows.write("extensions", session_id=await rows.session(), status="charge_failed")
    await rows.write(
        "status_changes", payment_id=uuid4(), entity="extension", entity_id=extension_id, old_status="charging",
        new_status="charge_failed", changed_at=NOW,
    )  # fmt: skip


@breaks("each charge and refund of the gateway is in our tables with the same key, payment and amount")
async def _(rows: Rows) -> None:
    await rows.write(
        "mock_gateway.charges", key=uuid4(), payment_id=uuid4(), amount_rp=20_000, status="declined",
        known_at=NOW, at=NOW,
    )  # fmt: skip


@breaks("for each payment, the gateway and our tables have the same total of charges minus refunds")
async def _(rows: Rows) -> None:
    payment_id = await rows.confirmed_payment()
    for _ in range(2):
        await rows.write(
            "mock_gateway.charges", key=uuid4(), payment_id=payment_id, amount_rp=20_000, status="approved",
            known_at=NOW, at=NOW,
        )  # fmt: skip


@breaks("no payment, extension, pairing, session, charge attempt or refund is in flight")
async def _(rows: Rows) -> None:
    await rows.write("payments")


@breaks("no armed deadline is more than 5 seconds overdue")
async def _(rows: Rows) -> None:
    await rows.write("deadlines", kind="session_end", entity_id=uuid4(), due_at=NOW - MINUTE)


@breaks("two people of whom one has blocked the other have no open card and no running session together")
async def _(rows: Rows) -> None:
    pairing_id, customer_id, mitra_id = uuid4(), uuid4(), uuid4()
    await rows.write("pairings", id=pairing_id, customer_id=customer_id)
    await rows.write("requests", pairing_id=pairing_id, mitra_id=mitra_id, status="offered")
    await rows.write(
        "blocks", customer_id=customer_id, mitra_id=mitra_id, blocked_by="mitra", session_id=uuid4()
    )


@breaks("no session of two people began after one of them has blocked the other")
async def _(rows: Rows) -> None:
    customer_id, mitra_id = uuid4(), uuid4()
    session_id = await rows.session(customer_id=customer_id, mitra_id=mitra_id)
    await rows.write(
        "blocks", customer_id=customer_id, mitra_id=mitra_id, blocked_by="customer", session_id=session_id,
        created_at=NOW - MINUTE,
    )  # fmt: skip


@breaks("the text of a held session is not deleted")
async def _(rows: Rows) -> None:
    await rows.write("reports", session_id=await rows.session(text_deleted_at=NOW))


@breaks("while a report holds a session's text, the marked messages exist")
async def _(rows: Rows) -> None:
    await rows.write("reports", session_id=await rows.session(), message_ids=[uuid4()])


@breaks("a session whose text is deleted has no message")
async def _(rows: Rows) -> None:
    await rows.write("messages", session_id=await rows.session(text_deleted_at=NOW))


@breaks("no text is an hour over its time")
async def _(rows: Rows) -> None:
    year = timedelta(days=365)
    await rows.session(started_at=NOW - year, ends_at=NOW - year, ended_at=NOW - year - timedelta(hours=2))


@breaks(
    "no payment of a session is charged or confirmed after its customer was suspended, until the suspension is over"
)
async def _(rows: Rows) -> None:
    customer_id = uuid4()
    await rows.write("customers", id=customer_id, call_name="Bunga", suspended_at=NOW - MINUTE)
    await rows.confirmed_payment(customer_id=customer_id)


@pytest.fixture
async def connection(database: Database, clock: VirtualClock) -> AsyncIterator[Connection]:
    """Yield a connection at time NOW. Triggers and foreign keys are off, and the fixture rolls back all writes."""
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


def test_every_invariant_has_a_number_and_takes_no_parameter_except_people_ids() -> None:
    statements = parse(FILE).statements
    assert [
        statement.name for statement in statements if statement.parameters not in ([], ["people_ids"])
    ] == []
    numbers = [invariant.number for invariant in INVARIANTS]
    assert [number for number in numbers if not re.fullmatch(r"\d+|(\d[ab]?|T|X)\.\d+", number)] == []


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
    assert (
        violation.invariant.title
        == "no payment, extension, pairing, session, charge attempt or refund is in flight"
    )
    assert violation.row == {"what": "payment", "id": str(payment_id), "status": "pending"}
