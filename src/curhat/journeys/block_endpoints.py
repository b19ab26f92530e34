"""The HTTP operations on blocks, for customers and mitras (T.1)."""

from uuid import UUID

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from curhat.journeys import blocking
from curhat.journeys.availability import candidates_or_none
from curhat.kit.database import Database
from curhat.kit.errors import NotFound
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, SIGNED_IN, answers
from curhat.presence.service import Presence
from curhat.safety.blocks import service as blocks
from curhat.safety.blocks.errors import SessionRunning, TooManyBlocks
from curhat.safety.blocks.schemas import BlockList

# The signed-in user who sends the HTTP request. accounts/guards.py provides this identity.
Customer = NamedDependency[Identity]
Mitra = NamedDependency[Identity]


@post(
    "/api/client/sessions/{session_id:uuid}/block",
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, NotFound, SessionRunning, TooManyBlocks),
)
async def block_mitra(
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    customer: Customer,
    session_id: FromPath[UUID],
) -> None:
    """Block the bestie of a past chat: the two are never paired again. A repeated request changes nothing.

    The bestie is told nothing.
    """
    await _block(database, presence, customer, session_id)


@post(
    "/api/mitra/sessions/{session_id:uuid}/block",
    status_code=204,
    responses=answers({204: None}, *MITRA_SIGNED_IN, NotFound, SessionRunning, TooManyBlocks),
)
async def block_customer(
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    mitra: Mitra,
    session_id: FromPath[UUID],
) -> None:
    """Block the customer of a past chat: the two are never paired again. A repeated request changes nothing.

    The customer is told nothing.
    """
    await _block(database, presence, mitra, session_id)


async def _block(database: Database, presence: Presence, identity: Identity, session_id: UUID) -> None:
    candidates = await candidates_or_none(presence)
    async with database.transaction() as tx:
        await blocking.block(tx, identity, session_id, candidates)


@delete(
    "/api/client/sessions/{session_id:uuid}/block",
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, NotFound),
)
async def unblock_mitra(
    database: NamedDependency[Database], customer: Customer, session_id: FromPath[UUID]
) -> None:
    """Undo the customer's own block of the bestie of a past chat. A repeated request changes nothing."""
    async with database.transaction() as tx:
        await blocks.unblock(tx, customer, session_id)


@delete(
    "/api/mitra/sessions/{session_id:uuid}/block",
    status_code=204,
    responses=answers({204: None}, *MITRA_SIGNED_IN, NotFound),
)
async def unblock_customer(
    database: NamedDependency[Database], mitra: Mitra, session_id: FromPath[UUID]
) -> None:
    """Undo the mitra's own block of the customer of a past chat. A repeated request changes nothing."""
    async with database.transaction() as tx:
        await blocks.unblock(tx, mitra, session_id)


@get("/api/client/blocks", responses=answers({200: BlockList}, *SIGNED_IN))
async def list_blocked_mitras(database: NamedDependency[Database], customer: Customer) -> BlockList:
    """Return the besties whom the customer has blocked, newest first."""
    async with database.transaction() as tx:
        return await blocks.blocks_of(tx, customer)


@get("/api/mitra/blocks", responses=answers({200: BlockList}, *MITRA_SIGNED_IN))
async def list_blocked_customers(database: NamedDependency[Database], mitra: Mitra) -> BlockList:
    """Return the customers whom the mitra has blocked, newest first."""
    async with database.transaction() as tx:
        return await blocks.blocks_of(tx, mitra)


ROUTES: list[BaseRouteHandler] = [
    block_mitra,
    block_customer,
    unblock_mitra,
    unblock_customer,
    list_blocked_mitras,
    list_blocked_customers,
]
