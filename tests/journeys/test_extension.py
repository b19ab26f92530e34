"""Test extensions (section 5) through the services: request, decision, charge, and the end of the session."""

import itertools
from collections.abc import Sequence
from uuid import UUID

import asyncpg
import pytest

from curhat.deadlines import loop as deadline_loop
from curhat.journeys import charging, mitras, paying
from curhat.journeys.snapshot import customer_state
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound
from curhat.kit.signals import NoSignals
from curhat.payments.gateway import ChargeAnswer
from curhat.payments.mock.gateway import MockGateway
from curhat.payments.service import Charge
from curhat.presence.store import FrameAges
from curhat.sessions import extension, states
from curhat.sessions import service as sessions
from curhat.sessions.errors import ExtensionDecided, ExtensionPending, SessionEnded, TermsChanged
from curhat.sessions.schemas import Extension
from tests.support.chats import Chat, open_chat, stream_events
from tests.support.clock import VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.people import Make
from tests.support.toggle import set_toggle

WINDOW_SECONDS = 10
MINUTES = 30
ADDED_MINUTES = 15

APPROVED = ChargeAnswer("approved")
DECLINED = ChargeAnswer("declined", reason="no money")
# The frame ages of a mitra who has been connected for a whole day.
ALL_THE_TIME = FrameAges(last_frame=0, heard_since=86_400, present_since=86_400)

PROCESSING = ChargeAnswer("processing")
NOT_FOUND = ChargeAnswer("not_found")


@pytest.fixture
async def chat(database: Database, clock: VirtualClock, make: Make) -> Chat:
    """A running chat of 30 minutes. The clock is stopped."""
    await clock.set()
    return await open_chat(database, make, minutes=MINUTES)


async def fire_due(
    database: Database, *connected: UUID, unknown: bool = False, frames: FrameAges | None = None
) -> int:
    says = FakePresence(*connected)
    says.unknown = unknown
    says.frames = frames or says.frames
    transitions = Transitions(database, says, MockGateway(database))  # type: ignore[arg-type]
    return await deadline_loop.run_once(database, transitions.by_kind())


async def ask(database: Database, make: Make, chat: Chat, *, connected: bool | None = True) -> Extension:
    offer = await make.offer(purpose="extension", duration_minutes=ADDED_MINUTES, price_rp=10_000)
    async with database.transaction() as tx:
        return await extension.request(tx, chat.customer.user_id, chat.id, offer, connected)


async def set_silence(database: Database, action: str) -> None:
    """Set the default action of later extensions."""
    change = "UPDATE configuration SET value = $1 WHERE key = 'extension_default_action_on_timeout'"
    await database.execute(change, action)


async def approve(database: Database, chat: Chat, asked: Extension) -> Charge | None:
    async with database.transaction() as tx:
        return (await extension.approve_by_mitra(tx, chat.mitra.user_id, asked.id))[1]


async def approved_by_mitra(database: Database, chat: Chat, asked: Extension) -> Charge:
    charge = await approve(database, chat, asked)
    assert charge is not None
    return charge


async def reject(database: Database, chat: Chat, asked: Extension) -> Extension:
    async with database.transaction() as tx:
        return await extension.reject_by_mitra(tx, chat.mitra.user_id, asked.id)


async def answer(database: Database, charge: Charge, *said: ChargeAnswer) -> None:
    for each in said:
        async with database.transaction() as tx:
            await charging.charge_answered(tx, charge.key, each, [])


async def look(database: Database, asked: Extension) -> Extension:
    async with database.transaction() as tx:
        return await extension.extension_view(tx, asked.id)


async def money(database: Database, asked: Extension) -> tuple[str, list[str], list[str]]:
    """Return the status of the extension's payment, the statuses of its charge attempts, and its refund reasons."""
    attempts = "SELECT status FROM charge_attempts WHERE payment_id = $1 ORDER BY id"
    refunds = "SELECT reason FROM refunds WHERE payment_id = $1"
    return (
        await database.fetchval("SELECT status FROM payments WHERE id = $1", asked.payment_id),
        [row["status"] for row in await database.fetch(attempts, asked.payment_id)],
        [row["reason"] for row in await database.fetch(refunds, asked.payment_id)],
    )


async def minutes_of(database: Database, chat: Chat) -> float:
    """Return the present length of the session in minutes."""
    length = "SELECT extract(epoch FROM ends_at - started_at)::float8 / 60 FROM sessions WHERE id = $1"
    minutes: float = await database.fetchval(length, chat.id)
    return minutes


