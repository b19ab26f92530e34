"""Test one-time codes on a real PostgreSQL: the use of a code, and the limits per phone number."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from curhat.accounts import codes, queries, requesters, service
from curhat.accounts.errors import CallNameRequired, CodeInvalid, NotInvited
from curhat.accounts.requesters import Requester
from curhat.accounts.schemas import CodeVerification, OwnCustomer, OwnMitra
from curhat.accounts.service import SentCode, SignIn, SigningDevice
from curhat.kit.database import Database
from curhat.kit.errors import BusinessError, Suspended, TooManyRequests, ValidationFailed
from curhat.kit.identity import Role
from curhat.safety.erasure.service import inherit_blocks
from tests.support.clock import VirtualClock
from tests.support.people import Make

KEY = b"k" * 32
PHONE = "+6281234567890"
HOUR_SECONDS = 3600


def stranger(number: int) -> Requester:
    return requesters.stranger(KEY, f"10.0.0.{number}")


HERE = stranger(1)


async def ask(
    database: Database, phone: str = PHONE, role: Role = "customer", requester: Requester = HERE
) -> SentCode:
    async with database.transaction() as tx:
        return await service.request_code(tx, KEY, role, phone, requester)


async def find_requester(database: Database, device_secret: str | None, phone: str = PHONE) -> Requester:
    return await service.find_requester(
        database, KEY, phone, address="10.0.0.1", device_secret=device_secret, signed_in=None
    )


async def ask_as_often_as_allowed(
    database: Database, clock: VirtualClock, requesters: list[Requester], *, seconds: float
) -> int:
    """Let each requester ask for codes as often as the limits allow, and use none of the codes.

    Returns the number of sent codes.
    """
    sent = 0
    while seconds > 0:
        waits = []
        for requester in requesters:
            try:
                await ask(database, requester=requester)
                sent += 1
            except TooManyRequests as refused:
                waits.append(refused.retry_after_seconds or 0)
        if len(waits) == len(requesters):
            await clock.advance(min(waits))
            seconds -= min(waits)
    return sent


async def verify(
    database: Database, request_id: UUID, code: str, call_name: str | None = "Bunga", role: Role = "customer"
) -> SignIn[OwnCustomer] | SignIn[OwnMitra]:
    """Verify a code as the endpoint does.

    Commits the transaction, and then raises the error that the service returned.
    """
    data = CodeVerification(request_id, code, call_name)
    device = SigningDevice("a test")
    outcome: SignIn[OwnCustomer] | SignIn[OwnMitra] | BusinessError
    async with database.transaction() as tx:
        if role == "mitra":
            outcome = await service.verify_mitra_code(tx, KEY, data, device, inherit_blocks)
        else:
            outcome = await service.verify_customer_code(tx, KEY, data, device, inherit_blocks)
    if isinstance(outcome, BusinessError):
        raise outcome
    return outcome


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


async def try_wrongly(database: Database, sent: SentCode, times: int) -> None:
    for _ in range(times):
        with pytest.raises(CodeInvalid):
            await verify(database, sent.request_id, wrong(sent.code))


# Valid codes ---------------------------------------------------------------------------------------------


@pytest.mark.rule("S.1")
async def test_the_first_sign_in_creates_the_customer_and_later_sign_ins_find_the_same_customer(
    database: Database,
) -> None:
    sent = await ask(database)
    first = await verify(database, sent.request_id, sent.code, " Bunga ")
    sent = await ask(database)
    again = await verify(database, sent.request_id, sent.code, None)
    assert isinstance(first.person, OwnCustomer)
    assert first.person == again.person
    assert first.person.call_name == "Bunga"
    assert first.token != again.token


@pytest.mark.rule("S.1")
async def test_a_sign_in_that_is_refused_for_a_missing_call_name_does_not_use_up_the_code(
    database: Database,
) -> None:
    sent = await ask(database)
    for _ in range(10):
        with pytest.raises(CallNameRequired):
            await verify(database, sent.request_id, sent.code, None)
    with pytest.raises(ValidationFailed):
        await verify(database, sent.request_id, sent.code, "0811 0000 0001")
    assert await database.fetchval("SELECT sum(wrong_tries) FROM one_time_codes") == 0
    assert (await verify(database, sent.request_id, sent.code)).token


@pytest.mark.rule("S.1")
async def test_a_wrong_code_does_not_reveal_that_a_call_name_is_needed(database: Database) -> None:
    sent = await ask(database)
    with pytest.raises(CodeInvalid):
        await verify(database, sent.request_id, wrong(sent.code), None)


@pytest.mark.rule("S.1")
async def test_a_code_can_be_used_once(database: Database) -> None:
    sent = await ask(database)
    await verify(database, sent.request_id, sent.code)
    with pytest.raises(CodeInvalid):
        await verify(database, sent.request_id, sent.code)


@pytest.mark.rule("S.1")
async def test_a_code_is_valid_for_five_minutes(database: Database, clock: VirtualClock) -> None:
    await clock.set()
    sent = await ask(database)
    assert sent.expires_at - sent.server_now == timedelta(minutes=5)
    assert sent.resend_after - sent.server_now == timedelta(seconds=30)
    await clock.advance(299.999)
    with pytest.raises(CallNameRequired):
        await verify(database, sent.request_id, sent.code, None)
    await clock.advance(0.001)
    with pytest.raises(CodeInvalid):
        await verify(database, sent.request_id, sent.code)


@pytest.mark.rule("S.1")
async def test_a_code_is_valid_only_for_its_own_request_and_role(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    first = await ask(database)
    await clock.advance(30)
    second = await ask(database)
    if first.code != second.code:
        with pytest.raises(CodeInvalid):
            await verify(database, second.request_id, first.code)
    with pytest.raises(CodeInvalid):
        await verify(database, first.request_id, first.code, role="mitra")
    with pytest.raises(CodeInvalid):
        await verify(database, uuid4(), first.code)
    assert (await verify(database, first.request_id, first.code)).token


@pytest.mark.rule("S.1")
@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "\x00", "abcdef", "\uff11\uff12\uff13\uff14\uff15\uff16"]
)
async def test_a_malformed_code_counts_as_a_wrong_try(database: Database, code: str) -> None:
    sent = await ask(database)
    with pytest.raises(CodeInvalid):
        await verify(database, sent.request_id, code)
    assert await database.fetchval("SELECT wrong_tries FROM one_time_codes") == 1


@pytest.mark.rule("S.1")
async def test_a_code_is_invalid_after_five_wrong_tries(database: Database) -> None:
    sent = await ask(database)
    await try_wrongly(database, sent, 5)
    with pytest.raises(CodeInvalid):
        await verify(database, sent.request_id, sent.code)


@pytest.mark.rule("S.1")
async def test_a_right_code_is_accepted_after_four_wrong_tries(database: Database) -> None:
    sent = await ask(database)
    await try_wrongly(database, sent, 4)
    assert (await verify(database, sent.request_id, sent.code)).token


@pytest.mark.rule("S.2")
async def test_only_a_right_code_reveals_that_no_mitra_with_this_phone_number_is_invited(
    database: Database,
) -> None:
    sent = await ask(database, role="mitra")
    with pytest.raises(CodeInvalid):
        await verify(database, sent.request_id, wrong(sent.code), role="mitra")
    with pytest.raises(NotInvited):
        await verify(database, sent.request_id, sent.code, role="mitra")
    with pytest.raises(CodeInvalid):
        await verify(database, sent.request_id, sent.code, role="mitra")
    assert await database.fetchval("SELECT count(*) FROM people") == 0


@pytest.mark.rule("S.2")
async def test_an_invited_mitra_can_sign_in_and_a_suspended_mitra_cannot(database: Database) -> None:
    async with database.transaction() as tx:
        mitra_id = (await service.invite_mitra(tx, "0812 3456 7890", "Kak Sari", 2)).mitra_id
    sent = await ask(database, role="mitra")
    signed_in = await verify(database, sent.request_id, sent.code, role="mitra")
    assert signed_in.person == OwnMitra(id=mitra_id, display_name="Kak Sari")
    async with database.transaction() as tx:
        await service.suspend_mitra(tx, mitra_id)
    sent = await ask(database, role="mitra")
    with pytest.raises(Suspended):
        await verify(database, sent.request_id, sent.code, role="mitra")


@pytest.mark.rule("S.1")
async def test_a_customer_and_a_mitra_can_have_the_same_phone_number(database: Database) -> None:
    async with database.transaction() as tx:
        mitra_id = (await service.invite_mitra(tx, PHONE, "Kak Sari", 1)).mitra_id
    sent = await ask(database)
    customer = await verify(database, sent.request_id, sent.code)
    sent = await ask(database, role="mitra")
    mitra = await verify(database, sent.request_id, sent.code, role="mitra")
    assert customer.person.id == mitra.person.id == mitra_id


# The limits ----------------------------------------------------------------------------------------------


@pytest.mark.rule("S.1")
async def test_another_code_can_be_requested_after_thirty_seconds(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    await ask(database)
    await clock.advance(0.5)
    with pytest.raises(TooManyRequests) as refused:
        await ask(database)
    assert refused.value.retry_after_seconds == 30
    await clock.advance(29.499)
    with pytest.raises(TooManyRequests) as refused:
        await ask(database)
    assert refused.value.retry_after_seconds == 1
    await clock.advance(0.001)
    await ask(database)


@pytest.mark.rule("S.1")
async def test_another_code_can_be_requested_immediately_after_a_sign_in(database: Database) -> None:
    for _ in range(6):
        sent = await ask(database)
        await verify(database, sent.request_id, sent.code)


@pytest.mark.rule("S.1")
async def test_the_two_roles_of_a_phone_number_share_its_limits_but_two_numbers_do_not(
    database: Database,
) -> None:
    await ask(database)
    await ask(database, "+6281234567891")
    with pytest.raises(TooManyRequests):
        await ask(database, role="mitra")


@pytest.mark.rule("S.1")
async def test_each_further_code_doubles_the_wait_after_five_unused_codes(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    waits = []
    for _ in range(8):
        sent = await ask(database)
        waits.append((sent.resend_after - sent.server_now).total_seconds())
        with pytest.raises(TooManyRequests) as refused:
            await ask(database)
        assert refused.value.retry_after_seconds == waits[-1]
        await clock.advance(waits[-1])
    assert waits == [30, 30, 30, 30, 30, 60, 120, 240]
    # After a person has used a code, the wait is 30 seconds again.
    sent = await ask(database)
    await verify(database, sent.request_id, sent.code)
    sent = await ask(database)
    assert sent.resend_after - sent.server_now == timedelta(seconds=30)


@pytest.mark.rule("S.1")
async def test_a_phone_number_gets_thirty_codes_per_hour_when_every_code_is_used(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    for _ in range(30):
        sent = await ask(database)
        await verify(database, sent.request_id, sent.code)
    with pytest.raises(TooManyRequests) as refused:
        await ask(database)
    assert refused.value.retry_after_seconds == 3600
    await clock.advance(3600)
    await ask(database)


# Lock-outs -----------------------------------------------------------------------------------------------


async def wrong_tries(database: Database) -> int:
    total: int | None = await database.fetchval("SELECT sum(wrong_tries)::int FROM one_time_codes")
    return total or 0


@pytest.mark.rule("X.13")
async def test_a_stranger_who_asks_and_guesses_all_day_cannot_lock_out_a_known_device(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    sent = await ask(database)
    device_secret = (await verify(database, sent.request_id, sent.code)).device_secret
    strangers = [stranger(number) for number in range(2, 10)]
    await ask_as_often_as_allowed(database, clock, strangers, seconds=23 * HOUR_SECONDS)
    with pytest.raises(TooManyRequests):  # noqa: PT012  the first of them may be allowed
        for number in (10, 11):
            await ask(database, requester=stranger(number))
    await database.execute("UPDATE one_time_codes SET wrong_tries = 5 WHERE consumed_at IS NULL")
    requester = await find_requester(database, device_secret)
    assert requester.is_known_device
    sent = await ask(database, requester=requester)
    assert sent.resend_after - sent.server_now == timedelta(seconds=30)
    await try_wrongly(database, sent, 4)
    assert (await verify(database, sent.request_id, sent.code)).token


@pytest.mark.rule("X.13")
async def test_wrong_tries_make_only_their_own_code_invalid(database: Database, clock: VirtualClock) -> None:
    await clock.set()
    own = await ask(database)
    for _ in range(4):
        await clock.advance(30)
        await try_wrongly(database, await ask(database), 5)
    assert await wrong_tries(database) == 20
    assert (await verify(database, own.request_id, own.code)).token


@pytest.mark.rule("X.13")
async def test_one_address_never_delays_a_stranger_at_another_address(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    sent = await ask_as_often_as_allowed(database, clock, [stranger(2)], seconds=24 * HOUR_SECONDS)
    assert sent <= 34
    await ask(database, requester=stranger(3))


@pytest.mark.rule("X.13")
async def test_a_distributed_attack_gets_at_most_64_codes_per_day_and_delays_a_stranger_for_at_most_an_hour(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    attackers = [stranger(number) for number in range(2, 10)]
    sent = await ask_as_often_as_allowed(database, clock, attackers, seconds=23 * HOUR_SECONDS)
    assert 60 <= sent <= 64
    with pytest.raises(TooManyRequests) as refused:  # noqa: PT012  the first of them may be allowed
        for number in (10, 11):
            await ask(database, requester=stranger(number))
    assert refused.value.retry_after_seconds is not None
    assert refused.value.retry_after_seconds <= HOUR_SECONDS


@pytest.mark.rule("X.13")
async def test_a_device_is_known_only_for_the_person_who_signed_in_on_it(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    sent = await ask(database)
    first = latest = await verify(database, sent.request_id, sent.code)
    other = await ask(database, "+6281234567891")
    theirs = await verify(database, other.request_id, other.code)
    assert (await find_requester(database, first.device_secret)).is_known_device
    for secret in (theirs.device_secret, "made up", "", None):
        assert await find_requester(database, secret) == HERE
    assert await find_requester(database, first.device_secret, "+6281234567892") == HERE
    # The eleventh sign-in makes the device of the first sign-in unknown.
    for _ in range(10):
        await clock.advance(1)
        sent = await ask(database)
        latest = await verify(database, sent.request_id, sent.code)
    assert await find_requester(database, first.device_secret) == HERE
    await clock.advance(400 * 24 * HOUR_SECONDS + 1)
    assert await find_requester(database, latest.device_secret) == HERE
    await prune(database)
    assert await database.fetchval("SELECT count(*) FROM known_devices") == 0


@pytest.mark.rule("X.13")
async def test_a_device_is_unknown_after_another_device_signed_it_out(database: Database) -> None:
    signed_in = []
    for _ in range(3):
        sent = await ask(database)
        signed_in.append(await verify(database, sent.request_id, sent.code))
    latest, secrets = signed_in[-1], [one.device_secret for one in signed_in]
    async with database.transaction() as tx:
        devices = await service.list_devices(tx, "customer", latest.person.id)
        await service.sign_out_device(tx, "customer", latest.person.id, devices[-1].id)
    known = [(await find_requester(database, secret)).is_known_device for secret in secrets]
    assert known == [False, True, True]
    async with database.transaction() as tx:
        await service.sign_out_other_devices(
            tx, "customer", latest.person.id, service.digest_of_token(latest.token)
        )
    known = [(await find_requester(database, secret)).is_known_device for secret in secrets]
    assert known == [False, False, True]


async def test_a_device_of_one_role_stays_known_when_devices_of_the_other_role_are_signed_out(
    database: Database, make: Make
) -> None:
    sent = await ask(database)
    customer = await verify(database, sent.request_id, sent.code)
    await make.mitra(person_id=customer.person.id)
    sent = await ask(database, role="mitra")
    mitra = await verify(database, sent.request_id, sent.code, role="mitra")
    secrets = [customer.device_secret, mitra.device_secret]
    async with database.transaction() as tx:
        await service.sign_out_other_devices(
            tx, "customer", customer.person.id, service.digest_of_token(customer.token)
        )
    assert [(await find_requester(database, secret)).is_known_device for secret in secrets] == [True, True]
    # If a device has no valid token in the other role, it does not stay known.
    async with database.transaction() as tx:
        await service.sign_out(tx, service.digest_of_token(mitra.token))
        await service.sign_out_other_devices(
            tx, "customer", customer.person.id, service.digest_of_token(customer.token)
        )
    assert [(await find_requester(database, secret)).is_known_device for secret in secrets] == [True, False]


# Concurrency ---------------------------------------------------------------------------------------------


async def outcomes(*attempts: Awaitable[object]) -> Counter[str]:
    """Run the attempts concurrently, and count the types of their results and errors."""
    found = await asyncio.gather(*attempts, return_exceptions=True)
    return Counter(type(outcome).__name__ for outcome in found)


@pytest.mark.rule("S.1")
async def test_only_one_of_many_concurrent_requests_for_a_code_gets_a_code(database: Database) -> None:
    found = await outcomes(*(ask(database) for _ in range(40)))
    assert found == {"SentCode": 1, "TooManyRequests": 39}


@pytest.mark.rule("S.1")
async def test_only_five_of_many_concurrent_wrong_tries_are_counted(database: Database) -> None:
    sent = await ask(database)
    await outcomes(*(verify(database, sent.request_id, wrong(sent.code)) for _ in range(40)))
    assert await wrong_tries(database) == 5
    with pytest.raises(CodeInvalid):
        await verify(database, sent.request_id, sent.code)


@pytest.mark.rule("S.1")
async def test_only_one_of_many_concurrent_tries_with_a_right_code_signs_in(database: Database) -> None:
    sent = await ask(database)
    found = await outcomes(*(verify(database, sent.request_id, sent.code) for _ in range(20)))
    assert found == {"SignIn": 1, "CodeInvalid": 19}
    assert await database.fetchval("SELECT count(*) FROM access_tokens") == 1


@pytest.mark.rule("S.1")
async def test_two_concurrent_first_sign_ins_create_one_customer(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    first = await ask(database)
    await clock.advance(30)
    second = await ask(database)
    found = await outcomes(
        verify(database, first.request_id, first.code, "Bunga"),
        verify(database, second.request_id, second.code, "Melati"),
    )
    assert found == {"SignIn": 2}
    assert await database.fetchval("SELECT count(*) FROM customers") == 1


@pytest.mark.rule("S.1")
async def test_a_code_is_invalid_when_it_expires_while_its_verification_waits_for_the_lock(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    sent = await ask(database)
    async with database.transaction() as holder:
        await queries.lock_phone(holder, phone_number=PHONE)
        attempt = asyncio.create_task(verify(database, sent.request_id, sent.code))
        while not await database.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype='advisory' AND NOT granted"
        ):
            await asyncio.sleep(0)
        await clock.advance(300)
    with pytest.raises(CodeInvalid):
        await attempt


# Secrets -------------------------------------------------------------------------------------------------


@pytest.mark.rule("S.1")
async def test_the_database_stores_only_digests_of_codes_and_tokens(database: Database) -> None:
    sent = await ask(database)
    signed_in = await verify(database, sent.request_id, sent.code)
    token = signed_in.token
    dump = [
        str(row["row"])
        for table in ("one_time_codes", "access_tokens", "known_devices", "customers")
        for row in await database.fetch(f"SELECT t::text AS row FROM {table} t")
    ]
    assert len(dump) == 4
    assert not any(secret in row for row in dump for secret in (token, signed_in.device_secret, "10.0.0.1"))
    # The digits of the code can occur in an id or a time by chance. So the test checks only the column with the digest
    # of the code.
    digest = await database.fetchval("SELECT code_digest FROM one_time_codes")
    assert digest == codes.digest_of(KEY, sent.request_id, sent.code)
    assert sent.code.encode() not in digest
    assert await database.fetchval("SELECT digest FROM access_tokens") == service.digest_of_token(token)
    assert len(token) >= 43


def test_the_repr_of_a_sign_in_contains_no_secret() -> None:
    name = OwnCustomer(id=uuid4(), call_name="Bunga")
    assert "s3cret" not in repr(SignIn(person=name, token="s3cret", device_secret="s3cret"))
    assert "s3cret" not in repr(SigningDevice("a test", "s3cret"))


@pytest.mark.rule("S.1")
async def test_pruning_deletes_only_old_codes_and_tokens(database: Database, clock: VirtualClock) -> None:
    await clock.set()
    sent = await ask(database)
    await verify(database, sent.request_id, sent.code)
    await clock.advance(24 * 3600 + 1)
    sent = await ask(database)
    await prune(database)
    assert await database.fetchval("SELECT array_agg(id) FROM one_time_codes") == [sent.request_id]
    assert await database.fetchval("SELECT count(*) FROM access_tokens") == 1
    await clock.advance(19 * 24 * 3600)
    await prune(database)
    assert await database.fetchval("SELECT count(*) FROM access_tokens") == 1
    await clock.advance(2 * 24 * 3600)
    await prune(database)
    assert await database.fetchval("SELECT count(*) FROM access_tokens") == 0


async def prune(database: Database) -> None:
    async with database.transaction() as tx:
        await service.prune(tx)
