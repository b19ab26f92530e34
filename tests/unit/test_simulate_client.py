"""Test that a simulated client detects each broken promise of the server and counts a fault."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import aiohttp
import msgspec
import pytest

from curhat.dev.simulate import client
from curhat.dev.simulate.client import IN_PROGRESS, Answer, Device, Person, RunState
from curhat.dev.simulate.people import Manner, dice_of
from curhat.dev.simulate.report import Tally

EPOCH = "e1"


class ScriptedPerson(Person):
    """A customer whose requests get the answers in `script`."""

    def __init__(self, run_state: RunState) -> None:
        super().__init__(run_state, "customer", "Rio 1", "+6281180000001", dice_of("test"))
        self.script: list[Answer] = []
        self.asked: list[tuple[str, str, str | None]] = []

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        expected: Collection[str] = (),
    ) -> Answer:
        self.asked.append((method, path, key))
        answer = self.script.pop(0)
        await asyncio.sleep(0)
        return answer


def answer(status: int, **body: Any) -> Answer:
    text = msgspec.json.encode(body)
    return Answer(status, text, msgspec.json.decode(text))


def state(seq: int, payment: Any = None) -> Answer:
    return answer(
        200, payment=payment, pairing=None, session=None, extension=None, stream={"epoch": EPOCH, "seq": seq}
    )


@pytest.fixture
async def person() -> AsyncIterator[ScriptedPerson]:
    async with aiohttp.ClientSession() as http:
        yield ScriptedPerson(RunState(http, "http://127.0.0.1:1", Tally()))


@pytest.fixture
async def device(person: ScriptedPerson) -> Device:
    """Return a device that is connected and at seq 5."""
    device = Device(person, "device 1")
    person.devices.append(device)
    person.script = [state(5)]
    await device.take({"op": "welcome", "epoch": EPOCH, "seq": 5, "resumed": False})
    assert device.is_live()
    return device


def event(seq: int, event_type: str = "session.updated") -> dict[str, Any]:
    return {"op": "event", "seq": seq, "type": event_type, "at": "t", "data": {"id": "s1"}}


async def test_a_gap_in_the_stream_is_a_fault(person: ScriptedPerson, device: Device) -> None:
    await device.take(event(6))
    assert person.run_state.tally.fault_count == 0

    await device.take(event(8))

    assert list(person.run_state.tally.faults) == ["customer Rio 1: device 1: event 8 came after 6"]


async def test_an_event_that_one_connection_delivers_twice_is_a_fault(
    person: ScriptedPerson, device: Device
) -> None:
    await device.take(event(6))
    await device.take(event(6))

    assert person.run_state.tally.fault_count == 1


async def test_events_that_the_server_sends_again_after_a_second_hello_are_no_fault(
    person: ScriptedPerson, device: Device
) -> None:
    await device.say_hello()
    await device.take({"op": "welcome", "epoch": EPOCH, "seq": 7, "resumed": True})
    await device.take(event(6))
    await device.take(event(7))

    assert (device.seq, person.run_state.tally.fault_count) == (7, 0)


@pytest.mark.usefixtures("device")
async def test_a_client_picture_that_differs_from_the_snapshot_at_the_same_seq_is_a_fault(
    person: ScriptedPerson,
) -> None:
    person.script = [state(5, payment={"id": "p1", "status": "pending", "pairing": None})]

    await person.check_pictures()

    [fault] = person.run_state.tally.faults
    assert "differs from the snapshot at 5: payment" in fault


@pytest.mark.usefixtures("device")
async def test_a_client_picture_that_equals_the_snapshot_is_no_fault(person: ScriptedPerson) -> None:
    person.script = [state(5)]

    await person.check_pictures()

    assert (person.run_state.tally.comparisons, person.run_state.tally.fault_count) == (1, 0)


@pytest.mark.parametrize("manner", ["repeated", "twice"])
async def test_two_answers_to_one_idempotency_key_are_a_fault(person: ScriptedPerson, manner: Manner) -> None:
    person.script = [answer(200, id="s1"), answer(200, id="s2")]

    await person.command("/requests/r1/accept", manner=manner)

    [fault] = person.run_state.tally.faults
    assert "two answers to one Idempotency-Key" in fault
    assert len({key for _, _, key in person.asked}) == 1


async def test_a_command_is_repeated_while_the_server_answers_that_the_first_request_runs(
    person: ScriptedPerson,
) -> None:
    person.script = [answer(409, code=IN_PROGRESS), answer(409, code=IN_PROGRESS), answer(200, id="s1")]

    got = await person.command("/requests/r1/accept")

    assert (got.body, person.run_state.tally.fault_count) == ({"id": "s1"}, 0)


async def test_a_repeated_message_that_is_stored_twice_is_a_fault(
    person: ScriptedPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SHARE_OVER_SOCKET", 0)
    person.script = [answer(201, id="m1"), answer(201, id="m2")]

    await person.say("s1", "halo", repeats=True)

    assert person.run_state.tally.fault_count == 1
