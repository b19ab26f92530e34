"""Test which token of a request counts, and from which web pages a token in a cookie is accepted."""

from dataclasses import replace
from typing import Any

import pytest

from curhat.accounts.address_limit import address_of
from curhat.accounts.cookies import PresentedToken, cookie_name, presented_token, token_cookie
from curhat.kit.errors import Forbidden
from curhat.kit.settings import Settings

ORIGIN = "https://app.curhat.example"


@pytest.fixture
def settings() -> Settings:
    development = Settings.from_environment(
        {"CURHAT_ENVIRONMENT": "development", "CURHAT_SECRET_KEY": "k" * 32, "CURHAT_PUBLIC_ORIGINS": ORIGIN}
    )
    return replace(development, environment="production")


def scope(method: str = "POST", kind: str = "http", **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": kind, "method": method, "headers": named}


def websocket(**headers: str) -> dict[str, Any]:
    return {"type": "websocket", "headers": scope(**headers)["headers"]}


COOKIE = "other=1; __Secure-curhat_customer=abc; __Secure-curhat_mitra=def"


def test_a_bearer_token_needs_no_origin(settings: Settings) -> None:
    found = presented_token(
        scope(authorization="Bearer abc", origin="https://evil.example"), "customer", settings
    )
    assert found == PresentedToken("abc", "bearer")


@pytest.mark.parametrize("header", ["abc", "Basic abc", ""])
def test_the_cookie_is_ignored_when_another_authorization_header_is_sent(
    header: str, settings: Settings
) -> None:
    assert presented_token(scope("GET", authorization=header, cookie=COOKIE), "customer", settings) is None


def test_each_role_has_its_own_cookie(settings: Settings) -> None:
    assert presented_token(scope("GET", cookie=COOKIE), "customer", settings) == PresentedToken(
        "abc", "cookie"
    )
    assert presented_token(scope("GET", cookie=COOKIE), "mitra", settings) == PresentedToken("def", "cookie")
    assert presented_token(scope("GET", cookie="curhat_customer=abc"), "customer", settings) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"{ORIGIN}.evil.example"},
        {"origin": "http://app.curhat.example"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"origin": "https://evil.example", "sec_fetch_site": "same-origin"},
    ],
)
def test_an_unsafe_request_with_a_cookie_must_come_from_our_own_page(
    method: str, headers: dict[str, str], settings: Settings
) -> None:
    with pytest.raises(Forbidden):
        presented_token(scope(method, cookie=COOKIE, **headers), "customer", settings)


@pytest.mark.parametrize("headers", [{"origin": ORIGIN}, {"sec_fetch_site": "same-origin"}])
def test_a_request_with_a_cookie_is_accepted_from_our_own_page(
    headers: dict[str, str], settings: Settings
) -> None:
    assert presented_token(scope(cookie=COOKIE, **headers), "customer", settings) is not None


def test_a_socket_opened_with_a_cookie_needs_our_origin(settings: Settings) -> None:
    assert presented_token(websocket(cookie=COOKIE, origin=ORIGIN), "mitra", settings) is not None
    for headers in ({}, {"origin": "https://evil.example"}):
        with pytest.raises(Forbidden):
            presented_token(websocket(cookie=COOKIE, **headers), "mitra", settings)


def test_a_production_cookie_is_limited_to_one_path_and_site_and_hidden_from_scripts(
    settings: Settings,
) -> None:
    cookie = token_cookie("mitra", "abc", 60, settings).to_header(header="")
    assert cookie.startswith("__Secure-curhat_mitra=abc;")
    parts = {part.strip().lower() for part in cookie.split(";")}
    assert {"httponly", "secure", "samesite=strict", "path=/api/mitra", "max-age=60"} <= parts
    assert not any(part.startswith("domain") for part in parts)


def test_a_development_cookie_works_without_tls(settings: Settings) -> None:
    development = replace(settings, environment="development")
    assert cookie_name("customer", development) == "curhat_customer"
    assert "secure" not in token_cookie("customer", "abc", 60, development).to_header(header="").lower()


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("::ffff:10.1.2.3", 5), "10.1.2.3"),
        (("2001:db8:1:2:3::4", 5), "2001:db8:1:2::"),
        (("2001:db8:1:2:ffff::9", 5), "2001:db8:1:2::"),
        (("testclient", 5), "unknown"),
        (None, "unknown"),
    ],
)
def test_all_addresses_of_an_ipv6_network_count_as_one_address(client: object, address: str) -> None:
    assert address_of({"client": client}) == address
