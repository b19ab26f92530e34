"""`curhat simulate`: runs many simulated customers and mitras against a server, and checks every invariant."""

import argparse

from curhat.app.cli.common import Subparsers, allow_many_sockets, joined_settings


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "simulate",
        help="run many simulated people against the running service, and check the invariants",
        description="Run many simulated customers and mitras against the running service, over HTTP and WebSocket as "
        "real clients: with lost networks, slow people, rejections, cancels and repeated requests. Ends with a report. "
        "Exit status 1 if an invariant is broken.",
    )
    parser.add_argument("--customers", type=int, default=50, metavar="N", help="default: 50")
    parser.add_argument("--mitras", type=int, default=10, metavar="N", help="default: 10")
    parser.add_argument(
        "--duration-seconds",
        type=int,
        metavar="N",
        help="for how long new journeys begin; default: until each customer has made one or two, at most 150 s",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of all random choices; default: a new one, which is printed"
    )
    parser.add_argument("--url", help="address of the server; default: the running make up")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Simulate and print the report. Returns 1 if an invariant is broken or an unexpected error happened."""
    from curhat.dev.simulate import main

    arguments.settings = joined_settings()
    arguments.url = arguments.url or arguments.settings.local_url
    allow_many_sockets()
    return main.run(arguments)
