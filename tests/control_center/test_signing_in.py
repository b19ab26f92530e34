"""Test how operators sign in with e-mail, password and authenticator app, and how they sign out and list devices."""

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pyotp
import pytest
import valkey.asyncio

from curhat.control_center.operators import passwords, throttle
from curhat.control_center.operators.errors import LastAdmin
from curhat.control_center.operators.service import (
    TOKEN_LIFETIME_SECONDS,
    create_operator,
    disable_operator,
    prune,
    reset_operator,
)
from curhat.control_center.operators.throttle import OWN_DELAYS
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.kit.errors import NotFound
from tests.support.clock import START, VirtualClock
from tests.support.realtime import until
from tests.support.server import Person
from tests.support.signed_in import (
    ORIGIN,
    SECRET_KEY,
    RunningServer,
    development_settings,
    free_port,
    problem,
    start_server,
)

EMAIL = "sari@example.id"
PASSWORD = "a password of this test"
LOGIN = "/api/control-center/auth/login"

# After this number of wrong passwords or wrong codes from one address, the next try must wait.
FREE_PASSWORDS = OWN_DELAYS["password"].free
FREE_CODES = OWN_DELAYS["code"].free

INVALID = (401, "credentials_invalid")
TOTP_REQUIRED = (401, "totp_required")
TOO_MANY = (429, "too_many_requests")
UNAUTHENTICATED = (401, "unauthenticated")


@pytest.fixture(scope="module")
def password_hash() -> str:
    return passwords.hashed(PASSWORD)


@pytest.fixture
async def sari(server: RunningServer, password_hash: str) -> UUID:
    """Create an admin with a password and without an authenticator app."""
    async with server.database.transaction() as tx:
        return await create_operator(tx, EMAIL, "admin", password_hash)


async def _login(server: RunningServer, **more: Any) -> httpx.Response:
    return await server.http.post(LOGIN, json={"email": EMAIL, "password": PASSWORD, **more})


async def _strangers_fail(database: Database, factor: str = "password", times: int = 1000) -> None:
    """Record failed sign-ins as Sari from many unknown devices at many addresses."""
    await database.execute(
        "INSERT INTO operator_sign_in_tries (email_digest, factor, requester) "
        "SELECT $1, $2, int4send(number) FROM generate_series(1, $3) AS number",
        throttle.digest_of_email(SECRET_KEY.encode(), EMAIL),
        factor,
        times,
    )


async def _signed_in(server: RunningServer, operator_id: UUID, **more: Any) -> Person:
    answer = await _login(server, **more)
    assert answer.status_code == 200, answer.text
    return Person(server.http, "operator", operator_id, answer.json()["token"])


@pytest.mark.parametrize(
    ("forwarded", "shown"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("x" * 61, "unknown"),
        ("x" * 8_000, "unknown"),
        ("fe80::1%" + "e" * 80, "unknown"),
        ("1.2.3.4, <script>", "unknown"),
    ],
)
async def test_an_operator_signs_in_even_if_the_proxy_sends_an_invalid_address(
    server: RunningServer, sari: UUID, forwarded: str, shown: str
) -> None:
    body = {"email": EMAIL, "password": PASSWORD}
    answer = await server.http.post(LOGIN, json=body, headers={"X-Forwarded-For": forwarded})
    assert answer.status_code == 200, answer.text
    operator = Person(server.http, "operator", sari, answer.json()["token"])
    (device,) = (await operator.get("/auth/devices")).json()["items"]
    assert device["address"] == shown


async def _enrol(operator: Person, now: datetime = START) -> tuple[pyotp.TOTP, list[str]]:
    begun = await operator.post("/auth/totp", {"password": PASSWORD})
    assert begun.status_code == 200, begun.text
    totp = pyotp.TOTP(begun.json()["secret"])
    confirmed = await operator.post("/auth/totp/confirm", {"totp": totp.at(now)})
    assert confirmed.status_code == 200, confirmed.text
    codes: list[str] = confirmed.json()["recovery_codes"]
    return totp, codes


# Signing in --------------------------------------------------------------------------------------------------


