"""A sink that remembers what was signalled."""


class RecordedSignals:
    """Every signal after a commit, in order, as (channel, payload)."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []

    def publish(self, channel: str, payload: bytes) -> None:
        """Remember it."""
        self.published.append((channel, payload))

    def on(self, channel: str) -> list[bytes]:
        """The payloads of one channel."""
        return [payload for name, payload in self.published if name == channel]
