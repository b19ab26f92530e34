"""Chat messages that clients send over their open sockets.

A frame on an open socket costs less than half of a POST. The server need not read, route and answer an HTTP request,
and has already authenticated the socket.
"""

import asyncio
from collections.abc import Callable

import msgspec

from curhat.kit.errors import BusinessError, invalid_field
from curhat.kit.http import refusal_of
from curhat.kit.identity import Identity
from curhat.kit.refusals import refused
from curhat.realtime.protocol import Refused, SendMessage, Sent
from curhat.sessions.schemas import Message
from curhat.sessions.writer import MessageWriter

_encoder = msgspec.json.Encoder()


class MessageFrames:
    """Gives the messages of this process's sockets to the message writer."""

    def __init__(self, writer: MessageWriter) -> None:
        self._writer = writer

    def send(self, sender: Identity, frame: SendMessage, answer: Callable[[Sent | Refused], None]) -> None:
        """Store a message. After the message is committed or refused, call `answer` once. Does not wait or raise."""

        def settle(outcome: "asyncio.Future[Message]") -> None:
            if outcome.cancelled():
                return
            error = outcome.exception()
            if error is None:
                message = msgspec.Raw(_encoder.encode(outcome.result()))
                answer(Sent(frame.client_message_id, message))
            else:
                answer(_refused(sender, frame, error))

        try:
            if "\0" in frame.text:
                raise invalid_field("text", "contains the character NUL")
            sending = self._writer.begin_sending(
                sender, frame.session_id, frame.client_message_id, frame.text, frame.reply_to_message_id
            )
        except BusinessError as error:
            answer(_refused(sender, frame, error))
        else:
            sending.add_done_callback(settle)


def _refused(sender: Identity, frame: SendMessage, error: BaseException) -> Refused:
    refusal = refusal_of(error)
    refused(
        refusal.code, refusal.status, method="SEND", operation=f"messages of a {sender.role}", address=None
    )
    return Refused(frame.client_message_id, refusal.code, refusal.detail, refusal.retry_after_seconds)
