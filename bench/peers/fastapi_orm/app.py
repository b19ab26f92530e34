"""The only endpoint of the peer is POST /api/mitra/requests/{id}/accept."""

import hashlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import valkey.asyncio
from fastapi import Depends, FastAPI, Header, HTTPException, Response
from fastapi import Request as HttpRequest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import contains_eager, joinedload

from bench.peers.fastapi_orm.models import (
    AccessToken,
    ChatSession,
    Deadline,
    IdempotencyKey,
    Mitra,
    Pairing,
    Payment,
    Request,
    StatusChange,
    Stream,
    StreamEvent,
)

engine = create_async_engine(
    os.environ["PEER_DATABASE_URL"],
    pool_size=10,
    max_overflow=0,
    connect_args={"server_settings": {"jit": "off"}, "prepared_statement_cache_size": 500},
)
new_session = async_sessionmaker(engine, expire_on_commit=False)
broker = valkey.asyncio.Valkey.from_url(os.environ["PEER_VALKEY_URL"])


class Name(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    call_name: str


class MitraName(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    display_name: str


class SessionView(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    status: str
    mitra: MitraName
    customer: Name | None
    started_at: datetime
    ends_at: datetime
    duration_minutes: int
    server_now: datetime


class PairingView(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    payment_id: UUID
    kind: str
    status: str
    deadline_at: datetime
    session_id: UUID | None
    server_now: datetime


class PaymentView(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    status: str
    duration_minutes: int
    amount_rp: int
    created_at: datetime
    expires_at: datetime
    pairing: PairingView | None
    server_now: datetime


class Accepted(BaseModel):
    session: SessionView


class Refused(Exception):
    def __init__(self, code: str) -> None:
        self.code = code


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()
    await broker.aclose()


app = FastAPI(lifespan=lifespan)


async def database_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


DatabaseSession = Annotated[AsyncSession, Depends(database_session)]


async def signed_in_mitra(session: DatabaseSession, authorization: Annotated[str, Header()]) -> UUID:
    digest = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).digest()
    token = await session.get(AccessToken, digest)
    if token is None or token.revoked_at is not None or token.expires_at <= datetime.now(UTC):
        raise HTTPException(401)
    return token.mitra_id


@app.get("/")
async def ready() -> str:
    return "ready"


@app.post("/api/mitra/requests/{request_id}/accept")
async def accept_request(
    http: HttpRequest,
    request_id: UUID,
    session: DatabaseSession,
    mitra_id: Annotated[UUID, Depends(signed_in_mitra)],
    idempotency_key: Annotated[str, Header()],
) -> Response:
    fingerprint = hashlib.sha256(f"POST {http.url.path}\n".encode() + await http.body()).digest()
    stored = await session.get(IdempotencyKey, (mitra_id, idempotency_key))
    if stored is not None:
        if stored.fingerprint != fingerprint:
            return Response('{"code":"idempotency_key_reused"}', 409, media_type="application/problem+json")
        return Response(stored.body, stored.status, media_type="application/json")
    answer = IdempotencyKey(user_id=mitra_id, key=idempotency_key, fingerprint=fingerprint)
    try:
        accepted, published = await accept(session, mitra_id, request_id)
    except Refused as refused:
        await session.rollback()
        answer.status, answer.body = 409, json.dumps({"code": refused.code})
        session.add(answer)
        await session.commit()
        return Response(answer.body, 409, media_type="application/problem+json")
    answer.status, answer.body = 200, accepted.model_dump_json()
    session.add(answer)
    await session.commit()
    async with broker.pipeline(transaction=False) as pipeline:
        for message in published:
            pipeline.publish("peer:stream", message)
        await pipeline.execute()
    return Response(answer.body, media_type="application/json")


async def accept(session: AsyncSession, mitra_id: UUID, request_id: UUID) -> tuple[Accepted, list[str]]:
    asked = await session.scalar(
        select(Request).where(Request.id == request_id, Request.mitra_id == mitra_id)
    )
    if asked is None:
        raise HTTPException(404)
    if asked.pairing.status != "open":
        raise Refused("already_taken" if asked.pairing.status == "matched" else "request_closed")
    # Lock the payment, so that every other accept of this pairing waits. Read the rows again under the lock, because an
    # earlier accept has perhaps changed them.
    payment = await session.scalar(
        select(Payment)
        .where(Payment.id == asked.pairing.payment_id)
        .options(joinedload(Payment.customer))
        .with_for_update(key_share=True, of=Payment)
    )
    request = await session.scalar(
        select(Request)
        .join(Request.pairing)
        .options(contains_eager(Request.pairing))
        .where(Request.id == request_id)
        .with_for_update(key_share=True, of=[Request, Pairing])
        .execution_options(populate_existing=True)
    )
    mitra = await session.get(Mitra, mitra_id, with_for_update={"key_share": True})
    assert payment is not None
    assert request is not None
    assert mitra is not None
    pairing = request.pairing
    now = datetime.now(UTC)
    refuse_unless_possible(request, pairing, mitra, now)

    request.status, request.answered_at = "accepted", now
    pairing.status, pairing.decided_at = "matched", now
    payment.status, payment.closed_at = "served", now
    mitra.active_sessions += 1
    chat = ChatSession(
        payment_id=payment.id,
        pairing_id=pairing.id,
        customer_id=payment.customer_id,
        mitra_id=mitra_id,
        duration_minutes=payment.duration_minutes,
        started_at=now,
        ends_at=now + timedelta(minutes=payment.duration_minutes),
    )
    session.add(chat)
    await session.flush()
    session.add_all(
        [
            Deadline(kind="session_end", entity_id=chat.id, due_at=chat.ends_at),
            change(payment.id, "payment", payment.id, "confirmed", "served"),
            change(payment.id, "pairing", pairing.id, "open", "matched"),
            change(payment.id, "session", chat.id, None, "active"),
        ]
    )
    await session.execute(
        delete(Deadline).where(Deadline.kind == "pairing_window", Deadline.entity_id == pairing.id)
    )
    await close_others(session, request, mitra, now)
    return await write_events(session, payment, pairing, chat, mitra, now)


def refuse_unless_possible(request: Request, pairing: Pairing, mitra: Mitra, now: datetime) -> None:
    if pairing.status == "matched":
        raise Refused("already_taken")
    if pairing.status != "open" or request.status != "offered" or pairing.deadline_at <= now:
        raise Refused("request_closed")
    if not mitra.online or mitra.suspended_at is not None:
        raise Refused("mitra_offline")
    if mitra.active_sessions >= mitra.max_customers:
        raise Refused("at_capacity")


def change(payment_id: UUID, entity: str, entity_id: UUID, old: str | None, new: str) -> StatusChange:
    return StatusChange(
        payment_id=payment_id, entity=entity, entity_id=entity_id, old_status=old, new_status=new
    )


async def close_others(session: AsyncSession, request: Request, mitra: Mitra, now: datetime) -> None:
    await session.execute(
        update(Request)
        .where(
            Request.pairing_id == request.pairing_id, Request.status == "offered", Request.id != request.id
        )
        .values(status="closed", close_reason="already_taken", answered_at=now)
        .execution_options(synchronize_session=False)
    )
    if mitra.active_sessions >= mitra.max_customers:
        await session.execute(
            update(Request)
            .where(Request.mitra_id == mitra.id, Request.status == "offered", Request.id != request.id)
            .values(status="closed", close_reason="at_capacity", answered_at=now)
            .execution_options(synchronize_session=False)
        )


async def write_events(
    session: AsyncSession, payment: Payment, pairing: Pairing, chat: ChatSession, mitra: Mitra, now: datetime
) -> tuple[Accepted, list[str]]:
    """Write the events of both streams. Returns the answer and the signals to publish after the commit."""
    pairing_view = PairingView(
        id=pairing.id,
        payment_id=payment.id,
        kind=pairing.kind,
        status=pairing.status,
        deadline_at=pairing.deadline_at,
        session_id=chat.id,
        server_now=now,
    )
    payment_view = PaymentView(
        id=payment.id,
        status=payment.status,
        duration_minutes=payment.duration_minutes,
        amount_rp=payment.amount_rp,
        created_at=payment.created_at,
        expires_at=payment.expires_at,
        pairing=pairing_view,
        server_now=now,
    )
    for_mitra = SessionView(
        id=chat.id,
        status=chat.status,
        mitra=MitraName.model_validate(mitra),
        customer=Name.model_validate(payment.customer),
        started_at=chat.started_at,
        ends_at=chat.ends_at,
        duration_minutes=chat.duration_minutes,
        server_now=now,
    )
    for_customer = for_mitra.model_copy(update={"customer": None})
    views: Sequence[tuple[str, UUID, str, BaseModel]] = [
        ("customer", payment.customer_id, "payment.updated", payment_view),
        ("customer", payment.customer_id, "pairing.updated", pairing_view),
        ("customer", payment.customer_id, "session.started", for_customer),
        ("mitra", mitra.id, "session.started", for_mitra),
    ]
    new_streams = insert(Stream).values(
        [
            {"role": "customer", "user_id": payment.customer_id, "head": 3},
            {"role": "mitra", "user_id": mitra.id, "head": 1},
        ]
    )
    grown = await session.execute(
        new_streams.on_conflict_do_update(
            index_elements=[Stream.role, Stream.user_id],
            set_={"head": Stream.head + new_streams.excluded.head},
        ).returning(Stream.role, Stream.head)
    )
    heads = {row.role: row.head for row in grown}
    next_seq = {"customer": heads["customer"] - 2, "mitra": heads["mitra"]}
    published = []
    for role, user_id, event_type, view in views:
        data = view.model_dump_json()
        session.add(StreamEvent(role=role, user_id=user_id, seq=next_seq[role], type=event_type, data=data))
        published.append(
            f'{{"role":"{role}","user_id":"{user_id}","seq":{next_seq[role]},"type":"{event_type}","data":{data}}}'
        )
        next_seq[role] += 1
    published.append(json.dumps({"requests_of": str(mitra.id)}))
    return Accepted(session=for_mitra), published
