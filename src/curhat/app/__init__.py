"""The roof: puts the rooms together into processes (server, worker, command line) and runs them."""
