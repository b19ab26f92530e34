"""Test that the sockets of a process decide which customers are connected."""

from uuid import uuid4

import pytest
import valkey.asyncio

from curhat.presence.customers import CustomerConnections
from curhat.presence.states import COME_BACK_SECONDS, CUSTOMER_CONNECTED_SECONDS
from curhat.presence.store import CUSTOMERS_KEY


@pytest.fixture
def customers(valkey_client: "valkey.asyncio.Valkey") -> CustomerConnections:
    return CustomerConnections(valkey_client)


async def left_seconds(client: "valkey.asyncio.Valkey", customer: object) -> float:
    """Return the number of seconds for which a customer still counts as connected."""
    seconds, micros = await client.time()
    until_ms: float | None = await client.zscore(CUSTOMERS_KEY, str(customer))
    assert until_ms is not None
    return until_ms / 1000 - float(seconds) - float(micros) / 1e6


async def test_the_welcome_and_each_later_frame_renew_the_lease_of_a_customer(
    customers: CustomerConnections, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    customer = uuid4()
    await customers.opened(customer)
    assert await customers.connected_among([customer]) == {customer}
    await valkey_client.flushall()
    customers.heard(customer)
    await customers.report()
    assert await customers.connected_among([customer]) == {customer}
    assert (
        CUSTOMER_CONNECTED_SECONDS - 2
        < await left_seconds(valkey_client, customer)
        <= CUSTOMER_CONNECTED_SECONDS
    )


async def test_a_customer_stays_connected_for_3_seconds_after_the_last_socket_closed(
    customers: CustomerConnections, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    customer = uuid4()
    await customers.opened(customer)
    customers.heard(customer)
    customers.closed(customer)
    await customers.report()
    assert 0 < await left_seconds(valkey_client, customer) <= COME_BACK_SECONDS
    await customers.opened(customer)
    await customers.report()
    assert await left_seconds(valkey_client, customer) > COME_BACK_SECONDS
