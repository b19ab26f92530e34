"""Test that a process caches a token for at most 3 s and learns of a revocation or a suspension."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from curhat.accounts import service
from curhat.accounts.service import Authenticator, Invited, SignedIn
from curhat.kit.database import Database
from curhat.kit.errors import Forbidden, NotFound, Unauthenticated, ValidationFailed
from curhat.kit.identity import Identity, Role
from curhat.kit.settings import Settings
from curhat.realtime.hooks import SocketIdentity
from tests.support.clock import START, VirtualClock
from tests.support.people import Make
from tests.support.signals import RecordedSignals


@pytest.fixture
def settings() -> Settings:
    return Settings.from_environment({"CURHAT_ENVIRONMENT": "development", "CURHAT_SECRET_KEY": "k" * 32})


@pytest.fixture
def authenticator(database: Database, settings: Settings) -> Authenticator:
    return Authenticator(database, settings)


DAY_SECONDS = 24 * 3600


class MonotonicClock:
    """A fake monotonic clock of the process. The clock moves only when a test moves the clock."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> MonotonicClock:
    made = MonotonicClock()
    monkeypatch.setattr(service, "time", made)
    return made


async def token_of(database: Database, role: Role, user_id: UUID) -> str:
    async with database.transaction() as tx:
        return await service._new_token(tx, role, user_id, "bearer", "a test", "a device")


async def sign_out(database: Database, token: str) -> None:
    async with database.transaction() as tx:
        await service.sign_out(tx, service.digest_of_token(token))


async def suspend(database: Database, mitra_id: UUID) -> None:
    async with database.transaction() as tx:
        await service.suspend_mitra(tx, mitra_id)


async def lift(database: Database, mitra_id: UUID) -> None:
    async with database.transaction() as tx:
        await service.lift_suspension(tx, mitra_id)


def scope(token: str, kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "method": "POST", "headers": [(b"authorization", f"Bearer {token}".encode())]}


@pytest.mark.rule("S.1")
async def test_an_unused_token_is_valid_for_fourteen_days(
    database: Database, authenticator: Authenticator, clock: VirtualClock, make: Make, ticks: MonotonicClock
) -> None:
    await clock.set()
    customer_id = await make.customer()
    token = await token_of(database, "customer", customer_id)
    await clock.advance(14 * DAY_SECONDS - 1)
    assert await authenticator.authenticate(token) == SignedIn(
        identity=Identity("customer", customer_id),
        token_digest=service.digest_of_token(token),
        transport="bearer",
        is_suspended=False,
    )
    await clock.advance(1)
    ticks.now += 3
    assert await authenticator.authenticate(token) is None


@pytest.mark.rule("S.1")
@pytest.mark.parametrize("by_socket", [False, True])
async def test_a_regularly_used_token_is_valid_for_thirty_days(
    database: Database,
    authenticator: Authenticator,
    clock: VirtualClock,
    make: Make,
    ticks: MonotonicClock,
    by_socket: bool,
) -> None:
    """A request and an open socket each use the token."""
    await clock.set()
    token = await token_of(database, "customer", await make.customer())
    held = SocketIdentity(Identity("customer", UUID(int=1)), service.digest_of_token(token))

    async def use() -> bool:
        ticks.now += 3
        if by_socket:
            valid = not await authenticator.signed_out([held])
        else:
            valid = await authenticator.authenticate(token) is not None
        await authenticator.record_use()
        return valid

    for _ in range(2):
        await clock.advance(13 * DAY_SECONDS)
        assert await use()
    await clock.advance(4 * DAY_SECONDS - 1)
    assert await use()
    await clock.advance(1)
    assert not await use()


