"""Runs one schedule: a seed chooses steps of customers, mitras and workers, faults and clock jumps.

The production services and their SQL run on a real PostgreSQL under the virtual clock. An operation of several
transactions consists of several steps in a schedule. For example, a confirmation consists of begin, call and record.
Between two steps, a schedule can insert actions of other people, crashes, late or doubled answers, and clock jumps. The
invariants are checked after every step. A failure names its seed, and the same seed repeats the same steps.
"""

import contextlib
import functools
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

import asyncpg
import msgspec

from curhat.app import invariants
from curhat.deadlines import service as deadlines
from curhat.deadlines.queries import Deadline, due_deadlines, seconds_until_next_due
from curhat.deadlines.service import FollowUp
from curhat.journeys import (
    availability,
    blocking,
    charging,
    leaving,
    mitras,
    money,
    paying,
    renaming,
    searching,
)
from curhat.journeys.push import PUSH_MESSAGES
from curhat.journeys.schemas import LeaveByCustomer, LeaveByMitra, LeftMitraSession, LeftSession
from curhat.journeys.snapshot import customer_state, mitra_state
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database
from curhat.kit.errors import BusinessError
from curhat.kit.identity import Identity, Role
from curhat.pairing import service as pairing
from curhat.payments.gateway import ChargeAnswer, GatewayUnknown, RefundAnswer
from curhat.payments.service import Charge
from curhat.safety.blocks import service as blocks
from curhat.safety.reports.schemas import NewReport
from curhat.sessions import extension
from curhat.sessions import service as sessions
from curhat.sessions.absences import Absences
from curhat.sessions.service import OutgoingMessage
from tests.simulation.card_devices import CardDevices
from tests.simulation.checker import Checker
from tests.simulation.devices import Device
from tests.simulation.extension_decisions import ExtensionDecisions
from tests.simulation.fake_gateway import SimulatedGateway, SimulatedPresence
from tests.simulation.operators import REACHED as REACHED_BY_OPERATORS
from tests.simulation.operators import Operators
from tests.simulation.push_devices import PushDevices
from tests.simulation.reporters import REACHED as REACHED_BY_REPORTERS
from tests.simulation.reporters import Reporters, suspended, warned
from tests.simulation.stopped_process import StoppableDatabase, StoppedProcess
from tests.support.clock import START, VirtualClock
from tests.support.people import Make
from tests.support.toggle import set_toggle

CUSTOMERS = 4
MITRAS = 3
STEPS = 40
# How many mitras a blast asks at once. A schedule uses one of these sizes.
WAVE_MITRAS = (1, 2, pairing.MAX_WAVE_MITRAS)
# How many losers' requests a winner closes, so that a worker closes the others. A schedule uses one of these numbers.
CLOSED_BY_WINNER = (0, searching.MAX_CLOSED_BY_WINNER)

# A lost charge reaches the gateway within this time or not at all.
MAX_STRAY_AGE = timedelta(hours=6)

TABLES = (
    "people, customers, mitras, offers, payments, charge_attempts, refunds, pairings, requests, sessions, messages, "
    "extensions, notices, reports, blocks, review_cases, earlier_decisions, failed_pairing_events, status_changes, "
    "streams, stream_events, deadlines, audit_entries, push_messages, push_subscriptions, access_tokens, "
    "mock_gateway.charges, mock_gateway.refunds"
)
# Deleting the few rows of one schedule is much faster than TRUNCATE, but leaves dead rows behind. One of
# TRUNCATED_EVERY schedules therefore runs a TRUNCATE.
DELETE = ";".join(f"DELETE FROM {table}" for table in TABLES.split(", "))
TRUNCATE = f"TRUNCATE {TABLES} RESTART IDENTITY CASCADE"
TRUNCATED_EVERY = 20

CONFIGURATION = """
UPDATE configuration SET value = new.value FROM unnest($1::text[], $2::text[]) AS new (key, value)
WHERE configuration.key = new.key
"""

# The values that a schedule can configure. A schedule chooses the first value more often than the other values.
CONFIGURED = {
    "pairing_blast_timeout_seconds": ["60", "10"],
    "payment_session_timeout_minutes": ["20", "1"],
    "returning_chat_confirmation_timeout_seconds": ["20", "5"],
    "extension_timeout_seconds": ["10", "60"],
    "extension_default_action_on_timeout": ["auto_approve", "auto_reject"],
}

CAN_ASK = """
SELECT EXISTS (
    SELECT 1 FROM mitras WHERE id = ANY($1::uuid[]) AND id <> $2 AND can_take_customer
        AND NOT EXISTS (SELECT 1 FROM blocks WHERE customer_id = $2 AND mitra_id = mitras.id)
)
"""

# The running chats of customers who have a push subscription.
SUBSCRIBED_CHATS = """
SELECT id, mitra_id FROM sessions
WHERE status = 'active' AND EXISTS (
    SELECT 1 FROM push_subscriptions WHERE user_id = customer_id AND role = 'customer' AND failed_at IS NULL)
ORDER BY id
"""
DUE_PUSH = "SELECT id FROM deadlines WHERE kind = $1 AND entity_id = $2 AND due_at <= curhat_now() ORDER BY id LIMIT 1"

# The outcomes of a schedule that the database shows.
# Each payment with what the gateway took and gave back, by the gateway's own records, and whether its review is open.
MONEY_OF_PAYMENTS = """
SELECT payments.id,
    (
        SELECT coalesce(sum(amount_rp), 0) FROM mock_gateway.charges
        WHERE payment_id = payments.id AND status = 'approved'
    ),
    (SELECT coalesce(sum(amount_rp), 0) FROM mock_gateway.refunds WHERE payment_id = payments.id AND status = 'done'),
    EXISTS (
        SELECT 1 FROM review_cases WHERE payment_id = payments.id
        AND (status = 'open' OR needs_approval AND approved_by IS NULL)
    )
FROM payments ORDER BY payments.id
"""
REACHED = """
SELECT kind || ' ' || coalesce(failure_tag, status) AS outcome FROM pairings
UNION SELECT 'targeted offline: ' || coalesce(requests.close_reason, 'at once')
    FROM pairings LEFT JOIN requests ON requests.pairing_id = pairings.id
    WHERE pairings.failure_tag = 'targeted_mitra_offline'
UNION SELECT 'block closes the card of a ' || pairings.kind
    FROM pairings JOIN requests ON requests.pairing_id = pairings.id AND requests.close_reason = 'customer_cancelled'
    WHERE pairings.failure_tag IS DISTINCT FROM 'customer_cancelled'
UNION SELECT 'fallback ' || fallback_status FROM pairings WHERE fallback_status IS NOT NULL
UNION SELECT 'fallback ' || second.status || ' after ' || first.failure_tag
    FROM pairings AS first JOIN pairings AS second USING (payment_id)
    WHERE first.kind = 'targeted' AND second.kind = 'blast'
UNION SELECT 'fallback blast ' || second.status
    FROM pairings AS first JOIN pairings AS second USING (payment_id)
    WHERE first.kind = 'targeted' AND second.kind = 'blast'
UNION SELECT 'failure recovered' FROM failed_pairing_events WHERE recovered
UNION SELECT 'extension ' || status || ' by ' || decided_by FROM extensions
UNION SELECT 'extension lost by the toggle' FROM extensions
    WHERE decided_by = 'mitra_unreachable' AND mitra_went_offline
UNION SELECT 'extension holds the end back'
    FROM extensions JOIN sessions ON sessions.id = extensions.session_id
    WHERE extensions.decided_at >= sessions.started_at + make_interval(mins => sessions.duration_minutes + (
        SELECT coalesce(sum(before.duration_minutes), 0)::int FROM extensions AS before
        WHERE before.session_id = sessions.id AND before.id < extensions.id AND before.status = 'approved'))
UNION SELECT charge_attempts.status || ' for ' || purpose FROM payments JOIN charge_attempts ON payment_id = payments.id
UNION SELECT 'slow for ' || purpose FROM payments JOIN mock_gateway.charges ON payment_id = payments.id
    WHERE known_at > at
UNION SELECT 'session ' || end_reason FROM sessions WHERE end_reason IS NOT NULL
UNION SELECT 'session ' || delivery FROM sessions WHERE delivery IS NOT NULL
UNION SELECT 'extension of a session ' || delivery
    FROM sessions JOIN extensions ON extensions.session_id = sessions.id AND extensions.status = 'approved'
    WHERE delivery <> 'delivered'
UNION SELECT 'mitra back' FROM sessions WHERE mitra_back_at IS NOT NULL
"""


