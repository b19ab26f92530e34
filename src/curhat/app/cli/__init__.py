"""The command line `curhat`. Each command is a module: `add_to` registers the command, and `run` executes it."""
