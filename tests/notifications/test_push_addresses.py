"""Test to which addresses the server can send a push.

The server never connects to an address in our own network, even if a host name resolves to this address.
"""

import asyncio
import socket
import threading
from uuid import uuid4

import pytest

from curhat.notifications import addresses as addresses_module
from curhat.notifications.addresses import MAX_LOOKUPS_RUNNING, Addresses, EndpointRefused
from curhat.notifications.port import BrowserAddress, Push, Refused, Unavailable
from curhat.notifications.web_push import VapidKey, WebPush
from tests.support.push import Browser

PRODUCTION = Addresses(allows_this_machine=False)
DEVELOPMENT = Addresses(allows_this_machine=True)

NOT_PUBLIC = [
    "10.0.0.1",
    "172.16.9.9",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "[fe80::1]",
    "[fc00::1]",
    "[::]",
    "[ff02::1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::a00:1]",
    "[2002:a00:1::]",
    "[2001:db8::1]",
]
THIS_MACHINE = ["127.0.0.1", "127.9.9.9", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"]


@pytest.mark.parametrize("host", NOT_PUBLIC)
@pytest.mark.parametrize("addresses", [PRODUCTION, DEVELOPMENT], ids=["production", "development"])
def test_an_address_that_is_not_public_is_refused(addresses: Addresses, host: str) -> None:
    with pytest.raises(EndpointRefused, match="must be on the public internet"):
        addresses.check_form(f"https://{host}/push/1")


@pytest.mark.parametrize("host", THIS_MACHINE)
def test_production_never_pushes_to_its_own_machine(host: str) -> None:
    with pytest.raises(EndpointRefused, match="must be on the public internet"):
        PRODUCTION.check_form(f"https://{host}/push/1")
    DEVELOPMENT.check_form(f"https://{host}/push/1")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://push.example.com/1",
        "ftp://push.example.com/1",
        "https://push.example.com:8443/1",
        "https://user@push.example.com/1",
        "https://:secret@push.example.com/1",
        "https:///1",
        "https://push.example.com:port/1",
        "push.example.com/1",
        "https://push.example.com/a b",
        "https://push.example.com/\n",
        "https://push.example.com/é",
        "https://push.example.com/" + "a" * 1000,
        "https://[::1/1",
        "",
    ],
)
@pytest.mark.parametrize("addresses", [PRODUCTION, DEVELOPMENT], ids=["production", "development"])
def test_a_text_that_cannot_be_a_push_endpoint_is_refused(addresses: Addresses, endpoint: str) -> None:
    with pytest.raises(EndpointRefused):
        addresses.check_form(endpoint)


@pytest.mark.parametrize("endpoint", ["https://fcm.googleapis.com/fcm/send/x:y", "https://8.8.8.8:443/1"])
def test_a_push_service_on_the_internet_is_accepted(endpoint: str) -> None:
    PRODUCTION.check_form(endpoint)


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Make host names resolve to these addresses.

    Each lookup of a host name gets the next list. All later lookups also get the last list.
    """
    remaining = list(answers)

    def getaddrinfo(_host: str, port: int, **_options: object) -> list[object]:
        found = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in found]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port))
            for family, address in zip(families, found, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_a_subscription_with_a_host_name_in_our_network_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, ["10.1.2.3"])
    with pytest.raises(EndpointRefused, match="must be on the public internet"):
        await PRODUCTION.check("https://push.example.com/1")


async def test_a_host_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["8.8.8.8", "192.168.0.1"])
    with pytest.raises(EndpointRefused):
        await PRODUCTION.check("https://push.example.com/1")


async def test_a_host_name_that_gets_a_private_address_after_the_check_gets_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    connected: list[object] = []

    async def never(*arguments: object, **_options: object) -> None:
        connected.append(arguments)
        raise OSError

    monkeypatch.setattr("aiohappyeyeballs.start_connection", never)
    browser = Browser("https://push.example.com/1")
    await PRODUCTION.check(browser.endpoint)
    channel = WebPush(VapidKey(b"k" * 32, "https://app.example.id"), PRODUCTION)
    push = Push(payload=b"{}", topic="t", ttl_seconds=10)
    address = BrowserAddress(browser.endpoint, browser.p256dh, browser.auth)
    try:
        outcome = await channel.deliver(uuid4(), address, push)
    finally:
        await channel.close()
    assert outcome == Unavailable("ClientConnectorDNSError")
    assert connected == []


async def test_no_push_is_sent_to_a_subscription_whose_address_is_private() -> None:
    browser = Browser("https://169.254.169.254/latest/meta-data")
    channel = WebPush(VapidKey(b"k" * 32, "https://app.example.id"), PRODUCTION)
    push = Push(payload=b"{}", topic="t", ttl_seconds=10)
    outcome = await channel.deliver(
        uuid4(), BrowserAddress(browser.endpoint, browser.p256dh, browser.auth), push
    )
    assert outcome == Refused("address_refused")


async def test_host_names_that_resolve_slowly_delay_no_known_push_service_and_no_other_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lookups: list[str] = []
    released = threading.Event()

    def getaddrinfo(host: str, port: int, **_options: object) -> list[object]:
        lookups.append(host)
        if host.endswith(".example"):
            released.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(addresses_module, "RESOLVE_TIMEOUT_SECONDS", 0.2)
    addresses = Addresses(allows_this_machine=False)
    try:
        slow = [addresses.resolve(f"slow{number}.example") for number in range(40)]
        outcomes = await asyncio.gather(*slow, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {TimeoutError}
        # The lookups that have started are still running.
        assert 0 < len(lookups) <= MAX_LOOKUPS_RUNNING
        monkeypatch.setattr(addresses_module, "RESOLVE_TIMEOUT_SECONDS", 5)
        (found,) = await addresses.resolve("updates.push.services.mozilla.com")
        assert found["host"] == "8.8.8.8"
        async with asyncio.timeout(5):
            await asyncio.to_thread(lookups.clear)
    finally:
        released.set()
        await addresses.close()


async def test_the_client_connects_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["8.8.8.8", "2001:4860:4860::8888"])
    found = await PRODUCTION.resolve("push.example.com", 443)
    assert [each["host"] for each in found] == ["8.8.8.8", "2001:4860:4860::8888"]
    assert all(each["flags"] & socket.AI_NUMERICHOST for each in found)