async def test_the_use_of_a_token_is_recorded_at_most_once_per_hour_and_outside_the_request(
    database: Database, authenticator: Authenticator, clock: VirtualClock, make: Make, ticks: MonotonicClock
) -> None:
    await clock.set()
    token = await token_of(database, "customer", await make.customer())
    seen = "SELECT last_seen_at FROM access_tokens"

    async def use_after(seconds: float) -> None:
        await clock.advance(seconds)
        ticks.now += 3
        assert await authenticator.authenticate(token) is not None

    await use_after(3600)
    await authenticator.record_use()
    assert await database.fetchval(seen) == START
    await use_after(1)
    assert await database.fetchval(seen) == START
    await authenticator.record_use()
    assert await database.fetchval(seen) == START + timedelta(seconds=3601)


async def test_the_use_of_an_expired_token_does_not_make_it_valid_again(
    database: Database, authenticator: Authenticator, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    token = await token_of(database, "customer", await make.customer())
    await clock.advance(DAY_SECONDS)
    assert await authenticator.authenticate(token) is not None
    await clock.advance(14 * DAY_SECONDS)
    await authenticator.record_use()
    assert await authenticator.authenticate(token) is not None  # From the cache of this process.
    authenticator.forget_token(service.digest_of_token(token))
    assert await authenticator.authenticate(token) is None


async def test_an_invalid_token_is_refused_and_not_cached(authenticator: Authenticator) -> None:
    for token in ("", "x", "\x00", "é" * 1000):
        assert await authenticator.authenticate(token) is None
    assert not authenticator._remembered


async def test_a_process_reads_a_token_from_postgresql_at_most_once_per_three_seconds(
    database: Database, authenticator: Authenticator, make: Make, ticks: MonotonicClock
) -> None:
    token = await token_of(database, "customer", await make.customer())
    assert await authenticator.authenticate(token) is not None
    await database.execute("UPDATE access_tokens SET revoked_at = curhat_now()")
    ticks.now += 2.999
    assert await authenticator.authenticate(token) is not None
    # The process did not get the signal of the revocation. The process learns of the revocation when it reads the token
    # again.
    ticks.now += 0.001
    assert await authenticator.authenticate(token) is None


async def test_one_query_renews_the_trust_in_all_used_tokens_for_three_seconds(
    database: Database, authenticator: Authenticator, make: Make, ticks: MonotonicClock
) -> None:
    customer_id = await make.customer()
    tokens = [await token_of(database, "customer", customer_id) for _ in range(3)]
    for token in tokens:
        assert await authenticator.authenticate(token) is not None
    revoked, stays, idle = (service.digest_of_token(token) for token in tokens)
    ticks.now += 1.5
    authenticator._used.discard(idle)
    await database.execute("UPDATE access_tokens SET revoked_at = curhat_now() WHERE digest = $1", revoked)
    await authenticator.renew()
    assert set(authenticator._remembered) == {stays, idle}
    # The process trusts a token for 3 s after sending the query. The process renews only tokens that were used after
    # the last query.
    await database.execute("UPDATE access_tokens SET revoked_at = curhat_now()")
    await authenticator.renew()
    ticks.now += 2.999
    assert await authenticator.authenticate(tokens[1]) is not None
    ticks.now += 0.001
    await authenticator.renew()
    for token in tokens:
        assert await authenticator.authenticate(token) is None


async def test_a_renewal_does_not_restore_a_token_that_was_removed_meanwhile(
    database: Database, authenticator: Authenticator, make: Make, ticks: MonotonicClock
) -> None:
    token = await token_of(database, "customer", await make.customer())
    assert await authenticator.authenticate(token) is not None
    ticks.now += 1.5
    renewing = asyncio.create_task(authenticator.renew())
    await asyncio.sleep(0)
    authenticator.forget_token(service.digest_of_token(token))
    await renewing
    assert not authenticator._remembered


async def test_a_sign_out_immediately_revokes_the_token_and_closes_its_sockets(
    database: Database, authenticator: Authenticator, make: Make, signals: RecordedSignals
) -> None:
    customer_id = await make.customer()
    token = await token_of(database, "customer", customer_id)
    other_device = await token_of(database, "customer", customer_id)
    assert await authenticator.authenticate(token) is not None
    await sign_out(database, token)
    (payload,) = signals.on("sockets")
    assert json.loads(payload) == {"code": 4401, "token_digest": service.digest_of_token(token).hex()}
    authenticator.forget(payload)
    assert await authenticator.authenticate(token) is None
    assert await authenticator.authenticate(other_device) is not None


async def test_a_repeated_sign_out_does_nothing(
    database: Database, make: Make, signals: RecordedSignals
) -> None:
    token = await token_of(database, "customer", await make.customer())
    await sign_out(database, token)
    await sign_out(database, token)
    assert len(signals.on("sockets")) == 1


async def test_a_rolled_back_sign_out_sends_no_signal(
    database: Database, make: Make, signals: RecordedSignals
) -> None:
    token = await token_of(database, "customer", await make.customer())

    async def fail() -> None:
        async with database.transaction() as tx:
            await service.sign_out(tx, service.digest_of_token(token))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert signals.published == []


async def test_a_suspension_takes_effect_immediately_and_closes_the_sockets_of_that_mitra(
    database: Database, authenticator: Authenticator, make: Make, signals: RecordedSignals
) -> None:
    person_id = await make.customer()
    mitra_id = await make.mitra(person_id=person_id)
    tokens = [await token_of(database, "mitra", mitra_id) for _ in range(2)]
    as_customer = await token_of(database, "customer", person_id)
    for token in (*tokens, as_customer):
        assert await authenticator.authenticate(token) is not None
    await suspend(database, mitra_id)
    (payload,) = signals.on("sockets")
    assert json.loads(payload) == {"code": 4401, "role": "mitra", "user_id": str(mitra_id)}
    assert [json.loads(changed) for changed in signals.on("mitra_changed")] == [[str(mitra_id)]]
    authenticator.forget(payload)
    assert len(authenticator._remembered) == 1
    for token in tokens:
        signed_in = await authenticator.authenticate(token)
        assert signed_in is not None
        assert signed_in.is_suspended
        assert await authenticator.socket_identity("mitra", scope(token, "websocket")) is None
    # The suspended mitra can still sign in as a customer.
    assert await authenticator.socket_identity("customer", scope(as_customer, "websocket")) is not None


@pytest.mark.rule("S.2")
async def test_a_token_from_before_a_suspension_stays_invalid_after_the_suspension_is_lifted(
    database: Database, authenticator: Authenticator, make: Make, signals: RecordedSignals
) -> None:
    person_id = await make.customer()
    mitra_id = await make.mitra(person_id=person_id)
    token = await token_of(database, "mitra", mitra_id)
    as_customer = await token_of(database, "customer", person_id)
    await suspend(database, mitra_id)
    signed_in = await authenticator.authenticate(token)
    assert signed_in is not None
    assert signed_in.is_suspended
    await lift(database, mitra_id)
    authenticator.forget(signals.on("sockets")[-1])
    assert await authenticator.authenticate(token) is None
    assert await authenticator.authenticate(as_customer) is not None
    assert await authenticator.authenticate(await token_of(database, "mitra", mitra_id)) is not None


async def test_suspending_a_mitra_and_lifting_the_suspension_are_each_audited_once(
    database: Database, make: Make, signals: RecordedSignals
) -> None:
    mitra_id = await make.mitra()
    for step in (suspend, suspend, lift, lift):
        await step(database, mitra_id)
    rows = await database.fetch("SELECT actor, action, subject_id FROM audit_entries ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("command line", "mitra_suspended", str(mitra_id)),
        ("command line", "mitra_suspension_lifted", str(mitra_id)),
    ]
    assert len(signals.on("mitra_changed")) == 2
    assert len(signals.on("sockets")) == 2


async def test_a_person_who_is_not_a_mitra_cannot_be_suspended(database: Database, make: Make) -> None:
    customer_id = await make.customer()
    with pytest.raises(NotFound):
        await suspend(database, customer_id)
    with pytest.raises(NotFound):
        await lift(database, customer_id)


async def test_expired_or_revoked_or_suspended_tokens_are_reported_as_signed_out(
    database: Database, authenticator: Authenticator, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    old = await token_of(database, "customer", await make.customer())
    await clock.advance(20 * 24 * 3600)
    good = await token_of(database, "customer", await make.customer())
    revoked = await token_of(database, "customer", await make.customer())
    mitra_id = await make.mitra()
    suspended = await token_of(database, "mitra", mitra_id)
    await sign_out(database, revoked)
    await suspend(database, mitra_id)
    await clock.advance(10 * 24 * 3600)
    held = [
        SocketIdentity(identity=Identity("customer", mitra_id), token_digest=service.digest_of_token(token))
        for token in (old, good, revoked, suspended, "never given")
    ]
    gone = await authenticator.signed_out(held)
    assert gone == {who.token_digest for who in held} - {service.digest_of_token(good)}


async def test_a_token_of_one_role_is_refused_for_the_other_role(
    database: Database, authenticator: Authenticator, make: Make
) -> None:
    person_id = await make.customer()
    await make.mitra(person_id=person_id)
    token = await token_of(database, "customer", person_id)
    with pytest.raises(Forbidden):
        await authenticator.identify("mitra", scope(token))
    assert await authenticator.socket_identity("mitra", scope(token, "websocket")) is None


async def test_a_cookie_token_and_a_bearer_token_are_accepted_only_on_their_own_transport(
    database: Database, authenticator: Authenticator, settings: Settings, make: Make
) -> None:
    token = await token_of(database, "customer", await make.customer())
    origin = settings.public_origins[0].encode()
    in_cookie = {
        "type": "http",
        "method": "POST",
        "headers": [(b"cookie", f"curhat_customer={token}".encode()), (b"origin", origin)],
    }
    with pytest.raises(Unauthenticated):
        await authenticator.identify("customer", in_cookie)
    await database.execute("UPDATE access_tokens SET transport = 'cookie'")
    authenticator.forget_token(service.digest_of_token(token))
    assert (await authenticator.identify("customer", in_cookie)).transport == "cookie"
    with pytest.raises(Unauthenticated):
        await authenticator.identify("customer", scope(token))


async def test_the_cache_of_tokens_is_bounded(
    database: Database, settings: Settings, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_REMEMBERED_TOKENS", 3)
    authenticator = Authenticator(database, replace(settings))
    customer_id = await make.customer()
    tokens = [await token_of(database, "customer", customer_id) for _ in range(5)]
    for token in tokens:
        assert await authenticator.authenticate(token) is not None
    assert set(authenticator._remembered) == {service.digest_of_token(token) for token in tokens[2:]}


# Devices -------------------------------------------------------------------------------------------------


async def sign_out_device(database: Database, role: Role, user_id: UUID, device_id: UUID) -> None:
    async with database.transaction() as tx:
        await service.sign_out_device(tx, role, user_id, device_id)


async def test_a_person_sees_the_devices_of_one_role_and_signs_out_one_device(
    database: Database,
    authenticator: Authenticator,
    make: Make,
    signals: RecordedSignals,
    clock: VirtualClock,
) -> None:
    await clock.set()
    person_id = await make.customer()
    await make.mitra(person_id=person_id)
    here = await token_of(database, "customer", person_id)
    await token_of(database, "mitra", person_id)
    await clock.advance(60)
    there = await token_of(database, "customer", person_id)
    async with database.transaction() as tx:
        devices = await service.list_devices(tx, "customer", person_id, service.digest_of_token(here))
    assert [device.current for device in devices] == [False, True]
    assert {device.user_agent for device in devices} == {"a test"}
    await sign_out_device(database, "customer", person_id, devices[0].id)
    (payload,) = signals.on("sockets")
    assert json.loads(payload) == {"code": 4401, "token_digest": service.digest_of_token(there).hex()}
    assert await authenticator.authenticate(there) is None
    assert await authenticator.authenticate(here) is not None
    strangers: list[tuple[Role, UUID, UUID]] = [
        ("customer", person_id, devices[0].id),
        ("mitra", person_id, devices[1].id),
        ("customer", await make.customer(), devices[1].id),
        ("customer", person_id, UUID(int=1)),
    ]
    for role, user_id, device_id in strangers:
        with pytest.raises(NotFound):
            await sign_out_device(database, role, user_id, device_id)
    assert await authenticator.authenticate(here) is not None


async def test_signing_out_the_other_devices_keeps_the_device_that_asks(
    database: Database, authenticator: Authenticator, make: Make, signals: RecordedSignals
) -> None:
    person_id = await make.customer()
    here, *others = [await token_of(database, "customer", person_id) for _ in range(3)]
    stranger = await token_of(database, "customer", await make.customer())
    async with database.transaction() as tx:
        ended = await service.sign_out_other_devices(tx, "customer", person_id, service.digest_of_token(here))
    assert set(ended) == {service.digest_of_token(token) for token in others}
    assert len(signals.on("sockets")) == 2
    for token in others:
        assert await authenticator.authenticate(token) is None
    for token in (here, stranger):
        assert await authenticator.authenticate(token) is not None


@pytest.mark.parametrize(
    ("sent", "shown"), [("x" * 300, "x" * 200), ("Mo\x00zilla\n\u202e", "Mozilla"), ("", "")]
)
def test_a_user_agent_is_shortened_and_shown_without_control_characters(sent: str, shown: str) -> None:
    assert service.shown_user_agent(sent) == shown


# People --------------------------------------------------------------------------------------------------


@pytest.mark.rule("S.2")
async def test_an_invitation_creates_one_mitra_and_one_audit_entry(database: Database) -> None:
    async with database.transaction() as tx:
        mitra_id = (await service.invite_mitra(tx, "081234567890", "Kak Sari", 2)).mitra_id
    async with database.transaction() as tx:
        assert await service.invite_mitra(tx, "+6281234567890", "Kak Lain", 3) == Invited(mitra_id, False)
    row = await database.fetchrow("SELECT id, display_name, max_customers, online FROM mitras")
    assert row is not None
    assert tuple(row) == (mitra_id, "Kak Sari", 2, False)
    audited = await database.fetch("SELECT actor, action, subject_id, new_value FROM audit_entries")
    assert [tuple(entry) for entry in audited] == [
        ("command line", "mitra_invited", str(mitra_id), "Kak Sari")
    ]


@pytest.mark.rule("S.2")
@pytest.mark.parametrize(
    ("phone", "name", "max_customers", "field"),
    [
        ("1", "Kak Sari", 1, "phone"),
        ("081234567890", "", 1, "display_name"),
        ("081234567890", "kak@sari", 1, "display_name"),
        ("081234567890", "Kak Sari", 0, "max_customers"),
        ("081234567890", "Kak Sari", 21, "max_customers"),
    ],
)
async def test_an_invalid_invitation_is_refused_with_the_name_of_the_field(
    database: Database, phone: str, name: str, max_customers: int, field: str
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        async with database.transaction() as tx:
            await service.invite_mitra(tx, phone, name, max_customers)
    assert [error["field"] for error in refused.value.fields["errors"]] == [field]
    assert await database.fetchval("SELECT count(*) FROM people") == 0


@pytest.mark.rule("X.4")
async def test_a_customer_can_change_their_call_name(database: Database, make: Make) -> None:
    customer_id = await make.customer("Bunga")
    async with database.transaction() as tx:
        await service.rename_customer(tx, customer_id, "  Melati ")
        profile = await service.customer_profile(tx, customer_id)
    assert (profile.id, profile.call_name) == (customer_id, "Melati")
    assert profile.phone_masked.startswith("+62 ***-****-0")


async def test_a_person_who_is_not_a_customer_has_no_customer_profile(database: Database, make: Make) -> None:
    mitra_id = await make.mitra()
    async with database.transaction() as tx:
        with pytest.raises(NotFound):
            await service.customer_profile(tx, mitra_id)
        with pytest.raises(NotFound):
            await service.rename_customer(tx, mitra_id, "Melati")
