"""Test that the subscription to signals ends when the process ends."""

import asyncio
from typing import Self

from curhat.kit.signals import Signals


class LosesCancellation:
    """A Valkey client and its subscription.

    The client and the subscription both lose a cancellation, like valkey-py on Python 3.11.
    """

    def __init__(self) -> None:
        self.connecting = asyncio.Event()

    def pubsub(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def subscribe(self, *_channels: str) -> None:
        self.connecting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async def pubsub_numsub(self, *channels: str) -> list[tuple[str, int]]:
        return [(channel, 0) for channel in channels]

    async def get_message(self, timeout: float) -> None:
        del timeout
        await asyncio.Event().wait()


async def test_a_subscription_ends_even_if_its_cancellation_is_lost_during_the_connect() -> None:
    client = LosesCancellation()
    signals = Signals(client)  # type: ignore[arg-type]
    signals.handle("requests", lambda _payload: None)
    running = asyncio.create_task(signals.run())
    await client.connecting.wait()
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=5)
    assert done == {running}
    assert running.cancelled()
