"""The command line `curhat`: one module per command. Its `add_to` registers the command, and its `run` runs it."""
