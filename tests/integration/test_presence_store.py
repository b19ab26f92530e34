"""Test presence in a real Valkey: leases, versions and damaged data."""

import contextlib
import time
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
import valkey.asyncio

from curhat.kit.errors import PresenceUnknown
from curhat.presence.queries import MitraState
from curhat.presence.store import (
    AVAILABLE_KEY,
    CUSTOMERS_KEY,
    FILLING_KEY,
    KEY_TTL_SECONDS,
    MAX_BATCH_SIZE,
    MAX_PRUNED_MEMBERS,
    MITRA_KEY_PREFIX,
    UNSURE_SECONDS,
    Applied,
    PresenceStore,
    Report,
    Standing,
)


@pytest.fixture
def store(valkey_client: "valkey.asyncio.Valkey") -> PresenceStore:
    return PresenceStore(valkey_client)


def state(
    mitra_id: UUID,
    *,
    version: int = 1,
    askable: bool = True,
    push_reachable_seconds: float = 0,
    suspended: bool = False,
) -> MitraState:
    return MitraState(
        id=mitra_id,
        display_name="Sari",
        online=askable,
        suspended=suspended,
        can_take_customer=askable,
        active_sessions=0,
        max_customers=1,
        push_reachable_seconds=push_reachable_seconds,
        availability_version=version,
        break_until=None,
    )


def standings(applied: Sequence[Applied]) -> list[Standing]:
    """Return the standings of mitras whose states were applied."""
    return [each.standing for each in applied]


async def frame(
    store: PresenceStore,
    mitra_id: UUID,
    age: float = 0,
    closed: float | None = None,
    connection: str = "phone",
    opened: float | None = None,
) -> set[UUID]:
    """Report a frame.

    Each time is a number of seconds before now. If the caller omits `opened`, the connection opened at the time of the
    frame.
    """
    now = time.monotonic()
    opened_at = now - (age if opened is None else opened)
    return await store.report(
        [Report(mitra_id, connection, opened_at, now - age, None if closed is None else now - closed)]
    )


LEASES = {
    "a frame just now": (0.0, None, True, True),
    "a frame within 6 s": (5.9, None, True, True),
    "no frame for 6 s": (6.0, None, True, False),
    "a frame within 12 s": (11.9, None, True, False),
    "no frame for 12 s": (12.0, None, False, False),
    "closed less than 3 s ago": (2.9, 2.9, True, True),
    "closed 3 s ago": (3.0, 3.0, False, False),
    "closed just now, after 5 s of silence": (5.9, 0.0, True, True),
    "closed just now, after 6 s of silence: a close makes nobody connected": (6.0, 0.0, True, False),
    "closed just now, after 12 s of silence: a close revives nobody": (12.0, 0.0, False, False),
}


@pytest.mark.rule("1.1")
@pytest.mark.rule("5.6")
@pytest.mark.parametrize(("age", "closed", "may_be_asked", "connected"), LEASES.values(), ids=LEASES.keys())
async def test_the_length_of_a_lease_depends_on_the_age_of_the_last_frame_and_of_the_close(
    store: PresenceStore, age: float, closed: float | None, may_be_asked: bool, connected: bool
) -> None:
    mitra = uuid4()
    await store.apply([state(mitra)])
    await frame(store, mitra, age, closed)

    assert await store.look(mitra) == Standing(may_be_asked, connected)
    assert await store.candidates() == ([mitra] if may_be_asked else [])
    assert await store.count() == int(may_be_asked)


@pytest.mark.rule("1.1")
async def test_a_lease_expires(store: PresenceStore) -> None:
    mitra = uuid4()
    await store.apply([state(mitra)])
    await frame(store, mitra, 11.9)
    assert await store.count() == 1

    deadline = time.monotonic() + 2
    while await store.count() and time.monotonic() < deadline:
        pass

    assert await store.count() == 0
    assert await store.candidates() == []
    assert not (await store.look(mitra)).may_be_asked


@pytest.mark.rule("1.1")
async def test_an_online_mitra_without_a_connection_is_not_available(store: PresenceStore) -> None:
    mitra = uuid4()
    assert standings(await store.apply([state(mitra)])) == [Standing(may_be_asked=False, connected=False)]
    assert await store.count() == 0


