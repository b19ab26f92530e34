"""The HTTP operations on chat sessions, for customers and mitras."""

from uuid import UUID

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from curhat.kit.database import Database
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.http import AnyRequest, command
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, MITRA_WITH_KEY, SIGNED_IN, WITH_KEY, answers
from curhat.kit.page import Page
from curhat.sessions import service
from curhat.sessions.errors import ChatRuns, MitraNotAway, SessionEnded
from curhat.sessions.schemas import (
    EndByCustomer,
    EndEarly,
    MarkRead,
    Message,
    MessagePage,
    MitraSession,
    NewMessage,
    Session,
)
from curhat.sessions.writer import MessageWriter

# The signed-in user who sends the HTTP request. accounts/guards.py provides this identity.
Customer = NamedDependency[Identity]
Mitra = NamedDependency[Identity]


@get("/api/client/sessions", responses=answers({200: Page[Session]}, *SIGNED_IN, ValidationFailed))
async def list_customer_sessions(
    database: NamedDependency[Database], customer: Customer, cursor: FromQuery[str | None] = None
) -> Page[Session]:
    """Return the customer's chats, newest first."""
    async with database.transaction() as tx:
        page = await service.history(tx, customer, cursor)
    return Page(items=[views.for_customer for views in page.items], next_cursor=page.next_cursor)


@get("/api/mitra/sessions", responses=answers({200: Page[MitraSession]}, *MITRA_SIGNED_IN, ValidationFailed))
async def list_mitra_sessions(
    database: NamedDependency[Database], mitra: Mitra, cursor: FromQuery[str | None] = None
) -> Page[MitraSession]:
    """Return the mitra's chats, newest first."""
    async with database.transaction() as tx:
        page = await service.history(tx, mitra, cursor)
    return Page(items=[views.for_mitra for views in page.items], next_cursor=page.next_cursor)


@get("/api/client/sessions/{session_id:uuid}", responses=answers({200: Session}, *SIGNED_IN, NotFound))
async def get_customer_session(
    database: NamedDependency[Database], customer: Customer, session_id: FromPath[UUID]
) -> Session:
    """Return one of the customer's chats."""
    async with database.transaction() as tx:
        return (await service.own_session(tx, customer, session_id)).for_customer


@get(
    "/api/mitra/sessions/{session_id:uuid}",
    responses=answers({200: MitraSession}, *MITRA_SIGNED_IN, NotFound),
)
async def get_mitra_session(
    database: NamedDependency[Database], mitra: Mitra, session_id: FromPath[UUID]
) -> MitraSession:
    """Return one of the mitra's chats."""
    async with database.transaction() as tx:
        return (await service.own_session(tx, mitra, session_id)).for_mitra


@get(
    "/api/client/sessions/{session_id:uuid}/messages",
    responses=answers({200: MessagePage}, *SIGNED_IN, NotFound, ValidationFailed),
)
async def list_customer_messages(
    database: NamedDependency[Database],
    customer: Customer,
    session_id: FromPath[UUID],
    before: FromQuery[UUID | None] = None,
) -> MessagePage:
    """Return a page of a chat's messages, newest first. With `before`, the page begins before that message."""
    async with database.transaction() as tx:
        return await service.messages_page(tx, customer, session_id, before)


@get(
    "/api/mitra/sessions/{session_id:uuid}/messages",
    responses=answers({200: MessagePage}, *MITRA_SIGNED_IN, NotFound, ValidationFailed),
)
async def list_mitra_messages(
    database: NamedDependency[Database],
    mitra: Mitra,
    session_id: FromPath[UUID],
    before: FromQuery[UUID | None] = None,
) -> MessagePage:
    """Return a page of a chat's messages, newest first. With `before`, the page begins before that message."""
    async with database.transaction() as tx:
        return await service.messages_page(tx, mitra, session_id, before)


@delete(
    "/api/client/sessions/{session_id:uuid}/messages",
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, NotFound, ChatRuns),
)
async def delete_chat_text(
    database: NamedDependency[Database], customer: Customer, session_id: FromPath[UUID]
) -> None:
    """Delete the text of an ended chat. Both sides lose it at once, and it is destroyed within 72 hours (P.7).

    The row of the history and "Curhat lagi" stay. If a report needs the text, operators keep it until 90 days after the
    decision.
    """
    async with database.transaction() as tx:
        await service.hide_text(tx, customer.user_id, session_id)


