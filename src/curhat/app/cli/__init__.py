"""The command line: `curhat`. One small module a command; `main` puts them together."""