@pytest.mark.rule("S.3")
async def test_a_sign_in_with_email_and_password_returns_the_account_of_the_operator(
    server: RunningServer, sari: UUID
) -> None:
    answer = await server.http.post(LOGIN, json={"email": f"  {EMAIL.upper()} ", "password": PASSWORD})
    assert answer.status_code == 200
    body = answer.json()
    assert body["operator"] == {"id": str(sari), "email": EMAIL, "role": "admin"}
    assert body["totp_enrolled"] is False
    assert answer.headers["cache-control"] == "no-store"
    me = await Person(server.http, "operator", sari, body["token"]).get("/auth/me")
    assert me.json()["permissions"] == [
        "ask_what_if",
        "configure",
        "decide",
        "manage_devices",
        "manage_mitras",
        "manage_operators",
        "own_account",
        "publish",
        "reveal",
        "view",
    ]


async def test_the_database_stores_neither_passwords_nor_tokens(server: RunningServer, sari: UUID) -> None:
    sari_now = await _signed_in(server, sari)
    row = await server.database.fetchrow("SELECT password_hash FROM operators")
    assert row is not None
    assert row["password_hash"].startswith("$argon2id$")
    assert await server.database.fetchval("SELECT length(digest) FROM operator_tokens") == 32
    stored = await server.database.fetchval("SELECT string_agg(t::text, '') FROM operator_tokens AS t")
    assert sari_now.token not in stored
    assert len(sari_now.token) >= 43


async def test_an_unknown_email_and_a_wrong_password_get_the_same_answer(
    server: RunningServer, sari: UUID
) -> None:
    wrong = await _login(server, password="not the password")
    unknown = await _login(server, email="nobody@example.id")
    assert problem(wrong) == problem(unknown) == INVALID
    assert wrong.content == unknown.content


async def test_an_unknown_email_causes_the_same_hashing_work_as_a_known_email(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str | None] = []
    real = passwords.is_right

    def counting(password: str, password_hash: str | None) -> bool:
        compared.append(password_hash)
        return real(password, password_hash)

    monkeypatch.setattr(passwords, "is_right", counting)
    assert problem(await _login(server, email="nobody@example.id")) == INVALID
    assert compared == [None]


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.id"])
async def test_each_wrong_password_for_a_known_or_unknown_email_doubles_the_wait(
    server: RunningServer, sari: UUID, clock: VirtualClock, email: str
) -> None:
    await clock.set()
    for _ in range(FREE_PASSWORDS):
        assert problem(await _login(server, email=email, password="wrong")) == INVALID
    for wait_seconds in (1, 2, 4):
        refused = await _login(server, email=email)
        assert problem(refused) == TOO_MANY
        assert int(refused.headers["retry-after"]) == wait_seconds
        assert problem(await _login(server, email="another@example.id")) == INVALID
        await clock.advance(wait_seconds)
        assert problem(await _login(server, email=email, password="wrong")) == INVALID
    await clock.advance(8)
    expected = (200, None) if email == EMAIL else INVALID
    assert problem(await _login(server, email=email)) == expected


