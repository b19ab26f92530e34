"""Sends one-time codes by SMS, through Twilio's Messages API.

Twilio Verify would make and check its own codes. This service makes, limits and checks codes itself, so the plain
Messages API is enough (decision 0094).
"""

from collections.abc import Mapping
from typing import Final

import aiohttp

from curhat.accounts.code_sender import (
    SEND_TIMEOUT_SECONDS,
    MaybeSent,
    NotSent,
    NotSentBecause,
    Outcome,
    Sent,
    code_text,
)
from curhat.accounts.codes import VALID_SECONDS
from curhat.kit.outgoing import Answer, AnswerLost, NotReached, OutgoingHttp

URL: Final = "https://api.twilio.com"

# Twilio's error codes about the recipient's number. Twilio adds new codes over time, so every unknown code counts as
# `refused`.
_NUMBER: Final = frozenset(
    {
        21211,  # invalid number
        21214,  # cannot be reached
        21217,  # malformed
        21265,  # a short code
        21266,  # the recipient is the sender
        21610,  # the person has written STOP
        21612,  # not reachable from our sender
        21614,  # no mobile number
        21635,  # a land line
    }
)
_LIMIT: Final = frozenset(
    {
        14107,  # rate of the sender
        20429,  # rate of the API
        21611,  # the sender's queue is full
        63038,  # the account's messages per day
    }
)
# Twilio accepted the message, but the message has already failed.
_FAILED: Final = frozenset({"failed", "undelivered", "canceled"})


class TwilioSms:
    """The CodeSender of Twilio's Messages API."""

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        sender: str,
        url: str = URL,
        timeout_seconds: float = SEND_TIMEOUT_SECONDS,
    ) -> None:
        self._messages = f"{url}/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._headers = {"Authorization": aiohttp.encode_basic_auth(account_sid, auth_token)}
        # A messaging service picks the sender's number. A number or a sender name is used unchanged.
        self._sender = {
            "MessagingServiceSid" if sender.startswith("MG") and len(sender) == 34 else "From": sender
        }
        self._timeout_seconds = timeout_seconds
        self._http = OutgoingHttp()

    async def send(self, phone_number: str, code: str) -> Outcome:
        """See code_sender.CodeSender."""
        form = {
            "To": phone_number,
            "Body": code_text(code),
            # Twilio drops a message that is still queued when the code in the message expires.
            "ValidityPeriod": str(VALID_SECONDS),
            **self._sender,
        }
        try:
            answer = await self._http.post(
                self._messages, form=form, headers=self._headers, timeout_seconds=self._timeout_seconds
            )
        except NotReached as error:
            return NotSent("unavailable", str(error))
        except AnswerLost as error:
            return MaybeSent(str(error))
        return outcome_of(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


def outcome_of(answer: Answer) -> Outcome:
    """Convert an answer of the Messages API to an outcome."""
    if answer.status in (200, 201):
        return _accepted(answer.body)
    code = answer.body.get("code")
    code = code if isinstance(code, int) else None
    detail = f"{answer.status}/{code}"
    if answer.status >= 500 and answer.status != 503:
        return MaybeSent(detail)
    return NotSent(_because(answer.status, code), detail)


def _accepted(body: Mapping[str, object]) -> Outcome:
    if not isinstance(body.get("sid"), str):
        return MaybeSent("201 without a message")
    if body.get("status") in _FAILED:
        code = body.get("error_code")
        because = _because(400, code if isinstance(code, int) else None)
        return NotSent(because, f"{body['status']}/{code}")
    return Sent()


def _because(status: int, code: int | None) -> NotSentBecause:
    if code in _NUMBER:
        return "number"
    if code in _LIMIT or status == 429:
        return "limit"
    if status == 503:
        return "unavailable"
    # The outcome is `refused`, for example for wrong credentials (20003), a country that is not enabled (21408), or a
    # sender that is not ours (21606).
    return "refused"
