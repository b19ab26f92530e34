"""The API's structs of the gateway notice."""

import msgspec


class GatewayNotice(msgspec.Struct, frozen=True):
    """The payment gateway of this server.

    If `is_mocked` is true, this server is in production, and no payment moves money. If `is_mocked` is true, every
    screen must show a warning. In development, `is_mocked` is false, because developers do not expect that money moves.
    """

    name: str
    is_mocked: bool
