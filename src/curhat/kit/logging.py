"""Structured logs. Each line is JSON in production, and readable text in development.

Each line also contains the values that the current task has bound with `structlog.contextvars`, such as the
correlation id. The warnings and errors of libraries appear in the same form.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from curhat.kit.settings import LogFormat, LogLevel

# Code must not log values under the keys in NEVER_LOGGED. If code logs a value under one of these keys, `redact` hides
# the value.
NEVER_LOGGED: Final = frozenset(
    {
        "auth",
        "authorization",
        "code",
        "cookie",
        "device_secret",
        "endpoint",
        "p256dh",
        "password",
        "phone",
        "phone_number",
        "secret_key",
        "set-cookie",
        "text",
        "token",
    }
)
REDACTED: Final = "[redacted]"
# PostgreSQL puts the values that caused an error into the line DETAIL of the error. The library asyncpg copies the line
# DETAIL into the text of the exception. A value can contain line breaks, so this pattern matches everything after the
# word DETAIL.
_POSTGRES_DETAIL: Final = re.compile(r"(?ms)^DETAIL:.*\Z")
# The look-behind excludes ids, because a group of digits in an id can look like a phone number.
_PHONE_NUMBER: Final = re.compile(r"\+\d{8,15}|(?<![\w-])(?:62|0)8\d{7,12}(?![\w-])")


def configure_logging(level: LogLevel, log_format: LogFormat) -> None:
    """Write this process's logs to standard error, from `level` upwards.

    Call this function once, when the process starts.
    """
    before_rendering: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*before_rendering, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer(serializer=_json)
        if log_format == "json"
        # Use plain tracebacks. By default, the library rich formats tracebacks and prints local variables, and local
        # variables can contain secrets.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before_rendering,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(_is_ours_or_serious)
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def _is_ours_or_serious(record: logging.LogRecord) -> bool:
    # At levels below warning, libraries log secrets. The library uvicorn logs the URL of each socket, which contains a
    # ticket. The library websockets logs every header and every chat text. The `msg` of our own log records is a
    # structlog dictionary, so the filter keeps our records at every level.
    return record.levelno >= logging.WARNING or isinstance(record.msg, dict)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide the values of NEVER_LOGGED keys, and phone numbers in texts. `redact` is a structlog processor."""
    return {key: _clean(key, value) for key, value in event.items()}


def _clean(key: str, value: object) -> object:
    if key.lower() in NEVER_LOGGED:
        return REDACTED
    if isinstance(value, str):
        return _PHONE_NUMBER.sub(REDACTED, _POSTGRES_DETAIL.sub(f"DETAIL: {REDACTED}", value))
    if isinstance(value, Mapping):
        return {str(inner): _clean(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", item) for item in value]
    return value


def _json(event: EventDict, **_options: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def current_correlation_id() -> str | None:
    """Return the correlation id of the HTTP request or deadline that this task handles."""
    correlation_id: str | None = structlog.contextvars.get_contextvars().get("correlation_id")
    return correlation_id
