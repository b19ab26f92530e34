"""Puts the packages together into processes (server, worker, command line) and runs them."""
