"""Test who can rate a chat and until when, and what each side sees of the ratings (T.6)."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from curhat.kit.database import Database
from curhat.kit.errors import NotFound
from curhat.safety.ratings import service
from curhat.safety.ratings.errors import RatingClosed
from curhat.safety.ratings.schemas import NewRating, Rating, RatingSums
from curhat.safety.ratings.states import RatingAnswer
from curhat.sessions import service as sessions
from tests.support.chats import Chat, open_chat
from tests.support.clock import START, VirtualClock
from tests.support.journey import wait_for_lock
from tests.support.people import Make

WEEK = 7 * 24 * 3600

MESSAGE = """
INSERT INTO messages (session_id, sender, client_message_id, text) VALUES ($1, $2, $2, 'halo')
"""


async def finished_chat(
    database: Database,
    make: Make,
    *,
    senders: tuple[str, ...] = ("customer", "mitra"),
    mitra_id: UUID | None = None,
) -> Chat:
    """Make a chat in which these sides wrote, and which its customer has ended."""
    chat = await open_chat(database, make, mitra_id=mitra_id)
    for sender in senders:
        await database.execute(MESSAGE, chat.id, sender)
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    return chat


async def rate(
    database: Database, chat: Chat, answer: RatingAnswer = "helpful", *, by: UUID | None = None
) -> Rating:
    async with database.transaction() as tx:
        return await service.rate(tx, by or chat.customer.user_id, chat.id, NewRating(answer))


async def sums(database: Database, mitra_id: UUID) -> RatingSums:
    async with database.transaction() as tx:
        return await service.sums_of_mitra(tx, mitra_id)


@pytest.mark.rule("T.6")
async def test_a_customer_rates_an_ended_chat_and_the_same_answer_again_is_the_same_rating(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    await clock.set()
    chat = await finished_chat(database, make)
    first = await rate(database, chat, "helpful")
    await clock.advance(60)
    assert await rate(database, chat, "helpful") == first
    assert (first.answer, first.rated_at) == ("helpful", START)


@pytest.mark.rule("T.6")
async def test_another_answer_replaces_the_first_one_for_seven_days(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    await clock.set()
    chat = await finished_chat(database, make)
    await rate(database, chat, "helpful")
    await clock.advance(WEEK - 1)
    assert (await rate(database, chat, "uncomfortable")).answer == "uncomfortable"
    await clock.advance(1)
    with pytest.raises(RatingClosed):
        await rate(database, chat, "helpful")
    rows = await database.fetch("SELECT answer, rated_at FROM ratings")
    assert [tuple(row) for row in rows] == [("uncomfortable", START + timedelta(seconds=WEEK - 1))]


@pytest.mark.rule("T.6")
@pytest.mark.parametrize("senders", [(), ("customer",), ("mitra",)])
async def test_a_chat_in_which_one_side_wrote_nothing_cannot_be_rated(
    database: Database, make: Make, senders: tuple[str, ...]
) -> None:
    chat = await finished_chat(database, make, senders=senders)
    with pytest.raises(RatingClosed):
        await rate(database, chat)
    async with database.transaction() as tx:
        assert (await service.rating_state(tx, chat.customer.user_id, chat.id)).closes_at is None


@pytest.mark.rule("T.6")
async def test_a_running_chat_cannot_be_rated(database: Database, make: Make) -> None:
    chat = await open_chat(database, make)
    for sender in ("customer", "mitra"):
        await database.execute(MESSAGE, chat.id, sender)
    with pytest.raises(RatingClosed):
        await rate(database, chat)


@pytest.mark.rule("T.6")
async def test_nobody_rates_the_chat_of_others_and_no_mitra_rates(database: Database, make: Make) -> None:
    chat = await finished_chat(database, make)
    for stranger in (await make.customer(), chat.mitra.user_id):
        with pytest.raises(NotFound):
            await rate(database, chat, by=stranger)


@pytest.mark.rule("T.6")
async def test_the_database_forbids_a_rating_after_seven_days_and_a_sum_of_few_ratings(
    database: Database, make: Make
) -> None:
    chat = await finished_chat(database, make)
    with pytest.raises(asyncpg.CheckViolationError, match="ratings_in_time"):
        await database.execute(
            "INSERT INTO ratings (session_id, customer_id, mitra_id, session_ended_at, answer) "
            "VALUES ($1, $2, $3, curhat_now() - interval '7 days', 'helpful')",
            chat.id,
            chat.customer.user_id,
            chat.mitra.user_id,
        )
    for ratings, customers in ((9, 9), (10, 4)):
        with pytest.raises(asyncpg.CheckViolationError, match="rating_sums_hide_single_ratings"):
            await database.execute(
                "INSERT INTO rating_sums (mitra_id, begins_on, ends_on, helpful, neutral, uncomfortable, customers) "
                "VALUES ($1, '2026-01-05', '2026-01-12', $2, 0, 0, $3)",
                chat.mitra.user_id,
                ratings,
                customers,
            )


@pytest.mark.rule("T.6")
async def test_a_mitra_sees_a_sum_after_the_seventh_day_of_ten_ratings_by_five_customers(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    """START is a Thursday. The week of the ratings ends on Monday 5 January, 00:00 in Jakarta (Sunday 17:00 UTC)."""
    await clock.set()
    mitra_id = await make.mitra(max_customers=20)
    chats = [await finished_chat(database, make, mitra_id=mitra_id) for _ in range(10)]
    for number, chat in enumerate(chats):
        await rate(database, chat, "uncomfortable" if number == 0 else "helpful")
    week_is_over = timedelta(days=3, hours=5)
    await clock.set(START + week_is_over + timedelta(days=7, seconds=-1))
    assert (await sums(database, mitra_id)).items == []
    await clock.advance(1)
    shown = await sums(database, mitra_id)
    (week,) = shown.items
    assert (str(week.first_day), str(week.last_day)) == ("2025-12-29", "2026-01-04")
    assert (week.helpful, week.neutral, week.uncomfortable) == (9, 0, 1)
    # The sum stays when a customer's ratings are destroyed. Otherwise the difference would show these ratings.
    await database.execute("DELETE FROM ratings WHERE session_id = $1", chats[0].id)
    assert await sums(database, mitra_id) == shown


@pytest.mark.rule("T.6")
async def test_nine_ratings_wait_for_the_tenth_in_a_later_week(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    await clock.set()
    mitra_id = await make.mitra(max_customers=20)
    for _ in range(9):
        await rate(database, await finished_chat(database, make, mitra_id=mitra_id))
    await clock.set(START + timedelta(days=21))
    assert (await sums(database, mitra_id)).items == []
    await rate(database, await finished_chat(database, make, mitra_id=mitra_id), "neutral")
    await clock.set(START + timedelta(days=42))
    (weeks,) = (await sums(database, mitra_id)).items
    assert (str(weeks.first_day), str(weeks.last_day)) == ("2025-12-29", "2026-01-25")
    assert (weeks.helpful, weeks.neutral) == (9, 1)


@pytest.mark.rule("T.6")
async def test_the_next_sum_begins_where_the_last_one_ended(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    mitra_id = await make.mitra(max_customers=20)
    for days in (0, 21):
        await clock.set(START + timedelta(days=days))
        for _ in range(10):
            await rate(database, await finished_chat(database, make, mitra_id=mitra_id))
        await clock.set(START + timedelta(days=days + 14))
        newest = (await sums(database, mitra_id)).items[0]
        assert newest.helpful == 10
    assert [str(weeks.first_day) for weeks in (await sums(database, mitra_id)).items] == [
        "2026-01-05",
        "2025-12-29",
    ]


@pytest.mark.rule("T.6")
async def test_two_concurrent_views_write_each_sum_once(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    await clock.set()
    mitra_id = await make.mitra(max_customers=20)
    for _ in range(10):
        await rate(database, await finished_chat(database, make, mitra_id=mitra_id))
    await clock.set(START + timedelta(days=21))
    async with database.transaction() as first:
        one = await service.sums_of_mitra(first, mitra_id)
        other = asyncio.create_task(sums(database, mitra_id))
        await wait_for_lock(database)
    assert await other == one
    assert len(one.items) == 1
    assert await database.fetchval("SELECT count(*) FROM rating_sums") == 1


@pytest.mark.rule("T.6")
async def test_operators_see_how_often_each_answer_and_tag_was_given(database: Database, make: Make) -> None:
    chat = await finished_chat(database, make)
    async with database.transaction() as tx:
        await service.rate(
            tx, chat.customer.user_id, chat.id, NewRating("uncomfortable", ["pushy", "judged", "pushy"])
        )
        of_mitra = await service.counts_of_mitra(tx, chat.mitra.user_id)
        by_customer = await service.counts_by_customer(tx, chat.customer.user_id)
    assert of_mitra == by_customer
    assert (of_mitra.helpful, of_mitra.neutral, of_mitra.uncomfortable) == (0, 0, 1)
    assert of_mitra.tags == {"judged": 1, "pushy": 1}
