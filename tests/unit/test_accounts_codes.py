"""Test one-time codes.

Test that a code is random and valid only for its own request. Also test that the digest of a code depends on a secret
key.
"""

import hashlib
from uuid import UUID

import pytest

from curhat.accounts import codes

KEY = b"k" * 32
REQUEST = UUID(int=1)


@pytest.mark.rule("S.1")
def test_a_code_has_six_digits_and_rarely_repeats() -> None:
    made = [codes.new_code() for _ in range(1000)]
    assert all(len(code) == 6 and code.isascii() and code.isdigit() for code in made)
    assert len(set(made)) > 950
    assert any(code.startswith("0") for code in made)


@pytest.mark.rule("S.1")
def test_a_code_is_right_only_for_its_own_request_and_key() -> None:
    digest = codes.digest_of(KEY, REQUEST, "123456")
    assert codes.is_right(KEY, REQUEST, "123456", digest)
    assert not codes.is_right(KEY, REQUEST, "123457", digest)
    assert not codes.is_right(KEY, UUID(int=2), "123456", digest)
    assert not codes.is_right(b"x" * 32, REQUEST, "123456", digest)


@pytest.mark.rule("S.1")
def test_the_digest_of_a_code_cannot_be_computed_without_the_key() -> None:
    digest = codes.digest_of(KEY, REQUEST, "000042")
    guesses = (f"{number:06}".encode() for number in range(1000))
    assert digest not in {
        hashlib.sha256(prefix + guess).digest() for guess in guesses for prefix in (b"", REQUEST.bytes)
    }