@pytest.mark.rule("X.8")
async def test_a_suspended_mitra_is_not_connected_even_if_frames_are_still_reported(
    store: PresenceStore,
) -> None:
    mitra = uuid4()
    await store.apply([state(mitra)])
    await frame(store, mitra)
    suspended = await store.apply([state(mitra, version=2, askable=False, suspended=True)])
    assert standings(suspended) == [Standing(may_be_asked=False, connected=False)]
    await frame(store, mitra)
    assert await store.look(mitra) == Standing(may_be_asked=False, connected=False)
    lifted = await store.apply([state(mitra, version=3, askable=False)])
    assert standings(lifted) == [Standing(may_be_asked=False, connected=False)]
    await frame(store, mitra)
    assert (await store.look(mitra)).connected


@pytest.mark.rule("5.6")
async def test_a_mitra_stays_connected_while_one_of_two_connections_is_open(store: PresenceStore) -> None:
    mitra = uuid4()
    await store.apply([state(mitra)])
    await frame(store, mitra, 1, connection="phone")
    await frame(store, mitra, 5, 5, connection="tablet")

    assert await store.look(mitra) == Standing(may_be_asked=True, connected=True)


@pytest.mark.rule("5.6")
async def test_a_new_connection_within_3_seconds_keeps_the_mitra_connected(store: PresenceStore) -> None:
    mitra = uuid4()
    await store.apply([state(mitra)])
    await frame(store, mitra, 2, 2, connection="before the tunnel")
    await frame(store, mitra, connection="after the tunnel")

    assert await store.look(mitra) == Standing(may_be_asked=True, connected=True)


async def test_reports_out_of_order_never_shorten_a_lease(store: PresenceStore) -> None:
    mitra = uuid4()
    await store.apply([state(mitra)])
    await frame(store, mitra, 1)
    await frame(store, mitra, 11)

    assert await store.look(mitra) == Standing(may_be_asked=True, connected=True)


async def test_a_report_of_a_frame_after_the_close_does_not_reopen_the_connection(
    store: PresenceStore,
) -> None:
    mitra = uuid4()
    await store.apply([state(mitra)])
    await frame(store, mitra, 2.5, 2.5)
    await frame(store, mitra, 0)

    deadline = time.monotonic() + 2
    while (await store.look(mitra)).connected and time.monotonic() < deadline:
        pass

    assert await store.look(mitra) == Standing(may_be_asked=False, connected=False)


@pytest.mark.rule("5.6")
async def test_the_store_returns_the_frame_ages_only_of_connections_with_a_lease(
    store: PresenceStore,
) -> None:
    mitra, closed, gone, stranger = (uuid4() for _ in range(4))
    await frame(store, mitra, 40, connection="dead phone")
    await frame(store, mitra, 4, connection="tablet")
    await frame(store, mitra, 1, 3, connection="closed 3 s ago")
    await frame(store, closed, 2, 1)
    await frame(store, gone, 3, 3)

    ages = await store.frame_ages([mitra, closed, gone, stranger])

    assert {each: sorted(int(one.last_frame) for one in found) for each, found in ages.items()} == {
        mitra: [4],
        closed: [2],
    }


@pytest.mark.rule("5.8")
@pytest.mark.parametrize(("gap", "heard_since"), [(2.49, 9), (2.51, 5)])
async def test_the_field_heard_since_starts_again_after_a_gap_between_two_frames(
    store: PresenceStore, gap: float, heard_since: int
) -> None:
    mitra, now = uuid4(), time.monotonic()
    ages = [9, 5 + gap, 5, 3, 3.5, 1]
    await store.report([Report(mitra, "phone", now - 60, now - age, None) for age in ages])
    [found] = (await store.frame_ages([mitra]))[mitra]
    assert [int(age) for age in found] == [1, heard_since, 60]


PRESENT = {
    "closed less than 3 s before": (4.0, 2.9, True),
    "closed 3 s before": (3.01, 3.01, False),
    "still open on another device": (0.5, None, True),
    "its process died less than 3 s before": (2.99, None, True),
    "its process died 3 s before": (3.01, None, False),
    "closed just before, after 8.9 s of silence: it was not connected for the last 2.9 s": (8.9, 0.0, True),
    "closed just before, after 9 s of silence: it was not connected for the last 3 s": (9.01, 0.0, False),
}


