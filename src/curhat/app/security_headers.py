"""The headers of every answer except the files of the web clients."""

from typing import Final

# A browser must not guess the type of an answer, show an answer in a frame, or store an answer.
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
