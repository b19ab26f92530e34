"""Test blocks: who can block whom, and how each search leaves the blocked person out (T.1)."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from curhat.app import invariants
from curhat.deadlines import loop as deadline_loop
from curhat.journeys import availability, blocking, leaving, paying, searching
from curhat.journeys.schemas import LeaveByMitra
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database
from curhat.kit.errors import BusinessError, NotFound
from curhat.kit.identity import Identity, Role
from curhat.pairing import service as pairing
from curhat.pairing.errors import MitraUnavailable, NoMitraAvailable, RequestClosed
from curhat.pairing.schemas import Payment
from curhat.pairing.service import Target
from curhat.payments import service as payments
from curhat.payments.mock.gateway import MockGateway
from curhat.pricing.schemas import Offer
from curhat.safety.blocks import service as blocks
from curhat.safety.blocks.errors import TooManyBlocks
from curhat.sessions import service as sessions
from tests.support.chats import open_chat, stream_events
from tests.support.clock import VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.journey import accept, open_blast, request_of
from tests.support.people import Make
from tests.support.signed_in import RunningServer, problem

# `open_chat` writes a chat without its request and its charge, so the other invariants do not hold here.
ABOUT_BLOCKS = [invariant for invariant in invariants.ALWAYS if invariant.number == "13"]
SIDES: tuple[Role, ...] = ("customer", "mitra")


class PastChat(msgspec.Struct, frozen=True):
    """A chat that has ended, with its two members."""

    id: UUID
    customer: Identity
    mitra: Identity

    def side(self, role: Role) -> Identity:
        return self.customer if role == "customer" else self.mitra


async def past_chat_of(
    database: Database, make: Make, customer_id: UUID | None = None, mitra_id: UUID | None = None
) -> PastChat:
    chat = await open_chat(database, make, customer_id=customer_id, mitra_id=mitra_id)
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    return PastChat(chat.id, chat.customer, chat.mitra)


@pytest.fixture
async def past_chat(database: Database, make: Make) -> PastChat:
    """A chat that has ended. Its mitra can take customers."""
    return await past_chat_of(database, make)


async def block(
    database: Database, past_chat: PastChat, side: Role, candidates: Sequence[UUID] | None = ()
) -> None:
    async with database.transaction() as tx:
        await blocking.block(tx, past_chat.side(side), past_chat.id, candidates)


async def unblock(database: Database, past_chat: PastChat, side: Role) -> None:
    async with database.transaction() as tx:
        await blocks.unblock(tx, past_chat.side(side), past_chat.id)


async def asked(database: Database, pairing_id: UUID) -> set[UUID]:
    rows = await database.fetch(
        "SELECT mitra_id FROM requests WHERE pairing_id = $1 AND status = 'offered'", pairing_id
    )
    return {row["mitra_id"] for row in rows}


async def pending_payment(
    database: Database, make: Make, customer_id: UUID, target: UUID | None = None
) -> UUID:
    offer = Offer(await make.offer(), duration_minutes=30, price_rp=20_000, is_trial=False)
    async with database.transaction() as tx:
        return await payments.open_payment(tx, customer_id, offer, 20, target)


async def confirm(
    database: Database, customer_id: UUID, payment_id: UUID, candidates: Sequence[UUID]
) -> None:
    async with database.transaction() as tx:
        await paying.begin_confirmation(tx, customer_id, payment_id, candidates)


async def open_payment(
    database: Database, make: Make, past_chat: PastChat, says: FakePresence, target: UUID | None = None
) -> Payment:
    customer_id = past_chat.customer.user_id
    gate = await availability.ask_gate(database, says, customer_id, target)  # type: ignore[arg-type]
    offer_id = await make.offer()
    async with database.transaction() as tx:
        return await paying.open_payment(tx, customer_id, offer_id, gate, target)


async def charges(database: Database) -> int:
    counted: int = await database.fetchval("SELECT count(*) FROM charge_attempts WHERE status = 'started'")
    return counted


# Blocking and undoing ------------------------------------------------------------------------------------------


@pytest.mark.rule("T.1")
async def test_each_side_lists_and_undoes_only_its_own_block_and_repeating_changes_nothing(
    server: RunningServer,
) -> None:
    make = server.make
    chat = await past_chat_of(
        server.database, make, await make.customer("Melati"), await make.mitra("Kak Ayu", max_customers=2)
    )
    customer = await server.person("customer", chat.customer.user_id)
    mitra = await server.person("mitra", chat.mitra.user_id)
    path = f"/sessions/{chat.id}/block"
    for person in (customer, mitra):
        for _ in range(2):
            assert (await person.post(path, key="")).status_code == 204
    [by_customer] = (await customer.get("/blocks")).json()["items"]
    [by_mitra] = (await mitra.get("/blocks")).json()["items"]
    assert (by_customer["session_id"], by_customer["name"]) == (str(chat.id), "Kak Ayu")
    assert (by_mitra["session_id"], by_mitra["name"]) == (str(chat.id), "Melati")
    for _ in range(2):
        assert (await customer.delete(path)).status_code == 204
    assert (await customer.get("/blocks")).json() == {"items": []}
    assert (await mitra.get("/blocks")).json()["items"] == [by_mitra]
    status = (await customer.get(f"/mitras/{chat.mitra.user_id}/status")).json()
    assert (status["status"], status["blocked_by_you"]) == ("offline", False)


@pytest.mark.rule("T.1")
async def test_nobody_blocks_through_the_session_of_others(server: RunningServer) -> None:
    past_chat = await past_chat_of(server.database, server.make)
    strangers = [await server.customer(), await server.mitra()]
    for stranger in strangers:
        for session_id in (past_chat.id, uuid4()):
            path = f"/sessions/{session_id}/block"
            assert problem(await stranger.post(path)) == (404, "not_found")
            assert problem(await stranger.delete(path)) == (404, "not_found")
    assert await server.database.fetchval("SELECT count(*) FROM blocks") == 0


@pytest.mark.rule("T.1")
async def test_no_block_without_leaving_while_a_session_of_the_two_runs(
    server: RunningServer,
) -> None:
    past_chat = await past_chat_of(server.database, server.make)
    again = await server.chat(past_chat.customer.user_id, past_chat.mitra.user_id)
    mitra = await server.person("mitra", past_chat.mitra.user_id)
    for session_id in (past_chat.id, again.id):
        answer = await mitra.post(f"/sessions/{session_id}/block")
        assert problem(answer) == (409, "session_running")
        assert answer.json()["session_id"] == str(again.id)
    async with server.database.transaction() as tx:
        left = await leaving.leave_as_mitra(tx, past_chat.mitra.user_id, again.id, LeaveByMitra(block=True))
    assert left.not_stored == []
    assert await invariants.violations_of(ABOUT_BLOCKS, server.database, None) == []


@pytest.mark.rule("T.1")
async def test_the_database_forbids_a_block_of_two_who_had_no_session(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    stranger = await make.mitra()
    with pytest.raises(asyncpg.CheckViolationError, match="not of these two"):
        await database.execute(
            "INSERT INTO blocks (customer_id, mitra_id, blocked_by, session_id) VALUES ($1, $2, 'customer', $3)",
            past_chat.customer.user_id,
            stranger,
            past_chat.id,
        )


@pytest.mark.rule("T.1")
@pytest.mark.parametrize("side", SIDES)
async def test_a_person_blocks_at_most_two_hundred_others(
    database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, side: Role
) -> None:
    assert blocks.MAX_BLOCKS_PER_PERSON == 200
    monkeypatch.setattr(blocks, "MAX_BLOCKS_PER_PERSON", 2)
    person = await (make.customer() if side == "customer" else make.mitra(max_customers=9))
    chats = [
        await past_chat_of(
            database,
            make,
            customer_id=person if side == "customer" else None,
            mitra_id=person if side == "mitra" else None,
        )
        for _ in range(3)
    ]
    await block(database, chats[0], side)
    await block(database, chats[1], side)
    await block(database, chats[1], side)
    with pytest.raises(TooManyBlocks):
        await block(database, chats[2], side)
    # The other side's blocks do not count.
    await block(database, chats[2], "mitra" if side == "customer" else "customer")
    await unblock(database, chats[0], side)
    await block(database, chats[2], side)


# Who is asked --------------------------------------------------------------------------------------------------


@pytest.mark.rule("T.1", "2b.6")
@pytest.mark.invariant(13)
@pytest.mark.parametrize("side", SIDES)
async def test_no_blast_and_no_later_wave_asks_a_mitra_of_a_block(
    database: Database, make: Make, past_chat: PastChat, side: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = await make.mitras(2)
    everybody = [past_chat.mitra.user_id, *others]
    await block(database, past_chat, side)
    payment_id = await make.confirmed_payment(past_chat.customer.user_id)
    monkeypatch.setattr(pairing, "MAX_WAVE_MITRAS", 1)
    pairing_id = await open_blast(database, payment_id, everybody)
    for _ in range(3):
        async with database.transaction() as tx:
            await pairing.ask_waves(tx, [pairing_id], everybody)
    assert await asked(database, pairing_id) == set(others)


@pytest.mark.rule("T.1", "2b.6")
@pytest.mark.invariant(13)
async def test_a_mitra_of_a_block_who_becomes_available_is_not_offered_the_open_blast(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    await block(database, past_chat, "mitra")
    other = await make.mitra()
    pairing_id = await open_blast(database, await make.confirmed_payment(past_chat.customer.user_id), [])
    await pairing.offer_open_blasts(database, [past_chat.mitra.user_id, other])
    assert await asked(database, pairing_id) == {other}


@pytest.mark.rule("T.1")
@pytest.mark.invariant(13)
@pytest.mark.parametrize("side", SIDES)
async def test_a_block_during_a_search_closes_the_card_as_if_the_customer_had_cancelled(
    database: Database, make: Make, past_chat: PastChat, side: Role
) -> None:
    mitra_id, other = past_chat.mitra.user_id, await make.mitra()
    pairing_id = await open_blast(
        database, await make.confirmed_payment(past_chat.customer.user_id), [mitra_id, other]
    )
    request_id = await request_of(database, pairing_id, mitra_id)
    await block(database, past_chat, side)
    assert await invariants.violations_of(ABOUT_BLOCKS, database, None) == []
    with pytest.raises(RequestClosed) as refused:
        await accept(database, mitra_id, request_id)
    assert refused.value.fields["close_reason"] == "customer_cancelled"
    # Neither a later wave nor an offer asks the mitra again, and the search goes on.
    async with database.transaction() as tx:
        await pairing.ask_waves(tx, [pairing_id], [mitra_id, other])
    await pairing.offer_open_blasts(database, [mitra_id])
    assert await asked(database, pairing_id) == {other}
    await accept(database, other, await request_of(database, pairing_id, other))


@pytest.mark.rule("T.1", "4.4")
@pytest.mark.invariant(13)
@pytest.mark.parametrize("side", SIDES)
async def test_a_block_fails_an_open_targeted_pairing_of_the_two_at_once(
    database: Database, make: Make, past_chat: PastChat, side: Role
) -> None:
    customer_id, mitra_id = past_chat.customer.user_id, past_chat.mitra.user_id
    payment_id = await make.confirmed_payment(customer_id, target_mitra_id=mitra_id)
    async with database.transaction() as tx:
        target = Target(mitra_id, reachable=True, other_available=False)
        pairing_id = await pairing.open_targeted(tx, payment_id, 20, target)
    await block(database, past_chat, side, [mitra_id])
    row = await database.fetchrow(
        """
        SELECT failure_tag, fallback_status, requests.close_reason
        FROM pairings JOIN requests ON requests.pairing_id = pairings.id WHERE pairings.id = $1
        """,
        pairing_id,
    )
    assert row is not None
    assert tuple(row) == ("targeted_mitra_offline", "open", "customer_cancelled")
    # The fallback offers nobody: the only available mitra is blocked.
    with pytest.raises(NoMitraAvailable):
        async with database.transaction() as tx:
            await searching.take_fallback(tx, customer_id, pairing_id, [mitra_id])
    other = await make.mitra()
    async with database.transaction() as tx:
        blast = await searching.take_fallback(tx, customer_id, pairing_id, [mitra_id, other])
    assert await asked(database, blast.id) == {other}


@pytest.mark.rule("T.1", "4.3")
async def test_a_block_after_the_window_leaves_the_tag_of_the_timeout(
    database: Database, make: Make, past_chat: PastChat, clock: VirtualClock
) -> None:
    await clock.set()
    mitra_id = past_chat.mitra.user_id
    payment_id = await make.confirmed_payment(past_chat.customer.user_id, target_mitra_id=mitra_id)
    async with database.transaction() as tx:
        target = Target(mitra_id, reachable=True, other_available=False)
        await pairing.open_targeted(tx, payment_id, 20, target)
    await clock.advance(20)
    await block(database, past_chat, "customer")
    assert await database.fetchval("SELECT failure_tag FROM pairings WHERE kind = 'targeted'") == (
        "targeted_mitra_timeout"
    )


@pytest.mark.rule("T.1", "4.4")
@pytest.mark.invariant(13)
async def test_a_targeted_search_that_begins_after_a_block_counts_the_mitra_as_offline(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    """The block arrives while the gateway charges."""
    customer_id, mitra_id = past_chat.customer.user_id, past_chat.mitra.user_id
    payment_id = await make.confirmed_payment(customer_id, target_mitra_id=mitra_id)
    await block(database, past_chat, "mitra")
    async with database.transaction() as tx:
        target = Target(mitra_id, reachable=True, other_available=False)
        pairing_id = await pairing.open_targeted(tx, payment_id, 20, target)
    assert await database.fetchval("SELECT failure_tag FROM pairings WHERE id = $1", pairing_id) == (
        "targeted_mitra_offline"
    )
    assert await database.fetchval("SELECT count(*) FROM requests WHERE mitra_id = $1", mitra_id) == 0


@pytest.mark.rule("T.1", "T.5")
@pytest.mark.invariant(13)
async def test_leaving_a_chat_that_has_ended_with_a_block_closes_the_card_of_a_new_search(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    """The chat's time was up, and the customer searches again, before the mitra presses."""
    mitra_id = past_chat.mitra.user_id
    payment_id = await make.confirmed_payment(past_chat.customer.user_id)
    pairing_id = await open_blast(database, payment_id, [mitra_id])
    async with database.transaction() as tx:
        left = await leaving.leave_as_mitra(tx, mitra_id, past_chat.id, LeaveByMitra(block=True))
    assert left.not_stored == []
    assert await asked(database, pairing_id) == set()
    assert await invariants.violations_of(ABOUT_BLOCKS, database, None) == []


