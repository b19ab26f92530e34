"""The command line `curhat`: one module per command. `main` registers them."""
