"""`python -m bench.harness.servers FOLDER` runs PostgreSQL and Valkey until stdin closes, and prints their addresses.

The load generator uses uvloop, but these servers need the standard library's event loop. So the servers run in a
separate process. If root starts the servers, their folder is open only to root, and the servers run under another
account. With the standard library's event loop, a server process enters the folder before it changes its account. With
uvloop, a server process changes its account first, and then cannot enter the folder.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from curhat.dev.embedded import embedded_servers


async def main() -> None:
    """Run until the parent process closes standard input or ends."""
    loop = asyncio.get_running_loop()
    # Ctrl-C also reaches the parent process. The parent process then closes standard input.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    async with embedded_servers(Path(sys.argv[1])) as servers:
        print(json.dumps([servers.database_url, servers.valkey_url]), flush=True)
        ended = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
        await ended.read()


if __name__ == "__main__":
    asyncio.run(main())