@dataclass(frozen=True)
class Theme:
    """Makes some steps of a schedule more likely, but no step impossible.

    `weights` maps a step to a factor for the step's normal weight.
    """

    chats_end: float = 0.5
    targeted: float = 0.6
    # `followed` is the probability that a likely next step follows a step. `follows` replaces likely next steps of
    # FOLLOWS.
    followed: float = 0.5
    follows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    trouble: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)


# Targeted pairings and extensions need several successful steps in a row. Random steps rarely succeed in this order.
THEMES = {
    "anything": Theme(),
    "the same bestie": Theme(
        chats_end=0.9,
        targeted=0.95,
        weights={
            "open payment": 1.5, "confirm": 1.3, "gateway answers": 1.3, "toggle": 0.7, "ask for more time": 0.2,
            "suspend": 0.5, "message": 0.3, "end session": 2.0, "rename": 0.3,
        },
    ),
    # The steps lead to a late approval, a refused refund, and a decision before the journey ends.
    "money": Theme(
        chats_end=0.9,
        targeted=0.2,
        followed=0.8,
        trouble=1.0,
        weights={
            "second attempt": 8.0, "gateway answers again": 2.0, "follow up": 1.5, "approve refund": 2.0,
            "retry refund": 3.0, "gateway answers about a refund": 2.0, "cancel search": 2.0, "end session": 2.0,
            "message": 0.2, "toggle": 0.3, "offer": 0.3, "rename": 0.2, "device": 0.5, "configure": 0.3, "confirm": 0.5,
        },
        follows={
            "open payment": ["second attempt"],
            "second attempt": ["worker"],
            "worker": ["follow up"],
            "follow up": ["decide case", "decide case", "retry refund", "gateway answers"],
            "decide case": ["approve refund", "worker", "gateway answers", "gateway answers"],
            "gateway answers": ["cancel search", "accept", "clock"],
            "accept": ["end session"],
            "cancel search": ["decide case", "open payment"],
            "end session": ["decide case", "open payment"],
            "approve refund": ["worker"],
            "retry refund": ["worker"],
            "gateway answers about a refund": ["retry refund", "decide case"],
        },
    ),
    "more time": Theme(
        chats_end=0.1,
        weights={
            "open payment": 0.4, "confirm": 0.5, "offer": 0.3, "reject": 0.3, "cancel search": 0.3,
            "ask for more time": 1.5, "approve more time": 1.5, "toggle": 0.7, "suspend": 0.5, "end session": 0.7,
        },
    ),
    # The steps lead to warnings, suspensions and appeals, and to people who then want to pay or to go online.
    "reports": Theme(
        chats_end=0.6,
        followed=0.9,
        weights={
            "report": 40.0, "decide report": 40.0, "read notice": 10.0, "ask for more time": 0.2, "offer": 0.5,
            "cancel search": 0.5, "message": 0.3, "rename": 0.2, "configure": 0.2, "suspend": 0.2, "valkey": 0.3,
        },
        follows={
            "report": ["decide report"],
            "decide report": ["toggle", "open payment", "open payment", "confirm", "read notice", "read notice",
                              "decide report", "report", "push"],
            "read notice": ["decide report", "decide report", "toggle", "open payment"],
            "open payment": ["confirm", "report", "decide report"],
            "confirm": ["gateway answers", "report"],
            "gateway answers": ["accept", "accept", "report"],
            "accept": ["end session", "report"],
            "end session": ["report"],
            "toggle": ["worker", "report", "decide report"],
            "worker": ["report", "decide report", "follow up"],
            "push": ["clock"],
            "clock": ["worker", "report"],
        },
    ),
}  # fmt: skip

# Maps a step to the likely next steps. One of these steps follows with the probability `followed` of the theme.
# Otherwise any step follows.
FOLLOWS = {
    "report": ["decide report", "decide report", "end session", "accept"],
    "decide report": ["read notice", "open payment", "confirm", "toggle", "decide report"],
    "open payment": ["confirm"],
    "confirm": ["gateway answers"],
    "gateway answers": ["accept", "reject", "clock", "toggle", "cancel search", "block"],
    "block": ["accept", "offer", "worker", "open payment", "unblock"],
    "ask for more time": ["approve more time", "approve more time", "reject more time", "window ends", "clock",
                          "connection", "toggle", "valkey", "end session", "leave"],
    "approve more time": ["gateway answers"],
    "connection": ["clock", "clock", "mitra back"],
    "mitra away": ["end with review", "end with review", "mitra back"],
    "clock": ["worker"],
    "toggle": ["worker"],
    "worker": ["take fallback", "decline fallback", "follow up"],
    "reject": ["take fallback", "decline fallback", "clock"],
    "take fallback": ["accept", "accept", "reject", "clock"],
    "message": ["read messages", "device"],
    "message while push is held": ["process continues"],
    "customer connection": ["push"],
}  # fmt: skip

# One of CLOCK_GOES_BACK_EVERY schedules sets the clock back.
CLOCK_GOES_BACK_EVERY = 4
# The following invariants compare times that different steps have recorded. The invariants hold only while the clock
# goes forward.
COMPARE_RECORDED_TIMES = {
    "session_was_paid",
    "pairing_was_paid",
    "extension_money",
    "message_within_session",
    "capacity_never_exceeded",
    "suspended_customers_pay_nothing",
    "no_session_after_a_block",
}
# The steps in which a process can stop.
MAY_STOP = (
    "confirm", "gateway answers", "offer", "accept", "reject", "cancel search", "take fallback", "ask for more time",
    "approve more time", "toggle", "suspend", "message", "end session", "leave", "block", "worker", "worker", "worker",
    "worker",
)  # fmt: skip

# Each set contains a factor for the probability of each gateway fault. A schedule uses one set of these factors.
TROUBLE = (0.0, 0.3, 1.0, 1.5)


class BrokenInvariant(AssertionError):
    """A step has broken an invariant.

    The text names the schedule and the command that repeats the schedule.
    """


