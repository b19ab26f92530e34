"""What each operation declares about its answers, so that the contract says it and a client can rely on it."""

from collections import defaultdict
from typing import Any

import msgspec
from litestar.openapi.datastructures import ResponseSpec

from curhat.kit.errors import (
    BusinessError,
    Forbidden,
    IdempotencyInProgress,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
)


class Problem(msgspec.Struct, frozen=True):
    """An error (RFC 9457). `code` is stable: compare it. Further fields depend on the code."""

    type: str
    title: str
    status: int
    detail: str
    code: str


# What any operation of a signed-in person may answer.
SIGNED_IN = (Unauthenticated, Forbidden, TooManyRequests)
# What any operation with an Idempotency-Key may answer.
WITH_KEY = (*SIGNED_IN, ValidationFailed, IdempotencyKeyMissing, IdempotencyKeyReused, IdempotencyInProgress)


def problems(*errors: type[BusinessError]) -> dict[int, ResponseSpec]:
    """The refusals of an operation, by status; each description lists the codes."""
    codes: dict[int, set[str]] = defaultdict(set)
    for error in errors:
        codes[error.status].add(error.code)
    return {
        status: ResponseSpec(
            data_container=Problem,
            media_type=_PROBLEM,
            generate_examples=False,
            description=f"`code`: {', '.join(sorted(found))}",
        )
        for status, found in sorted(codes.items())
    }


def answers(
    success: dict[int, type[msgspec.Struct] | None], *errors: type[BusinessError]
) -> dict[int, ResponseSpec]:
    """The successful answers by status (None: no body) and the refusals of an operation."""
    specifications: dict[int, ResponseSpec] = {
        status: ResponseSpec(data_container=container, generate_examples=False, description="Done")
        for status, container in success.items()
    }
    return specifications | problems(*errors)


# Litestar types the media type as its own enumeration, and takes any string.
_PROBLEM: Any = "application/problem+json"
