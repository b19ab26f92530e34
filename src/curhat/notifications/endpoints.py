"""Subscribing to push, and testing it."""

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import JSONBody

from curhat.kit.database import Database
from curhat.kit.errors import TooManyRequests, ValidationFailed
from curhat.kit.http import AnyRequest
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, SIGNED_IN, answers
from curhat.notifications import service
from curhat.notifications.addresses import Addresses, EndpointRefused
from curhat.notifications.errors import NoPushSubscription
from curhat.notifications.schemas import PushKey, PushSubscription, PushSubscriptionEnd, PushTest
from curhat.notifications.web_push import VapidKey


@get(
    "/api/client/push-key",
    operation_id="get_customer_push_key",
    tags=["customer"],
    responses=answers({}, *SIGNED_IN),
)
async def get_customer_push_key(
    customer: NamedDependency[Identity],  # noqa: ARG001  requires a sign-in
    vapid_key: NamedDependency[VapidKey],
) -> PushKey:
    """Return the `applicationServerKey` to subscribe with."""
    return PushKey(vapid_key.public_key)


@get(
    "/api/mitra/push-key",
    operation_id="get_mitra_push_key",
    tags=["mitra"],
    responses=answers({}, *MITRA_SIGNED_IN),
)
async def get_mitra_push_key(
    mitra: NamedDependency[Identity],  # noqa: ARG001  requires a sign-in
    vapid_key: NamedDependency[VapidKey],
) -> PushKey:
    """Return the `applicationServerKey` to subscribe with."""
    return PushKey(vapid_key.public_key)


@put(
    "/api/client/push-subscriptions",
    operation_id="subscribe_customer_to_push",
    tags=["customer"],
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, ValidationFailed),
)
async def subscribe_customer(
    request: AnyRequest,
    data: JSONBody[PushSubscription],
    customer: NamedDependency[Identity],
    database: NamedDependency[Database],
    push_addresses: NamedDependency[Addresses],
) -> Response[None]:
    """Push to this browser when a bestie has accepted or has written, while the app is closed.

    The subscription ends with this sign-in. Repeat it at each start of the app: this makes a failed one good again.
    """
    return await _subscribe(request, data, customer, database, push_addresses)


@put(
    "/api/mitra/push-subscriptions",
    operation_id="subscribe_mitra_to_push",
    tags=["mitra"],
    status_code=204,
    responses=answers({204: None}, *MITRA_SIGNED_IN, ValidationFailed),
)
async def subscribe_mitra(
    request: AnyRequest,
    data: JSONBody[PushSubscription],
    mitra: NamedDependency[Identity],
    database: NamedDependency[Database],
    push_addresses: NamedDependency[Addresses],
) -> Response[None]:
    """Push requests to this browser while the app is closed. The mitra then stays available for 15 minutes more.

    The subscription ends with this sign-in. Repeat it at each start of the app: this makes a failed one good again.
    """
    return await _subscribe(request, data, mitra, database, push_addresses)


@delete(
    "/api/client/push-subscriptions",
    operation_id="unsubscribe_customer_from_push",
    tags=["customer"],
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, ValidationFailed),
)
async def unsubscribe_customer(
    data: JSONBody[PushSubscriptionEnd],
    customer: NamedDependency[Identity],
    database: NamedDependency[Database],
) -> Response[None]:
    """End push to this browser. Repeated, nothing changes."""
    return await _unsubscribe(data, customer, database)


@delete(
    "/api/mitra/push-subscriptions",
    operation_id="unsubscribe_mitra_from_push",
    tags=["mitra"],
    status_code=204,
    responses=answers({204: None}, *MITRA_SIGNED_IN, ValidationFailed),
)
async def unsubscribe_mitra(
    data: JSONBody[PushSubscriptionEnd],
    mitra: NamedDependency[Identity],
    database: NamedDependency[Database],
) -> Response[None]:
    """End push to this browser. Repeated, nothing changes."""
    return await _unsubscribe(data, mitra, database)


@post(
    "/api/mitra/push-subscriptions/test",
    operation_id="test_push",
    tags=["mitra"],
    status_code=202,
    responses=answers({202: PushTest}, *MITRA_SIGNED_IN, NoPushSubscription, TooManyRequests),
)
async def test_push(mitra: NamedDependency[Identity], database: NamedDependency[Database]) -> PushTest:
    """Push a test notification to each of the mitra's devices, the way a request comes. At most once in 10 s.

    A test that arrives makes a failed subscription good again.
    """
    async with database.transaction() as tx:
        return PushTest(await service.enqueue_test(tx, mitra.user_id))


ROUTES: list[BaseRouteHandler] = [
    get_customer_push_key,
    get_mitra_push_key,
    subscribe_customer,
    subscribe_mitra,
    unsubscribe_customer,
    unsubscribe_mitra,
    test_push,
]


async def _subscribe(
    request: AnyRequest, data: PushSubscription, identity: Identity, database: Database, addresses: Addresses
) -> Response[None]:
    address = service.parsed_address(data)
    try:
        await addresses.check(address.endpoint)
    except EndpointRefused as refusal:
        raise service.refused_endpoint(str(refusal)) from None
    async with database.transaction() as tx:
        await service.subscribe(tx, identity, request.state["token_digest"], address, data.language)
    return Response(None, status_code=204)


async def _unsubscribe(data: PushSubscriptionEnd, identity: Identity, database: Database) -> Response[None]:
    async with database.transaction() as tx:
        await service.unsubscribe(tx, identity, data.endpoint)
    return Response(None, status_code=204)
