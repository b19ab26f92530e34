"""The headers of every answer, except the answers that contain a file of a web client."""

from typing import Final

# With these headers, a browser does not guess the type of an answer, show an answer in a frame, or store an answer.
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
