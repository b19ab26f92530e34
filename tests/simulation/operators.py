"""Simulates the operators of a schedule.

The operators decide cases, approve refunds and retry refunds while journeys run.
"""

import random
from typing import NamedTuple
from uuid import UUID, uuid4

from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.review import service as review
from curhat.control_center.review.schemas import DecisionKind
from curhat.kit.database import Database

OPERATORS = ("ani@example.id", "budi@example.id")
# The two limits in rupiah above which a refund needs a second operator. One limit is below every price, and one is
# above every price.
APPROVAL_LIMITS_RP = (5_000, 100_000)

# The outcomes that the cases and refunds of a schedule reached.
REACHED = """
SELECT 'case ' || decision FROM review_cases WHERE decision IS NOT NULL
UNION SELECT 'case opened again' FROM earlier_decisions
UNION SELECT 'case opened again before an approval' FROM earlier_decisions WHERE withdrawn
UNION SELECT 'refund approved by a second operator' FROM audit_entries WHERE action = 'refund_approved'
UNION SELECT 'refund retried' FROM audit_entries WHERE action = 'refund_retried'
UNION SELECT 'refund ' || status || ' after ' || reason FROM refunds
UNION SELECT 'case opened by hand' FROM audit_entries WHERE action = 'case_opened'
UNION SELECT 'part refunded' FROM refunds JOIN charge_attempts ON charge_attempts.id = charge_attempt_id
    WHERE refunds.amount_rp < charge_attempts.amount_rp
UNION SELECT 'charge refunded in several parts' FROM refunds WHERE status <> 'failed'
    GROUP BY charge_attempt_id HAVING count(*) > 1
UNION SELECT 'refund taken back' FROM refunds WHERE gateway_reason LIKE 'an earlier refund %'
UNION SELECT 'refund pending' FROM mock_gateway.refunds WHERE known_at > at
UNION SELECT 'charge given up' FROM status_changes JOIN payments ON payments.id = entity_id
    WHERE old_status = 'confirming' AND new_status = 'expired' AND changed_at >= expires_at + interval '10 minutes'
"""


# The first query returns the charges that a decision on the case would cover. The second query returns the charges that
# earlier decisions cover.
IN_QUESTION = """
SELECT charge_attempt_id AS id FROM undelivered_charges JOIN review_cases USING (payment_id)
WHERE payment_id = ANY ($1) AND review_cases.status = 'open' AND decided_round IS NULL
"""
DECIDED = "SELECT id FROM charge_attempts WHERE payment_id = ANY ($1) AND decided_round IS NOT NULL"
# The payments of the case's session, and of its extensions. They are decided together.
UNIT = """
WITH asked AS (
    SELECT payment_id, coalesce(
        (SELECT id FROM sessions WHERE sessions.payment_id = review_cases.payment_id),
        (SELECT session_id FROM extensions WHERE extensions.payment_id = review_cases.payment_id)
    ) AS session_id
    FROM review_cases WHERE id = $1
)
SELECT payment_id FROM asked
UNION SELECT sessions.payment_id FROM sessions JOIN asked ON asked.session_id = sessions.id
UNION SELECT extensions.payment_id FROM extensions JOIN asked USING (session_id)
"""


class Screen(NamedTuple):
    """A case in the form that an operator's screen shows."""

    version: str
    charges: set[UUID]
    refundable_rp: int


