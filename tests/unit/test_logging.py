"""Test that each log entry is one line, and that the log redacts data that must never be logged."""

import io
import json
import logging
from collections.abc import Iterator

import asyncpg
import pytest
import structlog

from curhat.kit.logging import NEVER_LOGGED, configure_logging


@pytest.fixture
def json_log() -> Iterator[io.StringIO]:
    """Configure the production log at level `info`, and yield the stream that receives its lines."""
    root = logging.getLogger()
    level, configuration = root.level, structlog.get_config()
    configure_logging("info", "json")
    (ours,) = root.handlers
    assert isinstance(ours, logging.StreamHandler)
    written = io.StringIO()
    ours.setStream(written)
    yield written
    logging.captureWarnings(capture=False)
    root.removeHandler(ours)
    root.setLevel(level)
    structlog.configure(**configuration)


def test_a_log_line_is_json_with_the_bound_values(json_log: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(correlation_id="r-1"):
        structlog.get_logger("packages").info("payment.confirmed", payment_id="p-1", amount_rp=20_000)
    line = json.loads(json_log.getvalue())
    assert line["event"] == "payment.confirmed"
    assert (line["level"], line["logger"], line["correlation_id"]) == ("info", "packages", "r-1")
    assert (line["payment_id"], line["amount_rp"]) == ("p-1", 20_000)


def test_libraries_log_in_the_same_json_format(json_log: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(correlation_id="r-1"):
        logging.getLogger("uvicorn.error").warning("it took %s s", 3)
    line = json.loads(json_log.getvalue())
    assert (line["event"], line["level"], line["correlation_id"]) == ("it took 3 s", "warning", "r-1")


@pytest.mark.parametrize("key", [*sorted(NEVER_LOGGED), "Authorization"])
def test_the_value_of_a_key_that_must_never_be_logged_is_redacted_at_any_depth(
    json_log: io.StringIO, key: str
) -> None:
    structlog.get_logger("packages").info(
        "careless", **{key: "hush-1"}, request={"headers": [{key: "hush-2"}]}
    )
    text = json_log.getvalue()
    assert "hush" not in text
    assert text.count("[redacted]") == 2


@pytest.mark.parametrize("number", ["+6281100000001", "6281100000001", "081100000001"])
def test_phone_numbers_are_redacted_in_texts(json_log: io.StringIO, number: str) -> None:
    structlog.get_logger("packages").info(f"sent to {number}", reason=f"({number})")
    assert number not in json_log.getvalue()


def test_ids_are_not_redacted_as_phone_numbers(json_log: io.StringIO) -> None:
    identity = "01990000-0812-7345-8123-081234567890"
    structlog.get_logger("packages").info("paired", pairing_id=identity)
    assert identity in json_log.getvalue()


def test_the_values_of_a_violated_constraint_are_redacted(json_log: io.StringIO) -> None:
    error = asyncpg.UniqueViolationError("duplicate key")
    error.detail = "Key (call_name)=(hush) already exists."
    try:
        raise error
    except asyncpg.PostgresError:
        structlog.get_logger("packages").exception("not.stored")
    line = json.loads(json_log.getvalue())
    assert "UniqueViolationError" in line["exception"]
    assert "hush" not in line["exception"]


def test_lines_below_the_log_level_are_omitted(json_log: io.StringIO) -> None:
    structlog.get_logger("packages").debug("detail")
    assert json_log.getvalue() == ""
