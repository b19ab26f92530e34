"""Test the verdicts and the clients of the benchmarks."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bench import lists
from bench.accept import accept_script
from bench.capacity.calculator import NEVER, Habits, describe, limits, load_of, plan_for
from bench.capacity.constants import Constants, Cost, read_constants
from bench.capacity.page import PAGE, page_with_tables
from bench.harness.records import Records
from bench.harness.report import Figure, Peer, Target, line, percentile, write_markdown
from bench.harness.sockets import read_frames, write_frame


def test_a_figure_within_its_bound_is_ok_and_a_figure_beyond_its_bound_falls_short() -> None:
    at_most = Target("figure", "at most", 50)
    assert Figure("deadlines", "late", 50, "ms", at_most).verdict == "ok"
    assert Figure("deadlines", "late", 50.1, "ms", at_most).verdict == "falls short"
    at_least = Target("ratio", "at least", 5)
    assert Figure("accept", "rate", 500, "/s", at_least, Peer("ORM", 100)).verdict == "ok"
    assert Figure("accept", "rate", 499, "/s", at_least, Peer("ORM", 100)).verdict == "falls short"


def test_a_figure_is_not_compared_when_the_peer_did_not_run() -> None:
    figure = Figure(
        "messages", "rate", 2000, "/s", Target("ratio", "at least", 1), Peer("npm is missing", None)
    )
    assert figure.ratio is None
    assert figure.verdict == "not compared"
    assert "peer not run: npm is missing" in line(figure)


def test_a_figure_without_a_target_has_no_verdict() -> None:
    assert Figure("start", "cold", 3, "s").verdict is None


def test_the_results_page_shows_the_commit_and_the_machine_and_the_figures(tmp_path: Path) -> None:
    target = Target("ratio", "at least", 5)
    figures = [
        Figure("accept", "answers per second", 1512, "/s", target, Peer("ORM", 252), "median of 3 rounds"),
        Figure("start", "cold", 3, "s"),
    ]
    machine = {"processors": 2, "processor": "Fast", "memory_gib": 16, "python": "3.11.7"}
    write_markdown(tmp_path / "RESULTS.md", figures, machine, "0123456789")
    text = (tmp_path / "RESULTS.md").read_text()
    assert "commit 0123456789." in text
    assert "The machine: 2 processors (Fast), 16 GiB, Python 3.11.7." in text
    assert "| `accept` | answers per second | 1,512 /s | ORM | 252 /s | 6.00 | ≥ 5 times | ok |" in text
    assert "| `start` | cold | 3.00 s |  |  |  |  |  |" in text
    assert text.endswith("- `accept`, answers per second: median of 3 rounds\n")


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_computed_with_the_nearest_rank_method(share: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_complete_frames_are_read_from_chunks_of_any_size() -> None:
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
def test_a_written_frame_can_be_read_after_its_mask_is_removed(length: int) -> None:
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


def test_the_claim_about_lists_asks_every_get_and_every_filter_of_the_control_center() -> None:
    contract = json.loads(lists.CONTRACT.read_text())
    values = lists.values_of(Records(7_500, 600, 20), datetime(2026, 1, 1, tzinfo=UTC))
    asked = lists.questions(contract, values)
    for path, operations in contract["paths"].items():
        if path.startswith(lists.PREFIX) and "get" in operations:
            operation = operations["get"]
            of_operation = [question for question in asked if question.operation == operation["operationId"]]
            assert of_operation
            assert all("{" not in question.path for question in of_operation)
            filters = {name for question in of_operation for name, _ in question.query}
            given = {item["name"] for item in operation.get("parameters", []) if item["in"] == "query"}
            assert filters == given - {"cursor", "format"}
    assert {("status", "served"), ("status", "refunded")} <= {pair for item in asked for pair in item.query}


def test_the_claim_about_lists_refuses_a_filter_without_a_value() -> None:
    parameter = {"in": "query", "name": "colour", "schema": {"type": "string"}}
    operation = {"operationId": "list_hats", "parameters": [parameter]}
    contract = {"paths": {"/api/control-center/hats": {"get": operation}}}
    with pytest.raises(lists.UnknownParameter, match="colour of list_hats"):
        lists.questions(contract, {})


_COST = Cost(100, 10, 200, 5, 1_000, 3)
_CONSTANTS = Constants(
    measured_at="2026-01-01T00:00:00+00:00",
    commit="0123456789",
    machine="a machine",
    busy_share=0.0,
    process_minute=Cost(0, 0, 0, 0, 0, 0),
    idle_customer_minute=_COST,
    waiting_mitra_minute=_COST,
    poll=_COST,
    search=_COST,
    card=_COST,
    accept=_COST,
    message=_COST,
    read=_COST,
    session_end=_COST,
    bystander_us=50,
    customer_socket_kib=10,
    mitra_socket_kib=20,
    process_mib=100,
    kept_bytes_per_session=1_000,
    kept_bytes_per_card=300,
    kept_bytes_per_message=400,
    day_bytes_per_message=2_000,
)
_HABITS = Habits(
    session_minutes=10,
    messages_per_minute=6,
    reads_per_message=0.5,
    idle_customers=2,
    waiting_mitras=0.1,
    sessions_per_mitra=2,
)


def test_the_load_is_the_sum_of_all_work() -> None:
    load = load_of(600, _CONSTANTS, _HABITS)
    # 600 sessions of 10 minutes: one starts per second. 60 mitras wait, and each search asks all of them.
    assert (load.starts, load.messages, load.cards, load.polls) == (1, 60, 60, 240)
    assert (load.customer_sockets, load.mitra_sockets) == (1_800, 360)
    # Searches, accepts, ends, cards, messages, reads, polls, and one per connected person and minute.
    units = 1 + 1 + 1 + 60 + 60 + 30 + 240 + 1_800 / 60 + 360 / 60
    assert load.server_cores == pytest.approx(units * 100 / 1e6)
    assert load.postgresql_cores == pytest.approx(units * 200 / 1e6)
    assert load.wal_bytes == pytest.approx(units * 1_000)
    assert load.valkey_commands == pytest.approx(units * 3)


def test_a_search_asks_at_most_one_wave_of_mitras() -> None:
    assert load_of(60_000, _CONSTANTS, _HABITS).cards == 100 * 500


def test_a_small_evening_needs_two_processes_of_each_kind_and_one_of_everything_else() -> None:
    plan = plan_for(load_of(600, _CONSTANTS, _HABITS), _CONSTANTS)
    assert (plan.server_processes, plan.worker_processes, plan.postgresql_cores, plan.valkeys) == (2, 2, 2, 1)
    assert plan.server_machines == 2
    # 1,000 B for the session, 60 cards and 60 messages, for 5 hours on 30 days.
    assert plan.disk_bytes_per_month == (1_000 + 60 * 300 + 60 * 400) * 30 * 5 * 3_600


def test_no_number_of_processes_is_enough_when_each_hears_of_too_many_messages() -> None:
    # 120,000 sessions write 12,000 messages per second. At 50 µs each, every process is 60 % busy with hearing of them.
    assert plan_for(load_of(119_000, _CONSTANTS, _HABITS), _CONSTANTS).server_processes is not None
    assert plan_for(load_of(121_000, _CONSTANTS, _HABITS), _CONSTANTS).server_processes is None
    directed = msgspec.structs.replace(_CONSTANTS, bystander_us=0.0)
    assert plan_for(load_of(121_000, directed, _HABITS), directed).server_processes is not None


def test_the_limits_come_in_the_order_of_their_sessions_and_each_says_what_moves_it() -> None:
    found = limits(_CONSTANTS, _HABITS)
    assert [limit.sessions for limit in found] == sorted(limit.sessions for limit in found)
    assert all(limit.moves for limit in found)
    fan_out = next(limit for limit in found if limit.what.startswith("fan-out"))
    assert fan_out.sessions == 120_000
    directed = msgspec.structs.replace(_CONSTANTS, bystander_us=0.0)
    assert limits(directed, _HABITS)[-1].sessions == NEVER
    assert "at no number of sessions: fan-out" in "\n".join(describe(600, directed, _HABITS))


def test_the_stored_constants_can_be_read() -> None:
    constants = read_constants()
    assert constants.message.postgresql_us > 0
    assert describe(2_000, constants, Habits())[0] == "2,000 running sessions"


def test_the_tables_of_the_scaling_page_are_those_of_the_stored_constants() -> None:
    """If this test fails, run `python -m bench capacity --page`."""
    text = PAGE.read_text(encoding="utf-8")
    assert page_with_tables(text, read_constants()) == text


def test_pgbench_gets_the_accept_statement_with_a_value_for_each_of_its_parameters() -> None:
    script = accept_script(1, 10, contestants=50, groups=4)
    assert "accept_request" in script
    assert "$" not in script
