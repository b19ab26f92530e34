"""`python -m bench.peers.uvicorn package.module:app` serves a peer on CURHAT_PORT like `curhat serve`."""

import os
import sys

import uvicorn


def main() -> None:
    """Run until Ctrl-C."""
    uvicorn.run(
        sys.argv[1],
        host="127.0.0.1",
        port=int(os.environ["CURHAT_PORT"]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_ping_interval=None,
        backlog=4096,
        access_log=False,
        log_config=None,
        server_header=False,
    )


if __name__ == "__main__":
    main()
