"""Test which token of a request counts, and from which web pages a token in a cookie is accepted."""

from dataclasses import replace
from typing import Any

import pytest

from curhat.accounts.address_limit import address_of
from curhat.accounts.cookies import (
    PresentedToken,
    cookie_name,
    presented_device,
    presented_token,
    refuse_foreign_page,
    renewed_cookies,
    token_cookies,
)
from curhat.kit.errors import Forbidden
from curhat.kit.identity import AnyRole
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


COOKIE = "other=1; __Host-curhat_customer=abc; __Host-curhat_mitra=def"
OLD_COOKIE = "__Secure-curhat_customer=old; __Secure-curhat_device_customer=phone"


def test_a_bearer_token_needs_no_origin(settings: Settings) -> None:
    found = presented_token(
        scope(authorization="Bearer abc", origin="https://evil.example"), "customer", settings
    )
    assert found == PresentedToken("abc", "bearer")


@pytest.mark.parametrize("header", ["abc", "Basic abc", ""])
def test_the_cookie_is_ignored_when_an_authorization_header_without_a_bearer_token_is_sent(
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


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://mitra.curhat.example"},
        {"origin": "https://mitra.curhat.example", "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site"},
    ],
)
def test_a_cookie_reads_nothing_for_a_page_of_another_host(
    headers: dict[str, str], settings: Settings
) -> None:
    with pytest.raises(Forbidden):
        presented_token(scope("GET", cookie=COOKIE, **headers), "customer", settings)


@pytest.mark.parametrize("headers", [{}, {"sec_fetch_site": "none"}, {"sec_fetch_site": "same-origin"}])
def test_a_cookie_reads_for_its_own_page_and_for_a_program(
    headers: dict[str, str], settings: Settings
) -> None:
    assert presented_token(scope("GET", cookie=COOKIE, **headers), "customer", settings) is not None


HOSTS: dict[AnyRole, str] = {
    "customer": "https://app.curhat.example",
    "mitra": "https://mitra.curhat.example",
    "operator": "https://control.curhat.example",
}


@pytest.mark.parametrize("role", HOSTS)
@pytest.mark.parametrize("page", HOSTS)
def test_with_a_host_per_client_each_role_accepts_only_its_own_origin(
    role: AnyRole, page: AnyRole, settings: Settings
) -> None:
    separate = replace(
        settings,
        public_origins=tuple(HOSTS.values()),
        customer_origins=(HOSTS["customer"],),
        mitra_origins=(HOSTS["mitra"],),
        control_center_origins=(HOSTS["operator"],),
    )
    cookie = f"__Host-curhat_{role}=abc"
    sent = [
        scope("POST", cookie=cookie, origin=HOSTS[page]),
        scope("GET", cookie=cookie, origin=HOSTS[page]),
        websocket(cookie=cookie, origin=HOSTS[page]),
    ]
    for each in sent:
        if role == page:
            assert presented_token(each, role, separate) == PresentedToken("abc", "cookie")
            refuse_foreign_page(each, role, separate)
        else:
            with pytest.raises(Forbidden):
                presented_token(each, role, separate)
            with pytest.raises(Forbidden):
                refuse_foreign_page(each, role, separate)


def test_one_host_for_all_clients_serves_every_role(settings: Settings) -> None:
    for role in HOSTS:
        assert settings.origins_of(role) == (ORIGIN,)


def test_a_production_cookie_is_limited_to_one_host_and_site_and_hidden_from_scripts(
    settings: Settings,
) -> None:
    new, old = (cookie.to_header(header="") for cookie in token_cookies("mitra", "abc", 60, settings))
    assert new.startswith("__Host-curhat_mitra=abc;")
    assert old.startswith("__Secure-curhat_mitra=abc;")
    for cookie, path in ((new, "/"), (old, "/api/mitra")):
        parts = {part.strip().lower() for part in cookie.split(";")}
        assert {"httponly", "secure", "samesite=strict", f"path={path}", "max-age=60"} <= parts
        assert not any(part.startswith("domain") for part in parts)


def test_a_cookie_of_the_previous_version_counts_only_without_a_new_one(settings: Settings) -> None:
    found = presented_token(scope("GET", cookie=OLD_COOKIE), "customer", settings)
    assert found == PresentedToken("old", "cookie")
    assert presented_device(scope("GET", cookie=OLD_COOKIE), "customer", settings) == "phone"
    both = f"{OLD_COOKIE}; {COOKIE}"
    assert presented_token(scope("GET", cookie=both), "customer", settings) == PresentedToken("abc", "cookie")
    with pytest.raises(Forbidden):
        presented_token(scope("POST", cookie=OLD_COOKIE), "customer", settings)


def renewed(path: str, cookie: str, settings: Settings) -> dict[str, str]:
    seconds: dict[AnyRole, int] = {"customer": 60, "mitra": 60, "operator": 60}
    sent = {**scope("GET", cookie=cookie), "path": path}
    return {
        each.key: f"{each.value} {each.path} {each.max_age}"
        for each in renewed_cookies(sent, settings, seconds, device_seconds=90)
    }


def test_a_cookie_of_the_previous_version_is_sent_under_its_new_name_once(settings: Settings) -> None:
    assert renewed("/api/client/me", OLD_COOKIE, settings) == {
        "__Host-curhat_customer": "old / 60",
        "__Host-curhat_device_customer": "phone / 90",
    }
    assert renewed("/api/client/me", f"{OLD_COOKIE}; __Host-curhat_customer=abc", settings) == {
        "__Host-curhat_device_customer": "phone / 90"
    }
    assert renewed("/api/mitra/me", OLD_COOKIE, settings) == {}
    assert renewed("/api/openapi.json", OLD_COOKIE, settings) == {}
    assert renewed("/api/client/me", "__Secure-curhat_customer=", settings) == {}
    assert renewed("/api/client/me", OLD_COOKIE, replace(settings, environment="development")) == {}


def test_a_development_cookie_works_without_tls(settings: Settings) -> None:
    development = replace(settings, environment="development")
    assert cookie_name("customer", development) == "curhat_customer"
    (cookie,) = token_cookies("customer", "abc", 60, development)
    assert "secure" not in cookie.to_header(header="").lower()
    assert cookie.path == "/api/client"


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
