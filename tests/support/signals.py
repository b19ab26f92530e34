"""A signal sink that records the signals."""


class RecordedSignals:
    """The recorded signals in order, as (channel, payload)."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []

    def publish(self, channel: str, payload: bytes) -> None:
        """Record a signal."""
        self.published.append((channel, payload))

    def on(self, channel: str) -> list[bytes]:
        """Return the payloads of one channel, and those of the same kind for one person."""
        return [payload for name, payload in self.published if name.partition("/")[0] == channel]