@pytest.mark.rule("5.6")
@pytest.mark.parametrize(("age", "closed", "joins"), PRESENT.values(), ids=PRESENT.keys())
async def test_a_new_connection_continues_the_presence_of_a_connection_that_ended_less_than_3_s_before(
    store: PresenceStore, age: float, closed: float | None, joins: bool
) -> None:
    mitra, now = uuid4(), time.monotonic()
    earlier = Report(mitra, "earlier", now - 60, now - age, None)
    if closed is not None:
        await store.report([earlier])
        earlier = earlier._replace(closed_at=now - closed)
    await store.report([earlier, Report(mitra, "new", now, now, None)])
    found = min((await store.frame_ages([mitra]))[mitra])
    assert int(found.present_since) == (60 if joins else 0)


@pytest.mark.rule("5.6", "X.10")
async def test_the_presence_of_a_forgotten_connection_begins_at_the_opening_of_the_connection(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    mitra = uuid4()
    await frame(store, mitra, 3, opened=40)
    await valkey_client.flushdb()
    await frame(store, mitra, 1, opened=40)
    [found] = (await store.frame_ages([mitra]))[mitra]
    assert [int(age) for age in found] == [1, 1, 40]


@pytest.mark.rule("5.6")
async def test_a_connection_without_a_known_start_counts_as_started_now(store: PresenceStore) -> None:
    """Simulate a connection from an earlier version of the service, and a clock of Valkey that was set back."""
    early, late = uuid4(), uuid4()
    await frame(store, early, 1, opened=40)
    await store._execute("HDEL", f"{MITRA_KEY_PREFIX}{early}", "since:phone")
    await frame(store, late, 1, opened=40)
    ahead = int(time.time() * 1000) + 60_000
    await store._execute("HSET", f"{MITRA_KEY_PREFIX}{late}", "since:phone", f"{ahead} {ahead}")
    ages = await store.frame_ages([early, late])
    assert [(found.heard_since, found.present_since) for [found] in ages.values()] == [(0, 0), (0, 0)]
    await frame(store, late, 0, opened=40)
    assert int((await store.frame_ages([late]))[late][0].present_since) == 40


async def test_no_data_of_a_connection_is_left_after_the_end_of_its_lease(store: PresenceStore) -> None:
    mitra = uuid4()
    await frame(store, mitra, 3, 3, connection="old")
    await frame(store, mitra, connection="new")
    fields = await store._execute("HKEYS", f"{MITRA_KEY_PREFIX}{mitra}")
    assert sorted(fields) == [b"connection:new", b"heard", b"since:new"]


@pytest.mark.rule("1.1", "5.6")
async def test_a_mitra_who_left_is_not_connected_after_the_clock_of_valkey_was_set_back(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    """After the clock was set back, the stored times lie in the future."""
    gone, alive, customer = uuid4(), uuid4(), uuid4()
    for mitra in (gone, alive):
        await store.apply([state(mitra)])
        # A negative age stores a time in the future.
        await frame(store, mitra, -3600)
    await store.customers_seen([customer], 3600)

    await frame(store, alive, 0)
    await store.apply([state(gone)])

    assert await store.look_at([gone, alive]) == [Standing(False, False), Standing(True, True)]
    assert await store.candidates() == [alive]
    assert list(await store.frame_ages([gone, alive])) == [alive]
    assert await store.customers_connected([customer]) == set()


@pytest.mark.rule("5.6")
async def test_a_process_learns_from_the_next_answer_that_the_clock_of_valkey_was_set_back(
    store: PresenceStore,
) -> None:
    mitra = uuid4()
    await store.count()
    assert store._clock_ahead_ms is not None
    right = store._clock_ahead_ms
    store._clock_ahead_ms += 3_600_000

    await frame(store, mitra, 4)

    assert 4 <= (await store.frame_ages([mitra]))[mitra][0].last_frame < 5
    assert store._clock_ahead_ms == pytest.approx(right, abs=100)


async def test_a_state_that_was_read_before_a_change_does_not_overwrite_the_change(
    store: PresenceStore,
) -> None:
    mitra = uuid4()
    await frame(store, mitra)
    await store.apply([state(mitra, version=7, askable=False)])

    late = await store.apply([state(mitra, version=6, askable=True)])

    assert standings(late) == [Standing(may_be_asked=False, connected=True)]
    assert await store.count() == 0
    newer = await store.apply([state(mitra, version=8, askable=True)])
    assert standings(newer) == [Standing(may_be_asked=True, connected=True)]


async def test_the_newest_state_is_stored_for_every_order_of_arrival(store: PresenceStore) -> None:
    versions = [(1, False), (2, True), (3, False), (4, True), (5, False)]
    for shift in range(len(versions)):
        for order in (versions[shift:] + versions[:shift], (versions[shift:] + versions[:shift])[::-1]):
            mitra = uuid4()
            await frame(store, mitra)
            for version, askable in order:
                await store.apply([state(mitra, version=version, askable=askable)])
            assert await store.look(mitra) == Standing(may_be_asked=False, connected=True), order


@pytest.mark.invariant(11)
async def test_a_report_to_an_empty_valkey_returns_the_mitras_whose_state_is_missing(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    mitra = uuid4()
    assert await frame(store, mitra) == {mitra}
    await store.apply([state(mitra)])
    assert await frame(store, mitra) == set()
    await valkey_client.flushall()

    assert await frame(store, mitra) == {mitra}
    assert await store.look(mitra) == Standing(may_be_asked=False, connected=True)
    await store.apply([state(mitra)])
    assert await store.look(mitra) == Standing(may_be_asked=True, connected=True)


@pytest.mark.rule("1.6")
@pytest.mark.parametrize("key", ["the set", "the mitra"])
async def test_presence_is_unknown_after_a_key_was_damaged_until_the_next_frame_arrives(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey", key: str
) -> None:
    mitra = uuid4()
    await store.apply([state(mitra)])
    await frame(store, mitra)
    await valkey_client.set(AVAILABLE_KEY if key == "the set" else f"{MITRA_KEY_PREFIX}{mitra}", "damaged")

    with pytest.raises(PresenceUnknown):
        await store.look(mitra)

    if await frame(store, mitra):
        await store.apply([state(mitra)])
    assert await store.look(mitra) == Standing(may_be_asked=True, connected=True)
    assert await store.count() == 1


@pytest.mark.rule("1.6")
@pytest.mark.parametrize("repair", ["apply", "prune"])
async def test_a_damaged_set_cannot_be_counted_until_the_next_write_repairs_the_set(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey", repair: str
) -> None:
    await valkey_client.set(AVAILABLE_KEY, "damaged")
    with pytest.raises(PresenceUnknown):
        await store.count()
    with pytest.raises(PresenceUnknown):
        await store.candidates()

    await (store.prune() if repair == "prune" else store.apply([state(uuid4())]))

    assert await store.count() == 0


async def test_unreadable_values_in_the_hash_of_a_mitra_are_ignored(store: PresenceStore) -> None:
    mitra = uuid4()
    damage = {
        "version": "newest",
        "askable": "yes",
        "connection:phone": "just now",
        "connection:tablet": "1e99",
    }
    for name, value in damage.items():
        await store._execute("HSET", f"{MITRA_KEY_PREFIX}{mitra}", name, value)
    assert await store.look(mitra) == Standing(may_be_asked=False, connected=False)

    assert await frame(store, mitra) == {mitra}
    await store.apply([state(mitra)])

    assert await store.look(mitra) == Standing(may_be_asked=True, connected=True)


async def test_the_states_of_many_mitras_are_sent_in_batches_in_the_given_order(store: PresenceStore) -> None:
    mitras = [uuid4() for _ in range(2 * MAX_BATCH_SIZE + 50)]
    unknown = await store.report(
        [Report(mitra, "phone", time.monotonic(), time.monotonic(), None) for mitra in mitras]
    )
    assert unknown == set(mitras)

    applied = await store.apply([state(mitra, askable=i % 3 == 0) for i, mitra in enumerate(mitras)])

    assert [standing.may_be_asked for standing in standings(applied)] == [
        i % 3 == 0 for i in range(len(mitras))
    ]
    assert all(standing.connected for standing in standings(applied))
    assert set(await store.candidates()) == set(mitras[::3])
    assert await store.count() == len(mitras[::3])


async def test_stale_members_are_removed_in_bounded_batches(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    mitra = uuid4()
    await store.apply([state(mitra)])
    await frame(store, mitra)
    await valkey_client.zadd(AVAILABLE_KEY, {str(uuid4()): 1 for _ in range(MAX_PRUNED_MEMBERS + 10)})
    assert await store.count() == 1

    assert [await store.prune() for _ in range(3)] == [MAX_PRUNED_MEMBERS, 10, 0]
    assert await valkey_client.zrange(AVAILABLE_KEY, 0, -1) == [str(mitra).encode()]


async def test_keys_expire_when_no_process_writes_the_keys(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    mitra = uuid4()
    await store.apply([state(mitra)])
    await frame(store, mitra)

    for key in set(await valkey_client.keys("curhat:*")) - {FILLING_KEY.encode()}:
        assert 0 < await valkey_client.ttl(key) <= KEY_TTL_SECONDS, key


async def test_the_store_sends_the_script_again_when_valkey_has_lost_the_script(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    await store.count()
    await valkey_client.script_flush()

    assert await store.count() == 0


@pytest.mark.rule("X.10")
async def test_presence_is_unknown_when_valkey_is_unreachable() -> None:
    # No server listens on port 1.
    async with contextlib.aclosing(valkey.asyncio.Valkey(port=1)) as nowhere:
        store = PresenceStore(nowhere)
        mitra = uuid4()
        for question in (store.count(), store.candidates(), store.look(mitra), store.prune()):
            with pytest.raises(PresenceUnknown):
                await question
        with pytest.raises(PresenceUnknown):
            await frame(store, mitra)
        with pytest.raises(PresenceUnknown):
            await store.apply([state(mitra)])


# Push, and customers ---------------------------------------------------------------------------------------------


@pytest.mark.rule("1.1", "5.6")
async def test_push_makes_a_mitra_eligible_for_offers_but_never_connected(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    mitra = uuid4()
    applied = await store.apply([state(mitra, push_reachable_seconds=600)])
    assert standings(applied) == [Standing(may_be_asked=True, connected=False)]
    seconds, _ = await valkey_client.time()
    until_ms = await valkey_client.zscore(AVAILABLE_KEY, str(mitra))
    assert until_ms is not None
    assert 595 < until_ms / 1000 - seconds <= 601


@pytest.mark.rule("1.1")
async def test_a_mitra_is_available_while_the_lease_or_the_reachability_by_push_lasts(
    store: PresenceStore,
) -> None:
    mitra = uuid4()
    await store.apply([state(mitra, push_reachable_seconds=600)])
    await frame(store, mitra, 3, 3)  # The end of a connection does not end the push reachability.
    assert await store.look(mitra) == Standing(may_be_asked=True, connected=False)
    await frame(store, mitra, connection="tablet")
    await store.apply([state(mitra, version=2, push_reachable_seconds=0)])
    assert await store.look(mitra) == Standing(may_be_asked=True, connected=True)


@pytest.mark.rule("1.1")
async def test_push_reachability_expires(store: PresenceStore) -> None:
    mitra = uuid4()
    await store.apply([state(mitra, push_reachable_seconds=0.1)])
    deadline = time.monotonic() + 2
    while await store.count() and time.monotonic() < deadline:
        pass
    assert await store.count() == 0


async def test_an_older_state_does_not_restore_a_deleted_subscription(store: PresenceStore) -> None:
    mitra = uuid4()
    await store.apply([state(mitra, version=5, push_reachable_seconds=0)])
    late = await store.apply([state(mitra, version=4, push_reachable_seconds=600)])
    assert standings(late) == [Standing(may_be_asked=False, connected=False)]


@pytest.mark.parametrize("written", ["for ever", "1e99", "99999999999999"])
async def test_a_mitra_with_a_damaged_push_time_is_not_reachable_by_push(
    store: PresenceStore, written: str
) -> None:
    mitra = uuid4()
    await store.apply([state(mitra, push_reachable_seconds=600)])
    await store._execute("HSET", f"{MITRA_KEY_PREFIX}{mitra}", "push_until", written)
    await frame(store, mitra, 12)  # Any operation evaluates the mitra's hash again.
    assert await store.look(mitra) == Standing(may_be_asked=False, connected=False)


async def test_connections_of_many_mitras_are_read_in_batches(store: PresenceStore) -> None:
    mitras = [uuid4() for _ in range(MAX_BATCH_SIZE + 10)]
    await store.report(
        [Report(mitra, "phone", time.monotonic(), time.monotonic(), None) for mitra in mitras[::2]]
    )
    standings = await store.look_at(mitras)
    assert [standing.connected for standing in standings] == [True, False] * (len(mitras) // 2)


async def test_a_customer_counts_as_connected_for_the_reported_time(store: PresenceStore) -> None:
    here, gone, never = uuid4(), uuid4(), uuid4()
    await store.customers_seen([here, gone], 30)
    assert await store.customers_connected([here, gone, never]) == {here, gone}
    await store.customers_seen([gone], 0.05)
    deadline = time.monotonic() + 2
    while gone in await store.customers_connected([gone]) and time.monotonic() < deadline:
        pass
    assert await store.customers_connected([here, gone, never]) == {here}


async def test_the_presence_of_customers_is_unknown_after_a_key_was_damaged_until_the_next_report(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    await valkey_client.set(CUSTOMERS_KEY, "damaged")
    with pytest.raises(PresenceUnknown):
        await store.customers_connected([uuid4()])
    here = uuid4()
    await store.customers_seen([here], 30)
    assert await store.customers_connected([here]) == {here}


@pytest.mark.rule("1.6", "1.8")
async def test_nobody_is_not_believed_after_valkey_was_emptied_until_every_process_has_reported(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey", monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await store.count() == 0
    store.believe_no()
    await valkey_client.flushall()

    assert await store.count() == 0
    with pytest.raises(PresenceUnknown):
        store.believe_no()

    later = time.monotonic() + UNSURE_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    store.believe_no()


@pytest.mark.rule("1.6", "1.8")
async def test_nobody_is_not_believed_while_valkey_refuses_the_heartbeats(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    """A read-only replica still answers, and its leases end because nobody can renew them."""
    await store.prune()
    await valkey_client.replicaof("127.0.0.1", 1)
    try:
        # Each process asks for this every few seconds, whether it holds mitras or not.
        with pytest.raises(PresenceUnknown):
            await store.prune()
        assert await store.count() == 0
        with pytest.raises(PresenceUnknown):
            store.believe_no()
    finally:
        await valkey_client.replicaof("NO", "ONE")


# Marks -----------------------------------------------------------------------------------------------------------


async def mark_of(store: PresenceStore, mitra: UUID, version: int = 1, *, askable: bool = True) -> str:
    """Apply a state, and return the mitra's mark."""
    return (await store.apply([state(mitra, version=version, askable=askable)]))[0].mark


@pytest.mark.rule("2b.6")
async def test_a_mitra_who_becomes_available_has_a_mark_until_the_offers_are_made(
    store: PresenceStore,
) -> None:
    mitra = uuid4()
    assert await mark_of(store, mitra) == ""
    await frame(store, mitra)
    mark = await mark_of(store, mitra)
    assert mark
    assert await mark_of(store, mitra) == mark
    await store.offered({mitra: mark})
    assert await mark_of(store, mitra) == ""

    # The mitra's state changed.
    changed = await mark_of(store, mitra, version=3)
    assert changed not in ("", mark)
    # The process that made the first offers is late.
    await store.offered({mitra: mark})
    assert await mark_of(store, mitra, version=3) == changed
    await store.offered({mitra: changed})

    # The mitra's lease ended, and begins again.
    await frame(store, mitra, closed=4)
    assert await store.candidates() == []
    await frame(store, mitra, connection="tablet")
    assert await mark_of(store, mitra, version=3)


@pytest.mark.rule("2b.6")
@pytest.mark.invariant(11)
async def test_every_available_mitra_has_a_mark_after_valkey_was_emptied(
    store: PresenceStore, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    mitra = uuid4()
    await frame(store, mitra)
    await store.offered({mitra: await mark_of(store, mitra)})
    await valkey_client.flushall()
    await frame(store, mitra)
    assert await mark_of(store, mitra)


@pytest.mark.rule("2b.6")
async def test_a_state_that_the_previous_release_stored_has_its_mark(store: PresenceStore) -> None:
    mitra = uuid4()
    await frame(store, mitra)
    await store.offered({mitra: await mark_of(store, mitra)})
    # The script of the previous release stores the version, and leaves the mark as it is.
    await store._execute("HSET", f"{MITRA_KEY_PREFIX}{mitra}", "version", "2")
    assert await mark_of(store, mitra, version=2)
