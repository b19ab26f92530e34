"""The command line `curhat`. Each command has a module. Its `add_to` registers the command, and its `run` runs it."""
