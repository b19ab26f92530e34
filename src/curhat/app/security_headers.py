"""What every answer carries that is no file of a web client."""

from typing import Final

# What a reader of a response must not do with it: guess its type, show it in a frame, keep it.
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
