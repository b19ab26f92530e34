"""The Chromium of the browser tests: Debian's, or Playwright's. Installs one if none exists."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

DEBIANS: Final = Path("/usr/bin/chromium")
INSTALL_SECONDS: Final = 600
ARGUMENTS: Final = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Chromium's sandbox does not work for root.
    *(("--no-sandbox",) if os.geteuid() == 0 else ()),
)


class NoBrowserError(Exception):
    """No Chromium exists here and none can be installed. The message says why."""


@cache
def chromium() -> Path | None:
    """Return Chromium's path, and install Chromium if necessary. None: Playwright's own. Raises NoBrowserError."""
    if DEBIANS.exists():
        return DEBIANS
    if os.geteuid() == 0 and shutil.which("apt-get"):
        # Also install the fonts of the phones for which the clients are made, so that screenshots look like these
        # phones.
        wanted = ("chromium", "fonts-roboto-unhinted", "fonts-noto-color-emoji")
        _run("apt-get", "update", "--quiet")
        _run("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *wanted)
        if DEBIANS.exists():
            return DEBIANS
    _run(sys.executable, "-m", "playwright", "install", "chromium")
    return None


def _run(*command: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoBrowserError(f"{' '.join(command)}: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NoBrowserError(f"{' '.join(command)}: {said[-1] if said else done.returncode}")
