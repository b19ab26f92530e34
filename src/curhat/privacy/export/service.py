"""Counts exports, and reads the pieces of an export page by page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from curhat.journeys import money
from curhat.journeys.schemas import CustomerPayment
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import too_many_until
from curhat.kit.identity import Identity
from curhat.kit.pause_points import pause_point
from curhat.privacy.export import queries
from curhat.privacy.export.pieces import ChatBegan, ChatEnded, Piece, SectionBegan, SectionEnded
from curhat.privacy.export.schemas import (
    ExportedBlock,
    ExportedChat,
    ExportedMessage,
    ExportedOpening,
    ExportedPayment,
    ExportedProfile,
    ExportedRating,
    ExportedReport,
)
from curhat.safety.blocks import service as blocks
from curhat.sessions import service as sessions
from curhat.sessions.schemas import Message, MitraSession, Session, SessionViews

# P.6.
MAX_EXPORTS_PER_DAY: Final = 3
# One transaction reads at most this many messages or reports. 200 messages have at most 3.2 MB of text.
MAX_ITEMS_PER_PAGE: Final = 200
MAX_ROWS_PER_PRUNE: Final = 10_000

_OLDEST: Final = UUID(int=0)


class ExportEndedError(Exception):
    """The person signed out or deleted the account while the export ran. The answer breaks off."""


async def check_limit(tx: Transaction, identity: Identity) -> None:
    """Raise TooManyRequests if this person has begun MAX_EXPORTS_PER_DAY exports within a day.

    Takes the lock of the person's exports, so call it in the transaction of `count_export`.
    """
    await queries.lock_exports_of(tx, role=identity.role, user_id=identity.user_id)
    wait_seconds = await queries.find_export_wait(
        tx, role=identity.role, user_id=identity.user_id, max_exports=MAX_EXPORTS_PER_DAY
    )
    if wait_seconds is not None:
        raise too_many_until(wait_seconds)


async def count_export(tx: Transaction, identity: Identity) -> None:
    """Count an export that begins now."""
    await queries.insert_export(tx, role=identity.role, user_id=identity.user_id)


async def prune(tx: Transaction, max_rows: int = MAX_ROWS_PER_PRUNE) -> int:
    """Delete the counts of exports that began more than a day ago. Returns the number of deleted rows."""
    return await queries.prune_exports(tx, max_rows=max_rows)


class ExportReader:
    """Reads the data of one person. Each page has a transaction of its own."""

    def __init__(self, database: Database, identity: Identity, token_digest: bytes) -> None:
        self._database = database
        self._identity = identity
        self._token_digest = token_digest

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield the pieces of the export, in order. Raises ExportEndedError."""
        yield await self._profile()
        yield SectionBegan("payments")
        if self._identity.role == "customer":
            async for payment in self._payments():
                yield payment
        yield SectionEnded()
        yield SectionBegan("chats")
        async for chat in self._chats():
            yield ChatBegan(chat)
            if not chat.text_gone:
                async for message in self._messages(chat.id):
                    yield message
            yield ChatEnded()
        yield SectionEnded()
        yield SectionBegan("reports")
        async for report in self._reports():
            yield report
        yield SectionEnded()
        yield SectionBegan("blocks")
        async with self._page() as tx:
            # A person has at most 200 blocks.
            blocked = await blocks.blocks_of(tx, self._identity)
        for block in blocked.items:
            yield ExportedBlock(block.session_id, block.name, block.created_at)
        yield SectionEnded()

    @asynccontextmanager
    async def _page(self) -> AsyncIterator[Transaction]:
        """Open the transaction of one page. Raises ExportEndedError if the person is no longer signed in."""
        await pause_point("export.page")
        async with self._database.transaction() as tx:
            if not await queries.is_signed_in(
                tx, digest=self._token_digest, role=self._identity.role, user_id=self._identity.user_id
            ):
                raise ExportEndedError
            yield tx

    async def _profile(self) -> ExportedProfile:
        async with self._page() as tx:
            row = await queries.find_profile(tx, role=self._identity.role, user_id=self._identity.user_id)
        return ExportedProfile(
            id=self._identity.user_id,
            role=self._identity.role,
            name=row.name,
            phone_number=row.phone_number,
            member_since=row.member_since,
        )

    async def _payments(self) -> AsyncIterator[ExportedPayment]:
        cursor = None
        while True:
            async with self._page() as tx:
                page = await money.read_payments(tx, self._identity.user_id, cursor)
            for payment in page.items:
                yield _payment(payment)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _chats(self) -> AsyncIterator[ExportedChat]:
        cursor = None
        while True:
            openings: dict[UUID, list[ExportedOpening]] = {}
            async with self._page() as tx:
                page = await sessions.history(tx, self._identity, cursor)
                session_ids = [views.for_customer.id for views in page.items]
                for row in await queries.list_openings(tx, session_ids=session_ids):
                    openings.setdefault(row.session_id, []).append(ExportedOpening(row.opened_at, row.why))
                ratings = await self._ratings(tx, session_ids)
            for views in page.items:
                yield self._chat(views, openings, ratings)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _ratings(self, tx: Transaction, session_ids: list[UUID]) -> dict[UUID, ExportedRating]:
        # A mitra never sees a single rating (T.6).
        if self._identity.role == "mitra":
            return {}
        rows = await queries.list_ratings(tx, session_ids=session_ids, customer_id=self._identity.user_id)
        return {row.session_id: ExportedRating(row.answer, list(row.tags), row.rated_at) for row in rows}

    def _chat(
        self,
        views: SessionViews,
        openings: dict[UUID, list[ExportedOpening]],
        ratings: dict[UUID, ExportedRating],
    ) -> ExportedChat:
        session: Session | MitraSession
        if self._identity.role == "customer":
            session, with_name = views.for_customer, views.for_customer.mitra.display_name
        else:
            session, with_name = views.for_mitra, views.for_mitra.customer.call_name
        return ExportedChat(
            id=session.id,
            with_name=with_name,
            started_at=session.started_at,
            ended_at=session.ended_at,
            end_reason=session.end_reason,
            duration_minutes=session.duration_minutes,
            extended_minutes=session.extended_minutes,
            text_until=session.text_until,
            text_gone=session.text_gone,
            openings=openings.get(session.id, []),
            rating=ratings.get(session.id),
        )

    async def _messages(self, session_id: UUID) -> AsyncIterator[ExportedMessage]:
        after = _OLDEST
        while True:
            async with self._page() as tx:
                messages = await sessions.messages_after(
                    tx, self._identity, session_id, after, MAX_ITEMS_PER_PAGE
                )
            for message in messages:
                yield self._message(message)
            if len(messages) < MAX_ITEMS_PER_PAGE:
                return
            after = messages[-1].id

    def _message(self, message: Message) -> ExportedMessage:
        return ExportedMessage(
            id=message.id,
            sent_at=message.sent_at,
            is_own=message.sender == self._identity.role,
            text=message.text,
            read_at=message.read_at,
            reply_to_message_id=message.reply_to_message_id,
        )

    async def _reports(self) -> AsyncIterator[ExportedReport]:
        after = _OLDEST
        while True:
            async with self._page() as tx:
                rows = await queries.list_own_reports(
                    tx,
                    role=self._identity.role,
                    user_id=self._identity.user_id,
                    after_id=after,
                    max_reports=MAX_ITEMS_PER_PAGE,
                )
            for row in rows:
                yield ExportedReport(
                    row.id, row.session_id, row.reason, row.note, row.report_status, row.created_at
                )
            if len(rows) < MAX_ITEMS_PER_PAGE:
                return
            after = rows[-1].id


def _payment(payment: CustomerPayment) -> ExportedPayment:
    return ExportedPayment(
        id=payment.id,
        reference=payment.reference,
        purpose=payment.purpose,
        status=payment.status,
        what_happened=payment.what_happened,
        duration_minutes=payment.offer.duration_minutes,
        amount_rp=payment.amount_rp,
        charged_rp=payment.charged_rp,
        created_at=payment.created_at,
        session_id=payment.session_id,
        review=payment.review,
        refunds=payment.refunds,
    )
