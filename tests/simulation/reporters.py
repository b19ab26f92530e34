"""Simulates people who report each other, and operators who work through the reports (T.2 to T.4)."""

import random
from datetime import timedelta
from typing import Any, get_args
from uuid import UUID

from curhat.control_center.reports import service as decisions
from curhat.control_center.reports.schemas import AppealVerdict, ReportVerdict
from curhat.kit.database import Database
from curhat.kit.identity import Identity, Role
from curhat.kit.queries import read_clock
from curhat.safety.reports import service as reports
from curhat.safety.reports.schemas import NewConcern, NewReport
from curhat.safety.reports.states import ReportReason
from tests.simulation.operators import Operators

# The outcomes that the reports of a schedule reached.
REACHED = """
SELECT 'report ' || decision FROM reports WHERE decision IS NOT NULL AND kind = 'report'
UNION SELECT 'concern' FROM reports WHERE kind = 'concern'
UNION SELECT 'suspension approved by a second operator' FROM reports WHERE approved_by IS NOT NULL
UNION SELECT 'appeal ' || appeal_decision FROM reports WHERE appeal_decision IS NOT NULL
UNION SELECT 'warning acknowledged' FROM notices WHERE kind = 'warning' AND acknowledged_at IS NOT NULL
UNION SELECT 'case after a report' FROM review_cases WHERE reason = 'reported'
UNION SELECT 'suspension over' FROM audit_entries
    WHERE action = 'mitra_suspension_lifted' AND actor = 'system'
"""
# Short suspensions, so that they begin and end within a schedule.
SUSPENSION_SECONDS = (30, 600, 3_600)


class Reporters:
    """The people and operators of the reports. Each step is refused or takes effect in one transaction."""

    def __init__(self, database: Database, random_source: random.Random, operators: Operators) -> None:
        self._database = database
        self._random = random_source
        self._operators = operators

    async def report(self) -> str | None:
        """A member of a session reports the other side, usually for the first time, or a mitra raises a concern."""
        row = await self._any_row(
            """
            SELECT sessions.id, customer_id, mitra_id, role
            FROM sessions CROSS JOIN unnest('{customer,mitra}'::text[]) AS role
            ORDER BY EXISTS (SELECT 1 FROM reports WHERE session_id = sessions.id AND reporter = role), id DESC, role
            LIMIT 2
            """
        )
        if row is None:
            return None
        customer, mitra = Identity("customer", row["customer_id"]), Identity("mitra", row["mitra_id"])
        async with self._database.transaction() as tx:
            if self._random.random() < 0.1:
                await reports.raise_concern(tx, mitra.user_id, row["id"], NewConcern("worried"))
                return f"{row['id']}: a concern"
            who = customer if row["role"] == "customer" else mitra
            reason = self._random.choice(get_args(ReportReason))
            await reports.report(tx, who, row["id"], NewReport(reason))
        return f"{row['id']}: by the {who.role}, {reason}"

    async def decide(self) -> str | None:
        """An operator decides a report, approves a suspension, or decides an appeal."""
        row = await self._any_row(
            "SELECT id, status, kind, reason FROM reports "
            "ORDER BY array_position(ARRAY['appealed', 'awaiting_approval', 'open'], status), id DESC LIMIT 2"
        )
        if row is None:
            return None
        operator = self._operators.one()
        async with self._database.transaction() as tx:
            if row["status"] == "awaiting_approval":
                is_approved = self._random.random() < 0.8
                await decisions.approve(tx, operator, row["id"], is_approved=is_approved)
            elif row["status"] == "appealed":
                verdict = AppealVerdict(self._random.choice(("upheld", "overturned")), "x")
                await decisions.decide_appeal(tx, operator, row["id"], verdict, "x")
            else:
                now = await read_clock(tx)
                until = now + timedelta(seconds=self._random.choice(SUSPENSION_SECONDS))
                possible = [ReportVerdict("no_action", "x")]
                if row["kind"] == "report":
                    possible += [ReportVerdict("suspend", "x")]
                if row["kind"] == "report" and row["reason"] != "minor":
                    possible += [ReportVerdict("warn", "x"), ReportVerdict("suspend", "x", until)] * 2
                await decisions.decide(tx, operator, row["id"], self._random.choice(possible), "x")
        return f"{row['id']}: was {row['status']}"

    async def read_notice(self) -> str | None:
        """A person acknowledges a notice, or appeals against it."""
        row = await self._any_row(
            """
            SELECT id, role, user_id, kind FROM notices
            ORDER BY (kind IN ('warning', 'suspension') AND acknowledged_at IS NULL) DESC, id DESC LIMIT 1
            """
        )
        if row is None:
            return None
        who = Identity(row["role"], row["user_id"])
        async with self._database.transaction() as tx:
            if self._random.random() < 0.4:
                await reports.appeal(tx, who, row["id"], "tidak")
                return f"{row['id']}: appeals"
            await reports.acknowledge(tx, who, row["id"])
        return f"{row['id']}: acknowledged"

    async def sanctioned(self, role: Role) -> UUID | None:
        """Sometimes return a person with a warning to acknowledge, or a suspended customer."""
        if self._random.random() < 0.4:
            return None
        rows = await self._database.fetch(
            """
            SELECT user_id FROM notices WHERE role = $1 AND kind = 'warning'
                AND acknowledged_at IS NULL AND withdrawn_at IS NULL
            UNION SELECT id FROM customers WHERE $1 = 'customer' AND suspended_at IS NOT NULL
                AND coalesce(suspended_until > curhat_now(), true)
            ORDER BY 1
            """,
            role,
        )
        return self._random.choice(rows)["user_id"] if rows else None

    async def _any_row(self, query: str) -> Any:
        rows = await self._database.fetch(query)
        return self._random.choice(rows) if rows else None


async def warned(database: Database, role: str, user_id: UUID) -> bool:
    """Return whether this person has a warning that waits for an acknowledgement, by the plain rows."""
    found: bool = await database.fetchval(
        """
        SELECT EXISTS (
            SELECT 1 FROM notices WHERE role = $1 AND user_id = $2 AND kind = 'warning'
                AND acknowledged_at IS NULL AND withdrawn_at IS NULL
        )
        """,
        role,
        user_id,
    )
    return found


async def suspended(database: Database, customer_id: UUID) -> bool:
    """Return whether this customer is suspended now, by the plain rows."""
    found: bool = await database.fetchval(
        """
        SELECT suspended_at IS NOT NULL AND coalesce(suspended_until > curhat_now(), true)
        FROM customers WHERE id = $1
        """,
        customer_id,
    )
    return found