async def test_concurrent_wrong_passwords_are_delayed_like_consecutive_wrong_passwords(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    answers = await asyncio.gather(*(_login(server, password="wrong") for _ in range(FREE_PASSWORDS + 10)))
    assert sorted(map(problem, answers)) == [INVALID] * FREE_PASSWORDS + [TOO_MANY] * 10


async def test_a_sign_in_resets_the_count_of_wrong_passwords_only_for_its_own_address(
    server: RunningServer, sari: UUID
) -> None:
    await _strangers_fail(server.database, times=20)
    for _ in range(FREE_PASSWORDS - 1):
        await _login(server, password="wrong")
    await _signed_in(server, sari)
    assert problem(await _login(server, password="wrong")) == INVALID
    assert await server.database.fetchval("SELECT count(*) FROM operator_sign_in_tries") == 21


@pytest.mark.rule("X.13")
async def test_wrong_passwords_from_other_addresses_delay_an_unknown_device_for_at_most_a_minute(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    await _strangers_fail(server.database)
    refused = await _login(server)
    assert problem(refused) == TOO_MANY
    assert int(refused.headers["retry-after"]) <= 60
    await clock.advance(60)
    assert problem(await _login(server)) == (200, None)


@pytest.mark.rule("X.13")
@pytest.mark.parametrize("shown", ["cookie", "device_secret"])
async def test_wrong_passwords_and_wrong_codes_cannot_lock_an_operator_out_of_a_known_device(
    server: RunningServer, sari: UUID, clock: VirtualClock, shown: str
) -> None:
    await clock.set()
    first = await _login(server)
    more: dict[str, Any] = {"device_secret": first.json()["device_secret"]}
    totp, _ = await _enrol(Person(server.http, "operator", sari, first.json()["token"]))
    if shown == "cookie":
        server.http.cookies["curhat_device_operator"] = more.pop("device_secret")
    await _strangers_fail(server.database)
    await _strangers_fail(server.database, "code")
    now = await clock.advance(30)
    answer = await _login(server, totp=totp.at(now), **more)
    assert problem(answer) == (200, None)
    # Each sign-in replaces the secret of the device. Nobody can use the old secret.
    if shown == "device_secret":
        now = await clock.advance(30)
        await _strangers_fail(server.database)
        assert problem(await _login(server, totp=totp.at(now), **more)) == TOO_MANY
        more["device_secret"] = answer.json()["device_secret"]
        assert problem(await _login(server, totp=totp.at(now), **more)) == (200, None)


@pytest.mark.rule("X.13")
async def test_a_device_that_is_known_for_one_email_is_unknown_for_every_other_email(
    server: RunningServer, sari: UUID, password_hash: str
) -> None:
    async with server.database.transaction() as tx:
        await create_operator(tx, "tari@example.id", "viewer", password_hash)
    device_secret = (await _login(server, email="tari@example.id")).json()["device_secret"]
    await _strangers_fail(server.database)
    assert problem(await _login(server, device_secret=device_secret)) == TOO_MANY


@pytest.mark.rule("X.13")
async def test_wrong_passwords_do_not_delay_a_signed_in_operator(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    operator = await _signed_in(server, sari)
    await _strangers_fail(server.database)
    for _ in range(FREE_PASSWORDS + 5):
        await _login(server, password="wrong")
    await _enrol(operator)
    new = "another password of this test"
    changed = await operator.post("/auth/password", {"password": PASSWORD, "new_password": new})
    assert problem(changed) == (204, None)


@pytest.mark.rule("X.13")
async def test_a_flood_of_passwords_from_strangers_is_refused_and_does_not_delay_an_operator(
    server: RunningServer, sari: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await _login(server)).json()
    operator = Person(server.http, "operator", sari, first["token"])
    may_end, real = threading.Event(), passwords.is_right

    def slow_for_strangers(password: str, password_hash: str | None) -> bool:
        if password_hash is None:
            may_end.wait()
        return real(password, password_hash)

    monkeypatch.setattr(passwords, "is_right", slow_for_strangers)
    monkeypatch.setattr(passwords.STRANGERS_HASHES, "max_checks", 3)
    strangers = [asyncio.create_task(_login(server, email=f"{number}@example.id")) for number in range(3)]
    try:
        await until(lambda: passwords.STRANGERS_HASHES._checks == 3)
        refused = await _login(server, email="another@example.id")
        assert problem(refused) == TOO_MANY
        assert int(refused.headers["retry-after"]) > 0
        assert problem(await _login(server, device_secret=first["device_secret"])) == (200, None)
        new = "another password of this test"
        changed = await operator.post("/auth/password", {"password": PASSWORD, "new_password": new})
        assert problem(changed) == (204, None)
    finally:
        may_end.set()
    assert [problem(answer) for answer in await asyncio.gather(*strangers)] == [INVALID] * 3
    # The refused try does not count as a wrong try.
    assert await server.database.fetchval("SELECT count(*) FROM operator_sign_in_tries") == 3


async def test_sign_in_attempts_are_limited_per_network_address(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> None:
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url), address_password_tries_per_hour=2
    )
    async with start_server(settings, database) as server:
        answers = [problem(await _login(server, email=f"{number}@example.id")) for number in range(3)]
    assert answers == [INVALID, INVALID, TOO_MANY]


# The second factor -------------------------------------------------------------------------------------------


@pytest.mark.rule("S.3")
async def test_a_sign_in_needs_a_code_when_an_authenticator_app_is_set_up(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    totp, _ = await _enrol(await _signed_in(server, sari))
    assert problem(await _login(server)) == TOTP_REQUIRED
    assert problem(await _login(server, totp="000000")) == INVALID
    assert problem(await _login(server, password="wrong", totp=totp.at(START))) == INVALID
    now = await clock.advance(30)
    assert problem(await _login(server, totp=totp.at(now))) == (200, None)


async def test_a_right_password_without_a_code_does_not_count_as_a_wrong_password(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    await _enrol(await _signed_in(server, sari))
    for _ in range(FREE_PASSWORDS + 1):
        assert problem(await _login(server)) == TOTP_REQUIRED


@pytest.mark.parametrize("code", [{"totp": "000000"}, {"recovery_code": "aaaa-aaaa-aaaa-aaaa"}])
async def test_each_wrong_code_of_the_second_factor_doubles_the_wait_of_its_address(
    server: RunningServer, sari: UUID, clock: VirtualClock, code: dict[str, str]
) -> None:
    await clock.set()
    totp, _ = await _enrol(await _signed_in(server, sari))
    now = await clock.advance(60)
    for _ in range(FREE_CODES):
        assert problem(await _login(server, **code)) == INVALID
    # The answer to a wrong password does not reveal that the code is right. The wrong password does not lengthen the
    # wait for codes.
    assert problem(await _login(server, password="wrong", totp=totp.at(now))) == INVALID
    for wait_seconds in (30, 60):
        refused = await _login(server, totp=totp.at(now))
        assert problem(refused) == TOO_MANY
        assert int(refused.headers["retry-after"]) == wait_seconds
        now = await clock.advance(wait_seconds)
        assert problem(await _login(server, **code)) == INVALID
    now = await clock.advance(120)
    assert problem(await _login(server, totp=totp.at(now))) == (200, None)


async def test_concurrent_wrong_codes_are_delayed_like_consecutive_wrong_codes(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    await _enrol(await _signed_in(server, sari))
    answers = await asyncio.gather(*(_login(server, totp="000000") for _ in range(FREE_CODES + 3)))
    assert sorted(map(problem, answers)) == [INVALID] * FREE_CODES + [TOO_MANY] * 3


async def test_the_confirmation_of_an_authenticator_app_counts_wrong_codes(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    operator = await _signed_in(server, sari)
    begun = await operator.post("/auth/totp", {"password": PASSWORD})
    totp = pyotp.TOTP(begun.json()["secret"])
    for _ in range(FREE_CODES):
        assert problem(await operator.post("/auth/totp/confirm", {"totp": "000000"})) == INVALID
    right = {"totp": totp.at(START)}
    refused = await operator.post("/auth/totp/confirm", right)
    assert problem(refused) == TOO_MANY
    assert int(refused.headers["retry-after"]) == 30
    # A new start of the setup does not reset the count of wrong codes.
    await operator.post("/auth/totp", {"password": PASSWORD})
    assert problem(await operator.post("/auth/totp/confirm", right)) == TOO_MANY


async def test_every_operation_that_checks_a_code_or_a_password_counts_wrong_attempts(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    operator = await _signed_in(server, sari)
    await _enrol(operator)
    await clock.advance(60)
    wrong_code, wrong_password = {"totp": "000000"}, {"password": "wrong"}
    for path, body, free in (
        ("/auth/recovery-codes", wrong_code, FREE_CODES),
        ("/auth/totp", {"password": PASSWORD, **wrong_code}, 0),
        ("/auth/password", {**wrong_password, "new_password": "another password"}, FREE_PASSWORDS),
        ("/auth/totp", {**wrong_password, **wrong_code}, 0),
    ):
        for _ in range(free):
            assert problem(await operator.post(path, body)) == INVALID, path
        assert problem(await operator.post(path, body)) == TOO_MANY, path


async def test_the_qr_code_contains_the_secret_but_the_database_does_not(
    server: RunningServer, sari: UUID
) -> None:
    begun = (await (await _signed_in(server, sari)).post("/auth/totp", {"password": PASSWORD})).json()
    parsed = pyotp.parse_uri(begun["otpauth_uri"])
    assert (parsed.secret, parsed.name, parsed.issuer) == (begun["secret"], EMAIL, "Curhat Control Center")
    assert begun["qr_svg"].startswith("<svg xmlns=")
    # The database stores only a salt. The server derives the secret from the salt and the server's secret key.
    row = await server.database.fetchval("SELECT operators::text FROM operators")
    assert begun["secret"] not in row


async def test_a_new_authenticator_secret_takes_effect_when_a_code_confirms_the_secret(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    operator = await _signed_in(server, sari)
    assert problem(await operator.post("/auth/totp/confirm", {"totp": "000000"})) == (
        409,
        "no_enrolment_begun",
    )
    begun = await operator.post("/auth/totp", {"password": PASSWORD})
    assert problem(await operator.post("/auth/totp/confirm", {"totp": "000000"})) == INVALID
    assert problem(await _login(server)) == (200, None)
    code = pyotp.TOTP(begun.json()["secret"]).at(START)
    assert problem(await operator.post("/auth/totp/confirm", {"totp": code})) == (200, None)
    assert problem(await _login(server)) == TOTP_REQUIRED


async def test_a_code_is_valid_once_and_within_one_time_step_of_the_clock(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    totp, _ = await _enrol(await _signed_in(server, sari))
    assert problem(await _login(server, totp=totp.at(START))) == INVALID
    now = await clock.advance(300)
    slow, fast = now - timedelta(seconds=30), now + timedelta(seconds=30)
    assert problem(await _login(server, totp=totp.at(slow - timedelta(seconds=30)))) == INVALID
    assert problem(await _login(server, totp=totp.at(slow))) == (200, None)
    assert problem(await _login(server, totp=totp.at(slow))) == INVALID
    assert problem(await _login(server, totp=totp.at(fast))) == (200, None)
    # The server also refuses a code from an earlier time step than the last used code.
    assert problem(await _login(server, totp=totp.at(now))) == INVALID


async def test_only_one_of_many_concurrent_uses_of_a_code_succeeds(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    totp, _ = await _enrol(await _signed_in(server, sari))
    now = await clock.advance(60)
    answers = await asyncio.gather(*(_login(server, totp=totp.at(now)) for _ in range(5)))
    assert sorted(map(problem, answers)) == [(200, None)] + [INVALID] * 4


async def test_a_recovery_code_can_be_used_once_instead_of_a_code_of_the_app(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    _, codes = await _enrol(await _signed_in(server, sari))
    assert len(set(codes)) == 10
    assert problem(await _login(server, recovery_code="aaaa-aaaa-aaaa-aaaa")) == INVALID
    operator = await _signed_in(server, sari, recovery_code=codes[0].upper().replace("-", " "))
    assert problem(await _login(server, recovery_code=codes[0])) == INVALID
    assert (await operator.get("/auth/me")).json()["recovery_codes_left"] == 9


async def test_new_recovery_codes_replace_the_old_codes(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    operator = await _signed_in(server, sari)
    assert problem(await operator.post("/auth/recovery-codes", {"totp": "000000"})) == (
        409,
        "no_enrolment_begun",
    )
    totp, old = await _enrol(operator)
    now = await clock.advance(60)
    assert problem(await operator.post("/auth/recovery-codes", {"totp": "000000"})) == INVALID
    renewed = await operator.post("/auth/recovery-codes", {"totp": totp.at(now)})
    new = renewed.json()["recovery_codes"]
    assert not set(old) & set(new)
    assert problem(await _login(server, recovery_code=old[0])) == INVALID
    assert problem(await _login(server, recovery_code=new[0])) == (200, None)


async def test_a_new_authenticator_app_needs_the_password_and_a_code_of_the_current_app(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    operator = await _signed_in(server, sari)
    assert problem(await operator.post("/auth/totp", {"password": "wrong"})) == INVALID
    totp, _ = await _enrol(operator)
    now = await clock.advance(60)
    assert problem(await operator.post("/auth/totp", {"password": PASSWORD})) == TOTP_REQUIRED
    begun = await operator.post("/auth/totp", {"password": PASSWORD, "totp": totp.at(now)})
    another = pyotp.TOTP(begun.json()["secret"])
    now = await clock.advance(60)
    assert problem(await operator.post("/auth/totp/confirm", {"totp": totp.at(now)})) == INVALID
    assert problem(await operator.post("/auth/totp/confirm", {"totp": another.at(now)})) == (200, None)
    now = await clock.advance(60)
    assert problem(await _login(server, totp=totp.at(now))) == INVALID
    assert problem(await _login(server, totp=another.at(now))) == (200, None)


# The first password --------------------------------------------------------------------------------------------


@pytest.mark.rule("S.3")
async def test_an_operator_must_first_change_a_password_that_another_person_has_seen(
    server: RunningServer, password_hash: str
) -> None:
    async with server.database.transaction() as tx:
        sari = await create_operator(tx, EMAIL, "admin", password_hash, must_change_password=True)
    signed_in = await _login(server)
    assert signed_in.json()["must_change_password"] is True
    operator = Person(server.http, "operator", sari, signed_in.json()["token"])
    required = (403, "password_change_required")
    for path in ("/auth/me", "/auth/devices", "/configuration", "/customers"):
        assert problem(await operator.get(path)) == required
    assert problem(await operator.post("/auth/totp", {"password": PASSWORD})) == required
    new = "another password of this test"
    same = await operator.post("/auth/password", {"password": PASSWORD, "new_password": PASSWORD})
    assert problem(same) == (422, "validation_failed")
    changed = await operator.post("/auth/password", {"password": PASSWORD, "new_password": new})
    assert problem(changed) == (204, None)
    assert problem(await operator.get("/configuration")) == (200, None)
    assert (await _login(server, password=new)).json()["must_change_password"] is False


async def test_an_operator_who_must_change_the_password_can_sign_out(
    server: RunningServer, password_hash: str
) -> None:
    async with server.database.transaction() as tx:
        sari = await create_operator(tx, EMAIL, "admin", password_hash, must_change_password=True)
    operator = await _signed_in(server, sari)
    assert problem(await operator.post("/auth/logout")) == (204, None)


@pytest.mark.parametrize("new", ["password1234", EMAIL, "Sari@Example2026", "\uff50assword1234"])
async def test_a_password_that_is_easy_to_guess_is_refused(
    server: RunningServer, sari: UUID, new: str
) -> None:
    operator = await _signed_in(server, sari)
    body = {"password": PASSWORD, "new_password": new}
    refused = await operator.post("/auth/password", body)
    assert problem(refused) == (422, "validation_failed")
    assert [error["field"] for error in refused.json()["errors"]] == ["new_password"]
    # The right password did not count as a wrong password.
    assert await server.database.fetchval("SELECT count(*) FROM operator_sign_in_tries") == 0


@pytest.fixture
async def production(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """Start a server with production settings."""
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url),
        environment="production",
        code_senders=("sms",),
        operations_port=free_port(),
        public_origins=("https://app.example.id",),
    )
    async with start_server(settings, database) as opened:
        yield opened


@pytest.mark.rule("S.3")
async def test_production_refuses_other_operations_until_the_operator_sets_up_an_authenticator_app(
    production: RunningServer, password_hash: str
) -> None:
    async with production.database.transaction() as tx:
        sari = await create_operator(tx, EMAIL, "admin", password_hash)
    operator = await _signed_in(production, sari)
    assert problem(await operator.get("/configuration")) == (403, "totp_enrolment_required")
    await _enrol(operator, datetime.now(UTC))
    assert problem(await operator.get("/configuration")) == (200, None)


# Cookies and devices -----------------------------------------------------------------------------------------


async def test_a_web_client_gets_a_cookie_and_no_token(server: RunningServer, sari: UUID) -> None:
    answer = await server.http.post(
        LOGIN,
        json={"email": EMAIL, "password": PASSWORD, "transport": "cookie"},
        headers={"Origin": ORIGIN},
    )
    assert "token" not in answer.json()
    cookie, device = answer.headers.get_list("set-cookie")
    assert device.startswith("curhat_device_operator=")
    for part in ("curhat_operator=", "Path=/api/control-center", "HttpOnly", "SameSite=strict"):
        assert part in cookie
    assert f"Max-Age={TOKEN_LIFETIME_SECONDS}" in cookie
    server.http.cookies.clear()
    sent = {"Cookie": f"curhat_operator={answer.cookies['curhat_operator']}"}
    url = "/api/control-center/auth/logout"
    assert problem(await server.http.post(url, headers=sent)) == (403, "forbidden")
    assert problem(await server.http.post(url, headers={**sent, "Origin": "https://evil.example"})) == (
        403,
        "forbidden",
    )
    signed_out = await server.http.post(url, headers={**sent, "Origin": ORIGIN})
    assert signed_out.status_code == 204
    assert 'curhat_operator="";' in signed_out.headers["set-cookie"].replace(
        "curhat_operator=;", 'curhat_operator="";'
    )
    me = await server.http.get("/api/control-center/auth/me", headers=sent)
    assert problem(me) == UNAUTHENTICATED


async def test_a_page_of_another_site_cannot_sign_an_operator_in(server: RunningServer, sari: UUID) -> None:
    answer = await server.http.post(
        LOGIN,
        json={"email": EMAIL, "password": PASSWORD, "transport": "cookie"},
        headers={"Origin": "https://evil.example"},
    )
    assert problem(answer) == (403, "forbidden")


async def test_a_device_that_an_operator_revokes_is_refused_immediately(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    first = await _signed_in(server, sari)
    await clock.advance(5)
    second = await _signed_in(server, sari)
    devices = (await second.get("/auth/devices")).json()
    assert [device["is_current"] for device in devices["items"]] == [True, False]
    assert devices["items"][0]["address"] == "127.0.0.1"
    assert devices["items"][0]["user_agent"].startswith("python-httpx")
    assert "server_now" in devices
    assert (await second.delete(f"/auth/devices/{devices['items'][1]['id']}")).status_code == 204
    assert problem(await first.get("/auth/me")) == UNAUTHENTICATED
    assert problem(await second.get("/auth/me")) == (200, None)
    assert problem(await second.delete(f"/auth/devices/{devices['items'][1]['id']}")) == (404, "not_found")
    actions = await server.database.fetch("SELECT action FROM audit_entries ORDER BY id")
    assert [row["action"] for row in actions] == [
        "operator_created",
        "operator_signed_in",
        "operator_signed_in",
        "device_revoked",
    ]


async def test_a_new_sign_in_revokes_only_the_replaced_token(server: RunningServer, sari: UUID) -> None:
    first, elsewhere = await _signed_in(server, sari), await _signed_in(server, sari)
    body = {"email": EMAIL, "password": "wrong"}
    headers = {"Authorization": f"Bearer {first.token}"}
    assert problem(await server.http.post(LOGIN, json=body, headers=headers)) == INVALID
    assert problem(await first.get("/auth/me")) == (200, None)
    again = await server.http.post(LOGIN, json={**body, "password": PASSWORD}, headers=headers)
    assert problem(again) == (200, None)
    assert problem(await first.get("/auth/me")) == UNAUTHENTICATED
    assert problem(await elsewhere.get("/auth/me")) == (200, None)


async def test_an_operator_cannot_revoke_the_device_of_another_operator(server: RunningServer) -> None:
    mine, theirs = await server.operator("admin"), await server.operator("viewer")
    device = (await theirs.get("/auth/devices")).json()["items"][0]
    assert problem(await mine.delete(f"/auth/devices/{device['id']}")) == (404, "not_found")
    assert problem(await mine.delete(f"/auth/devices/{uuid4()}")) == (404, "not_found")
    assert problem(await theirs.get("/auth/me")) == (200, None)


async def test_a_disabled_operator_is_refused_immediately_like_an_unknown_operator(
    server: RunningServer, sari: UUID
) -> None:
    operator = await _signed_in(server, sari)
    async with server.database.transaction() as tx:
        with pytest.raises(LastAdmin):
            await disable_operator(tx, EMAIL)
    await server.operator()
    async with server.database.transaction() as tx:
        await disable_operator(tx, f" {EMAIL.upper()}")
    assert problem(await operator.get("/auth/me")) == UNAUTHENTICATED
    refused = await _login(server)
    assert problem(refused) == INVALID
    assert refused.content == (await _login(server, email="nobody@example.id")).content
    async with server.database.transaction() as tx:
        with pytest.raises(NotFound):
            await disable_operator(tx, EMAIL)


async def test_resetting_an_operator_sets_a_new_password_and_removes_the_authenticator_app(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    operator = await _signed_in(server, sari)
    _, codes = await _enrol(operator)
    new = "the password of a new beginning"
    async with server.database.transaction() as tx:
        await reset_operator(tx, EMAIL, passwords.hashed(new))
    assert problem(await operator.get("/auth/me")) == UNAUTHENTICATED
    assert problem(await _login(server)) == INVALID
    assert problem(await _login(server, recovery_code=codes[0])) == INVALID
    signed_in = await _login(server, password=new)
    assert (signed_in.status_code, signed_in.json()["totp_enrolled"]) == (200, False)
    assert signed_in.json()["must_change_password"] is True
    assert await server.database.fetchval("SELECT count(*) FROM operator_recovery_codes") == 0
    async with server.database.transaction() as tx:
        with pytest.raises(NotFound):
            await reset_operator(tx, "nobody@example.id", "x")


async def test_a_token_is_valid_for_twelve_hours_and_shows_the_time_of_its_last_use(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    operator = await _signed_in(server, sari)
    now = await clock.advance(90)
    await operator.get("/auth/me")
    device = (await operator.get("/auth/devices")).json()["items"][0]
    assert datetime.fromisoformat(device["last_seen_at"]) == now
    await clock.advance(TOKEN_LIFETIME_SECONDS - 91)
    assert problem(await operator.get("/auth/me")) == (200, None)
    await clock.advance(1)
    assert problem(await operator.get("/auth/me")) == UNAUTHENTICATED


async def test_old_attempts_and_expired_tokens_are_deleted(
    server: RunningServer, sari: UUID, clock: VirtualClock
) -> None:
    await clock.set()
    operator = await _signed_in(server, sari)
    await _login(server, password="wrong")
    left = "SELECT (SELECT count(*) FROM operator_tokens), (SELECT count(*) FROM operator_sign_in_tries)"

    async def tidied_after(seconds: float) -> tuple[int, int]:
        await clock.advance(seconds)
        async with server.database.transaction() as tx:
            await prune(tx)
        row = await server.database.fetchrow(left)
        assert row is not None
        return tuple(row)

    assert await tidied_after(0) == (1, 1)
    assert problem(await operator.get("/auth/me")) == (200, None)
    assert await tidied_after(24 * 3600 + 1) == (1, 0)
    assert await tidied_after(7 * 24 * 3600) == (0, 0)


async def test_a_password_change_signs_out_the_other_devices_of_the_operator(
    server: RunningServer, sari: UUID
) -> None:
    first, second = await _signed_in(server, sari), await _signed_in(server, sari)
    new = "another password of this test"
    wrong = await second.post("/auth/password", {"password": "wrong", "new_password": new})
    assert problem(wrong) == INVALID
    short = await second.post("/auth/password", {"password": PASSWORD, "new_password": "short"})
    assert problem(short) == (422, "validation_failed")
    changed = await second.post("/auth/password", {"password": PASSWORD, "new_password": new})
    assert changed.status_code == 204
    assert problem(await first.get("/auth/me")) == UNAUTHENTICATED
    assert problem(await second.get("/auth/me")) == (200, None)
    assert problem(await _login(server)) == INVALID
    assert problem(await _login(server, password=new)) == (200, None)
