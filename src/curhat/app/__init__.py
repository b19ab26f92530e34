"""Builds processes (server, worker, command line) from the packages, and runs these processes."""
