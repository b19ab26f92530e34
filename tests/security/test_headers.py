"""Test the headers that every answer has, and the headers that no answer has."""

import httpx
import pytest

from curhat.presence.availability_poll import PATH as AVAILABILITY
from tests.security.operations import ENTERED, send
from tests.support.signed_in import ORIGIN, RunningServer

POLICY = "default-src 'none'; frame-ancestors 'none'"


# Everybody gets the same answer, and a browser may keep it (H.1, H.2).
PUBLIC = {"get_help_lines": "public, max-age=300", "get_service_facts": "max-age=60, public"}


def _protected(answer: httpx.Response, caching: str = "no-store") -> bool:
    """Return whether the headers forbid type guessing, framing, and a referrer with the URL, and say `caching`."""
    headers = answer.headers
    return (
        headers["x-content-type-options"] == "nosniff"
        and headers["cache-control"] == caching
        and headers["content-security-policy"] == POLICY
        and headers["referrer-policy"] == "no-referrer"
    )


async def test_every_answer_of_every_operation_has_the_protective_headers(server: RunningServer) -> None:
    for operation, entry in ENTERED:
        call = await entry.prepare(server)
        granted = await send(server, operation, call)
        refused = await send(server, operation, call, content=b"{", headers={"Authorization": "Bearer x"})
        caching = PUBLIC.get(operation.id, "no-store")
        assert _protected(granted, caching), operation.id
        # An operation without a sign-in and without a body refuses nothing here.
        assert _protected(refused, caching if refused.is_success else "no-store"), operation.id


async def test_an_answer_that_belongs_to_no_operation_has_the_protective_headers(
    server: RunningServer,
) -> None:
    for method, path, status in (
        ("GET", "/api/no/such/path", 404),
        ("GET", "/no/such/path", 404),
        ("GET", "/", 307),
        ("GET", "/app/no-such-file.js", 404),
        ("POST", "/app/", 405),
        ("PUT", "/api/client/me", 405),
        ("OPTIONS", "/api/client/me", 204),
        ("GET", "/api/openapi.json", 200),
        ("POST", "/api/client/auth/otp/request", 413),
    ):
        content = b" " * 70_000 if status == 413 else b""
        headers = {"Content-Type": "application/json"}
        answer = await server.http.request(method, path, content=content, headers=headers)
        assert answer.status_code == status
        assert _protected(answer), path


async def test_an_internal_error_has_the_protective_headers_and_reveals_nothing(
    server: RunningServer,
) -> None:
    customer = await server.customer()
    await server.database.execute("ALTER TABLE customers RENAME TO customers_away")
    answer = await customer.get("/me")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal_error"
    assert set(answer.json()) == {"type", "title", "status", "detail", "code"}
    assert "customers" not in answer.text
    assert _protected(answer)


@pytest.mark.rule("1.2")
async def test_every_answer_of_the_availability_poll_has_the_protective_headers(
    server: RunningServer,
) -> None:
    # The poll bypasses the framework for speed, so the code of the poll sets the headers of each answer.
    for method, status in (("GET", 200), ("HEAD", 200), ("POST", 405)):
        answer = await server.http.request(method, AVAILABILITY)
        assert answer.status_code == status
        assert _protected(answer)


async def test_a_correlation_id_is_returned(server: RunningServer) -> None:
    for given in ("abcdefgh", "01a2072f-ad20-7ede-9fbe-73de0b70acc2", "A.b_c-" + "9" * 58):
        for path in ("/api/client/me", "/api/no/such/path"):
            answer = await server.http.get(path, headers={"X-Request-Id": given})
            assert answer.headers.get_list("x-request-id") == [given]


async def test_a_malformed_correlation_id_is_replaced(server: RunningServer) -> None:
    for given in (
        "",
        "short",
        "x" * 65,
        "with a space in it",
        'quote"quote"',
        "<script>alert(1)",
        "ünïcödé-ünï",
    ):
        answer = await server.http.get("/api/client/me", headers=[(b"X-Request-Id", given.encode())])
        (own,) = answer.headers.get_list("x-request-id")
        assert own != given
        assert len(own) == 36


async def test_each_request_gets_its_own_correlation_id(server: RunningServer) -> None:
    ids = {(await server.http.get("/api/client/me")).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


async def test_a_page_of_another_origin_cannot_read_an_answer(server: RunningServer) -> None:
    customer = await server.customer()
    for origin in ("https://evil.example", ORIGIN, "null"):
        preflight = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,idempotency-key",
        }
        authorised = {"Origin": origin, "Authorization": f"Bearer {customer.token}"}
        answers = [
            await server.http.options("/api/client/payments", headers=preflight),
            await server.http.options(AVAILABILITY, headers=preflight),
            await server.http.get("/api/client/me", headers=authorised),
            await server.http.get(AVAILABILITY, headers={"Origin": origin}),
            await server.http.get("/api/no/such/path", headers={"Origin": origin}),
        ]
        for answer in answers:
            assert not [name for name in answer.headers if name.startswith("access-control")]
