"""`python -m bench.harness.servers FOLDER`: PostgreSQL and Valkey until standard input ends; prints their addresses.

A process of its own, since started by root they run inside a folder that only root can enter: the event loop of
the standard library goes there before it changes the account, and uvloop, which the generator needs, after.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from curhat.dev.embedded import embedded_servers


async def main() -> None:
    """Run until whoever started us has closed our input, or is gone."""
    loop = asyncio.get_running_loop()
    # Ctrl-C is for whoever started us, who then closes our input.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    async with embedded_servers(Path(sys.argv[1])) as servers:
        print(json.dumps([servers.database_url, servers.valkey_url]), flush=True)
        ended = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
        await ended.read()


if __name__ == "__main__":
    asyncio.run(main())
