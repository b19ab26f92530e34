"""Test which client frames the server reads or refuses, and how the server writes frames."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curhat.realtime import protocol
from curhat.realtime.protocol import Event, Hello, Ping, Pong, TypingSignal, UnreadableFrame, Welcome

SOME_ID = UUID("0199c1c6-0000-7000-8000-000000000001")
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def test_the_three_client_frames_are_read() -> None:
    hello = '{"op": "hello", "epoch": "e", "seq": 7, "device_id": "phone"}'
    assert protocol.read(hello) == Hello(device_id="phone", epoch="e", seq=7)
    assert protocol.read('{"op": "hello", "epoch": null, "seq": null, "device_id": "d"}') == Hello(
        device_id="d"
    )
    assert protocol.read('{"op": "pong"}') == Pong()
    typing = f'{{"op": "signal", "type": "typing", "session_id": "{SOME_ID}"}}'
    assert protocol.read(typing) == TypingSignal(type="typing", session_id=SOME_ID)
    assert protocol.read(typing.encode()) == protocol.read(typing)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "null",
        "[]",
        "{",
        '"hello"',
        "{}",
        '{"op": "goodbye"}',
        '{"op": 1}',
        '{"op": "hello"}',
        '{"op": "hello", "device_id": ""}',
        '{"op": "hello", "device_id": 5}',
        '{"op": "hello", "device_id": "%s"}' % ("d" * 101),
        '{"op": "hello", "device_id": "d", "epoch": "%s"}' % ("e" * 101),
        '{"op": "hello", "device_id": "d", "seq": "1"}',
        '{"op": "hello", "device_id": "d", "seq": 1.5}',
        '{"op": "hello", "device_id": "d", "admin": true}',
        '{"op": "signal", "type": "typing", "session_id": "nobody"}',
        '{"op": "signal", "type": "away", "session_id": "0199c1c6-0000-7000-8000-000000000001"}',
        '{"x":' + "[" * 60_000,
        b"\xff\xfe",
        '{"op": "hello", "device_id": "\ud800"}',
    ],
)
def test_a_frame_that_is_not_one_of_the_three_client_frames_is_refused(frame: str | bytes) -> None:
    with pytest.raises(UnreadableFrame) as refusal:
        protocol.read(frame)
    assert len(str(refusal.value)) <= 200


@given(st.one_of(st.text(), st.binary()))
def test_the_server_reads_or_refuses_any_text_or_bytes_as_a_frame(frame: str | bytes) -> None:
    with contextlib.suppress(UnreadableFrame):
        protocol.read(frame)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["op", "device_id", "epoch", "seq", "type", "session_id"]), json_values)
)
def test_the_server_reads_or_refuses_any_json_as_a_frame(frame: dict[str, Any]) -> None:
    with contextlib.suppress(UnreadableFrame):
        protocol.read(json.dumps(frame))


def test_the_size_of_a_frame_is_measured_in_bytes() -> None:
    assert protocol.size_bytes("a" * 10) == 10
    assert protocol.size_bytes("é" * 10 + "a") == 21
    assert protocol.size_bytes(b"a" * 10) == 10
    assert protocol.size_bytes("é".encode() * 10) == 20


def test_frames_are_written_as_the_contract_says() -> None:
    event = Event(seq=3, type="message.created", at=NOON, data=msgspec.Raw(b'{"text":"halo"}'))
    assert json.loads(protocol.write(event)) == {
        "op": "event",
        "seq": 3,
        "type": "message.created",
        "at": "2026-01-01T12:00:00Z",
        "data": {"text": "halo"},
    }
    assert json.loads(protocol.write(Ping(seq=3, server_now=NOON))) == {
        "op": "ping",
        "seq": 3,
        "server_now": "2026-01-01T12:00:00Z",
    }
    assert json.loads(protocol.write(TypingSignal(type="typing", session_id=SOME_ID))) == {
        "op": "signal",
        "type": "typing",
        "session_id": str(SOME_ID),
    }
    welcome = Welcome(epoch=SOME_ID, seq=3, resumed=True, server_now=NOON)
    assert json.loads(protocol.write_welcome(welcome, {"requests": []})) == {
        "op": "welcome",
        "epoch": str(SOME_ID),
        "seq": 3,
        "resumed": True,
        "server_now": "2026-01-01T12:00:00Z",
        "requests": [],
    }
    assert protocol.write_welcome(welcome, {}) == protocol.write(welcome)