class Operators:
    """Two operators. Like a call of the endpoint, each step is refused or takes effect in one transaction."""

    def __init__(self, database: Database, random_source: random.Random) -> None:
        self._database = database
        self._random = random_source
        self._limit_rp = random_source.choice(APPROVAL_LIMITS_RP)
        self._operators: list[SignedInOperator] = []
        # The screens that operators have open. The cases can change after an operator has opened a screen.
        self._screens: dict[UUID, Screen] = {}

    async def set_up(self) -> None:
        """Make the operators, unless an earlier schedule has made them."""
        for email in OPERATORS:
            operator_id = await self._database.fetchval(
                """
                INSERT INTO operators (email, role, password_hash) VALUES ($1, 'reviewer', '')
                ON CONFLICT (email) DO UPDATE SET role = excluded.role RETURNING id
                """,
                email,
            )
            self._operators.append(
                SignedInOperator(
                    operator_id,
                    email,
                    "reviewer",
                    uuid4(),
                    "bearer",
                    totp_enrolled=True,
                    must_change_password=False,
                    known_device_digest=None,
                )
            )

    async def decide(self) -> str | None:
        """An operator decides a case, usually an open case."""
        case_id = await self._a_case("status = 'open'")
        if case_id is None:
            return None
        unit = [row["payment_id"] for row in await self._database.fetch(UNIT, case_id)]
        screen = self._screens.pop(case_id, None)
        if screen is None:
            async with self._database.transaction() as tx:
                case = await review.read_case(tx, case_id, self._limit_rp)
                charges = {row["id"] for row in await tx.fetch(IN_QUESTION, unit)}
                screen = Screen(case.version, charges, case.refundable_rp)
            if self._random.random() < 0.3:
                self._screens[case_id] = screen
                return f"{case_id}: an operator looks at it"
        decision: DecisionKind = "refund" if self._random.random() < 0.66 else "no_refund"
        amount_rp = None
        if decision == "refund" and screen.refundable_rp > 1 and self._random.random() < 0.3:
            amount_rp = self._random.randint(1, screen.refundable_rp - 1)
        async with self._database.transaction() as tx:
            before = {row["id"] for row in await tx.fetch(DECIDED, unit)}
            await review.decide_case(
                tx,
                self.one(),
                case_id,
                decision,
                "maaf",
                self._limit_rp,
                screen.version,
                amount_rp=amount_rp,
            )
            decided = {row["id"] for row in await tx.fetch(DECIDED, unit)} - before
        assert decided <= screen.charges, (
            f"a decision covers charges that its operator did not see: {decided}"
        )
        return f"{case_id}: {decision} {amount_rp or ''}"

    async def complain(self) -> str | None:
        """An operator opens a case by hand on a payment that was taken, or tries to."""
        payment_id = await self._database.fetchval(
            "SELECT id FROM payments WHERE confirmed_at IS NOT NULL ORDER BY md5(id::text || $1) LIMIT 1",
            str(self._random.random()),
        )
        if payment_id is None:
            return None
        async with self._database.transaction() as tx:
            await review.open_case(tx, self.one(), payment_id, "bestie diam saja")
        return str(payment_id)

    async def approve(self) -> str | None:
        """An operator approves, or tries to approve, a refund that waits for a second operator."""
        case_id = await self._a_case("needs_approval AND approved_by IS NULL")
        if case_id is None:
            return None
        async with self._database.transaction() as tx:
            version = (await review.read_case(tx, case_id, self._limit_rp)).version
            await review.approve_refund(tx, self.one(), case_id, version)
        return str(case_id)

    async def retry(self) -> str | None:
        """An operator retries, or tries to retry, a refund that the gateway refused."""
        case_id = await self._a_case("payment_id IN (SELECT payment_id FROM refused_refunds)")
        if case_id is None:
            return None
        async with self._database.transaction() as tx:
            await review.retry_refund(tx, self.one(), case_id)
        return str(case_id)

    def one(self) -> SignedInOperator:
        """Return any of the two operators."""
        return self._random.choice(self._operators)

    async def _a_case(self, condition: str) -> UUID | None:
        """Usually return a case that satisfies the condition, and rarely any case.

        Returns None if there is no such case.
        """
        rows = await self._database.fetch(
            f"SELECT id, {condition} AS is_open FROM review_cases ORDER BY is_open DESC, id LIMIT 5"
        )
        among = [row["id"] for row in rows if row["is_open"] or self._random.random() < 0.05]
        return self._random.choice(among) if among else None
