"""The peer's tables, in the schema `peer`."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

NOW = func.clock_timestamp()
NEW_ID = text("uuidv7()")


class Base(DeclarativeBase):
    metadata = MetaData(schema="peer")
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012  read once by SQLAlchemy


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    call_name: Mapped[str]


class Mitra(Base):
    __tablename__ = "mitras"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    display_name: Mapped[str]
    max_customers: Mapped[int]
    online: Mapped[bool]
    suspended_at: Mapped[datetime | None]
    active_sessions: Mapped[int] = mapped_column(default=0)


class AccessToken(Base):
    __tablename__ = "access_tokens"
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    mitra_id: Mapped[UUID] = mapped_column(ForeignKey(Mitra.id))
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    status: Mapped[int]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW, index=True)


class Payment(Base):
    __tablename__ = "payments"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey(Customer.id))
    status: Mapped[str]
    duration_minutes: Mapped[int]
    amount_rp: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]

    customer: Mapped[Customer] = relationship()

    __table_args__ = (
        Index("payments_one_open", "customer_id", unique=True, postgresql_where=text("status = 'confirmed'")),
    )


class Pairing(Base):
    __tablename__ = "pairings"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey(Payment.id), index=True)
    status: Mapped[str]
    kind: Mapped[str]
    deadline_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]

    __table_args__ = (
        Index("pairings_one_winner", "payment_id", unique=True, postgresql_where=text("status = 'matched'")),
    )


class Request(Base):
    __tablename__ = "requests"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    pairing_id: Mapped[UUID] = mapped_column(ForeignKey(Pairing.id))
    mitra_id: Mapped[UUID] = mapped_column(ForeignKey(Mitra.id))
    status: Mapped[str]
    close_reason: Mapped[str | None]
    answered_at: Mapped[datetime | None]

    pairing: Mapped[Pairing] = relationship(lazy="joined", innerjoin=True)

    __table_args__ = (
        UniqueConstraint("pairing_id", "mitra_id"),
        Index("requests_open", "mitra_id", postgresql_where=text("status = 'offered'")),
    )


class ChatSession(Base):
    __tablename__ = "sessions"
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey(Payment.id), unique=True)
    pairing_id: Mapped[UUID] = mapped_column(ForeignKey(Pairing.id), unique=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey(Customer.id), index=True)
    mitra_id: Mapped[UUID] = mapped_column(ForeignKey(Mitra.id), index=True)
    status: Mapped[str] = mapped_column(default="active")
    duration_minutes: Mapped[int]
    started_at: Mapped[datetime]
    ends_at: Mapped[datetime]


class Deadline(Base):
    __tablename__ = "deadlines"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    kind: Mapped[str]
    entity_id: Mapped[UUID]
    due_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = (UniqueConstraint("kind", "entity_id"),)


class StatusChange(Base):
    __tablename__ = "status_changes"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    payment_id: Mapped[UUID] = mapped_column(index=True)
    entity: Mapped[str]
    entity_id: Mapped[UUID]
    old_status: Mapped[str | None]
    new_status: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Stream(Base):
    __tablename__ = "streams"
    role: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    head: Mapped[int] = mapped_column(BigInteger)


class StreamEvent(Base):
    __tablename__ = "stream_events"
    role: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    type: Mapped[str]
    data: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=NOW, index=True)