# Before any money ----------------------------------------------------------------------------------------------


@pytest.mark.rule("T.1", "1.7", "3.3", "3.6")
async def test_a_mitra_of_a_block_counts_as_nobody_when_a_payment_is_opened(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    mitra_id = past_chat.mitra.user_id
    await block(database, past_chat, "mitra")
    says = FakePresence(mitra_id)
    with pytest.raises(NoMitraAvailable):
        await open_payment(database, make, past_chat, says)
    with pytest.raises(MitraUnavailable) as refused:
        await open_payment(database, make, past_chat, says, mitra_id)
    assert refused.value.fields == {"mitra_status": "offline", "other_available": False}
    status = await availability.mitra_status(database, says, past_chat.customer.user_id, mitra_id)  # type: ignore[arg-type]
    assert (status.status, status.other_available, status.blocked_by_you) == ("offline", False, False)
    says.mitras.append(await make.mitra())
    with pytest.raises(MitraUnavailable) as refused:
        await open_payment(database, make, past_chat, says, mitra_id)
    assert refused.value.fields == {"mitra_status": "offline", "other_available": True}
    await open_payment(database, make, past_chat, says)


@pytest.mark.rule("T.1", "1.8")
@pytest.mark.parametrize("is_targeted", [False, True])
async def test_nothing_is_charged_if_only_a_mitra_of_a_block_could_be_asked(
    database: Database, make: Make, past_chat: PastChat, is_targeted: bool
) -> None:
    customer_id, mitra_id = past_chat.customer.user_id, past_chat.mitra.user_id
    payment_id = await pending_payment(database, make, customer_id, mitra_id if is_targeted else None)
    await block(database, past_chat, "mitra")
    with pytest.raises(BusinessError) as refused:
        await confirm(database, customer_id, payment_id, [mitra_id])
    assert refused.value.code == ("mitra_unavailable" if is_targeted else "no_mitra_available")
    assert await charges(database) == 0
    await unblock(database, past_chat, "mitra")
    await confirm(database, customer_id, payment_id, [mitra_id])
    assert await charges(database) == 1


@pytest.mark.rule("T.1", "3.5")
async def test_the_question_about_another_mitra_leaves_out_a_mitra_of_a_block(
    database: Database, make: Make, past_chat: PastChat, clock: VirtualClock
) -> None:
    """The customer has blocked one mitra, and chose another mitra who does not answer."""
    await clock.set()
    customer_id = past_chat.customer.user_id
    chosen = await past_chat_of(database, make, customer_id)
    await block(database, past_chat, "customer")
    payment_id = await make.confirmed_payment(customer_id, target_mitra_id=chosen.mitra.user_id)
    async with database.transaction() as tx:
        target = Target(chosen.mitra.user_id, reachable=True, other_available=False)
        await pairing.open_targeted(tx, payment_id, 20, target)
    await clock.advance(20)
    says = FakePresence(past_chat.mitra.user_id, chosen.mitra.user_id)
    transitions = Transitions(database, says, MockGateway(database))  # type: ignore[arg-type]
    await deadline_loop.run_once(database, transitions.by_kind())
    told = await stream_events(database, past_chat.customer)
    pairing_told = [data["pairing"] for _, data in told if data.get("pairing")][-1]
    assert pairing_told["fallback"]["other_available"] is False


@pytest.mark.rule("T.1")
async def test_an_undone_block_counts_from_the_next_search_on(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    await block(database, past_chat, "customer")
    await unblock(database, past_chat, "customer")
    payment_id = await make.confirmed_payment(past_chat.customer.user_id)
    pairing_id = await open_blast(database, payment_id, [past_chat.mitra.user_id])
    assert await asked(database, pairing_id) == {past_chat.mitra.user_id}


@pytest.mark.rule("T.1")
async def test_a_stranger_to_the_service_cannot_undo_a_block(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    await block(database, past_chat, "customer")
    with pytest.raises(NotFound):
        async with database.transaction() as tx:
            await blocks.unblock(tx, Identity("customer", await make.customer()), past_chat.id)
    assert await database.fetchval("SELECT count(*) FROM blocks") == 1
