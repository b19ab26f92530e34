"""The commands of `curhat` that need the extra `curhat[dev]`.

`app/cli/main.py` adds these commands if the extra is installed.
"""

from typing import Final

from curhat.dev.cli import bots, reset, simulate, up

COMMANDS: Final = {"up": up, "reset": reset, "simulate": simulate, "bots": bots}