class SimulationState:
    """One schedule."""

    def __init__(self, database: Database, checker: Checker, seed: int) -> None:
        self.database = StoppableDatabase(database, self)
        self.checker = checker
        self.seed = seed
        self.random = random.Random(seed)
        self.clock = VirtualClock(self.database)
        self.presence = SimulatedPresence(self.database, self.random)
        self.cards = CardDevices(self.database, self.presence)
        self.absences = Absences(self.database, self.presence)  # type: ignore[arg-type]
        self.theme = self.random.choices(list(THEMES.values()), [1, 2, 2, 2, 2])[0]
        self.trouble = self.theme.trouble or self.random.choice(TROUBLE)
        self.operators = Operators(self.database, self.random)
        self.reporters = Reporters(self.database, self.random, self.operators)
        self.gateway = SimulatedGateway(self.database, self.random, self.trouble)
        # This field is true if the clock was set back. After the clock was set back, a later row can have an earlier
        # time.
        self.clock_went_back = False
        self.history: list[str] = []
        self.customers: list[UUID] = []
        self.mitras: list[UUID] = []
        self.offers: list[UUID] = []
        self.extension_offers: list[UUID] = []
        # Charges that were lost before they reached the gateway, with the time of the loss. Some lost charges reach the
        # gateway later.
        self.strays: list[tuple[Charge, datetime]] = []
        # The outcomes of this schedule that no row of the database records.
        self.reached: set[str] = set()
        self.decisions = ExtensionDecisions(checker, self.presence, self.reached)
        self.push = PushDevices(self.database, self.random, self.presence, self.trouble, self.reached)
        self.transitions = {
            **Transitions(self.database, self.presence, self.gateway).by_kind(),  # type: ignore[arg-type]
            **self.push.by_kind(),
        }
        # Charges that a server process has started but not recorded. If the server process is killed, these charges are
        # lost.
        self.calls: list[Charge] = []
        # Calls to outside services that a worker must make after a commit. If the worker is killed, these calls are
        # lost.
        self.follow_ups: list[FollowUp] = []
        self.devices: list[Device] = []
        self.texts = 0
        # The chats that have messages.
        self.written: set[UUID] = set()

    def publish(self, channel: str, payload: bytes) -> None:
        """See SignalSink. A committed transaction has sent a signal."""
        self.cards.publish(channel, payload)

    async def set_up(self) -> None:
        """Empty the tables, and make a few people and offers."""
        async with self.database.transaction() as tx:
            # The schedules share a database. This statement disables the triggers that forbid the deletion of history
            # rows.
            await tx.execute("SET LOCAL session_replication_role = replica")
            await tx.execute(TRUNCATE if self.seed % TRUNCATED_EVERY == 0 else DELETE)
        await self.clock.set(START)
        make = Make(self.database)
        self.customers = [await make.customer(f"Customer {number}") for number in range(CUSTOMERS)]
        self.mitras = [
            await make.mitra(f"Kak {number}", max_customers=self.random.choice([1, 1, 2, 3]), online=False)
            for number in range(MITRAS)
        ]
        # One person is both a customer and a mitra. The person with both roles must never be paired with themself.
        self.mitras.append(await make.mitra("Kak Both", person_id=self.customers[0], max_customers=2))
        self.offers = [
            await make.offer(duration_minutes=5, price_rp=0),
            await make.offer(duration_minutes=15, price_rp=10_000),
            await make.offer(duration_minutes=60, price_rp=35_000),
        ]
        self.extension_offers = [
            await make.offer(purpose="extension", duration_minutes=15, price_rp=10_000),
            await make.offer(purpose="extension", duration_minutes=30, price_rp=18_000),
        ]
        await self.database.execute(
            CONFIGURATION,
            list(CONFIGURED),
            [self.random.choices(values, [3, 1])[0] for values in CONFIGURED.values()],
        )
        await self.operators.set_up()
        self.presence.connected = set(self.mitras)
        self.devices = [Device("customer", customer) for customer in self.customers]
        self.devices += [Device("mitra", mitra) for mitra in self.mitras]
        self.cards.devices = {device.user_id: device for device in self.devices if device.role == "mitra"}
        await self.push.set_up([(device.role, device.user_id) for device in self.devices], self.customers)

    async def run(self) -> set[str]:
        """Run all steps, and then wait until no deadline is armed.

        Returns the reached outcomes. Raises BrokenInvariant.
        """
        pairing.MAX_WAVE_MITRAS = WAVE_MITRAS[self.seed % len(WAVE_MITRAS)]
        searching.MAX_CLOSED_BY_WINNER = CLOSED_BY_WINNER[self.seed % len(CLOSED_BY_WINNER)]
        try:
            return await self._run()
        finally:
            pairing.MAX_WAVE_MITRAS = WAVE_MITRAS[-1]
            searching.MAX_CLOSED_BY_WINNER = CLOSED_BY_WINNER[-1]

    async def _run(self) -> set[str]:
        await self.set_up()
        await self._begin_with_chats()
        steps = self._steps()
        names = list(steps)
        weights = [weight * self.theme.weights.get(name, 1.0) for name, (weight, _) in steps.items()]
        name, done = "", 0
        while done < STEPS:
            following = self.theme.follows.get(name) or FOLLOWS.get(name)
            if following and self.random.random() < self.theme.followed:
                name = self.random.choice(following)
            else:
                name = self.random.choices(names, weights)[0]
            done += await self._do(name, steps[name][1])
        await self._quieten()
        await self._compare_money()
        rows = await self.database.fetch(
            f"{REACHED} UNION ({REACHED_BY_OPERATORS}) UNION ({REACHED_BY_REPORTERS})"
        )
        return self.reached | {row["outcome"] for row in rows}

    async def _begin_with_chats(self) -> None:
        """Give most customers a past or running chat, because sections 3 to 5 need such chats."""
        for mitra in self.mitras:
            if self.random.random() < 0.85:
                async with self.database.transaction() as tx:
                    await set_toggle(tx, mitra, online=True)
        for customer in self.customers:
            if self.random.random() < 0.8:
                await self._do("chat", lambda customer=customer: self._chat(customer))  # type: ignore[misc]

    async def _chat(self, customer: UUID) -> str:
        candidates = await self.presence.ask_candidates()
        async with self.database.transaction() as tx:
            payment = await paying.open_payment(
                tx, customer, self._an_offer(), availability.GateAnswer(available=True)
            )
            charge = await paying.begin_confirmation(tx, customer, payment.id, candidates)
        if charge is not None:
            answer = await self.gateway.charge(charge.key, charge.payment_id, charge.amount_rp)
            await self._record(charge.key, answer)
        rows = await self.database.fetch(
            """
            SELECT requests.id, requests.mitra_id FROM requests JOIN pairings ON pairings.id = requests.pairing_id
            WHERE pairings.payment_id = $1 ORDER BY requests.id
            """,
            payment.id,
        )
        if not rows:
            return f"{customer}: no mitra is asked"
        request = self.random.choice(rows)
        async with self.database.transaction() as tx:
            session = (await searching.accept(tx, request["mitra_id"], request["id"])).session
        if self.random.random() < self.theme.chats_end:
            async with self.database.transaction() as tx:
                await sessions.end_by_customer(tx, customer, session.id)
        return f"{customer} with {request['mitra_id']}: session {session.id}"

    async def _do(self, name: str, step: Callable[[], Awaitable[str | None]]) -> bool:
        """Do one step and check the invariants. Returns False if the step had nothing to do."""
        stopped = self.database.stopped
        try:
            outcome = await step()
        except asyncpg.LockNotAvailableError:
            if stopped is None or (stopped.holds_only_deadlines and name not in ("worker", "follow up")):
                self.history.append(name)
                self._fail("the step waits for a row of `deadlines`")
            outcome = f"waits for the stopped process ({stopped.name})"
            self.reached.add("a step waits for a stopped process")
        except BusinessError as error:
            outcome = f"refused: {error.code}"
            if error.code in ("suspended", "acknowledgement_needed"):
                self.reached.add(outcome)
        except GatewayUnknown:
            outcome = "the gateway does not answer"
        except Exception as error:  # noqa: BLE001  any error breaks the schedule
            self.history.append(name)
            self._fail(f"{type(error).__name__}: {error}")
        if outcome is None:
            return False
        self.history.append(f"{name}: {outcome}")
        await self._check()
        return True

    async def _check(self, *, quiet: bool = False) -> None:
        broken = [
            str(violation)
            for violation in await invariants.check(self.checker, quiet=quiet)
            if not (self.clock_went_back and violation.invariant.name in COMPARE_RECORDED_TIMES)
        ]
        broken += await self.decisions.check()
        if broken:
            self._fail("\n".join(broken))

    def _fail(self, what: str) -> NoReturn:
        steps = "\n".join(f"  {number:3} {line}" for number, line in enumerate(self.history, start=1))
        raise BrokenInvariant(
            f"seed {self.seed} breaks an invariant after step {len(self.history)}:\n{what}\n{steps}\n"
            f"repeat it: python -m tests.simulation --seed {self.seed}"
        )

    def _steps(self) -> Mapping[str, tuple[int, Callable[[], Awaitable[str | None]]]]:
        return {
            "open payment": (9, self.open_payment),
            "leave payment": (1, self.leave_payment),
            "confirm": (10, self.confirm),
            "gateway answers": (12, self.gateway_answers),
            "gateway answers again": (3, self.gateway_answers_again),
            "gateway answers about a refund": (1, self.gateway_answers_about_a_refund),
            "stray charge": (1, self.stray_charge),
            "second attempt": (1, self.second_attempt),
            "decide case": (3, self.operators.decide),
            "approve refund": (1, self.operators.approve),
            "retry refund": (1, self.operators.retry),
            "open a case by hand": (1, self.operators.complain),
            "report": (1, self.reporters.report),
            "decide report": (1, self.reporters.decide),
            "read notice": (2, self.reporters.read_notice),
            "server killed": (1, self.server_killed),
            "offer": (7, self.offer),
            "accept": (9, self.accept),
            "reject": (6, self.reject),
            "cancel search": (2, self.cancel_search),
            "take fallback": (10, self.take_fallback),
            "decline fallback": (7, self.decline_fallback),
            "block": (2, self.block),
            "unblock": (1, self.unblock),
            "ask for more time": (8, self.ask_for_more_time),
            "approve more time": (5, self.approve_more_time),
            "reject more time": (2, self.reject_more_time),
            "toggle": (7, self.toggle),
            "connection": (3, self.connection),
            "customer connection": (2, self.customer_connection),
            "phone dies": (1, self.phone_dies),
            "valkey": (1, self.valkey),
            "suspend": (1, self.suspend),
            "change capacity": (2, self.change_capacity),
            "message": (4, self.message),
            "message while push is held": (1, self.message_while_push_is_held),
            "read messages": (2, self.read_messages),
            "end session": (2, self.end_session),
            "leave": (2, self.leave),
            "mitra away": (3, self.look_for_away),
            "mitra back": (1, self.look_for_back),
            "end with review": (1, self.end_with_review),
            "rename": (1, self.rename),
            "configure": (1, self.configure),
            "worker": (9, self.worker),
            "worker killed": (2, self.worker_killed),
            "follow up": (4, self.follow_up),
            "push": (12, self.send_pushes),
            "clock": (8, self.move_clock),
            "window ends": (1, self.window_ends),
            "clock back": (1, self.set_clock_back),
            "process stops": (2, self.process_stops),
            "process continues": (4, self.process_continues),
            "device": (4, self.device_catches_up),
        }

    # Customers ----------------------------------------------------------------------------------------------

    async def open_payment(self) -> str | None:
        """A customer tries to open a payment session."""
        customer = await self.reporters.sanctioned("customer") or await self._a_customer()
        if customer is None:
            return None
        mitra = await self._past_mitra(customer) if self.random.random() < self.theme.targeted else None
        gate = await availability.ask_gate(self.database, self.presence, customer, mitra)  # type: ignore[arg-type]
        is_refused = await warned(self.database, "customer", customer) or await suspended(
            self.database, customer
        )
        async with self.database.transaction() as tx:
            payment = await paying.open_payment(tx, customer, self._an_offer(), gate, mitra)
        if is_refused:
            self._fail("rules T.3 and T.4 (a suspended or warned customer opens no payment)")
        return f"payment {payment.id}" + (f" for {mitra}" if mitra else "")

    async def _past_mitra(self, customer: UUID) -> UUID | None:
        """Choose a mitra of this customer's history, usually an available mitra. Sometimes any mitra."""
        if self.random.random() < 0.05:
            return self.random.choice(self.mitras)
        rows = await self.database.fetch(
            """
            SELECT id, online AND active_sessions < max_customers AND id = ANY ($2::uuid[]) AS is_open FROM mitras
            WHERE id IN (SELECT mitra_id FROM sessions WHERE customer_id = $1) ORDER BY id
            """,
            customer,
            list(self.presence.connected),
        )
        row = self._mostly_open(rows)
        return row["id"] if row else None

    def _an_offer(self) -> UUID:
        return self.random.choices(self.offers, [1, 2, 2])[0]

    async def leave_payment(self) -> str | None:
        """A customer leaves the payment screen."""
        row = await self._any_payment()
        if row is None:
            return None
        async with self.database.transaction() as tx:
            await paying.cancel_payment(tx, row["customer_id"], row["id"])
        return str(row["id"])

    async def confirm(self) -> str | None:
        """A customer confirms.

        The step is only the first transaction of the operation. The call to the gateway is a later step.
        """
        row = await self._any_payment()
        if row is None:
            return None
        candidates = await availability.candidates_or_none(self.presence)  # type: ignore[arg-type]
        empty = not await self.database.fetchval(CAN_ASK, candidates or [], row["customer_id"])
        is_suspended = await suspended(self.database, row["customer_id"])
        async with self.database.transaction() as tx:
            charge = await paying.begin_confirmation(tx, row["customer_id"], row["id"], candidates)
        if empty and row["is_open"]:
            self._fail("rule 1.8 (nobody is charged for a search that can ask nobody)")
        if is_suspended and row["is_open"]:
            self._fail("rule T.3 (a suspended customer confirms nothing)")
        if charge is None:
            return f"{row['id']}: nothing to charge"
        self.calls.append(charge)
        return f"{row['id']}: charge begun"

    async def gateway_answers(self) -> str | None:
        """The gateway carries out a call, or the network loses the call.

        The server records the answer, or the answer is lost.
        """
        if not self.calls:
            return None
        charge = self.calls.pop(self.random.randrange(len(self.calls)))
        if self.random.random() < 0.15 * self.trouble:
            self.strays.append((charge, await self.clock.now()))
            self.reached.add("charge lost on its way")
            return f"{charge.key}: has not reached the gateway"
        answer = await self.gateway.charge(charge.key, charge.payment_id, charge.amount_rp)
        if self.random.random() < 0.3 * self.trouble:
            self.reached.add("answer lost")
            return f"{charge.key}: {answer.status}, and the answer is lost"
        return await self._record(charge.key, answer)

    async def gateway_answers_again(self) -> str | None:
        """The gateway calls back with a late answer or a repeated answer."""
        key = await self.gateway.any_key()
        if key is None:
            return None
        return await self._record(key, await self.gateway.find_charge(key))

    async def gateway_answers_about_a_refund(self) -> str | None:
        """The gateway calls back about a refund with a late, repeated or corrected answer."""
        keys = await self.gateway.refund_keys()
        if not keys:
            return None
        key = self.random.choice(keys)
        return await self._record_refund(key, await self.gateway.find_refund(key))

    async def _answer_all_refunds(self) -> None:
        for key in await self.gateway.refund_keys():
            answer = RefundAnswer("processing")
            while answer.status == "processing":
                with contextlib.suppress(GatewayUnknown):
                    answer = await self.gateway.find_refund(key)
                    if answer.status == "processing":
                        # Nothing of ours waits for a refund that we took back, so no deadline moves the clock.
                        await self.clock.advance(1_800)
            await self._record_refund(key, answer)

    async def _record_refund(self, key: UUID, answer: RefundAnswer) -> str:
        before = await self.database.fetchval("SELECT status FROM refunds WHERE id = $1", key)
        await charging.record_refund_answer(self.database, key, answer)
        if (before, answer.status) == ("failed", "done"):
            self.reached.add("refund done after the gateway called it failed")
        return f"{key}: {before}, now {answer.status}"

    async def stray_charge(self) -> str | None:
        """A lost charge finally reaches the gateway. No process gets the gateway's answer."""
        if not self.strays:
            return None
        charge, since = self.strays.pop(self.random.randrange(len(self.strays)))
        if await self.clock.now() - since > MAX_STRAY_AGE:
            return f"{charge.key}: lost for good"
        answer = await self.gateway.charge(charge.key, charge.payment_id, charge.amount_rp)
        return f"{charge.key}: {answer.status}"

    async def second_attempt(self) -> str | None:
        """A charge is lost before the gateway, and the customer confirms again.

        In most cases, the lost charge arrives after the second confirmation.
        """
        row = await self._any_payment()
        if row is None or not row["is_open"]:
            return None
        candidates = await availability.candidates_or_none(self.presence)  # type: ignore[arg-type]
        async with self.database.transaction() as tx:
            lost = await paying.begin_confirmation(tx, row["customer_id"], row["id"], candidates)
        if lost is None:
            return f"{row['id']}: nothing to charge"
        await self._record(lost.key, ChargeAnswer("not_found"))
        async with self.database.transaction() as tx:
            charge = await paying.begin_confirmation(tx, row["customer_id"], row["id"], candidates)
        assert charge is not None
        self.calls.append(charge)
        if self.random.random() < 0.2:
            self.strays.append((lost, await self.clock.now()))
            return f"{row['id']}: {lost.key} is lost, {charge.key} begun"
        answer = await self.gateway.charge(lost.key, lost.payment_id, lost.amount_rp)
        return f"{row['id']}: {charge.key} begun, and then {await self._record(lost.key, answer)}"

    async def _record(self, key: UUID, answer: ChargeAnswer) -> str:
        outcome = await charging.record_charge_answer(
            self.database,
            self.presence,  # type: ignore[arg-type]
            key,
            answer,
        )
        if outcome is not None and outcome.step == "nothing" and answer.status == "approved":
            self.reached.add(f"answer doubled for {outcome.payment.purpose}")
        return f"{key}: {answer.status} → {'unknown key' if outcome is None else outcome.step}"

    async def cancel_search(self) -> str | None:
        """A customer stops searching."""
        row = await self.database.fetchrow(
            "SELECT id, customer_id FROM pairings ORDER BY (status = 'open') DESC, id DESC LIMIT 1"
        )
        if row is None:
            return None
        async with self.database.transaction() as tx:
            await searching.cancel_search(tx, row["customer_id"], row["id"])
        return str(row["id"])

    async def take_fallback(self) -> str | None:
        """A customer takes the fallback of a failed targeted pairing. Sometimes the pairing has no fallback."""
        row = await self._any_failed_pairing()
        if row is None:
            return None
        candidates = await availability.candidates_or_none(self.presence)  # type: ignore[arg-type]
        async with self.database.transaction() as tx:
            blast = await searching.take_fallback(tx, row["customer_id"], row["id"], candidates)
        return f"{row['id']} → blast {blast.id}"

    async def decline_fallback(self) -> str | None:
        """A customer declines the fallback."""
        row = await self._any_failed_pairing()
        if row is None:
            return None
        async with self.database.transaction() as tx:
            await pairing.decline_fallback(tx, row["id"], row["customer_id"])
        return str(row["id"])

    # Blocks -------------------------------------------------------------------------------------------------

    async def block(self) -> str | None:
        """A customer or a mitra blocks the other side of a past chat, most often while the customer searches."""
        rows = await self.database.fetch(
            """
            SELECT id, customer_id, mitra_id, status = 'ended' AS is_open FROM sessions
            ORDER BY is_open DESC, EXISTS (
                SELECT 1 FROM requests JOIN pairings ON pairings.id = requests.pairing_id
                WHERE pairings.status = 'open' AND pairings.customer_id = sessions.customer_id
                    AND requests.mitra_id = sessions.mitra_id
            ) DESC, id DESC LIMIT 3
            """
        )
        row = self._mostly_open(rows)
        if row is None:
            return None
        role: Role = self.random.choice(["customer", "mitra"])
        candidates = await availability.candidates_or_none(self.presence)  # type: ignore[arg-type]
        async with self.database.transaction() as tx:
            await blocking.block(tx, Identity(role, row[f"{role}_id"]), row["id"], candidates)
        self.reached.add("block")
        return f"by the {role} of {row['id']}"

    async def unblock(self) -> str | None:
        """A person undoes a block."""
        rows = await self.database.fetch(
            "SELECT session_id, blocked_by, customer_id, mitra_id FROM blocks ORDER BY session_id, blocked_by"
        )
        if not rows:
            return None
        row = self.random.choice(rows)
        by = Identity(row["blocked_by"], row[f"{row['blocked_by']}_id"])
        async with self.database.transaction() as tx:
            await blocks.unblock(tx, by, row["session_id"])
        return f"by the {by.role} of {row['session_id']}"

    # More time ----------------------------------------------------------------------------------------------

    async def ask_for_more_time(self) -> str | None:
        """A customer asks for an extension of a running or ended session."""
        row = await self._any_session()
        if row is None:
            return None
        connected = await availability.is_connected_or_none(self.presence, row["mitra_id"])  # type: ignore[arg-type]
        offer = self.random.choice(self.extension_offers)
        async with self.database.transaction() as tx:
            asked = await extension.request(tx, row["customer_id"], row["id"], offer, connected)
        return f"extension {asked.id} in {row['id']}: {asked.status}"

    async def approve_more_time(self) -> str | None:
        """A mitra approves an extension.

        The step is only the first transaction of the operation. The call to the gateway is a later step.
        """
        row = await self._any_extension()
        if row is None:
            return None
        async with self.database.transaction() as tx:
            approved, charge = await extension.approve_by_mitra(tx, row["mitra_id"], row["id"])
        if charge is not None:
            self.calls.append(charge)
        return f"{row['id']}: {approved.status}" + (", charge begun" if charge else "")

    async def reject_more_time(self) -> str | None:
        """A mitra rejects an extension."""
        row = await self._any_extension()
        if row is None:
            return None
        async with self.database.transaction() as tx:
            await extension.reject_by_mitra(tx, row["mitra_id"], row["id"])
        return str(row["id"])

    # Mitras -------------------------------------------------------------------------------------------------

    async def offer(self) -> str | None:
        """A server offers open blasts to mitras who can be asked and have not been asked yet."""
        reachable = await availability.candidates_or_none(self.presence) or []  # type: ignore[arg-type]
        return f"{(await pairing.offer_open_blasts(self.database, reachable)).requests} requests"

    async def accept(self) -> str | None:
        """A mitra accepts one of its requests. Sometimes the chosen request is closed."""
        row = await self._any_request()
        if row is None:
            return None
        async with self.database.transaction() as tx:
            session = (await searching.accept(tx, row["mitra_id"], row["id"])).session
        return f"{row['id']} → session {session.id}"

    async def reject(self) -> str | None:
        """A mitra rejects one of its requests. Sometimes the chosen request is closed."""
        row = await self._any_request()
        if row is None:
            return None
        candidates = await availability.candidates_or_none(self.presence)  # type: ignore[arg-type]
        async with self.database.transaction() as tx:
            await pairing.reject(tx, row["id"], row["mitra_id"], candidates)
        return str(row["id"])

    async def toggle(self) -> str | None:
        """A mitra goes online or offline. If a customer waits for the mitra, the mitra usually goes offline."""
        awaited = await self._an_awaited_mitra()
        mitra = awaited or await self.reporters.sanctioned("mitra") or self.random.choice(self.mitras)
        online = self.random.random() < (0.3 if awaited else 0.8)
        was_online = await self.database.fetchval("SELECT online FROM mitras WHERE id = $1", mitra)
        is_refused = online and not was_online and await warned(self.database, "mitra", mitra)
        async with self.database.transaction() as tx:
            await set_toggle(tx, mitra, online=online)
        if is_refused:
            self._fail("rule T.4 (a warned mitra does not go online)")
        return f"{mitra} {'online' if online else 'offline'}"

    async def connection(self) -> str | None:
        """A mitra's connection is lost or returns. If the mitra's server also dies, no process reports the loss."""
        mitra = await self._an_awaited_mitra() or self.random.choice(self.mitras)
        if mitra in self.presence.silent_since or mitra not in self.presence.connected:
            await self.presence.came_back(mitra)
            await self.cards.mitra_returns(mitra)
            return f"{mitra} back"
        self.presence.connected.remove(mitra)
        self.presence.lost_at[mitra] = await self.clock.now()
        if self.random.random() < 0.2:
            return f"{mitra} lost with its server"
        await extension.socket_closed(self.database, mitra)
        return f"{mitra} lost"

    async def customer_connection(self) -> str | None:
        """A customer opens or leaves the app."""
        customer = self.random.choice(self.customers)
        return f"{customer} {self.push.customer_comes_or_goes(customer, await self.clock.now())}"

    async def phone_dies(self) -> str | None:
        """A mitra's phone stops answering, and its socket stays open.

        Sometimes a whole server stops, with all its sockets.
        """
        awaited = await self._an_awaited_mitra()
        gone = self.mitras if self.random.random() < 0.2 else [awaited or self.random.choice(self.mitras)]
        now = await self.clock.now()
        for mitra in gone:
            if mitra in self.presence.connected:
                self.presence.silent_since.setdefault(mitra, now)
        return ", ".join(map(str, gone))

    async def valkey(self) -> str | None:
        """Valkey goes down, or works again."""
        self.presence.unknown = not self.presence.unknown
        return "away" if self.presence.unknown else "back"

    async def suspend(self) -> str | None:
        """An operator suspends a mitra."""
        mitra = self.random.choice(self.mitras)
        async with self.database.transaction() as tx:
            await mitras.suspend_mitra(tx, mitra)
        return str(mitra)

    async def change_capacity(self) -> str | None:
        """An operator changes the capacity of a mitra, sometimes while the mitra has chats."""
        mitra, max_customers = self.random.choice(self.mitras), self.random.choice([1, 1, 2, 3])
        async with self.database.transaction() as tx:
            await mitras.change_capacity(tx, mitra, max_customers, by="command line")
        running = await self.database.fetchval("SELECT active_sessions FROM mitras WHERE id = $1", mitra)
        self.reached.add("capacity changed")
        if running >= max_customers:
            self.reached.add("a mitra is full after a change of capacity")
        return f"{mitra}: {max_customers}"

    # Sessions -----------------------------------------------------------------------------------------------

    async def message(self) -> str | None:
        """A customer or mitra writes a message in a running or ended session."""
        row = await self._any_session()
        if row is None:
            return None
        who = self.random.choice(
            [
                Identity(role="customer", user_id=row["customer_id"]),
                Identity(role="mitra", user_id=row["mitra_id"]),
            ]
        )
        self.texts += 1
        # A client that gets no answer to a message sends the message again.
        client_message_id = str(self.random.choice([self.texts, max(1, self.texts - 1)]))
        async with self.database.transaction() as tx:
            await sessions.send_messages(tx, [OutgoingMessage(who, row["id"], client_message_id, "halo")])
        self.written.add(row["id"])
        return f"{who.role} in {row['id']}"

    async def message_while_push_is_held(self) -> str | None:
        """A mitra writes, a worker claims the chat's push deadline and stops, and the mitra writes again."""
        chats = await self.database.fetch(SUBSCRIBED_CHATS)
        if self.database.stopped is not None or not chats:
            return None
        chat = self.random.choice(chats)
        await self._write_as_mitra(chat["id"], chat["mitra_id"])
        await self._before_time_passes()
        await self.clock.advance(3)
        await self._time_passes()
        due = await self.database.fetchval(DUE_PUSH, PUSH_MESSAGES, chat["id"])
        # If a worker has just checked the chat, the deadline is perhaps not due yet.
        if due is None:
            return f"{chat['id']}: nothing is due"
        process = StoppedProcess("worker", functools.partial(self._fire, due), after_claim=True)
        self.database.stopped = process
        assert await process.run_until_it_stops(), "another process holds the deadline"
        await self._write_as_mitra(chat["id"], chat["mitra_id"])
        self.reached.add("a message while a worker holds its push deadline")
        return f"{chat['id']}: two messages, and a worker holds {due}"

    async def _write_as_mitra(self, session_id: UUID, mitra_id: UUID) -> None:
        self.texts += 1
        mitra = Identity(role="mitra", user_id=mitra_id)
        async with self.database.transaction() as tx:
            await sessions.send_messages(tx, [OutgoingMessage(mitra, session_id, str(self.texts), "halo")])
        self.written.add(session_id)

    async def read_messages(self) -> str | None:
        """A customer or mitra reads a chat up to one of its last messages, in a running or ended session."""
        rows = await self.database.fetch(
            """
            SELECT messages.id, session_id, sender, customer_id, mitra_id
            FROM messages JOIN sessions ON sessions.id = session_id ORDER BY messages.id DESC LIMIT 3
            """
        )
        if not rows:
            return None
        row = self.random.choice(rows)
        reader = (
            Identity(role="customer", user_id=row["customer_id"])
            if row["sender"] == "mitra"
            else Identity(role="mitra", user_id=row["mitra_id"])
        )
        async with self.database.transaction() as tx:
            await sessions.mark_read(tx, reader, row["session_id"], row["id"])
        self.reached.add("message read")
        return f"{reader.role} in {row['session_id']} up to {row['id']}"

    async def end_session(self) -> str | None:
        """A customer or mitra ends a session early."""
        row = await self._any_session()
        if row is None:
            return None
        async with self.database.transaction() as tx:
            if self.random.random() < 0.5:
                await sessions.end_by_customer(tx, row["customer_id"], row["id"])
            else:
                await sessions.end_by_mitra(tx, row["mitra_id"], row["id"], "harus pergi")
        return str(row["id"])

    async def leave(self) -> str | None:
        """A customer or mitra leaves a session, perhaps with a report and a block. The session has perhaps ended."""
        row = await self._any_session()
        if row is None:
            return None
        report = NewReport(reason="threat") if self.random.random() < 0.3 else None
        block = self.random.random() < 0.2
        left: LeftSession | LeftMitraSession
        async with self.database.transaction() as tx:
            if self.random.random() < 0.5:
                left = await leaving.leave_as_customer(
                    tx, row["customer_id"], row["id"], LeaveByCustomer(report=report, block=block)
                )
            else:
                left = await leaving.leave_as_mitra(
                    tx, row["mitra_id"], row["id"], LeaveByMitra(report=report, block=block)
                )
        if left.status != "ended":
            self._fail("rule T.5 (a person who leaves is out of the session)")
        self.reached.add(f"left: {left.end_reason}" + (" with a report" if report else ""))
        return f"{row['id']}: {left.end_reason}"

    async def look_for_away(self) -> str | None:
        """A mitra of a running session is lost, and a worker looks for mitras who are away."""
        mitras = await self.database.fetch(
            "SELECT DISTINCT mitra_id FROM sessions WHERE status = 'active' ORDER BY mitra_id"
        )
        if not mitras or self.database.stopped is not None:
            return None
        mitra = self.random.choice(mitras)["mitra_id"]
        self.presence.unknown = False
        if mitra in self.presence.connected:
            self.presence.silent_since.setdefault(mitra, await self.clock.now())
        await self._before_time_passes()
        await self.clock.advance(self.random.choice([5.5, 7.0, 7.0]))
        await self._time_passes()
        await self.absences.look_for_away()
        return f"{mitra} is silent"

    async def look_for_back(self) -> str | None:
        """Sometimes a mitra connects again. A server process looks for mitras who are back."""
        away = await self.database.fetch(
            "SELECT DISTINCT mitra_id FROM sessions WHERE mitra_away_since IS NOT NULL ORDER BY mitra_id"
        )
        if not away:
            return None
        mitra = self.random.choice(away)["mitra_id"]
        if self.random.random() < 0.8:
            await self.presence.came_back(mitra)
            await self.cards.mitra_returns(mitra)
        await self.absences.look_for_back()
        return str(mitra)

    async def end_with_review(self) -> str | None:
        """A customer ends a session with a review, usually when its mitra is away."""
        rows = await self.database.fetch(
            """
            SELECT id, customer_id, mitra_away_since IS NOT NULL AS is_open FROM sessions
            WHERE status = 'active' ORDER BY is_open DESC, id DESC LIMIT 3
            """
        )
        row = self._mostly_open(rows)
        if row is None:
            return None
        await self._before_time_passes()
        await self.clock.advance(self.random.choice([0.0, 53.0, 60.0, 60.0]))
        await self._time_passes()
        async with self.database.transaction() as tx:
            await sessions.end_by_customer(tx, row["customer_id"], row["id"], with_review=True)
        return str(row["id"])

    async def rename(self) -> str | None:
        """A customer changes their call name, perhaps during a chat."""
        customer = self.random.choice(self.customers)
        self.texts += 1
        async with self.database.transaction() as tx:
            await renaming.rename_customer(tx, customer, f"Name {self.texts}")
        # No signal tells the servers about the new name on a card.
        await self._time_passes()
        return str(customer)

    async def configure(self) -> str | None:
        """An operator changes a configuration row."""
        key = self.random.choice(list(CONFIGURED))
        value = self.random.choice(CONFIGURED[key])
        await self.database.execute(CONFIGURATION, [key], [value])
        return f"{key} = {value}"

    # Processes and time ---------------------------------------------------------------------------------------

    async def worker(self) -> str | None:
        """A worker fires some or all due deadlines, one by one or in one transaction per kind."""
        due = await due_deadlines(self.database, kinds=list(self.transitions), max_per_kind=50)
        due = due[: self.random.choice([1, 2, 50])]
        fired: list[str | None] = []
        in_batches = self.random.random() < 0.5
        for kind in dict.fromkeys(found.kind for found in due):
            transition = self.transitions[kind]
            ids = [found.id for found in due if found.kind == kind]
            if in_batches and isinstance(transition, deadlines.BatchTransition):
                several = await deadlines.fire_batch(self.database, ids, transition)
                assert several is not None or self.database.stopped is not None, "no transaction holds a lock"
                fired += [each.deadline.kind for each in several or ()]
            else:
                fired += [await self._fire(deadline_id) for deadline_id in ids]
        return ", ".join(kind for kind in fired if kind) or None

    async def _fire(self, deadline_id: int) -> str | None:
        """Fire one deadline. The call of a fired deadline to an outside service waits in `follow_ups`."""
        claimed: list[FollowUp] = []

        def keeping(kind: str) -> deadlines.Transition:
            transition = self.transitions[kind]

            async def run(tx: Any, deadline: Deadline) -> None:
                follow_up = await transition(tx, deadline)
                if follow_up is not None:
                    claimed.append(follow_up)

            return run

        fired = await deadlines.fire(
            self.database, deadline_id, {kind: keeping(kind) for kind in self.transitions}
        )
        # If the transaction did not commit, no call follows.
        if fired is None:
            return None
        self.follow_ups += claimed
        return fired.deadline.kind

    async def worker_killed(self) -> str | None:
        """A worker dies after a commit, before it makes the call that must follow the commit."""
        lost = len(self.follow_ups) + self.push.lose_look_ups()
        self.follow_ups.clear()
        return f"{lost} calls lost"

    async def server_killed(self) -> str | None:
        """A server dies while it calls the gateway.

        Some calls reach the gateway, and no process records the answers.
        """
        for charge in self.calls:
            if self.random.random() < 0.5:
                with contextlib.suppress(GatewayUnknown):
                    await self.gateway.charge(charge.key, charge.payment_id, charge.amount_rp)
        lost = len(self.calls)
        self.calls.clear()
        return f"{lost} answers lost"

    async def follow_up(self) -> str | None:
        """A worker makes the call that must follow an earlier commit."""
        if not self.follow_ups:
            return None
        await self.follow_ups.pop(self.random.randrange(len(self.follow_ups)))()
        return "done"

    async def send_pushes(self) -> str | None:
        """A worker looks up the people who need a push, and sends the due push messages."""
        outcome, broken = await self.push.send()
        if broken:
            self._fail("\n".join(broken))
        return outcome

    async def _before_time_passes(self) -> None:
        """Check the immediate effects of signals and deadlines, before a periodic check can repair a missing effect."""
        if difference := await self.cards.check():
            self._fail(f"the devices of the mitras show the open requests: {difference}")
        if forgotten := await self.push.forgotten(self.checker, compares_times=not self.clock_went_back):
            self._fail("\n".join(forgotten))

    async def _time_passes(self) -> None:
        """A server checks all cards again. A real server checks the cards every LOOK_AGAIN_SECONDS."""
        await self.cards.look_again()

    async def move_clock(self) -> str | None:
        """Move the clock by a short or long time, to the next deadline, or to a moment just before or after it."""
        await self._before_time_passes()
        now = await self.clock.now()
        due: datetime | None = await self.database.fetchval(
            "SELECT min(due_at) FROM deadlines WHERE due_at > curhat_now()"
        )
        until_due = 5.0 if due is None else (due - now).total_seconds()
        end: datetime | None = await self.database.fetchval(
            "SELECT min(ends_at) FROM sessions WHERE status = 'active' AND ends_at > curhat_now()"
        )
        until_end = 60.0 if end is None else (end - now).total_seconds()
        seconds = self.random.choices(
            [0.5, 3.0, 11.0, 20.0, until_due, max(0.0, until_due - 0.001), until_due + 0.001,
             max(0.0, until_end - 5.0), 1_500.0],
            [2, 2, 2, 2, 4, 2, 2, 2, 1],
        )[0]  # fmt: skip
        await self.clock.advance(seconds)
        await self._time_passes()
        return f"+{seconds:.3f} s"

    async def window_ends(self) -> str | None:
        """A mitra does not answer an extension, and the worker decides at the deadline or a little later."""
        due = await self.database.fetchrow(
            """
            SELECT id, due_at - curhat_now() AS remaining FROM deadlines
            WHERE kind = 'extension_window' AND due_at > curhat_now() ORDER BY due_at LIMIT 1
            """
        )
        if due is None or self.database.stopped is not None:
            return None
        late_seconds = self.random.choice([0.0, 0.001, 1.0, 2.499, 2.5])
        await self._before_time_passes()
        await self.clock.advance(due["remaining"].total_seconds() + late_seconds)
        await self._time_passes()
        return f"{late_seconds} s late: {await self._fire(due['id'])}"

    async def set_clock_back(self) -> str | None:
        """The database's clock is set back by a short or long time."""
        if self.seed % CLOCK_GOES_BACK_EVERY:
            return None
        seconds = self.random.choice([0.5, 5.0, 70.0, 1_800.0])
        await self._before_time_passes()
        await self.clock.advance(-seconds)
        await self._time_passes()
        self.clock_went_back = True
        self.presence.clock_was_set_back(timedelta(seconds=seconds))
        self.reached.add("clock set back")
        return f"-{seconds:.1f} s"

    async def process_stops(self) -> str | None:
        """A server or a worker stops in the middle of a transaction (SIGSTOP)."""
        if self.database.stopped is not None:
            return None
        name = self.random.choice(MAY_STOP)
        step = self._steps()[name][1]
        process = StoppedProcess(name, step, after_claim=name == "worker" and self.random.random() < 0.5)
        self.database.stopped = process
        if not await process.run_until_it_stops():
            self.database.stopped = None
            return await process.run_to_its_end()
        process.heard = await self.decisions.listen()
        return f"{name}, " + ("holds a deadline" if process.holds_only_deadlines else "before its commit")

    async def process_continues(self) -> str | None:
        """The stopped process continues. Perhaps PostgreSQL has ended the transaction of the stopped process."""
        process = self.database.stopped
        if process is None:
            return None
        ended = self.random.random() < 0.5
        outcome = await process.run_to_its_end(ended_by_database=ended)
        self.database.stopped = None
        # If a process stops before its commit, it has made its decision before the stop.
        if not process.holds_only_deadlines and (broken := await self.decisions.check(process.heard)):
            self._fail("\n".join(broken))
        self.reached.add(f"a stopped process {'loses its transaction' if ended else 'commits'}")
        return f"{process.name}: {outcome}"

    async def device_catches_up(self) -> str | None:
        """A device applies its missed events. The device must then show the same state as a fresh snapshot."""
        device = self.random.choice(self.devices)
        await self._catch_up(device)
        return f"{device.role} {device.user_id} at {device.seq}"

    async def _catch_up(self, device: Device) -> None:
        # A device that is new or was disconnected for a long time starts from a snapshot.
        fresh = not device.has_snapshot or self.random.random() < 0.2
        if not fresh:
            await device.apply_missed(self.database)
        snapshot: msgspec.Struct
        if device.role == "customer":
            snapshot = await customer_state(self.database, device.user_id)
        else:
            snapshot = await mitra_state(self.database, self.presence, device.user_id)  # type: ignore[arg-type]
        state = msgspec.json.decode(msgspec.json.encode(snapshot))
        difference = device.compare_or_take(state, fresh=fresh)
        running = device.sessions_of(state)
        histories = await self._histories(device, device.chats_to_read(self.written, running, fresh=fresh))
        difference = difference or device.compare_or_take_chats(histories, running, fresh=fresh)
        if histories and not fresh:
            self.reached.add(f"messages on the device of a {device.role}")
        if difference is not None:
            self.history.append(f"device: {device.role} {device.user_id}")
            self._fail(f"invariant 10 (snapshot + events = fresh snapshot): {difference}")

    async def _compare_money(self) -> None:
        """Compare what the customers read about their payments with what the gateway took and gave back (X.12)."""
        listed: list[tuple[Any, ...]] = []
        for customer in self.customers:
            cursor: str | None = None
            while True:
                async with self.database.transaction() as tx:
                    page = await money.read_payments(tx, customer, cursor)
                listed += [
                    (
                        one.id,
                        one.charged_rp,
                        sum(refund.amount_rp for refund in one.refunds if refund.status == "done"),
                        one.review is not None and one.review.status == "open",
                    )
                    for one in page.items
                ]
                cursor = page.next_cursor
                if cursor is None:
                    break
        rows = [tuple(row) for row in await self.database.fetch(MONEY_OF_PAYMENTS)]
        if sorted(listed) != rows:
            wrong = set(listed).symmetric_difference(rows)
            self._fail(f"X.12 (the list agrees with the gateway): {sorted(wrong)}")

    async def _histories(self, device: Device, chats: Sequence[str]) -> dict[str, Any]:
        """Read the messages of the chats `chats`, as a client does when it opens a chat."""
        if not chats:
            return {}
        who = Identity(role=device.role, user_id=device.user_id)
        async with self.database.transaction() as tx:
            pages = [await sessions.messages_page(tx, who, UUID(chat), None) for chat in chats]
        items: list[Any] = msgspec.json.decode(msgspec.json.encode([page.items for page in pages]))
        return dict(zip(chats, items, strict=True))

    # The end --------------------------------------------------------------------------------------------------

    async def _quieten(self) -> None:
        """Stop all people, restart all processes, and move the clock until no deadline is armed."""
        self.presence.unknown = False
        await self.process_continues()
        await self.server_killed()
        while self.strays:
            with contextlib.suppress(GatewayUnknown):
                await self.stray_charge()
        for _ in range(400):
            while self.follow_ups:
                await self.follow_ups.pop()()
            due = await due_deadlines(
                self.database, kinds=list(self.transitions), max_per_kind=deadlines.MAX_DUE_PER_KIND
            )
            for found in due:
                await self._fire(found.id)
            if broken := await self.decisions.check():
                self._fail("\n".join(broken))
            if not due and not self.follow_ups:
                if await seconds_until_next_due(self.database, kinds=list(self.transitions)) is None:
                    break
                await self._before_time_passes()
                await self.send_pushes()
                await self.clock.advance(1_800)
                await self._time_passes()
        await self._answer_all_refunds()
        self.history.append("quiet")
        for device in self.devices:
            await self._catch_up(device)
        await self._check(quiet=True)

    # Picking ----------------------------------------------------------------------------------------------------

    def _mostly_open(self, rows: Sequence[Any]) -> Any:
        """Choose one of these rows.

        Usually choose an open row, because refused steps test little. Returns None if no row exists.
        """
        open_ones = [row for row in rows if row["is_open"]]
        among = rows if self.random.random() < 0.12 else open_ones
        return self.random.choice(among) if among else None

    async def _a_customer(self) -> UUID | None:
        """Choose a customer, usually a customer who can begin a journey."""
        rows = await self.database.fetch(
            """
            SELECT id, NOT EXISTS (SELECT 1 FROM sessions WHERE customer_id = customers.id AND status = 'active')
                AND NOT EXISTS (SELECT 1 FROM payments WHERE customer_id = customers.id AND purpose = 'session'
                    AND status IN ('pending', 'confirming', 'confirmed')) AS is_open
            FROM customers ORDER BY id
            """
        )
        row = self._mostly_open(rows)
        return row["id"] if row else None

    async def _any_payment(self) -> Any:
        return self._mostly_open(
            await self.database.fetch(
                """
                SELECT id, customer_id, status = 'pending' AS is_open FROM payments
                ORDER BY (status IN ('pending', 'confirming')) DESC, id DESC LIMIT 4
                """
            )
        )

    async def _any_failed_pairing(self) -> Any:
        return self._mostly_open(
            await self.database.fetch(
                """
                SELECT id, customer_id, fallback_status IS NOT DISTINCT FROM 'open' AS is_open FROM pairings
                WHERE kind = 'targeted' OR status = 'failed' ORDER BY is_open DESC, id DESC LIMIT 3
                """
            )
        )

    async def _any_extension(self) -> Any:
        return self._mostly_open(
            await self.database.fetch(
                """
                SELECT extensions.id, sessions.mitra_id, extensions.status = 'pending' AS is_open
                FROM extensions JOIN sessions ON sessions.id = extensions.session_id
                ORDER BY is_open DESC, extensions.id DESC LIMIT 3
                """
            )
        )

    async def _any_request(self) -> Any:
        return self._mostly_open(
            await self.database.fetch(
                """
                SELECT id, mitra_id, status = 'offered' AS is_open FROM requests
                ORDER BY is_open DESC, offered_at DESC, id LIMIT 5
                """
            )
        )

    async def _any_session(self) -> Any:
        return self._mostly_open(
            await self.database.fetch(
                """
                SELECT id, customer_id, mitra_id, status = 'active' AS is_open FROM sessions
                ORDER BY is_open DESC, id DESC LIMIT 4
                """
            )
        )

    async def _an_awaited_mitra(self) -> UUID | None:
        """Sometimes choose a mitra who must answer a waiting customer."""
        if self.random.random() < 0.6:
            return None
        rows = await self.database.fetch(
            """
            SELECT sessions.mitra_id FROM extensions JOIN sessions ON sessions.id = extensions.session_id
            WHERE extensions.status = 'pending'
            UNION SELECT target_mitra_id FROM pairings WHERE status = 'open' AND kind = 'targeted'
            ORDER BY 1
            """
        )
        return self.random.choice(rows)["mitra_id"] if rows else None