@post(
    "/api/client/sessions/{session_id:uuid}/messages",
    responses=answers({201: Message}, *SIGNED_IN, NotFound, ValidationFailed, SessionEnded),
)
async def send_customer_message(
    message_writer: NamedDependency[MessageWriter],
    customer: Customer,
    session_id: FromPath[UUID],
    data: JSONBody[NewMessage],
) -> Message:
    """Send a message. If `client_message_id` was used before, return the first message, even after the chat's end."""
    return await message_writer.send(
        customer, session_id, data.client_message_id, data.text, data.reply_to_message_id
    )


@post(
    "/api/mitra/sessions/{session_id:uuid}/messages",
    responses=answers({201: Message}, *MITRA_SIGNED_IN, NotFound, ValidationFailed, SessionEnded),
)
async def send_mitra_message(
    message_writer: NamedDependency[MessageWriter],
    mitra: Mitra,
    session_id: FromPath[UUID],
    data: JSONBody[NewMessage],
) -> Message:
    """Send a message. If `client_message_id` was used before, return the first message, even after the chat's end."""
    return await message_writer.send(
        mitra, session_id, data.client_message_id, data.text, data.reply_to_message_id
    )


@post(
    "/api/client/sessions/{session_id:uuid}/read",
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, NotFound, ValidationFailed),
)
async def mark_read_by_customer(
    database: NamedDependency[Database],
    customer: Customer,
    session_id: FromPath[UUID],
    data: JSONBody[MarkRead],
) -> None:
    """Mark the mitra's messages as read, up to `up_to_message_id`. A repeated request changes nothing."""
    async with database.transaction() as tx:
        await service.mark_read(tx, customer, session_id, data.up_to_message_id)


@post(
    "/api/mitra/sessions/{session_id:uuid}/read",
    status_code=204,
    responses=answers({204: None}, *MITRA_SIGNED_IN, NotFound, ValidationFailed),
)
async def mark_read_by_mitra(
    database: NamedDependency[Database], mitra: Mitra, session_id: FromPath[UUID], data: JSONBody[MarkRead]
) -> None:
    """Mark the customer's messages as read, up to `up_to_message_id`. A repeated request changes nothing."""
    async with database.transaction() as tx:
        await service.mark_read(tx, mitra, session_id, data.up_to_message_id)


@post(
    "/api/client/sessions/{session_id:uuid}/end",
    status_code=200,
    responses=answers({200: Session}, *WITH_KEY, NotFound, SessionEnded, MitraNotAway),
)
async def end_session_by_customer(
    request: AnyRequest,
    database: NamedDependency[Database],
    customer: Customer,
    session_id: FromPath[UUID],
    data: JSONBody[EndByCustomer | None] = None,
) -> Response[bytes]:
    """End the chat before its time. With `review`, because the mitra is away, an operator reviews the cost (X.11)."""
    with_review = data is not None and data.review
    return await command(
        request,
        database,
        customer,
        lambda tx: service.end_by_customer(tx, customer.user_id, session_id, with_review=with_review),
    )


@post(
    "/api/mitra/sessions/{session_id:uuid}/end",
    status_code=200,
    responses=answers({200: MitraSession}, *MITRA_WITH_KEY, NotFound, SessionEnded),
)
async def end_session_by_mitra(
    request: AnyRequest,
    database: NamedDependency[Database],
    mitra: Mitra,
    session_id: FromPath[UUID],
    data: JSONBody[EndEarly],
) -> Response[bytes]:
    """End the chat before its time, with a reason. An operator reviews the chat (X.8)."""
    return await command(
        request, database, mitra, lambda tx: service.end_by_mitra(tx, mitra.user_id, session_id, data.reason)
    )


ROUTES: list[BaseRouteHandler] = [
    list_customer_sessions,
    list_mitra_sessions,
    get_customer_session,
    get_mitra_session,
    list_customer_messages,
    list_mitra_messages,
    delete_chat_text,
    send_customer_message,
    send_mitra_message,
    mark_read_by_customer,
    mark_read_by_mitra,
    end_session_by_customer,
    end_session_by_mitra,
]
