"""What the benchmarks conclude from their figures, and the clients they measure with."""

import pytest

from bench.harness.report import Figure, Peer, Target, line, percentile
from bench.harness.sockets import read_frames, write_frame


def test_a_figure_within_its_bound_is_ok_and_one_outside_falls_short() -> None:
    at_most = Target("figure", "at most", 50)
    assert Figure("deadlines", "late", 50, "ms", at_most).verdict == "ok"
    assert Figure("deadlines", "late", 50.1, "ms", at_most).verdict == "falls short"
    at_least = Target("ratio", "at least", 5)
    assert Figure("accept", "rate", 500, "/s", at_least, Peer("ORM", 100)).verdict == "ok"
    assert Figure("accept", "rate", 499, "/s", at_least, Peer("ORM", 100)).verdict == "falls short"


def test_a_ratio_without_a_peer_that_ran_is_no_success() -> None:
    figure = Figure(
        "messages", "rate", 2000, "/s", Target("ratio", "at least", 1), Peer("npm is missing", None)
    )
    assert figure.ratio is None
    assert figure.verdict == "not compared"
    assert "peer not run: npm is missing" in line(figure)


def test_a_figure_without_a_target_has_no_verdict() -> None:
    assert Figure("start", "cold", 3, "s").verdict is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(share: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_frames_are_read_whole_however_they_are_cut() -> None:
    payloads = [b"", b"a" * 125, b"b" * 126, b"c" * 70_000]
    stream = b"".join(_server_frame(payload) for payload in payloads)
    for size in (1, 7, 65_536):
        buffer, found = bytearray(), []
        for at in range(0, len(stream), size):
            buffer += stream[at : at + size]
            found += read_frames(buffer)
        assert found == [(1, payload) for payload in payloads]
        assert not buffer


@pytest.mark.parametrize("length", [0, 125, 126, 4000])
def test_a_frame_that_is_written_reads_back_once_its_mask_is_off(length: int) -> None:
    frame = write_frame(1, b"x" * length)
    header = 2 if length < 126 else 4
    assert frame[1] & 0x80
    unmasked = bytearray(frame[:header] + frame[header + 4 :])
    unmasked[1] &= 0x7F
    assert read_frames(unmasked) == [(1, b"x" * length)]


def _server_frame(payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        header = bytes((0x81, length))
    elif length < 65_536:
        header = bytes((0x81, 126)) + length.to_bytes(2)
    else:
        header = bytes((0x81, 127)) + length.to_bytes(8)
    return header + payload
