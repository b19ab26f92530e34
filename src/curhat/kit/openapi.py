"""Declares the answers and refusals of operations, and generates the OpenAPI document from these declarations."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPI

from curhat.kit.errors import (
    BodyTooLarge,
    BusinessError,
    Forbidden,
    IdempotencyInProgress,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    ServiceUnavailable,
    Suspended,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
)


class Problem(msgspec.Struct, frozen=True):
    """An error (RFC 9457). `code` is stable, so clients compare `code`. Some codes have further fields.

    `status` repeats the HTTP status. With the code `mitra_unavailable`, `status` is the mitra's status instead.
    """

    type: str
    title: str
    status: int | Literal["offline", "full"]
    detail: str
    code: str


# Litestar declares its own enumeration for the media type, but accepts any string.
_PROBLEM: Any = "application/problem+json"
_CODES: Final = "`code`: "

# The refusals of every operation that needs a sign-in. An operation for mitras also refuses a suspended mitra.
SIGNED_IN = (Unauthenticated, Forbidden, TooManyRequests)
MITRA_SIGNED_IN = (*SIGNED_IN, Suspended)
# The refusals that an Idempotency-Key adds to those of an operation.
_KEY = (ValidationFailed, IdempotencyKeyMissing, IdempotencyKeyReused, IdempotencyInProgress)
WITH_KEY = (*SIGNED_IN, *_KEY)
MITRA_WITH_KEY = (*MITRA_SIGNED_IN, *_KEY)


def problems(*errors: type[BusinessError]) -> dict[int, ResponseSpec]:
    """Return one ResponseSpec per HTTP status of these refusals. Each description lists the codes of its status."""
    codes: dict[int, set[str]] = defaultdict(set)
    for error in errors:
        codes[error.status].add(error.code)
    return {
        status: ResponseSpec(
            data_container=Problem,
            media_type=_PROBLEM,
            generate_examples=False,
            description=_CODES + ", ".join(sorted(found)),
        )
        for status, found in sorted(codes.items())
    }


def answers(
    success: dict[int, type[msgspec.Struct] | None], *errors: type[BusinessError]
) -> dict[int, ResponseSpec]:
    """Return one ResponseSpec per HTTP status, for the successful answers and the refusals of an operation.

    `success` has the struct of each successful answer, or None if the answer has no body. Every operation also
    answers 503 while PostgreSQL is away.
    """
    done = {
        status: ResponseSpec(data_container=container, generate_examples=False, description="Done")
        for status, container in success.items()
    }
    return done | problems(*errors, ServiceUnavailable)


# The whole contract ----------------------------------------------------------------------------------------

_KEY_PARAMETER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "A new one for each new intention; the same one to repeat a request whose answer was lost.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
# The code of the refusal without a fresh code. An operation that declares it has the parameter _FRESH_CODE_PARAMETER.
_FRESH_CODE_MISSING: Final = "fresh_code_missing"
_FRESH_CODE_PARAMETER: Final = {
    "name": "X-Fresh-Code",
    "in": "header",
    "required": True,
    "description": "A one-time code to the caller's own phone, asked for as at a sign-in: request_id:code.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 100},
}
_RETRY_AFTER: Final = {
    "Retry-After": {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer"}}
}
_SECURITY_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The token of a sign-in, for apps."},
    "customer_cookie": {"type": "apiKey", "in": "cookie", "name": "curhat_customer"},
    "mitra_cookie": {"type": "apiKey", "in": "cookie", "name": "curhat_mitra"},
    "operator_cookie": {"type": "apiKey", "in": "cookie", "name": "curhat_operator"},
}


@dataclass
class ContractConfig(OpenAPIConfig):
    """Generates Litestar's OpenAPI document of the routes. `_complete` then changes each operation in the document."""

    def to_openapi_schema(self) -> OpenAPI:
        return _Contract(**vars(super().to_openapi_schema()))


@dataclass
class _Contract(OpenAPI):
    def to_schema(self) -> dict[str, Any]:
        schema = super().to_schema()
        schema["components"]["securitySchemes"] = _SECURITY_SCHEMES
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                _complete(path, operation)
        return schema


def _complete(path: str, operation: dict[str, Any]) -> None:
    # If a route declares no tag, the operation's tag is the role of its callers.
    operation.setdefault("tags", [_caller_role(path)])
    responses = operation["responses"]
    # Litestar declares a 400 for every operation with a parameter or a body. Our code answers with 422 instead of 400,
    # and the operation declares the 422.
    if "400" in responses and _PROBLEM not in responses["400"]["content"]:
        del responses["400"]
    if "requestBody" in operation:
        _let_be_absent(operation["requestBody"])
        # If a body is too large, the server refuses the request before the operation runs.
        responses[str(BodyTooLarge.status)] = {
            "description": _CODES + BodyTooLarge.code,
            "content": {_PROBLEM: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}},
        }
    codes = {code for response in responses.values() for code in _restrict_codes(response)}
    if IdempotencyKeyMissing.code in codes:
        operation.setdefault("parameters", []).append(_KEY_PARAMETER)
    if _FRESH_CODE_MISSING in codes:
        operation.setdefault("parameters", []).append(_FRESH_CODE_PARAMETER)
    if Unauthenticated.code in codes:
        operation["security"] = [{"bearer": []}, {f"{_caller_role(path)}_cookie": []}]
    for parameter in operation.get("parameters", []):
        if parameter["name"] == "format":
            for media_type in _media_types(parameter["schema"]):
                responses["200"]["content"][media_type] = {"schema": {"type": "string"}}
    if TooManyRequests.code in codes:
        responses[str(TooManyRequests.status)]["headers"] = _RETRY_AFTER


def _media_types(format_schema: dict[str, Any]) -> list[str]:
    """Return the media types of the answers that are not JSON, for the values of a parameter `format`."""
    return [f"text/{value}" for value in format_schema["enum"] if value != "json"]


def _let_be_absent(body: dict[str, Any]) -> None:
    """Declare a body that can be null as one that can be absent. Litestar declares every body as required."""
    for content in body["content"].values():
        options = [option for option in content["schema"].get("oneOf", ()) if option != {"type": "null"}]
        if len(options) == 1:
            content["schema"] = options[0]
            body["required"] = False


def _caller_role(path: str) -> str:
    if path.startswith("/api/control-center/"):
        return "operator"
    return "mitra" if path.startswith("/api/mitra/") else "customer"


def _restrict_codes(response: dict[str, Any]) -> list[str]:
    """Restrict the schema of a refusal to the codes that its description lists. Return these codes.

    If the response is not a refusal, change nothing and return an empty list.
    """
    problem = response.get("content", {}).get(_PROBLEM)
    if problem is None:
        return []
    codes: list[str] = response["description"].removeprefix(_CODES).split(", ")
    problem["schema"] = {"allOf": [problem["schema"], {"properties": {"code": {"enum": codes}}}]}
    return codes