async def is_running(database: Database, chat: Chat) -> bool:
    return bool(await database.fetchval("SELECT status = 'active' FROM sessions WHERE id = $1", chat.id))


# The request ---------------------------------------------------------------------------------------------


@pytest.mark.rule("5.3", "5.4", "5.5", "5.7")
async def test_both_sides_see_the_deadline_and_the_price_and_the_default_action(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    assert (asked.status, asked.decided_by, asked.default_action) == ("pending", None, "auto_approve")
    assert (asked.offer.duration_minutes, asked.offer.price_rp, asked.offer.is_trial) == (15, 10_000, False)
    assert (asked.deadline_at - asked.server_now).total_seconds() == WINDOW_SECONDS
    for who in (chat.customer, chat.mitra):
        kind, data = (await stream_events(database, who))[-1]
        assert (kind, data["id"], data["default_action"]) == (
            "extension.requested",
            str(asked.id),
            "auto_approve",
        )
    shown = await customer_state(database, chat.customer.user_id)
    assert shown.extension == asked
    assert shown.session is not None
    assert shown.session.extension == asked
    async with database.transaction() as tx:
        assert await extension.open_extensions_of_mitra(tx, chat.mitra.user_id) == [asked]
    assert await money(database, asked) == ("pending", [], [])


@pytest.mark.rule("5.2", "5.7")
async def test_the_terms_of_an_extension_are_fixed_when_the_customer_asks(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    await set_silence(database, "auto_reject")
    async with database.transaction() as tx:
        await tx.execute("UPDATE configuration SET value = '60' WHERE key = 'extension_timeout_seconds'")
        await tx.execute("UPDATE offers SET price_rp = 99000 WHERE purpose = 'extension'")
    same = await look(database, asked)
    assert (same.deadline_at, same.default_action, same.offer) == (
        asked.deadline_at,
        asked.default_action,
        asked.offer,
    )
    await reject(database, chat, asked)
    later = await ask(database, make, chat)
    assert (later.deadline_at - later.server_now).total_seconds() == 60
    assert later.default_action == "auto_reject"


@pytest.mark.rule("5.7")
async def test_a_second_extension_is_refused_while_the_first_extension_is_open(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    with pytest.raises(ExtensionPending) as refusal:
        await ask(database, make, chat)
    assert refusal.value.fields == {"extension_id": asked.id}
    charge = await approved_by_mitra(database, chat, asked)
    with pytest.raises(ExtensionPending):
        await ask(database, make, chat)
    await answer(database, charge, APPROVED)
    assert (await ask(database, make, chat)).status == "pending"


@pytest.mark.rule("5.4")
async def test_a_customer_cannot_ask_for_an_extension_with_a_session_offer_or_the_trial(
    database: Database, make: Make, chat: Chat
) -> None:
    for offer in (await make.offer(), await make.offer(duration_minutes=5, price_rp=0)):
        with pytest.raises(NotFound):
            async with database.transaction() as tx:
                await extension.request(tx, chat.customer.user_id, chat.id, offer, connected=True)
    with pytest.raises(asyncpg.CheckViolationError):
        await make.offer(purpose="extension", duration_minutes=5, price_rp=0)


@pytest.mark.rule("5.7")
async def test_only_the_customer_of_a_session_can_ask_for_an_extension_and_only_the_mitra_can_answer(
    database: Database, make: Make, chat: Chat
) -> None:
    stranger = await open_chat(database, make)
    offer = await make.offer(purpose="extension")
    with pytest.raises(NotFound):
        async with database.transaction() as tx:
            await extension.request(tx, stranger.customer.user_id, chat.id, offer, connected=True)
    asked = await ask(database, make, chat)
    for step in (approve, reject):
        with pytest.raises(NotFound):
            await step(database, stranger, asked)


@pytest.mark.rule("5.7")
async def test_a_customer_cannot_ask_for_an_extension_after_the_session_has_ended(
    database: Database, clock: VirtualClock, make: Make, chat: Chat
) -> None:
    await clock.advance(MINUTES * 60)
    with pytest.raises(SessionEnded):
        await ask(database, make, chat)


# No answer -----------------------------------------------------------------------------------------------


@pytest.mark.rule("5.1", "5.4")
@pytest.mark.invariant(5, 7)
async def test_an_extension_without_an_answer_is_approved_at_its_deadline_and_charged_once(
    database: Database, clock: VirtualClock, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    await clock.advance(WINDOW_SECONDS - 0.001)
    await fire_due(database, chat.mitra.user_id)  # Fires the presence check.
    assert (await look(database, asked)).status == "pending"
    assert await money(database, asked) == ("pending", [], [])
    await clock.advance(0.001)
    assert await fire_due(database, chat.mitra.user_id) == 1
    done = await look(database, asked)
    assert (done.status, done.decided_by) == ("approved", "timeout")
    assert await money(database, asked) == ("served", ["approved"], [])
    assert await minutes_of(database, chat) == MINUTES + ADDED_MINUTES


@pytest.mark.rule("5.2")
@pytest.mark.invariant(7)
async def test_an_extension_without_an_answer_is_rejected_when_the_configuration_says_auto_reject(
    database: Database, clock: VirtualClock, make: Make, chat: Chat
) -> None:
    await set_silence(database, "auto_reject")
    asked = await ask(database, make, chat)
    await clock.advance(WINDOW_SECONDS)
    await fire_due(database, chat.mitra.user_id)
    done = await look(database, asked)
    assert (done.status, done.decided_by) == ("rejected", "timeout")
    assert await money(database, asked) == ("abandoned", [], [])


@pytest.mark.rule("5.6", "X.10")
@pytest.mark.invariant(7, 11)
@pytest.mark.parametrize("unknown", [False, True])
async def test_an_unanswered_extension_is_rejected_if_its_mitra_is_not_known_to_be_connected(
    database: Database, clock: VirtualClock, make: Make, chat: Chat, unknown: bool
) -> None:
    asked = await ask(database, make, chat, connected=None)
    await clock.advance(WINDOW_SECONDS)
    await fire_due(database, unknown=unknown)
    done = await look(database, asked)
    assert (done.status, done.decided_by) == ("rejected", "mitra_unreachable")
    assert await money(database, asked) == ("abandoned", [], [])
    assert await minutes_of(database, chat) == MINUTES


@pytest.mark.rule("5.6", "5.8")
@pytest.mark.invariant(7)
@pytest.mark.parametrize(
    ("window_seconds", "silent_seconds", "is_charged"),
    [(10, 2.4, True), (10, 2.5, False), (2, 1.9, True), (2, 2.0, False)],
    ids=[
        "heard shortly before",
        "not heard for 2.5 s",
        "heard since the request",
        "heard before the request",
    ],
)
async def test_an_unanswered_extension_is_charged_only_if_the_mitra_was_heard_shortly_before_the_deadline(
    database: Database,
    clock: VirtualClock,
    make: Make,
    chat: Chat,
    window_seconds: int,
    silent_seconds: float,
    is_charged: bool,
) -> None:
    change = "UPDATE configuration SET value = $1 WHERE key = 'extension_timeout_seconds'"
    await database.execute(change, str(window_seconds))
    asked = await ask(database, make, chat)
    await clock.advance(window_seconds)
    await fire_due(database, chat.mitra.user_id, frames=FrameAges(silent_seconds, 86_400, 86_400))
    decided = await look(database, asked)
    expected = ("approved", "timeout") if is_charged else ("rejected", "mitra_unreachable")
    assert (decided.status, decided.decided_by) == expected
    assert (await money(database, asked))[1] == (["approved"] if is_charged else [])


@pytest.mark.rule("5.1", "5.6", "5.8")
@pytest.mark.invariant(5, 7)
@pytest.mark.parametrize(
    ("late_seconds", "frames", "is_charged"),
    [
        (0.0, ALL_THE_TIME, True),
        (60.0, ALL_THE_TIME, True),
        (1.0, FrameAges(last_frame=0.1, heard_since=1.0, present_since=86_400), True),
        (1.0, FrameAges(last_frame=0.1, heard_since=0.9, present_since=86_400), False),
        (1.0, FrameAges(last_frame=3.4, heard_since=86_400, present_since=86_400), True),
        (1.0, FrameAges(last_frame=3.5, heard_since=86_400, present_since=86_400), False),
        (0.0, FrameAges(last_frame=0.1, heard_since=1.2, present_since=10.0), True),
        (0.0, FrameAges(last_frame=0.1, heard_since=1.2, present_since=9.9), False),
    ],
    ids=[
        "on time",
        "a minute late",
        "heard again just before the deadline",
        "heard again only after the deadline",
        "last heard shortly before the deadline",
        "last heard long before the deadline",
        "away too long before the request",
        "away too long after the request",
    ],
)
async def test_an_unanswered_extension_is_charged_only_if_the_mitra_was_connected_at_the_deadline(
    database: Database,
    clock: VirtualClock,
    make: Make,
    chat: Chat,
    late_seconds: float,
    frames: FrameAges,
    is_charged: bool,
) -> None:
    """The worker decides the extension `late_seconds` after the deadline."""
    asked = await ask(database, make, chat)
    await clock.advance(WINDOW_SECONDS + late_seconds)
    await fire_due(database, chat.mitra.user_id, frames=frames)
    decided = await look(database, asked)
    expected = ("approved", "timeout") if is_charged else ("rejected", "mitra_unreachable")
    assert (decided.status, decided.decided_by) == expected
    assert (await money(database, asked))[1] == (["approved"] if is_charged else [])


@pytest.mark.rule("5.6", "5.8")
@pytest.mark.invariant(5, 7)
@pytest.mark.parametrize(("stopped_seconds", "frames_since"), [(0.3, 0.2), (1.1, 86_400)])
async def test_an_unanswered_extension_is_not_charged_if_the_mitra_came_back_while_the_worker_was_stopped(
    database: Database,
    clock: VirtualClock,
    make: Make,
    chat: Chat,
    stopped_seconds: float,
    frames_since: float,
) -> None:
    """The worker stops after reading the clock at the deadline. The mitra reconnects while the worker is stopped."""
    asked = await ask(database, make, chat)
    await clock.advance(WINDOW_SECONDS)
    says = FakePresence(chat.mitra.user_id)
    answer = says.frame_ages

    async def answers_later(mitra_ids: Sequence[UUID]) -> dict[UUID, list[FrameAges]]:
        await clock.advance(stopped_seconds)
        return await answer(mitra_ids)

    says.frames = FrameAges(last_frame=0, heard_since=frames_since, present_since=86_400)
    says.frame_ages = answers_later  # type: ignore[method-assign]
    transitions = Transitions(database, says, MockGateway(database))  # type: ignore[arg-type]
    await deadline_loop.run_once(database, transitions.by_kind())
    assert (await look(database, asked)).decided_by == "mitra_unreachable"
    assert await money(database, asked) == ("abandoned", [], [])


@pytest.mark.rule("5.1", "5.2", "5.6")
@pytest.mark.invariant(2, 5, 9)
async def test_each_extension_of_a_batch_is_decided_under_its_own_terms(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    await clock.set()
    offer = await make.offer(purpose="extension", duration_minutes=ADDED_MINUTES, price_rp=10_000)
    chats = [await open_chat(database, make, minutes=MINUTES) for _ in range(5)]
    asked = []
    for place, chat in enumerate(chats):
        await set_silence(database, "auto_reject" if place == 1 else "auto_approve")
        async with database.transaction() as tx:
            asked.append(await extension.request(tx, chat.customer.user_id, chat.id, offer, True))
    approves, rejects, gone, by_hand, again = asked
    await reject(database, chats[3], by_hand)
    await clock.advance(WINDOW_SECONDS)
    assert await fire_due(database, *(chats[place].mitra.user_id for place in (0, 1, 3, 4))) >= 4
    seen = [await look(database, each) for each in (approves, rejects, gone, by_hand, again)]
    assert [(each.status, each.decided_by) for each in seen] == [
        ("approved", "timeout"),
        ("rejected", "timeout"),
        ("rejected", "mitra_unreachable"),
        ("rejected", "mitra"),
        ("approved", "timeout"),
    ]
    assert [await minutes_of(database, chat) for chat in chats] == [45, 30, 30, 30, 45]
    assert [await money(database, each) for each in (approves, rejects, again)] == [
        ("served", ["approved"], []),
        ("abandoned", [], []),
        ("served", ["approved"], []),
    ]
    for chat, each in zip(chats, seen, strict=True):
        for who in (chat.customer, chat.mitra):
            decided = [
                data for kind, data in await stream_events(database, who) if kind == "extension.decided"
            ]
            assert (decided[-1]["id"], decided[-1]["status"]) == (str(each.id), each.status)


# Absent mitras -------------------------------------------------------------------------------------------


@pytest.mark.rule("5.6")
@pytest.mark.invariant(7)
@pytest.mark.parametrize("online", [False, True])
async def test_an_extension_is_rejected_immediately_when_its_mitra_is_offline_or_disconnected(
    database: Database, make: Make, chat: Chat, online: bool
) -> None:
    await database.execute("UPDATE mitras SET online = $2 WHERE id = $1", chat.mitra.user_id, online)
    asked = await ask(database, make, chat, connected=not online)
    assert (asked.status, asked.decided_by) == ("rejected", "mitra_unreachable")
    assert asked.mitra_went_offline is not online
    assert await money(database, asked) == ("abandoned", [], [])
    assert [kind for kind, _ in await stream_events(database, chat.mitra)] == ["extension.decided"]


@pytest.mark.rule("5.6")
@pytest.mark.invariant(6, 7)
async def test_an_extension_is_rejected_when_its_mitra_goes_offline_even_if_the_mitra_returns(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    for online in (False, True):
        async with database.transaction() as tx:
            await set_toggle(tx, chat.mitra.user_id, online=online)
    with pytest.raises(ExtensionDecided):
        await approve(database, chat, asked)
    assert await fire_due(database, chat.mitra.user_id) == 1
    done = await look(database, asked)
    assert (done.decided_by, done.mitra_went_offline) == ("mitra_unreachable", True)
    assert await money(database, asked) == ("abandoned", [], [])


@pytest.mark.rule("5.6")
@pytest.mark.invariant(10)
async def test_no_snapshot_shows_that_the_toggle_went_off_before_the_event_of_the_decision(
    database: Database, make: Make, chat: Chat
) -> None:
    await ask(database, make, chat)

    async def shown() -> list[tuple[str, bool]]:
        customers = (await customer_state(database, chat.customer.user_id)).extension
        assert customers is not None
        async with database.transaction() as tx:
            mitras_ = await extension.open_extensions_of_mitra(tx, chat.mitra.user_id)
        return [(each.status, each.mitra_went_offline) for each in (customers, *mitras_)]

    async with database.transaction() as tx:
        await set_toggle(tx, chat.mitra.user_id, online=False)
    # No worker has fired yet, and no device has had an event.
    assert await shown() == [("pending", False)] * 2
    assert await fire_due(database) == 1
    for who in (chat.customer, chat.mitra):
        kind, data = (await stream_events(database, who))[-1]
        assert (kind, data["mitra_went_offline"]) == ("extension.decided", True)


@pytest.mark.rule("5.6")
@pytest.mark.invariant(7)
@pytest.mark.parametrize("comes_back", [False, True])
async def test_a_disconnected_mitra_has_three_seconds_to_reconnect_before_the_extension_is_rejected(
    database: Database, clock: VirtualClock, make: Make, chat: Chat, comes_back: bool
) -> None:
    asked = await ask(database, make, chat)
    await clock.advance(2)
    await extension.socket_closed(database, chat.mitra.user_id)
    await clock.advance(2.9)
    # Presence still counts the mitra as connected for 3 s after the close.
    await fire_due(database, chat.mitra.user_id)
    assert (await look(database, asked)).status == "pending"
    await clock.advance(0.3)
    await fire_due(database, *([chat.mitra.user_id] if comes_back else []))
    assert (await look(database, asked)).status == ("pending" if comes_back else "rejected")


@pytest.mark.rule("5.6", "X.10")
async def test_a_closed_socket_rejects_no_extension_while_presence_is_unknown(
    database: Database, clock: VirtualClock, make: Make, chat: Chat
) -> None:
    """The mitra can still approve the extension."""
    asked = await ask(database, make, chat, connected=None)
    await clock.advance(4)
    assert await fire_due(database, unknown=True) == 1
    assert (await look(database, asked)).status == "pending"
    assert await approve(database, chat, asked) is not None


# The mitra's answer --------------------------------------------------------------------------------------


@pytest.mark.rule("5.4", "5.7")
@pytest.mark.invariant(7)
async def test_an_extension_is_charged_immediately_when_the_mitra_approves(
    database: Database, make: Make, chat: Chat
) -> None:
    """The customer and the mitra see the new end of the session."""
    asked = await ask(database, make, chat)
    charge = await approved_by_mitra(database, chat, asked)
    assert (await look(database, asked)).status == "charging"
    assert await money(database, asked) == ("confirming", ["started"], [])
    assert await approve(database, chat, asked) is None  # The second approval causes no second charge.
    await answer(database, charge, APPROVED)
    assert (await look(database, asked)).status == "approved"
    assert await minutes_of(database, chat) == MINUTES + ADDED_MINUTES
    for who in (chat.customer, chat.mitra):
        events = await stream_events(database, who)
        assert [kind for kind, _ in events] == [
            "extension.requested",
            "extension.decided",
            "extension.decided",
            "session.updated",
        ]
        session = events[-1][1]
        assert session["extension"]["status"] == "approved"
        assert session["duration_minutes"] == MINUTES


@pytest.mark.rule("5.4")
@pytest.mark.invariant(7)
async def test_an_extension_that_the_mitra_rejects_twice_is_rejected_once_and_not_charged(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    first = await reject(database, chat, asked)
    assert (first.status, first.decided_by) == ("rejected", "mitra")
    assert (await reject(database, chat, asked)).status == "rejected"
    assert await money(database, asked) == ("abandoned", [], [])
    with pytest.raises(ExtensionDecided):
        await approve(database, chat, asked)


@pytest.mark.rule("5.4", "5.7")
@pytest.mark.invariant(7)
async def test_the_customer_can_neither_confirm_nor_cancel_the_payment_of_an_extension(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    steps: tuple[tuple[str, list[str], list[str]], ...] = (
        ("pending", [], []),
        ("confirming", ["started"], []),
    )
    for expected in steps:
        with pytest.raises(NotFound):
            async with database.transaction() as tx:
                await paying.begin_confirmation(tx, chat.customer.user_id, asked.payment_id, [])
        with pytest.raises(NotFound):
            async with database.transaction() as tx:
                await paying.cancel_payment(tx, chat.customer.user_id, asked.payment_id)
        assert await money(database, asked) == expected
        await approve(database, chat, asked)


@pytest.mark.rule("5.4")
@pytest.mark.invariant(5)
async def test_an_answer_after_the_deadline_is_refused_even_if_the_worker_is_late(
    database: Database, clock: VirtualClock, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    await clock.advance(WINDOW_SECONDS)
    for step in (approve, reject):
        with pytest.raises(ExtensionDecided):
            await step(database, chat, asked)
    await fire_due(database, chat.mitra.user_id)
    assert (await look(database, asked)).decided_by == "timeout"
    with pytest.raises(ExtensionDecided):
        await approve(database, chat, asked)


# The session's end ---------------------------------------------------------------------------------------


@pytest.mark.rule("5.7", "X.8")
@pytest.mark.invariant(5)
async def test_a_session_does_not_end_while_an_extension_is_pending(
    database: Database, clock: VirtualClock, make: Make, chat: Chat
) -> None:
    await clock.advance(MINUTES * 60 - 5)
    asked = await ask(database, make, chat)
    await clock.advance(6)
    await fire_due(database, chat.mitra.user_id)
    assert await is_running(database, chat)
    async with database.transaction() as tx:
        [sent] = await sessions.send_messages(
            tx, [sessions.OutgoingMessage(chat.customer, chat.id, "1", "masih di sini")]
        )
    assert isinstance(sent, sessions.SentMessage)
    await reject(database, chat, asked)
    assert await fire_due(database, chat.mitra.user_id) == 1
    assert not await is_running(database, chat)
    assert (await stream_events(database, chat.customer))[-1][1]["end_reason"] == "time_up"


@pytest.mark.rule("5.7")
@pytest.mark.invariant(5)
async def test_an_extension_that_is_approved_after_the_old_end_adds_its_minutes_to_the_old_end(
    database: Database, clock: VirtualClock, make: Make, chat: Chat
) -> None:
    await clock.advance(MINUTES * 60 - 5)
    await ask(database, make, chat)
    await clock.advance(WINDOW_SECONDS)
    await fire_due(database, chat.mitra.user_id)
    await fire_due(database, chat.mitra.user_id)
    assert await is_running(database, chat)
    assert await minutes_of(database, chat) == MINUTES + ADDED_MINUTES
    await clock.advance(ADDED_MINUTES * 60 - 5.001)
    await fire_due(database, chat.mitra.user_id)
    assert await is_running(database, chat)
    await clock.advance(0.001)
    await fire_due(database, chat.mitra.user_id)
    assert not await is_running(database, chat)


@pytest.mark.rule("5.7")
@pytest.mark.invariant(7)
async def test_ending_the_chat_rejects_a_pending_extension_without_a_charge(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    done = await look(database, asked)
    assert (done.status, done.decided_by) == ("rejected", "session_ended")
    assert await money(database, asked) == ("abandoned", [], [])
    assert [kind for kind, _ in await stream_events(database, chat.mitra)][-2:] == [
        "extension.decided",
        "session.ended",
    ]


@pytest.mark.rule("5.7", "X.8")
@pytest.mark.invariant(7)
async def test_a_pending_extension_is_rejected_when_its_mitra_is_suspended(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    async with database.transaction() as tx:
        await mitras.suspend_mitra(tx, chat.mitra.user_id)
    await fire_due(database, chat.mitra.user_id)
    assert (await look(database, asked)).status == "rejected"
    assert await money(database, asked) == ("abandoned", [], [])
    assert not await is_running(database, chat)


@pytest.mark.rule("5.7")
@pytest.mark.invariant(9)
async def test_a_charge_that_succeeds_after_an_early_end_is_refunded_once(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    charge = await approved_by_mitra(database, chat, asked)
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    assert (await look(database, asked)).status == "charge_failed"
    await answer(database, charge, APPROVED, APPROVED)
    assert await money(database, asked) == ("abandoned", ["approved_late"], ["late_approval"])


@pytest.mark.rule("X.8")
async def test_an_early_end_by_the_mitra_opens_a_case_for_the_session_and_for_the_extension(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    await answer(database, await approved_by_mitra(database, chat, asked), APPROVED)
    async with database.transaction() as tx:
        await sessions.end_by_mitra(tx, chat.mitra.user_id, chat.id, "sakit")
    cases = await database.fetch("SELECT payment_id, amount_rp FROM review_cases ORDER BY amount_rp")
    assert [tuple(case) for case in cases] == [(asked.payment_id, 10_000), (chat.payment_id, 20_000)]


# The gateway ---------------------------------------------------------------------------------------------


@pytest.mark.rule("5.7")
async def test_a_declined_charge_does_not_change_the_chat_and_both_sides_get_an_event(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    await answer(database, await approved_by_mitra(database, chat, asked), DECLINED)
    done = await look(database, asked)
    assert (done.status, done.decided_by) == ("charge_failed", "mitra")
    assert await money(database, asked) == ("abandoned", ["declined"], [])
    assert await minutes_of(database, chat) == MINUTES
    assert await is_running(database, chat)
    for who in (chat.customer, chat.mitra):
        assert (await stream_events(database, who))[-1][1]["status"] == "charge_failed"


@pytest.mark.rule("5.7")
@pytest.mark.invariant(9)
@pytest.mark.parametrize("worker_is_late", [False, True])
async def test_a_charge_that_the_gateway_approves_after_thirty_seconds_is_refunded(
    database: Database, clock: VirtualClock, make: Make, chat: Chat, worker_is_late: bool
) -> None:
    asked = await ask(database, make, chat)
    charge = await approved_by_mitra(database, chat, asked)
    await clock.advance(states.CHARGE_TIMEOUT_SECONDS)
    if not worker_is_late:
        async with database.transaction() as tx:
            await extension.charge_too_late(tx, asked.id)
    await answer(database, charge, APPROVED)
    assert (await look(database, asked)).status == "charge_failed"
    assert await money(database, asked) == ("abandoned", ["approved_late"], ["late_approval"])
    assert await minutes_of(database, chat) == MINUTES


@pytest.mark.rule("5.7")
@pytest.mark.invariant(9)
@pytest.mark.parametrize(
    "answers",
    [
        [PROCESSING, NOT_FOUND, APPROVED, APPROVED, PROCESSING, NOT_FOUND],
        [PROCESSING, NOT_FOUND, DECLINED, DECLINED, PROCESSING, NOT_FOUND],
    ],
    ids=["approved", "declined"],
)
async def test_all_orders_of_up_to_six_gateway_answers_lead_to_the_same_state(
    database: Database, make: Make, chat: Chat, answers: list[ChargeAnswer]
) -> None:
    truth = answers[2]
    orders = {
        order
        for length in range(1, len(answers) + 1)
        for order in itertools.permutations(answers, length)
        if truth in order
    }
    ends = set()
    charge = await approved_by_mitra(database, chat, await ask(database, make, chat))
    for order in orders:
        async with database.pool.acquire() as connection:
            undone = connection.transaction()
            await undone.start()
            tx = Transaction(connection, NoSignals())
            for said in order:
                await charging.charge_answered(tx, charge.key, said, [])
            ends.add(tuple(await tx.fetchrow(END, charge.key) or ()))
            await undone.rollback()
    assert len(orders) == 252
    assert ends == {
        ("approved", "served", "approved", 0, MINUTES + ADDED_MINUTES)
        if truth is APPROVED
        else ("charge_failed", "abandoned", "declined", 0, MINUTES)
    }


END = """
SELECT extensions.status, payments.status, charge_attempts.status,
    (SELECT count(*) FROM refunds WHERE refunds.payment_id = payments.id),
    extract(epoch FROM sessions.ends_at - sessions.started_at)::integer / 60
FROM charge_attempts
JOIN payments ON payments.id = charge_attempts.payment_id
JOIN extensions ON extensions.payment_id = payments.id
JOIN sessions ON sessions.id = extensions.session_id
WHERE charge_attempts.id = $1
"""


# Database checks -----------------------------------------------------------------------------------------


@pytest.mark.rule("5.4", "5.7")
@pytest.mark.invariant(7)
@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        (
            "INSERT INTO charge_attempts (payment_id, amount_rp) SELECT payment_id, price_rp FROM extensions",
            "charge_attempts_of_an_approved_extension",
        ),
        (
            (
                "UPDATE extensions SET status = 'charging', decided_by = 'session_ended', decided_at = curhat_now(),"
                " charge_by = curhat_now()"
            ),
            "extensions_who_may_approve",
        ),
        (
            "UPDATE extensions SET status = 'rejected', decided_by = 'timeout', decided_at = curhat_now()",
            "extensions_silence_does_what_it_says",
        ),
        (
            (
                "UPDATE extensions SET mitra_went_offline = true, status = 'charging', decided_by = 'mitra',"
                " decided_at = curhat_now(), charge_by = curhat_now()"
            ),
            "extensions_nobody_there_approves_nothing",
        ),
        (
            (
                "UPDATE extensions SET status = 'approved', decided_by = 'mitra', decided_at = curhat_now(),"
                " charge_by = curhat_now()"
            ),
            "extensions_allowed_steps",
        ),
        (
            "UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = 'time_up'",
            "sessions_ended_without_open_extension",
        ),
    ],
)
async def test_the_database_refuses_a_forbidden_change(
    database: Database, make: Make, chat: Chat, change: str, constraint: str
) -> None:
    await ask(database, make, chat)
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await database.execute(change)
    assert refusal.value.constraint_name == constraint


@pytest.mark.rule("5.7")
async def test_the_database_refuses_a_second_open_extension_and_an_approval_without_a_charge(
    database: Database, make: Make, chat: Chat
) -> None:
    asked = await ask(database, make, chat)
    payment_id = await make.confirmed_payment(await make.customer())
    with pytest.raises(asyncpg.UniqueViolationError) as second:
        await database.execute(
            """
            INSERT INTO extensions (session_id, payment_id, offer_id, duration_minutes, price_rp, default_action,
                deadline_at)
            SELECT session_id, $1, offer_id, 15, 10000, 'auto_approve', curhat_now() FROM extensions
            """,
            payment_id,
        )
    assert second.value.constraint_name == "extensions_one_open"
    await approve(database, chat, asked)
    with pytest.raises(asyncpg.CheckViolationError) as unpaid:
        await database.execute("UPDATE extensions SET status = 'approved'")
    assert unpaid.value.constraint_name == "extensions_approved_means_charged"


@pytest.mark.rule("5.7")
async def test_the_database_allows_exactly_the_extension_steps_of_states_py(
    database: Database, make: Make, chat: Chat
) -> None:
    every = sorted(status for step in states.EXTENSION_STEPS for status in step)
    asked = await ask(database, make, chat)
    source = await database.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'extension_status_changed'")
    for old, new in itertools.product(sorted(set(every)), repeat=2):
        assert (f"('{old}', '{new}')" in source) == ((old, new) in states.EXTENSION_STEPS), (old, new)
    assert asked.status == "pending"


@pytest.mark.rule("5.5")
async def test_an_extension_is_not_asked_for_if_silence_no_longer_means_what_the_customer_was_told(
    database: Database, make: Make
) -> None:
    chat = await open_chat(database, make)
    offer_id = await make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
    with pytest.raises(TermsChanged) as refused:
        async with database.transaction() as tx:
            await extension.request(tx, chat.customer.user_id, chat.id, offer_id, True, "auto_reject")
    assert refused.value.fields == {"default_action": "auto_approve"}
    assert await database.fetchval("SELECT count(*) FROM extensions") == 0
    async with database.transaction() as tx:
        asked = await extension.request(tx, chat.customer.user_id, chat.id, offer_id, True, "auto_approve")
    assert asked.status == "pending"
