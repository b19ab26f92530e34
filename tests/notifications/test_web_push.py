"""Test the encryption, the signature, and the meaning of each answer of a push service."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from curhat.notifications.port import Delivered, Gone, Outcome, Refused, Unavailable
from curhat.notifications.templates import texts
from curhat.notifications.web_push import MAX_SIGNATURES, VapidKey, outcome_of
from tests.support.push import CURVE, Browser, from_base64url, verified_claims


def test_the_test_browser_decrypts_the_example_of_the_standard() -> None:
    # RFC 8291, section 5.
    private = int.from_bytes(from_base64url("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
    browser = Browser(
        "https://push.example.net/",
        private_key=ec.derive_private_key(private, CURVE),
        auth=from_base64url("BTBZMqHH6r4Tts7J_aSIgg"),
    )
    body = (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBr"
        "u3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
    assert browser.decrypt(from_base64url(body)) == b"When I grow up, I want to be a watermelon"


def test_a_signature_names_the_push_service_and_our_origin_and_expires_within_a_day() -> None:
    key = VapidKey(b"k" * 32, "https://app.example.id")
    claims = verified_claims(
        key.authorization("https://push.example.com/send/secret-path?x=1"), key.public_key
    )
    assert claims["aud"] == "https://push.example.com"
    assert claims["sub"] == "https://app.example.id"
    assert time.time() < claims["exp"] <= time.time() + 24 * 3600


def test_signatures_are_reused_and_the_number_of_cached_signatures_is_bounded() -> None:
    key = VapidKey(b"k" * 32, "https://app.example.id")
    first = key.authorization("https://push.example.com/1")
    assert key.authorization("https://push.example.com/2") == first
    for number in range(2 * MAX_SIGNATURES):
        key.authorization(f"https://{number}.example.com/")
    assert len(key._signed) <= MAX_SIGNATURES


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome"),
    [
        (201, None, Delivered()),
        (204, None, Delivered()),
        (404, None, Gone()),
        (410, None, Gone()),
        (429, "7", Unavailable("429", 7.0, is_their_limit=True)),
        (503, None, Unavailable("503")),
        (500, "Wed, 21 Oct 2026 07:28:00 GMT", Unavailable("500")),
        (301, None, Refused("301")),
        (400, None, Refused("400")),
        (403, None, Refused("403")),
        (413, None, Refused("413")),
    ],
)
def test_each_status_code_of_a_push_service_leads_to_the_expected_outcome(
    status: int, retry_after: str | None, outcome: Outcome
) -> None:
    assert outcome_of(status, retry_after) == outcome


@pytest.mark.rule("V.5")
def test_every_notification_has_text_in_both_languages_and_no_placeholder() -> None:
    for words in texts():
        assert words["id"] != words["en"]
        for said in words.values():
            assert said.title
            assert said.body
            # The texts have no placeholders, so they cannot contain a name, chat text or number.
            assert not set("{}%$0123456789") & set(said.title + said.body)
