"""The metrics and log lines of refused requests never contain a phone number, an e-mail or a token.

An attack causes refusals of wrong tokens and codes (401), of forbidden actions (403), and of requests beyond a limit
(429). The metric counts every refusal. The log has a line for each refusal with the status 401, 403 or 429.
"""

from typing import Final, Literal

import structlog
from prometheus_client import Counter

log = structlog.get_logger(__name__)

# What a limit counts. `sign_in_delay` locks a device or an address out for a while. `person` is every limit of a
# signed-in person except `requests_person`.
LimitName = Literal[
    "requests_stranger", "requests_person", "codes_address", "passwords_address", "sign_in_delay", "person"
]

REFUSALS: Final = Counter(
    "curhat_refusals_total", "Refused HTTP requests, by the code of the refusal", ["code"]
)
LIMITED: Final = Counter("curhat_limited_total", "Refusals because of a limit, by the limit", ["limit"])
for _limit in LimitName.__args__:  # type: ignore[attr-defined]
    LIMITED.labels(_limit)
# Create these counters at the start. A counter that appears with its first value shows no increase, so an alert would
# miss the first refusals.
for _code in ("too_many_requests", "code_invalid", "credentials_invalid", "unauthenticated", "forbidden"):
    REFUSALS.labels(_code)

LOGGED_STATUSES: Final = frozenset({401, 403, 429})


def refused(code: str, status: int, *, method: str, operation: str | None, address: str | None) -> None:
    """Count a refused request. If the request is possibly part of an attack, log it.

    `operation` is the template of the path, because a path contains ids. `address` is the client's network address.
    """
    REFUSALS.labels(code).inc()
    if status in LOGGED_STATUSES:
        log.info(
            "request.refused", reason=code, status=status, method=method, operation=operation, address=address
        )
