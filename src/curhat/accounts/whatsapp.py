"""Sends one-time codes by WhatsApp, through Meta's Cloud API with a template of the category authentication.

Meta requires a copy-code button in the template. In a request, the copy-code button has the type URL. So the request
contains the code twice: in the body and in the button. Meta accepts a code before Meta checks whether the number uses
WhatsApp, and reports a failure only later. So when a person asks again, `CodeSenders` begins with another sender.
"""

from collections.abc import Mapping
from typing import Any, Final

from curhat.accounts.code_sender import (
    SEND_TIMEOUT_SECONDS,
    MaybeSent,
    NotSent,
    NotSentBecause,
    Outcome,
    Sent,
)
from curhat.kit.outgoing import Answer, AnswerLost, NotReached, OutgoingHttp

URL: Final = "https://graph.facebook.com"
# Meta serves an API version for about two years. After two years, Meta answers with the oldest version that still
# exists.
API_VERSION: Final = "v24.0"

# The codes of Meta's errors ("Cloud API error codes"). Meta asks clients to decide by the code, not by the error's
# title.
_NUMBER: Final = frozenset(
    {
        131021,  # the recipient is the sender
        131026,  # undeliverable: no WhatsApp, or too old a version
        131030,  # not in the list of a test number
        130497,  # we are not allowed to write to this country
    }
)
_LIMIT: Final = frozenset(
    {
        4,  # calls of the app
        80007,  # calls of the account
        130429,  # throughput of the sending number
        131048,  # restricted after reports of spam
        131056,  # too many messages to this very number
    }
)
_UNAVAILABLE: Final = frozenset(
    {
        1,  # unknown
        2,  # down or overloaded
        131000,  # something went wrong
        131016,  # overloaded
        131057,  # the account is in maintenance
        133004,  # the server is temporarily unavailable
    }
)


class WhatsApp:
    """The CodeSender of the WhatsApp Cloud API."""

    def __init__(
        self,
        *,
        phone_number_id: str,
        access_token: str,
        template: str,
        language: str,
        url: str = URL,
        timeout_seconds: float = SEND_TIMEOUT_SECONDS,
    ) -> None:
        self._messages = f"{url}/{API_VERSION}/{phone_number_id}/messages"
        self._headers = {"Authorization": f"Bearer {access_token}"}
        self._template = template
        self._language = language
        self._timeout_seconds = timeout_seconds
        self._http = OutgoingHttp()

    async def send(self, phone_number: str, code: str) -> Outcome:
        """See code_sender.CodeSender."""
        try:
            answer = await self._http.post(
                self._messages,
                json=self._message(phone_number, code),
                headers=self._headers,
                timeout_seconds=self._timeout_seconds,
            )
        except NotReached as error:
            return NotSent("unavailable", str(error))
        except AnswerLost as error:
            return MaybeSent(str(error))
        return outcome_of(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _message(self, phone_number: str, code: str) -> Mapping[str, Any]:
        parameters = [{"type": "text", "text": code}]
        return {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": phone_number.removeprefix("+"),
            "type": "template",
            "template": {
                "name": self._template,
                "language": {"code": self._language},
                "components": [
                    {"type": "body", "parameters": parameters},
                    {"type": "button", "sub_type": "url", "index": "0", "parameters": parameters},
                ],
            },
        }


def outcome_of(answer: Answer) -> Outcome:
    """Convert an answer of the Cloud API to an outcome."""
    if answer.status == 200:
        return _accepted(answer.body)
    error = answer.body.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    code = code if isinstance(code, int) else None
    detail = f"{answer.status}/{code}"
    if code is None and answer.status >= 500 and answer.status != 503:
        # Perhaps Meta accepted the message, and a gateway lost Meta's answer.
        return MaybeSent(detail)
    return NotSent(_because(answer.status, code), detail)


def _because(status: int, code: int | None) -> NotSentBecause:
    if code in _NUMBER:
        return "number"
    if code in _LIMIT or status == 429:
        return "limit"
    if code in _UNAVAILABLE or status == 503:
        return "unavailable"
    # The outcome is `refused`, for example for an expired token (190), a missing permission, a blocked account, or a
    # missing or paused template.
    return "refused"


def _accepted(body: Mapping[str, Any]) -> Outcome:
    messages = body.get("messages")
    message = messages[0] if isinstance(messages, list) and messages else None
    # Without a message's id, nothing shows that Meta took the message.
    if not isinstance(message, dict) or not isinstance(message.get("id"), str):
        return MaybeSent("200 without a message")
    # `message_status` is absent, `accepted`, or a state in which Meta holds the message back to judge the template.
    status = message.get("message_status", "accepted")
    return Sent() if status == "accepted" else MaybeSent("held back")
