"""The HTTP operations to subscribe to push and to test push."""

from litestar import delete, get, post, put
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import JSONBody

from curhat.kit.database import Database
from curhat.kit.errors import TooManyRequests, ValidationFailed, invalid_field
from curhat.kit.http import AnyRequest
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, SIGNED_IN, answers
from curhat.notifications import service
from curhat.notifications.addresses import Addresses, EndpointRefused
from curhat.notifications.errors import NoPushSubscription
from curhat.notifications.port import BrowserAddress, Channels
from curhat.notifications.schemas import PushKey, PushSubscription, PushSubscriptionEnd, PushTest
from curhat.notifications.web_push import VapidKey


@get("/api/client/push-key", responses=answers({}, *SIGNED_IN))
async def get_customer_push_key(
    customer: NamedDependency[Identity],  # noqa: ARG001  requires a sign-in
    vapid_key: NamedDependency[VapidKey],
) -> PushKey:
    """Return the `applicationServerKey` to subscribe with."""
    return PushKey(vapid_key.public_key)


@get("/api/mitra/push-key", responses=answers({}, *MITRA_SIGNED_IN))
async def get_mitra_push_key(
    mitra: NamedDependency[Identity],  # noqa: ARG001  requires a sign-in
    vapid_key: NamedDependency[VapidKey],
) -> PushKey:
    """Return the `applicationServerKey` to subscribe with."""
    return PushKey(vapid_key.public_key)


@put(
    "/api/client/push-subscriptions",
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, ValidationFailed),
)
async def subscribe_customer_to_push(
    request: AnyRequest,
    data: JSONBody[PushSubscription],
    customer: NamedDependency[Identity],
    database: NamedDependency[Database],
    push_addresses: NamedDependency[Addresses],
    push_channels: NamedDependency[Channels],
) -> None:
    """While the app is closed, send pushes to this browser or app: a bestie accepted or wrote, a search failed, the
    chosen bestie did not accept, money came back.

    The subscription ends with the sign-in. Repeat the request when the app starts, to repair a failed subscription.
    """
    await _subscribe(request, data, customer, database, push_addresses, push_channels)


@put(
    "/api/mitra/push-subscriptions",
    status_code=204,
    responses=answers({204: None}, *MITRA_SIGNED_IN, ValidationFailed),
)
async def subscribe_mitra_to_push(
    request: AnyRequest,
    data: JSONBody[PushSubscription],
    mitra: NamedDependency[Identity],
    database: NamedDependency[Database],
    push_addresses: NamedDependency[Addresses],
    push_channels: NamedDependency[Channels],
) -> None:
    """While the app is closed, send pushes to this browser or app: requests, messages, extension requests.

    After closing the app, the mitra stays available for another 15 minutes.
    The subscription ends with the sign-in. Repeat the request when the app starts, to repair a failed subscription.
    """
    await _subscribe(request, data, mitra, database, push_addresses, push_channels)


@delete(
    "/api/client/push-subscriptions",
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, ValidationFailed),
)
async def unsubscribe_customer_from_push(
    data: JSONBody[PushSubscriptionEnd],
    customer: NamedDependency[Identity],
    database: NamedDependency[Database],
) -> None:
    """End push to this browser or app. Repeating the request changes nothing."""
    async with database.transaction() as tx:
        await service.unsubscribe(tx, customer, service.endpoint_of(data))


@delete(
    "/api/mitra/push-subscriptions",
    status_code=204,
    responses=answers({204: None}, *MITRA_SIGNED_IN, ValidationFailed),
)
async def unsubscribe_mitra_from_push(
    data: JSONBody[PushSubscriptionEnd],
    mitra: NamedDependency[Identity],
    database: NamedDependency[Database],
) -> None:
    """End push to this browser or app. Repeating the request changes nothing."""
    async with database.transaction() as tx:
        await service.unsubscribe(tx, mitra, service.endpoint_of(data))


@post(
    "/api/mitra/push-subscriptions/test",
    status_code=202,
    responses=answers({202: PushTest}, *MITRA_SIGNED_IN, NoPushSubscription, TooManyRequests),
)
async def test_push(mitra: NamedDependency[Identity], database: NamedDependency[Database]) -> PushTest:
    """Push a test notification to each of the mitra's devices, at most once in 10 s.

    A test takes the same path as the push for an offered request. A test that arrives repairs a failed subscription.
    """
    async with database.transaction() as tx:
        return PushTest(await service.enqueue_test(tx, mitra.user_id))


ROUTES: list[BaseRouteHandler] = [
    get_customer_push_key,
    get_mitra_push_key,
    subscribe_customer_to_push,
    subscribe_mitra_to_push,
    unsubscribe_customer_from_push,
    unsubscribe_mitra_from_push,
    test_push,
]


async def _subscribe(
    request: AnyRequest,
    data: PushSubscription,
    identity: Identity,
    database: Database,
    addresses: Addresses,
    channels: Channels,
) -> None:
    address = service.parsed_address(data)
    if isinstance(address, BrowserAddress):
        try:
            await addresses.check(address.endpoint)
        except EndpointRefused as refusal:
            raise invalid_field("endpoint", str(refusal)) from None
    elif channels.fcm is None:
        raise invalid_field("kind", "must be web_push: this service pushes to no native apps")
    async with database.transaction() as tx:
        await service.subscribe(tx, identity, request.state["token_digest"], address, data.language)
