"""`python -m bench.harness.servers FOLDER`: runs PostgreSQL and Valkey until stdin closes; prints their addresses.

The servers run in a separate process because of its event loop. If root starts the servers, they run in a folder that
only root can enter. The standard library's event loop enters the folder before it changes the account. uvloop, which
the load generator uses, enters the folder after that.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from curhat.dev.embedded import embedded_servers


async def main() -> None:
    """Run until the parent closes standard input or ends."""
    loop = asyncio.get_running_loop()
    # Ctrl-C also reaches the parent, which then closes standard input.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    async with embedded_servers(Path(sys.argv[1])) as servers:
        print(json.dumps([servers.database_url, servers.valkey_url]), flush=True)
        ended = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
        await ended.read()


if __name__ == "__main__":
    asyncio.run(main())
